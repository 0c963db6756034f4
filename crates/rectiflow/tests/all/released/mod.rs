//! Released models from their folders alone: texts, latents after each step and pictures against the reference's own.
//!
//! Tolerance 1e-4 absolute; the reference's own final latents differ between f32 and f64 by up to 9e-6.

use base::{Condition, Device, Tensor, TensorData};
use flow::Solver;
use nets::weights::{Corrections, Stored, TensorSource};
use rectiflow::{
    Context, Precision,
    released::{
        Asked, Family, Network, Prompted, Release, ReleasedPlan, ReleasedRequest, encode, is_released, plan, sample,
        schedule,
    },
};
use std::path::{Path, PathBuf};

mod begin;
mod changing;
mod consistency;
mod convert;
mod flux2;
mod gguf;
mod learning;
mod parity;
mod qwen_image;
mod single;
mod torch;
mod training;
mod wan;
mod z_image;

const TOLERANCE: f32 = 1e-4;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn tensor<const D: usize>(store: &Stored, name: &str) -> Tensor<D> {
    let (shape, values) = (store.shape(name).unwrap(), store.read(name).unwrap());
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn holds<const D: usize>(golden: &Stored, name: &str, got: Tensor<D>) {
    within(golden, name, got, TOLERANCE);
}

fn within<const D: usize>(golden: &Stored, name: &str, got: Tensor<D>, tolerance: f32) {
    let want = tensor::<D>(golden, name);
    assert_eq!(got.dims(), want.dims(), "{name}");
    let far = (got - want).abs().max().into_scalar::<f32>();
    println!("{name}: {far:e}");
    assert!(far < tolerance, "{name} is off by {far:e}");
}

/// Prompt and negative prompt of a folder's golden run.
fn texts(name: &str) -> [String; 2] {
    let text = std::fs::read(fixture(name).join("golden.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_slice(&text).unwrap();
    ["prompt", "negative_prompt"].map(|key| golden[key].as_str().unwrap().to_owned())
}

fn request(name: &str) -> ReleasedRequest {
    let [prompt, _] = texts(name);
    ReleasedRequest {
        folder: fixture(name),
        parts: None,
        prompts: vec![prompt],
        negative: None,
        steps: Some(4),
        schedule: None,
        guidance: None,
        true_guidance: None,
        skip_layers: None,
        solver: None,
        precision: Precision::default(),
        height: Some(32),
        width: Some(48),
        frames: None,
        rate: None,
        seed: 0,
        generator: Default::default(),
        count: None,
        noise: Some(fixture(name).join("golden.safetensors:latents.init").display().to_string()),
        init_image: None,
        mask: None,
        tile: None,
        length: None,
        clip_skip: None,
        double_shift: name.starts_with("sd3"),
        loras: Vec::new(),
        output: PathBuf::new(),
    }
}

/// What the sample verb writes for a request, `[n 3 h w]`.
fn drawn(request: &ReleasedRequest) -> Tensor<4> {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("picture.safetensors");
    let report =
        sample(&ReleasedRequest { output: output.clone(), ..request.clone() }, &mut Context::silent()).unwrap();
    assert_eq!(report.output, output);
    tensor(&Stored::open(&output).unwrap(), "images")
}

/// How a flow is asked in a golden run.
struct Run {
    /// Away from the negative prompt, this far.
    contrast: Option<f64>,
    /// The number the network is told.
    told: f64,
    asked: Asked,
    /// Skip-layer guidance: blocks, scale, times.
    skip: Option<rectiflow::released::SkipLayers>,
    without: Option<&'static str>,
    lora: Option<&'static str>,
}

impl Run {
    fn new(contrast: Option<f64>) -> Self {
        Self { contrast, told: 0.0, asked: Asked { length: 256, clip_skip: 0 }, skip: None, without: None, lora: None }
    }
}

/// The conditions of the golden texts and the latents after each step.
fn steps(name: &str, run: &Run) -> (Vec<Condition>, Vec<Tensor<4>>) {
    in_steps(name, run, 4)
}

fn in_steps(name: &str, run: &Run, count: usize) -> (Vec<Condition>, Vec<Tensor<4>>) {
    in_steps_from(name, run, count, texts(name).get(1))
}

/// The same, away from another text than the folder's negative prompt.
fn in_steps_from(name: &str, run: &Run, count: usize, negative: Option<&String>) -> (Vec<Condition>, Vec<Tensor<4>>) {
    let mut context = Context::silent();
    let mut folder = Release::open(&fixture(name), None).unwrap();
    if let Some(part) = run.without {
        folder = folder.without(part);
    }
    let mut unknown = Vec::new();
    let network = Network::of(&folder, &mut |line| unknown.push(line)).unwrap();
    assert!(unknown.is_empty(), "{unknown:?}");
    let prompts = texts(name);
    let conditions = encode(&folder, &prompts[..1], negative, network.text_width(), run.asked, &mut context).unwrap();
    let corrections: Vec<Corrections> =
        run.lora.iter().map(|file| Corrections::open(&fixture(file), 0.8).unwrap()).collect();
    let flow = network.open(run.told, &corrections, &Device::flex(), &mut |line| unknown.push(line)).unwrap();
    let corrected = |line: &String| line.contains("layers corrected") && !line.contains("no place");
    assert!(unknown.len() == corrections.len() && unknown.iter().all(corrected), "{unknown:?}");
    let field = Prompted { flow: &flow, contrast: run.contrast, skip: run.skip.clone(), taps: None };
    let golden = golden(name);
    let start = match folder.family() {
        Family::Flux => tensor::<4>(&golden, "latents.init_unpacked"),
        _ => tensor(&golden, "latents.init"),
    };
    let ([_, _, h, w], patch) = (start.dims(), network.patch());
    let times = schedule(&folder, count, h * w / (patch * patch), &Solver::Euler {}, true).unwrap();
    let mut seen = Vec::new();
    let mut observe = |step: flow::solver::Observation<4>| seen.push(step.next);
    flow::solver::solve(&field, start, &conditions[0], &network.solver(), &times, Some(&mut observe)).unwrap();
    (conditions, seen)
}

fn golden(name: &str) -> Stored {
    Stored::open(&fixture(name).join("golden.safetensors")).unwrap()
}

#[test]
fn sd3_walks_the_golden_latents_and_draws_the_golden_picture() {
    for name in ["sd3_tiny", "sd35m_tiny"] {
        let golden = golden(name);
        let (conditions, latents) = steps(name, &Run::new(Some(4.5)));
        for (condition, side) in [(conditions[0].clone(), "pos"), (conditions[0].null(), "neg")] {
            let tokens = condition.tokens.clone().unwrap();
            holds(&golden, &format!("text.{side}.prompt_embeds"), tokens.embedding);
            holds(&golden, &format!("text.{side}.pooled"), condition.vector.clone().unwrap());
        }
        for (i, latents) in latents.into_iter().enumerate() {
            holds(&golden, &format!("latents.step{}", i + 1), latents);
        }
        let [_, negative] = texts(name);
        let request = ReleasedRequest { guidance: Some(4.5), negative: Some(negative), ..request(name) };
        holds(&golden, "image", drawn(&request));
    }
}

#[test]
fn sd3_without_guidance_without_t5_and_with_clip_skip() {
    for name in ["sd3_tiny", "sd35m_tiny"] {
        let golden = golden(name);
        let last = |run: Run| steps(name, &run).1.pop().unwrap();
        holds(&golden, "cfg1.latents.final", last(Run::new(None)));
        let short = Run { asked: Asked { length: 77, clip_skip: 1 }, ..Run::new(Some(4.5)) };
        holds(&golden, "clipskip1_t5len77.latents.final", last(short));
        let deaf = Run { without: Some("text_encoder_3"), ..Run::new(Some(4.5)) };
        // Rows of zeros become one bias in all 256 places: what is rounded there is rounded the same way everywhere, and four
        // guided steps carry it to 1.1e-4. With 77 rows in place of 256 it would be off by 2.
        within(&golden, "no_t5.latents.final", last(deaf), 2e-4);
    }
}

/// Block 1 passed over from 0.01 to 0.6 of four steps, that is in steps 1 and 2.
#[test]
fn skip_layer_guidance_acts_in_its_steps() {
    let golden = golden("sd35m_tiny");
    let folder = Release::open(&fixture("sd35m_tiny"), None).unwrap();
    let times = schedule(&folder, 4, 24, &Solver::Euler {}, true).unwrap();
    let interval = (times.times()[1] - 1e-6, times.times()[2] + 1e-6);
    let skip = rectiflow::released::SkipLayers { layers: vec![1], scale: 2.8, interval };
    let (_, mut latents) = steps("sd35m_tiny", &Run { skip: Some(skip), ..Run::new(Some(4.5)) });
    holds(&golden, "slg.latents.final", latents.pop().unwrap());
    let [_, negative] = texts("sd35m_tiny");
    let request = ReleasedRequest {
        guidance: Some(4.5),
        negative: Some(negative),
        skip_layers: Some((vec![1], 2.8, (0.01, 0.6))),
        ..request("sd35m_tiny")
    };
    // The verb counts the same steps: the picture is that of the golden latents.
    let plain = drawn(&ReleasedRequest { skip_layers: None, ..request.clone() });
    let skipped = drawn(&request);
    assert!((skipped.clone() - plain).abs().max().into_scalar::<f32>() > 1e-2, "skipping a block changes the picture");
    let vae = fixture("sd35m_tiny").join("vae");
    let (config, _) =
        nets::published::read::<nets::AutoencoderConfig>(&std::fs::read(vae.join("config.json")).unwrap()).unwrap();
    let net = config.load(&Stored::in_folder(&vae, "diffusion_pytorch_model").unwrap(), &Device::flex()).unwrap();
    let far = (net.decode(tensor(&golden, "slg.latents.final")) - skipped).abs().max().into_scalar::<f32>();
    assert!(far < TOLERANCE, "{far:e}");
}

#[test]
fn flux_walks_the_golden_latents_and_draws_the_golden_picture() {
    for (name, told, length) in [("flux_schnell_tiny", 0.0, 256), ("flux_dev_tiny", 3.5, 512)] {
        let golden = golden(name);
        let run = Run { told, asked: Asked { length, clip_skip: 0 }, ..Run::new(None) };
        let (conditions, latents) = steps(name, &run);
        holds(&golden, "text.t5.hidden", conditions[0].tokens.clone().unwrap().embedding);
        holds(&golden, "text.clip.pooled", conditions[0].vector.clone().unwrap());
        for (i, latents) in latents.into_iter().enumerate() {
            holds(&golden, &format!("latents.step{}", i + 1), nets::flux::pack(latents));
        }
        // The model's own habits: schnell hears no guidance and 256 tokens, dev 3.5 and 512.
        let noise = fixture(name).join("golden.safetensors:latents.init_unpacked").display().to_string();
        holds(&golden, "image", drawn(&ReleasedRequest { noise: Some(noise), ..request(name) }));
    }
    let golden = golden("flux_dev_tiny");
    let run = Run { told: 3.5, asked: Asked { length: 512, clip_skip: 0 }, ..Run::new(Some(2.0)) };
    let (_, mut latents) = steps("flux_dev_tiny", &run);
    holds(&golden, "truecfg.latents.final", nets::flux::pack(latents.pop().unwrap()));
}

/// Times run backwards in its pipeline, and its velocity points to the data.
#[test]
fn instaflow_draws_in_one_step_and_in_several() {
    let name = "instaflow_tiny";
    let golden = golden(name);
    let (conditions, latents) = in_steps(name, &Run::new(None), 3);
    holds(&golden, "text.pos.hidden", conditions[0].tokens.clone().unwrap().embedding);
    for (i, latents) in latents.into_iter().enumerate() {
        holds(&golden, &format!("rf3.latents.step{}", i + 1), latents);
    }
    let (_, latents) = in_steps(name, &Run::new(Some(1.5)), 4);
    for (i, latents) in latents.into_iter().enumerate() {
        holds(&golden, &format!("rf4cfg.latents.step{}", i + 1), latents);
    }
    // One step is its habit.
    holds(&golden, "rf1.image", drawn(&ReleasedRequest { steps: None, ..request(name) }));
    holds(&golden, "rf3.image", drawn(&ReleasedRequest { steps: Some(3), ..request(name) }));
}

/// PNDM's first step is made twice, which the reference counts as two.
#[test]
fn stable_diffusion_walks_the_golden_latents_and_draws_the_golden_picture() {
    let name = "sd15_tiny";
    let golden = golden(name);
    let (conditions, latents) = in_steps(name, &Run::new(Some(7.5)), 5);
    holds(&golden, "text.pos.hidden", conditions[0].tokens.clone().unwrap().embedding);
    holds(&golden, "text.neg.hidden", conditions[0].null().tokens.unwrap().embedding);
    for (i, latents) in latents.into_iter().enumerate() {
        holds(&golden, &format!("pndm.latents.step{}", i + 2), latents);
    }
    let [_, negative] = texts(name);
    // 7.5 is its habit.
    let request = ReleasedRequest { steps: Some(5), negative: Some(negative), ..request(name) };
    holds(&golden, "pndm.image", drawn(&request));
}

/// One step of a consistency model against the reference's `LCMScheduler` on the same weights, by the option and by the folder's scheduler, and
/// the habits that come with it. An estimate of the data from pure noise makes fifteen of every difference.
///
/// Mutants: the scheduler's own times, which begin short of the noise; guidance by habit.
#[test]
fn consistency_of_stable_diffusion_is_the_references() {
    let name = "sd15_tiny";
    let golden = Stored::open(&fixture(name).join("lcm.safetensors")).unwrap();
    let asked = ReleasedRequest { steps: Some(1), solver: Some(Solver::Consistency {}), ..request(name) };
    within(&golden, "lcm.image", drawn(&asked), 1e-3);
    let folder = tempfile::tempdir().unwrap();
    training::copy(&fixture(name), folder.path());
    let file = folder.path().join("scheduler/scheduler_config.json");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("PNDMScheduler", "LCMScheduler")).unwrap();
    let own = ReleasedRequest { folder: folder.path().into(), solver: None, ..asked.clone() };
    within(&golden, "lcm.image", drawn(&own), 1e-3);
    let habit = rectiflow::released::prepare(&ReleasedRequest { steps: None, ..own }, &mut |_| ()).unwrap();
    assert_eq!((habit.steps(), habit.guidance(), habit.solver()), (4, 1.0, "consistency"));
}

/// Files of PEFT with and without alpha, and of kohya under the names of FLUX's authors, fused layers taken apart.
///
/// Mutants: alpha taken for the rank; queries, keys and values in another order; a fused correction given whole to each.
#[test]
fn corrections_of_low_rank_move_the_golden_latents() {
    let last = |name: &str, run: &Run| steps(name, run).1.pop().unwrap();
    for kind in ["noalpha", "transformer"] {
        let file: &'static str =
            if kind == "noalpha" { "lora/sd3_noalpha.safetensors" } else { "lora/sd3_transformer.safetensors" };
        let golden = Stored::open(&fixture("lora/sd3_golden.safetensors")).unwrap();
        let latents = last("sd3_tiny", &Run { lora: Some(file), ..Run::new(Some(4.5)) });
        holds(&golden, &format!("{kind}.latents.final"), latents);
    }
    let golden = Stored::open(&fixture("lora/flux_golden.safetensors")).unwrap();
    for (kind, file) in [
        ("peft", "lora/flux_peft.safetensors"),
        ("peft_alpha", "lora/flux_peft_alpha.safetensors"),
        ("kohya_full", "lora/flux_kohya_full.safetensors"),
        ("kohya_no_linear1", "lora/flux_kohya_no_linear1.safetensors"),
    ] {
        let run = Run { told: 3.5, lora: Some(file), asked: Asked { length: 512, clip_skip: 0 }, ..Run::new(None) };
        holds(&golden, &format!("{kind}.latents.final"), nets::flux::pack(last("flux_dev_tiny", &run)));
    }
}

/// Mutant: the switch without effect.
#[test]
fn levels_are_shifted_once_unless_asked() {
    let folder = Release::open(&fixture("sd3_tiny"), None).unwrap();
    let low = |double| {
        let times = schedule(&folder, 4, 96, &Solver::Euler {}, double).unwrap();
        1.0 - times.times()[3]
    };
    // Shift 3 of 0.001, and of that again.
    assert!((low(false) - 0.0029940).abs() < 1e-6, "{}", low(false));
    assert!((low(true) - 0.0089286).abs() < 1e-6, "{}", low(true));
}

#[test]
fn corrections_made_for_another_model_are_refused_before_the_work() {
    let refused = |name: &str, file: &str| {
        let output = tempfile::tempdir().unwrap().path().join("x.png");
        let request = ReleasedRequest { loras: vec![(fixture(file), 1.0)], output, ..request(name) };
        sample(&request, &mut Context::silent()).unwrap_err().to_string()
    };
    let said = refused("sd15_tiny", "lora/flux_kohya_full.safetensors");
    assert!(said.contains("flux_kohya_full") && said.contains("another"), "{said}");
    let said = refused("sd3_tiny", "sd3_tiny/transformer/diffusion_pytorch_model.safetensors");
    assert!(said.contains("no corrections"), "{said}");
}

#[test]
fn a_seed_gives_a_picture_whatever_else_is_drawn() {
    let one = ReleasedRequest { noise: None, seed: 7, guidance: Some(1.0), ..request("sd3_tiny") };
    let first = drawn(&one);
    let [prompt, other] = texts("sd3_tiny");
    let both = drawn(&ReleasedRequest { prompts: vec![prompt, other], ..one.clone() });
    assert_eq!(both.dims(), [2, 3, 32, 48]);
    assert_eq!(both.clone().narrow(0, 0, 1).into_data(), first.into_data());
    assert!((both.clone().narrow(0, 1, 1) - both.narrow(0, 0, 1)).abs().max().into_scalar::<f32>() > 1e-2);
}

#[test]
fn what_a_folder_cannot_serve_is_refused_before_any_work() {
    let sd3 = request("sd3_tiny");
    let noise = fixture("flux_schnell_tiny").join("golden.safetensors:latents.init_unpacked").display().to_string();
    let flux = ReleasedRequest { noise: Some(noise), ..request("flux_schnell_tiny") };
    let folder = tempfile::tempdir().unwrap();
    let said = |request: ReleasedRequest| {
        let output = folder.path().join("x.png");
        let output = if request.output == Path::new("") { output } else { request.output.clone() };
        let error = sample(&ReleasedRequest { output, ..request }, &mut Context::silent()).unwrap_err();
        (error.exit_code(), error.to_string())
    };
    let cases = [
        (ReleasedRequest { prompts: vec![], ..sd3.clone() }, 2, "--prompt"),
        (ReleasedRequest { steps: Some(0), ..sd3.clone() }, 2, "--steps 0"),
        (ReleasedRequest { height: Some(36), ..sd3.clone() }, 2, "use 32 or 40"),
        (ReleasedRequest { width: Some(400), ..sd3.clone() }, 2, "at most 24"),
        (ReleasedRequest { count: Some(0), ..sd3.clone() }, 2, "--num 0"),
        (ReleasedRequest { negative: Some("x".into()), guidance: Some(1.0), ..sd3.clone() }, 2, "--negative-prompt"),
        (ReleasedRequest { guidance: Some(f64::NAN), ..sd3.clone() }, 2, "--guidance-scale"),
        (ReleasedRequest { true_guidance: Some(2.0), ..sd3.clone() }, 2, "--true-cfg-scale"),
        (ReleasedRequest { skip_layers: Some((vec![3], 2.8, (0.0, 1.0))), ..sd3.clone() }, 2, "no block 3"),
        (ReleasedRequest { clip_skip: Some(2), ..sd3.clone() }, 2, "--clip-skip 2"),
        (ReleasedRequest { output: "x.bmp".into(), ..sd3.clone() }, 2, ".bmp"),
        (ReleasedRequest { noise: Some("absent.npy".into()), ..sd3.clone() }, 1, "absent.npy"),
        (ReleasedRequest { height: Some(40), ..sd3 }, 2, "[1, 16, 10, 12]"),
        (ReleasedRequest { guidance: Some(3.5), ..flux.clone() }, 2, "--true-cfg-scale"),
        (ReleasedRequest { clip_skip: Some(1), ..flux.clone() }, 2, "--clip-skip"),
        (
            ReleasedRequest {
                noise: Some(fixture("flux_schnell_tiny").join("golden.safetensors").display().to_string()),
                ..flux
            },
            2,
            "FILE.safetensors:NAME",
        ),
    ];
    for (request, code, why) in cases {
        let (got, said) = said(request);
        assert!(got == code && said.contains(why), "{why}: {got} {said}");
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "a refused request writes nothing");
}

/// A copy of a folder in which one thing is broken.
fn broken(name: &str, change: impl FnOnce(&Path)) -> (i32, String) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    training::copy(&fixture(name), &folder);
    change(&folder);
    assert!(is_released(&folder));
    let noise = fixture(name).join("golden.safetensors").display().to_string();
    let noise = Some(noise + if name.starts_with("flux_") { ":latents.init_unpacked" } else { ":latents.init" });
    let request = ReleasedRequest { folder, noise, output: dir.path().join("x.png"), ..request(name) };
    let error = sample(&request, &mut Context::silent()).unwrap_err();
    assert!(!dir.path().join("x.png").exists());
    (i32::from(error.exit_code()), error.to_string())
}

/// Each request is a usage error that says `why`, and draws nothing.
fn refused(cases: impl IntoIterator<Item = (ReleasedRequest, &'static str)>) {
    let place = tempfile::tempdir().unwrap();
    for (request, why) in cases {
        let output = place.path().join("x.png");
        let error = sample(&ReleasedRequest { output: output.clone(), ..request }, &mut Context::silent()).unwrap_err();
        let (code, said) = (i32::from(error.exit_code()), error.to_string());
        assert!(code == 2 && said.contains(why) && !output.exists(), "{why}: {code} {said}");
    }
}

/// What a family says of its folder: its name and three parts; that it is not trained here; and its habits.
fn told_of(name: &str, family: &str, steps: usize) -> ReleasedPlan {
    let folder = fixture(name);
    let error = rectiflow::release::recipe(&folder, None, None, &mut |_| ()).unwrap_err();
    assert!(i32::from(error.exit_code()) == 2 && error.to_string().contains("to train it"), "{error}");
    let facts = rectiflow::verbs::inspect::inspect(&folder, None).unwrap();
    assert_eq!((facts["model"].as_str(), facts["parts"].as_array().map(Vec::len)), (Some(family), Some(3)));
    let habits = plan(&ReleasedRequest::new(folder, "a fox"), &mut |line| panic!("{line}")).unwrap();
    assert_eq!((habits.steps, habits.size, habits.parts.len()), (steps, [512, 512], 3));
    habits
}

fn edit(path: &Path, change: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(value.as_object_mut().unwrap());
    std::fs::write(path, value.to_string()).unwrap();
}

#[test]
fn broken_folders_are_refused_by_file_and_key() {
    type Change = fn(&Path);
    let sd3: &[(Change, &[&str])] = &[
        (|f| std::fs::write(f.join("model_index.json"), "{").unwrap(), &["model_index.json", "no JSON object"]),
        (
            |f| {
                edit(&f.join("model_index.json"), |i| {
                    drop(i.insert("_class_name".into(), "HunyuanVideoPipeline".into()))
                })
            },
            &["HunyuanVideoPipeline", "FluxPipeline"],
        ),
        (|f| edit(&f.join("model_index.json"), |i| drop(i.remove("vae"))), &["no `vae`"]),
        (
            |f| edit(&f.join("model_index.json"), |i| i["vae"][1] = "AutoencoderTiny".into()),
            &["AutoencoderTiny", "AutoencoderKL"],
        ),
        (|f| std::fs::remove_dir_all(f.join("text_encoder_2")).unwrap(), &["text_encoder_2", "no such folder"]),
        (|f| std::fs::remove_file(f.join("vae/config.json")).unwrap(), &["vae/config.json"]),
        (
            |f| std::fs::remove_file(f.join("transformer/diffusion_pytorch_model.safetensors")).unwrap(),
            &["transformer", "diffusion_pytorch_model.safetensors"],
        ),
        (
            |f| {
                let path = f.join("transformer/diffusion_pytorch_model.safetensors");
                let bytes = std::fs::read(&path).unwrap();
                std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            },
            &["diffusion_pytorch_model.safetensors", "fetch it again"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| drop(c.insert("num_layers".into(), 4.into()))),
            &["missing", "transformer_blocks.2.ff_context"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| drop(c.insert("num_layers".into(), "many".into()))),
            &["transformer/config.json"],
        ),
        (
            |f| edit(&f.join("transformer/config.json"), |c| drop(c.insert("num_attention_heads".into(), 0.into()))),
            &["num_attention_heads is 0"],
        ),
        (
            |f| edit(&f.join("text_encoder/config.json"), |c| drop(c.insert("hidden_act".into(), "relu".into()))),
            &["hidden_act", "quick_gelu"],
        ),
        (
            |f| edit(&f.join("text_encoder_3/config.json"), |c| drop(c.insert("vocab_size".into(), 12.into()))),
            &["text_encoder_3", "word"],
        ),
        (|f| std::fs::remove_file(f.join("tokenizer_3/tokenizer.json")).unwrap(), &["tokenizer_3", "tokenizer.json"]),
        (
            |f| edit(&f.join("scheduler/scheduler_config.json"), |c| drop(c.insert("shift".into(), (-1.0).into()))),
            &["scheduler_config.json", "shift"],
        ),
        (
            |f| {
                edit(&f.join("scheduler/scheduler_config.json"), |c| {
                    drop(c.insert("invert_sigmas".into(), true.into()))
                })
            },
            &["invert_sigmas"],
        ),
    ];
    for (change, words) in sd3 {
        let (code, said) = broken("sd3_tiny", change);
        assert!(code == 1 && words.iter().all(|word| said.contains(word)), "{words:?}: {code} {said}");
    }
    let shard = "transformer/diffusion_pytorch_model-00003-of-00004.safetensors";
    let (code, said) = broken("flux_schnell_tiny", |f| std::fs::remove_file(f.join(shard)).unwrap());
    assert!(code == 1 && said.contains("00003-of-00004"), "{said}");
}

/// CLIP's older vocabulary files serve where tokenizer.json is not, and unknown keys are told, not refused.
#[test]
fn older_vocabularies_and_unknown_keys_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("model");
    std::fs::create_dir_all(&folder).unwrap();
    for entry in std::fs::read_dir(fixture("sd3_tiny")).unwrap().flatten().filter(|entry| entry.path().is_dir()) {
        let to = folder.join(entry.file_name());
        std::fs::create_dir_all(&to).unwrap();
        for file in std::fs::read_dir(entry.path()).unwrap().flatten() {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
    std::fs::copy(fixture("sd3_tiny").join("model_index.json"), folder.join("model_index.json")).unwrap();
    for words in ["tokenizer", "tokenizer_2"] {
        std::fs::remove_file(folder.join(words).join("tokenizer.json")).unwrap();
    }
    edit(&folder.join("transformer/config.json"), |config| drop(config.insert("novelty".into(), 1.into())));
    let mut told = Vec::new();
    let [_, negative] = texts("sd3_tiny");
    let output = dir.path().join("x.safetensors");
    let request = ReleasedRequest {
        folder,
        guidance: Some(4.5),
        negative: Some(negative),
        output: output.clone(),
        ..request("sd3_tiny")
    };
    {
        let listen = |event: rectiflow::Event| {
            if let rectiflow::Event::Note(line) = event {
                told.push(line.to_owned());
            }
        };
        let mut context = Context::new(rectiflow::device::Chosen::cpu(), Default::default(), listen);
        sample(&request, &mut context).unwrap();
    }
    holds(&golden("sd3_tiny"), "image", tensor::<4>(&Stored::open(&output).unwrap(), "images"));
    assert!(told.iter().any(|line| line.contains("novelty")), "{told:?}");
}
