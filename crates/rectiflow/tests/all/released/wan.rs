//! Wan from its folder alone: texts, latents after every step of UniPC and of Euler, and the clip, against the reference's own; files of
//! clips; what is refused.

use super::{parity::Compared, *};
use flow::Solver;
use media::{Bitmap, Images};
use nets::{ClipCodecConfig, WanConfig, published};
use rectiflow::{Event, device::Chosen};

/// Words in the golden run.
const LENGTH: usize = 226;

fn wanted(folder: &Path) -> (ReleasedRequest, usize) {
    let name = folder.display().to_string();
    let [prompt, negative] = texts(&name);
    let golden = golden(&name);
    let [_, _, frames, rows, columns] = golden.shape("latents.init").unwrap()[..] else { panic!("five axes") };
    let codec: ClipCodecConfig = published::read(&std::fs::read(folder.join("vae/config.json")).unwrap()).unwrap().0;
    let steps = (1..).take_while(|i| golden.shape(&format!("unipc.latents.step{i}")).is_some()).count();
    let request = ReleasedRequest {
        negative: Some(negative),
        steps: Some(steps),
        guidance: Some(5.0),
        frames: Some((frames - 1) * codec.frames_factor() + 1),
        height: Some(rows * codec.factor()),
        width: Some(columns * codec.factor()),
        length: Some(LENGTH),
        noise: Some(folder.join("golden.safetensors:latents.init").display().to_string()),
        ..ReleasedRequest::new(folder.to_path_buf(), &prompt)
    };
    (request, frames)
}

/// What the texts are read as, and latents after each step, `[1 c f h w]`: of UniPC, or of Euler with levels shifted twice.
fn latents(folder: &Path, euler: bool) -> (Vec<Condition>, Vec<Tensor<5>>) {
    let (request, frames) = wanted(folder);
    let release = Release::open(folder, None).unwrap();
    let network = Network::of(&release, &mut |line| panic!("{line}")).unwrap();
    let solver = if euler { Solver::Euler {} } else { network.solver() };
    let network = network.drawing(Some(frames), release.family(), &solver);
    let (asked, width) = (Asked { length: LENGTH, clip_skip: 0 }, network.text_width());
    let mut context = Context::silent();
    let negative = request.negative.as_ref();
    let conditions = encode(&release, &request.prompts, negative, width, asked, &mut context).unwrap();
    let flow = network.open(1.0, &[], &Device::flex(), &mut |line| panic!("{line}")).unwrap();
    let field = Prompted { flow: &flow, contrast: request.guidance, skip: None, taps: None };
    let start = tensor::<5>(&golden(&folder.display().to_string()), "latents.init");
    let [b, c, f, h, w] = start.dims();
    let steps = request.steps.unwrap();
    let times = schedule(&release, steps, 1, &solver, euler).unwrap();
    let mut seen = Vec::new();
    let mut observe = |step: flow::solver::Observation<4>| seen.push(step.next.reshape([b, c, f, h, w]));
    let start = start.reshape([b, c, f * h, w]);
    flow::solver::solve(&field, start, &conditions[0], &solver, &times, Some(&mut observe)).unwrap();
    (conditions, seen)
}

/// Every tensor that there is an answer to.
pub(super) fn compare(folder: &Path, compared: &mut Compared) {
    let at = folder.join("transformer");
    let weights = |at: &Path| Stored::in_folder(at, "diffusion_pytorch_model").unwrap();
    let net = parity::config::<WanConfig>(&at).load(&weights(&at), &Device::flex()).unwrap();
    let answer = net.forward(compared.tensor("fwd.x"), compared.tensor("fwd.t"), compared.tensor("fwd.ctx"));
    compared.with("fwd.out", || answer);
    let at = folder.join("vae");
    let codec = parity::config::<ClipCodecConfig>(&at).load(&weights(&at), &Device::flex()).unwrap();
    let latent = codec.encode(compared.tensor("vae.encode.video"));
    compared.with("vae.encode.mean", || latent.mean.clone());
    compared.with("vae.encode.logvar", || latent.logvar);
    compared.with("vae.encode.latent_mode", || codec.scaled(latent.mean));
    let z = codec.scaled(compared.tensor("vae.decode.z"));
    compared.with("vae.decode.one_frame", || codec.decode(z.narrow(2, 0, 1)));
    for (run, euler) in [("unipc", false), ("euler", true)] {
        let (conditions, steps) = latents(folder, euler);
        for (side, condition) in [("pos", conditions[0].clone()), ("neg", conditions[0].null())] {
            compared.with(&format!("text.{side}.prompt_embeds"), || condition.tokens.clone().unwrap().embedding);
        }
        for (i, latents) in steps.iter().enumerate() {
            compared.with(&format!("{run}.latents.step{}", i + 1), || latents.clone());
        }
        compared.with(&format!("{run}.video"), || codec.decode(steps.last().unwrap().clone()));
    }
}

/// Mutants: every moment told in place of whole training steps; the corrector left out; levels laid out as Euler's; the verb's own solver
/// walked over Euler's levels, or told every moment.
#[test]
fn wan_walks_the_golden_latents_and_draws_the_golden_clip() {
    let folder = fixture("wan_tiny");
    let mut compared = Compared::of("wan_tiny");
    compare(&folder, &mut compared);
    compared.check(15);
    // What the verb writes for Euler, numbers as they are.
    let (request, _) = wanted(&folder);
    let request = ReleasedRequest { solver: Some(Solver::Euler {}), double_shift: true, ..request };
    let place = tempfile::tempdir().unwrap();
    let write = |name: &str, request: &ReleasedRequest| {
        let output = place.path().join(name);
        let report =
            sample(&ReleasedRequest { output: output.clone(), ..request.clone() }, &mut Context::silent()).unwrap();
        assert_eq!((report.frames, report.size, report.count), (Some(9), [32, 48], 1));
        output
    };
    let stored = Stored::open(&write("clip.safetensors", &request)).unwrap();
    holds(&golden("wan_tiny"), "euler.video", tensor::<5>(&stored, "images"));
    // Without a solver it is UniPC's, at its own levels and whole training steps.
    let usual = Stored::open(&write("usual.safetensors", &wanted(&folder).0)).unwrap();
    let at = folder.join("vae");
    let weights = Stored::in_folder(&at, "diffusion_pytorch_model").unwrap();
    let codec = parity::config::<ClipCodecConfig>(&at).load(&weights, &Device::flex()).unwrap();
    let wanted = codec.decode(tensor::<5>(&golden("wan_tiny"), "unipc.latents.step3"));
    let far = (tensor::<5>(&usual, "images") - wanted).abs().max().into_scalar::<f32>();
    assert!(far < TOLERANCE, "{far:e}");
    // And as files that move: the frames in order, as many a second as asked.
    let values: Vec<f32> = stored.read("images").unwrap(); // [1 3 9 32 48]
    let size = 32 * 48;
    let plane = |frame: usize, channel: usize| values[(channel * 9 + frame) * size..][..size].to_vec();
    let frames: Vec<Bitmap> = (0..9)
        .map(|frame| {
            Images::new((0..3).flat_map(|channel| plane(frame, channel)).collect(), 1, [3, 32, 48]).unwrap().bitmap(0)
        })
        .collect();
    let y4m = std::fs::read(write("clip.y4m", &request)).unwrap();
    assert!(y4m == media::y4m::encode(&frames, 16.0).unwrap());
    let png = std::fs::read(write("clip.png", &ReleasedRequest { rate: Some(8.0), ..request.clone() })).unwrap();
    let controls: Vec<&[u8]> = png.windows(28).filter(|bytes| bytes.starts_with(b"fcTL")).collect();
    assert_eq!(controls.len(), 9);
    assert!(controls.iter().all(|control| control[24..28] == [0, 1, 0, 8]), "an eighth of a second, exactly");
    // What is told of the decoding: a piece for each frame of the latent. Mutant: told once, at the end.
    let mut told = Vec::new();
    let mut context = Context::new(Chosen::cpu(), Default::default(), |event| match event {
        Event::Begin { what, total } => told.push(format!("{what}: {total}")),
        Event::Advance { done } => told.push(done.to_string()),
        _ => (),
    });
    let output = place.path().join("told.npy");
    sample(&ReleasedRequest { output, ..request.clone() }, &mut context).unwrap();
    drop(context);
    let at = told.iter().position(|line| line == "pieces decoded: 3").expect("it is told");
    assert_eq!(told[at + 1..], ["1", "2", "3", "3"]);
    // Two clips: one after the other in a folder, side by side in a sheet that moves.
    let two = ReleasedRequest { count: Some(2), steps: Some(1), noise: None, ..request };
    let output = place.path().join("clips");
    sample(&ReleasedRequest { output: output.clone(), ..two.clone() }, &mut Context::silent()).unwrap();
    assert_eq!(std::fs::read_dir(&output).unwrap().count(), 2);
    let output = place.path().join("sheet.y4m");
    sample(&ReleasedRequest { output: output.clone(), ..two }, &mut Context::silent()).unwrap();
    assert!(!std::fs::read(output).unwrap().starts_with(b"YUV4MPEG2 W48 H32 "));
}

/// Mutant: a refusal that comes after the drawing.
#[test]
fn what_wan_does_not_do_is_refused_with_the_reason() {
    let folder = fixture("wan_tiny");
    let (request, _) = wanted(&folder);
    let place = tempfile::tempdir().unwrap();
    let said = |request: ReleasedRequest, name: &str| {
        let output = place.path().join(name);
        let error = sample(&ReleasedRequest { output: output.clone(), ..request }, &mut Context::silent()).unwrap_err();
        assert!(!output.exists(), "{name} was written");
        error.to_string()
    };
    let text = said(ReleasedRequest { frames: Some(8), ..request.clone() }, "a.png");
    assert!(text.contains("--frames 8") && text.contains("5 or 9"), "{text}");
    let text =
        said(ReleasedRequest { init_image: Some(("a.png".to_string().into(), 0.5)), ..request.clone() }, "a.png");
    assert!(text.contains("--init-image") && text.contains("image to clip"), "{text}");
    let text = said(request.clone(), "a.webp");
    assert!(text.contains(".webp") && text.contains(".y4m"), "{text}");
    let text = said(ReleasedRequest { double_shift: true, ..request.clone() }, "a.png");
    assert!(text.contains("--double-shift") && text.contains("euler"), "{text}");
    // A clip that cannot be decoded here is not drawn first; the noise of another size would be refused after the prompts.
    let memory = rectiflow::released::plan(&request, &mut |_| ()).unwrap().memory as f64;
    if memory > 0.0 {
        let side = Some((memory / 500.0).sqrt() as usize / 64 * 64);
        let text = said(ReleasedRequest { height: side, width: side, frames: Some(1), ..request.clone() }, "a.png");
        assert!(text.contains("--frames 1: decoding takes about") && text.contains("this machine has"), "{text}");
    }
    let text = said(ReleasedRequest { height: Some(36), ..request.clone() }, "a.png");
    assert!(text.contains("32 or 40"), "{text}");
    let flux = ReleasedRequest { frames: Some(9), ..super::request("flux_dev_tiny") };
    assert!(said(flux, "a.png").contains("--frames: FLUX draws pictures"));
    let trained = rectiflow::release::recipe(&folder, None, None, &mut |_| ()).unwrap_err().to_string();
    assert!(trained.contains("wan_tiny") && trained.contains("to train it"), "{trained}");
    let facts = rectiflow::verbs::inspect::inspect(&folder, None).unwrap();
    assert_eq!((facts["kind"].as_str(), facts["model"].as_str()), (Some("released"), Some("Wan")));
    let plan = rectiflow::released::plan(&request, &mut |_| ()).unwrap();
    assert_eq!((plan.frames, plan.steps, plan.parts.len()), (Some(9), 3, 3));
    // Wan 2.2's second network, and a scheduler that is not followed.
    let copy = place.path().join("copy");
    let relay = |from: &Path, to: &Path| std::fs::copy(from, to).unwrap();
    for part in ["scheduler", "text_encoder", "tokenizer", "transformer", "vae"] {
        std::fs::create_dir_all(copy.join(part)).unwrap();
        for file in std::fs::read_dir(folder.join(part)).unwrap().flatten() {
            relay(&file.path(), &copy.join(part).join(file.file_name()));
        }
    }
    let index = std::fs::read_to_string(folder.join("model_index.json")).unwrap();
    std::fs::write(copy.join("model_index.json"), &index).unwrap();
    let of_copy = ReleasedRequest { folder: copy.clone(), ..request };
    let settings = std::fs::read_to_string(folder.join("scheduler/scheduler_config.json")).unwrap();
    let settings = settings.replace("\"solver_type\": \"bh2\"", "\"solver_type\": \"bh1\"");
    std::fs::write(copy.join("scheduler/scheduler_config.json"), settings).unwrap();
    let text = said(of_copy.clone(), "a.png");
    assert!(text.contains("scheduler_config.json") && text.contains("bh1"), "{text}");
    let (from, to) = (
        "\"transformer_2\": [\n    null,\n    null",
        "\"transformer_2\": [\n    \"diffusers\",\n    \"WanTransformer3DModel\"",
    );
    std::fs::write(copy.join("model_index.json"), index.replace(from, to)).unwrap();
    assert!(said(of_copy, "a.png").contains("transformer_2"));
}
