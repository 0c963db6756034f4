//! Released consistency models: flows whose scheduler is one's, and a U-Net that is told the guidance distilled into it.

use super::{
    parity::{WEIGHTS, config},
    *,
};
use nets::TextUnetConfig;
use rectiflow::released::prepare;

/// A flow whose scheduler is a consistency model's: the levels of the usual one; each step ends at the data and begins anew from noise, so that
/// one step is Euler's. Mutants: the class passed over; levels of another class; pictures that grow drawn at one size;
/// another family's habits.
#[test]
fn a_flow_may_be_a_consistency_model() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    training::copy(&fixture("flux_schnell_tiny"), &folder);
    let settings = folder.join("scheduler/scheduler_config.json");
    edit(&folder.join("model_index.json"), |index| index["scheduler"][1] = "FlowMatchLCMScheduler".into());
    edit(&settings, |config| {
        config["_class_name"] = "FlowMatchLCMScheduler".into();
        config.insert("upscale_mode".into(), "bicubic".into());
        config.insert("scale_factors".into(), serde_json::Value::Null);
    });
    let noise = format!("{}:latents.init_unpacked", fixture("flux_schnell_tiny").join("golden.safetensors").display());
    let of = |folder: &Path, steps: usize, solver: Option<Solver>| ReleasedRequest {
        folder: folder.to_path_buf(),
        steps: Some(steps),
        solver,
        noise: Some(noise.clone()),
        ..request("flux_schnell_tiny")
    };
    let euler = fixture("flux_schnell_tiny");
    let consistent = drawn(&of(&folder, 3, None)).into_data();
    assert_eq!(consistent, drawn(&of(&euler, 3, Some(Solver::Consistency {}))).into_data());
    assert_ne!(consistent, drawn(&of(&euler, 3, None)).into_data());
    let far = drawn(&of(&folder, 1, None)) - drawn(&of(&euler, 1, None));
    assert!(far.abs().max().into_scalar::<f32>() < 1e-5);
    // Its habits: four steps, and no guidance.
    let habits = |name: &str| {
        let folder = dir.path().join(name);
        training::copy(&fixture(name), &folder);
        edit(&folder.join("model_index.json"), |index| index["scheduler"][1] = "FlowMatchLCMScheduler".into());
        edit(&folder.join("scheduler/scheduler_config.json"), |config| {
            config["_class_name"] = "FlowMatchLCMScheduler".into();
        });
        let request = ReleasedRequest { steps: None, guidance: None, ..request(name) };
        let request = ReleasedRequest { folder, ..request };
        let prepared = prepare(&request, &mut |_| {}).unwrap();
        (prepared.steps(), prepared.guidance() > 1.0)
    };
    assert_eq!([habits("sd3_tiny"), habits("qwen_image_tiny")], [(4, false); 2]);
    edit(&settings, |config| config["scale_factors"] = serde_json::json!([0.5, 1.0]));
    let output = dir.path().join("x.png");
    let error = sample(&ReleasedRequest { output, ..of(&folder, 3, None) }, &mut Context::silent()).unwrap_err();
    assert!(error.to_string().contains("scale_factors"), "{error}");
}

/// The folder of Stable Diffusion with a U-Net that is told its guidance, as a latent consistency model's.
fn told_folder(place: &Path) -> PathBuf {
    let folder = place.join("told");
    training::copy(&fixture("sd15_tiny"), &folder);
    edit(&folder.join("model_index.json"), |index| {
        index["_class_name"] = "LatentConsistencyModelPipeline".into();
        index["scheduler"][1] = "LCMScheduler".into();
    });
    edit(&folder.join("scheduler/scheduler_config.json"), |config| {
        config["_class_name"] = "LCMScheduler".into();
    });
    edit(&folder.join("unet/config.json"), |config| drop(config.insert("time_cond_proj_dim".into(), 33.into())));
    let file = folder.join("unet/diffusion_pytorch_model.safetensors");
    let told = Stored::open(&fixture("sd15_tiny").join("guided.safetensors")).unwrap();
    let mut all = gguf::tensors(&Stored::open(&file).unwrap());
    let name = "time_embedding.cond_proj.weight";
    all.insert(name.to_owned(), (told.shape(name).unwrap(), told.read(name).unwrap()));
    std::fs::remove_file(&file).unwrap();
    gguf::write_widened(&file, &all);
    folder
}

/// Against the reference's `LatentConsistencyModelPipeline`; an estimate of the data from pure noise makes fifteen of every difference.
///
/// Mutants: a contrast by habit; tried as weights that come to the same: cosines before sines, the next frequency for each. Named and not run:
/// guidance counted from 0, which `w1.0` beside `w8.5` tells.
#[test]
fn a_unet_is_told_the_guidance_that_was_distilled_into_it() {
    let place = tempfile::tempdir().unwrap();
    let folder = told_folder(place.path());
    let golden = Stored::open(&fixture("sd15_tiny").join("guided.safetensors")).unwrap();
    let at = folder.join("unet");
    let net = config::<TextUnetConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
    let known = super::golden("sd15_tiny");
    let one = |value: f32| Tensor::<1>::from_floats([value], &Device::flex());
    for (t, scale) in [(999.0, 8.5), (499.0, 8.5), (499.0, 1.0)] {
        let (x, text) = (tensor(&known, "latents.init"), tensor(&known, "text.pos.hidden"));
        holds(&golden, &format!("guided.t{t}.w{scale:?}"), net.forward_told(x, one(t), one(scale), text));
    }
    let asked = ReleasedRequest { folder, steps: Some(1), ..request("sd15_tiny") };
    within(&golden, "guided.image.w8.5", drawn(&asked), 1e-3);
    within(&golden, "guided.image.w3.0", drawn(&ReleasedRequest { guidance: Some(3.0), ..asked.clone() }), 1e-3);
    let habit = prepare(&ReleasedRequest { steps: None, ..asked.clone() }, &mut |_| {}).unwrap();
    assert_eq!((habit.steps(), habit.solver()), (4, "consistency"));
    let negative = ReleasedRequest { negative: Some("a".into()), ..asked.clone() };
    refused([(negative, "told its guidance")]);
    // A consistency model that is told nothing has no such habit, under either name.
    let plain = place.path().join("plain");
    training::copy(&fixture("sd15_tiny"), &plain);
    edit(&plain.join("model_index.json"), |index| index["_class_name"] = "LatentConsistencyModelPipeline".into());
    let habit = prepare(&ReleasedRequest { folder: plain, steps: None, ..asked }, &mut |_| {}).unwrap();
    assert_eq!((habit.steps(), habit.guidance()), (50, 7.5));
}
