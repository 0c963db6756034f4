//! Released flows whose scheduler is a consistency model's.

use super::*;
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
