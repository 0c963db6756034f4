//! Every folder of fixtures there is, whatever it is: found out from its files, and each tensor of the reference's that this program
//! has an answer to compared with it.
//!
//! Folders stand below those that `RECTIFLOW_FIXTURES` names (separated like a search path), else below the repository's `fixtures/` and
//! `../shared/fixtures`, where that is. What is not a model drawn from here is named and skipped.

use super::*;
use nets::{AutoencoderConfig, FluxConfig, MmditConfig, TextUnetConfig, published};
use rectiflow::released::SkipLayers;

/// The reference's tensors of a folder, and what came of the comparison.
pub(super) struct Compared {
    golden: Stored,
    worst: (f32, String),
    seen: Vec<String>,
}

impl Compared {
    /// Those of a folder of fixtures.
    pub(super) fn of(name: &str) -> Self {
        Self { golden: super::golden(name), worst: (0.0, String::new()), seen: Vec::new() }
    }

    /// That so many were compared, and none is off.
    pub(super) fn check(&self, count: usize) {
        let (worst, of) = &self.worst;
        assert!(*worst < TOLERANCE, "{of} is off by {worst:e}");
        assert!(self.seen.len() >= count, "{} were compared: {:?}", self.seen.len(), self.seen);
    }

    /// Compares, where the reference has a tensor of this name.
    pub(super) fn with<const D: usize>(&mut self, name: &str, got: impl FnOnce() -> Tensor<D>) {
        if self.golden.shape(name).is_none() {
            return;
        }
        let (got, want) = (got(), tensor::<D>(&self.golden, name));
        assert_eq!(got.dims(), want.dims(), "{}: {name}", self.golden.path().display());
        let far = (got - want).abs().max().into_scalar::<f32>();
        println!("    {name}: {far:.1e}");
        // What is no number is worse than any.
        if far.is_nan() || far > self.worst.0 {
            self.worst = (far, name.to_owned());
        }
        self.seen.push(name.to_owned());
    }

    fn has(&self, name: &str) -> bool {
        self.golden.shape(name).is_some()
    }

    pub(super) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        tensor(&self.golden, name)
    }

    /// Steps of the run called so.
    pub(super) fn steps(&self, run: &str) -> usize {
        (1..).take_while(|i| self.has(&format!("{run}latents.step{i}"))).count()
    }
}

pub(crate) fn config<T: published::Published>(folder: &Path) -> T {
    published::read(&std::fs::read(folder.join("config.json")).unwrap()).unwrap().0
}

pub(super) const WEIGHTS: &str = "diffusion_pytorch_model";

/// The autoencoder alone.
pub(super) fn codec(folder: &Path, compared: &mut Compared, image: &str, last: Option<Tensor<4>>) {
    let at = folder.join("vae");
    let net =
        config::<AutoencoderConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
    if compared.has("vae.encode.image") {
        let latent = net.encode(compared.tensor("vae.encode.image"));
        compared.with("vae.encode.mean", || latent.mean.clone());
        compared.with("vae.encode.logvar", || latent.logvar);
        compared.with("vae.encode.latent_mode", || net.scaled(latent.mean));
    }
    if let Some(last) = last {
        compared.with(image, || net.decode(last));
    }
}

/// Stable Diffusion 3.
fn sd3(folder: &Path, name: &str, compared: &mut Compared) {
    let at = folder.join("transformer");
    if compared.has("fwd.x") {
        let config: MmditConfig = config(&at);
        let net = config.load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
        let (x, t) = (compared.tensor("fwd.x"), compared.tensor("fwd.t"));
        let answer = net.forward(x, t, compared.tensor("fwd.pooled"), compared.tensor("fwd.ctx"), &[], None);
        compared.with("fwd.out", || answer);
    }
    let count = compared.steps("");
    let (conditions, latents) = in_steps(name, &Run::new(Some(4.5)), count);
    for (condition, side) in [(conditions[0].clone(), "pos"), (conditions[0].null(), "neg")] {
        compared.with(&format!("text.{side}.prompt_embeds"), || condition.tokens.clone().unwrap().embedding);
        compared.with(&format!("text.{side}.pooled"), || condition.vector.clone().unwrap());
    }
    for (i, latents) in latents.iter().enumerate() {
        compared.with(&format!("latents.step{}", i + 1), || latents.clone());
    }
    codec(folder, compared, "image", latents.last().cloned());
    let last = |run: Run| in_steps(name, &run, count).1.pop().unwrap();
    compared.with("cfg1.latents.final", || last(Run::new(None)));
    let short = Asked { length: 77, clip_skip: 1 };
    compared.with("clipskip1_t5len77.latents.final", || last(Run { asked: short, ..Run::new(Some(4.5)) }));
    compared.with("slg.latents.final", || {
        let release = Release::open(folder, None).unwrap();
        let shape = compared_size(folder);
        let times = schedule(&release, count, shape / 4, &Solver::Euler {}, true).unwrap();
        let inside = |i: &usize| *i as f64 > count as f64 * 0.01 && (*i as f64) < count as f64 * 0.6;
        let steps: Vec<f64> = (0..count).filter(inside).map(|i| times.times()[i]).collect();
        let interval = (steps[0] - 1e-9, steps[steps.len() - 1] + 1e-9);
        last(Run { skip: Some(SkipLayers { layers: vec![1], scale: 2.8, interval }), ..Run::new(Some(4.5)) })
    });
}

fn compared_size(folder: &Path) -> usize {
    let shape = golden(&folder.display().to_string()).shape("latents.init").unwrap();
    shape[2] * shape[3]
}

/// FLUX.
fn flux(folder: &Path, name: &str, compared: &mut Compared) {
    let at = folder.join("transformer");
    let config: FluxConfig = config(&at);
    let guided = config.guidance_embeds;
    if compared.has("fwd.x") {
        let net = config.load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
        // Places say how many rows and columns the tokens have.
        let ids = golden_numbers(compared, "fwd.img_ids");
        let (rows, columns) = (most(&ids, 1) + 1, most(&ids, 2) + 1);
        let x = nets::flux::unpack(compared.tensor("fwd.x"), 2 * rows, 2 * columns);
        let guidance = guided.then(|| compared.tensor("fwd.guidance"));
        let (t, pooled, ctx) = (compared.tensor("fwd.t"), compared.tensor("fwd.pooled"), compared.tensor("fwd.ctx"));
        compared.with("fwd.out", || nets::flux::pack(net.forward(x, t, guidance, pooled, ctx, None)));
    }
    let length = compared.golden.shape("text.t5.hidden").map_or(512, |shape| shape[1]);
    let told = if guided { 3.5 } else { 0.0 };
    let asked = Asked { length, clip_skip: 0 };
    let count = compared.steps("");
    let (conditions, latents) = in_steps(name, &Run { told, asked, ..Run::new(None) }, count);
    compared.with("text.t5.hidden", || conditions[0].tokens.clone().unwrap().embedding);
    compared.with("text.clip.pooled", || conditions[0].vector.clone().unwrap());
    for (i, latents) in latents.iter().enumerate() {
        compared.with(&format!("latents.step{}", i + 1), || nets::flux::pack(latents.clone()));
    }
    codec(folder, compared, "image", latents.last().cloned());
    compared.with("truecfg.latents.final", || {
        nets::flux::pack(in_steps(name, &Run { told, asked, ..Run::new(Some(2.0)) }, count).1.pop().unwrap())
    });
}

/// Numbers of a tensor of any type, as far as they are whole and small.
fn golden_numbers(compared: &Compared, name: &str) -> Vec<[usize; 3]> {
    let file = std::fs::read(compared.golden.path()).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let view = tensors.tensor(name).unwrap();
    let numbers: Vec<usize> = match view.dtype() {
        safetensors::Dtype::F32 => view.data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b) as usize).collect(),
        safetensors::Dtype::I32 => view.data().as_chunks().0.iter().map(|b| i32::from_le_bytes(*b) as usize).collect(),
        _ => view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as usize).collect(),
    };
    numbers.as_chunks().0.to_vec()
}

fn most(ids: &[[usize; 3]], axis: usize) -> usize {
    ids.iter().map(|id| id[axis]).max().unwrap_or(0)
}

/// Stable Diffusion's U-Net, as a diffusion or as a flow.
fn unet(folder: &Path, name: &str, compared: &mut Compared, flow: bool) {
    let at = folder.join("unet");
    let net = config::<TextUnetConfig>(&at).load(&Stored::in_folder(&at, WEIGHTS).unwrap(), &Device::flex()).unwrap();
    let runs: &[(&str, &str, Option<f64>)] = match flow {
        true => &[("rf1.", "rf1.image", None), ("rf3.", "rf3.image", None), ("rf4cfg.", "rf4cfg.image", Some(1.5))],
        false => &[("pndm.", "pndm.image", Some(7.5))],
    };
    let (conditions, _) = in_steps(name, &Run::new(None), 1);
    compared.with("text.pos.hidden", || conditions[0].tokens.clone().unwrap().embedding);
    compared.with("text.neg.hidden", || conditions[0].null().tokens.unwrap().embedding);
    let prompt = conditions[0].tokens.clone().unwrap().embedding;
    let names: Vec<String> = compared.golden.names();
    for name in names.iter().filter(|name| name.starts_with("unet.t")) {
        let Ok(time) = name["unet.t".len()..].parse::<f32>() else { continue };
        let (x, t) = (compared.tensor("latents.init"), Tensor::<1>::from_floats([time], &Device::flex()));
        compared.with(name, || net.forward(x, t, prompt.clone(), None));
    }
    if compared.has("unet.batch.x") {
        let (x, t) = (compared.tensor("unet.batch.x"), compared.tensor("unet.batch.t"));
        let ctx = compared.tensor("unet.batch.ctx");
        compared.with("unet.batch.out", || net.forward(x, t, ctx, None));
    }
    if compared.has("unet.odd.x") {
        let (x, t) = (compared.tensor("unet.odd.x"), Tensor::<1>::from_floats([400.0], &Device::flex()));
        compared.with("unet.odd.out", || net.forward(x, t, prompt.clone(), None));
    }
    for (run, image, contrast) in runs {
        // PNDM counts the step it makes twice as two.
        let twice = usize::from(!flow);
        let count = compared.steps(run);
        if count <= twice {
            continue;
        }
        let (_, latents) = in_steps(name, &Run::new(*contrast), count - twice);
        for (i, latents) in latents.iter().enumerate() {
            compared.with(&format!("{run}latents.step{}", i + 1 + twice), || latents.clone());
        }
        codec(folder, compared, image, latents.last().cloned());
    }
}

/// A file of a network under both layouts' names, with one call and its answer.
fn both_layouts(file: &Path) -> Option<Vec<(String, f32)>> {
    let stored = Stored::open(file).ok()?;
    let want = stored.shape("out").map(|_| tensor::<4>)?;
    let network = |prefix: &'static str| nets::weights::Prefixed::new(&stored, prefix);
    let (single, names) = (network("s."), network("s.").names().into_iter().collect());
    let map = nets::single::Layout::of(&names)?.map(&names);
    let renamed = map.apply(&single).unwrap();
    let mut far = Vec::new();
    if stored.shape("in.ctx").is_some() {
        let config = nets::single::shapes::mmdit(&renamed, None).unwrap();
        for (name, net) in [
            ("single", config.load(&renamed, &Device::flex())),
            ("diffusers", config.load(&network("d."), &Device::flex())),
        ] {
            let (t, y, ctx) = (tensor(&stored, "in.t"), tensor(&stored, "in.y"), tensor(&stored, "in.ctx"));
            let got = net.unwrap().forward(tensor(&stored, "in.x"), t, y, ctx, &[], None);
            far.push((name.to_owned(), (got - want(&stored, "out")).abs().max().into_scalar()));
        }
    } else {
        // Heads of 16 features, of which 4, 6 and 6 turn; no file says so.
        let known = FluxConfig { attention_head_dim: 16, axes_dims_rope: [4, 6, 6], ..FluxConfig::default() };
        let config = nets::single::shapes::flux(&renamed, Some(&known)).unwrap();
        let want = tensor::<3>(&stored, "out");
        let places = tensor::<2>(&stored, "in.img_ids").max_dim(0).into_data().try_to_vec::<f32>().unwrap();
        let (rows, columns) = (places[1] as usize + 1, places[2] as usize + 1);
        for (name, net) in [
            ("single", config.load(&renamed, &Device::flex())),
            ("diffusers", config.load(&network("d."), &Device::flex())),
        ] {
            let x = nets::flux::unpack(tensor(&stored, "in.x"), 2 * rows, 2 * columns);
            let (t, g, y) = (tensor(&stored, "in.t"), tensor(&stored, "in.g"), tensor(&stored, "in.y"));
            let got = nets::flux::pack(net.unwrap().forward(x, t, Some(g), y, tensor(&stored, "in.txt"), None));
            far.push((name.to_owned(), (got - want.clone()).abs().max().into_scalar()));
        }
    }
    Some(far)
}

/// Mutants are those of the tests beside this one; here, a folder that is passed over without a word.
#[test]
fn every_fixture_says_what_the_reference_says() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let roots: Vec<PathBuf> = match std::env::var_os("RECTIFLOW_FIXTURES") {
        Some(paths) => std::env::split_paths(&paths).collect(),
        None => vec![here.join("fixtures"), here.join("../shared/fixtures")],
    };
    let (mut compared_folders, mut wrong) = (0, Vec::new());
    for root in &roots {
        let Ok(entries) = std::fs::read_dir(root) else {
            println!("{}: skipped, not there", root.display());
            continue;
        };
        let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        entries.sort();
        for path in entries {
            if path.extension().is_some_and(|ending| ending == "safetensors") {
                match both_layouts(&path) {
                    None => println!("{}: skipped, no network with its answer", path.display()),
                    Some(far) => {
                        println!("{}: {far:?}", path.display());
                        compared_folders += 1;
                        wrong.extend(
                            far.iter()
                                .filter(|(_, far)| far.is_nan() || *far >= TOLERANCE)
                                .map(|(n, f)| format!("{path:?} {n} {f}")),
                        );
                    }
                }
                continue;
            }
            if !path.is_dir() {
                continue;
            }
            let name = path.display().to_string();
            let golden = Stored::open(&path.join("golden.safetensors"));
            let release = Release::open(&path, None);
            let (Ok(golden), Ok(release)) = (golden, release) else {
                println!("{name}: skipped, no released model with golden.safetensors that is drawn from here");
                continue;
            };
            println!("{name}: {}", release.family().name());
            let mut compared = Compared { golden, worst: (0.0, String::new()), seen: Vec::new() };
            match release.family() {
                Family::Sd3 => sd3(&path, &name, &mut compared),
                Family::Flux => flux(&path, &name, &mut compared),
                Family::InstaFlow => unet(&path, &name, &mut compared, true),
                Family::StableDiffusion => unet(&path, &name, &mut compared, false),
                Family::Wan => wan::compare(&path, &mut compared),
                Family::ZImage => z_image::compare(&path, &name, &mut compared),
                Family::QwenImage => qwen_image::compare(&path, &name, &mut compared),
                Family::Flux2 { .. } => flux2::compare(&path, &name, &mut compared),
            }
            let all = compared.golden.names();
            let left: Vec<&String> = all.iter().filter(|name| !compared.seen.contains(name)).collect();
            let (worst, of) = &compared.worst;
            println!("  {} compared, largest {worst:.1e} ({of}); not compared: {left:?}", compared.seen.len());
            compared_folders += 1;
            if compared.seen.is_empty() || worst.is_nan() || *worst >= TOLERANCE {
                wrong.push(format!("{name}: {worst:e} ({of})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let given = std::env::var_os("RECTIFLOW_FIXTURES").is_some();
    assert!(compared_folders >= if given { 1 } else { 6 }, "{compared_folders} folders");
}
