//! Corrections of low rank that were trained here, as files that others read: PEFT's layout under diffusers' names, and kohya's.
//!
//! PEFT's settings stand in the file's metadata (`lora_adapter_metadata`), where diffusers looks for them; kohya's files say `alpha` beside
//! every pair of factors. For FLUX kohya's names are its authors', whose queries, keys and values are one matrix: factors stand one below
//! another and side by side there, with as many times the alpha. For SD3 these are diffusers' names without dots (`lora_transformer_…`).

use super::{Family, Release};
use crate::{Context, Error, Recipe, release::sizes, runs::find};
use nets::{
    LoraConfig,
    weights::{TensorSource, flux_authors},
};
use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};
use train::checkpoint::Which;

/// The folder beside a run's checkpoints, and its files.
pub const FOLDER: &str = "adapter";
/// In PEFT's layout, under the name that diffusers gives it.
pub const PEFT: &str = "pytorch_lora_weights.safetensors";
/// In kohya's.
pub const KOHYA: &str = "kohya.safetensors";

/// A module's factors: `down` `[r i]`, `up` `[o r]`, and its kernel's window.
struct Factors {
    down: Vec<f32>,
    up: Vec<f32>,
    /// Inputs, outputs.
    sizes: [usize; 2],
    /// Shape of `down` and `up` in a file.
    shapes: [Vec<usize>; 2],
}

type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Where `--lora` finds a file: the file itself, or a run's own.
pub fn file_of(place: &Path) -> PathBuf {
    let own = place.join(FOLDER).join(PEFT);
    if own.is_file() { own } else { place.to_path_buf() }
}

/// Writes the corrections of the newest checkpoint of the run in `folder` in both layouts; the files, or nothing where the run trains no
/// corrections of a released model.
///
/// # Errors
/// A model or a checkpoint that is gone; a place that cannot be written.
pub fn write(folder: &Path, context: &mut Context) -> Result<Option<[PathBuf; 2]>, Error> {
    let checkpoint = find(folder)?;
    let name = format!("recipe inside {}", checkpoint.path().display());
    let recipe = Recipe::parse(&checkpoint.meta().recipe, &name)?;
    let (Some(place), Some(lora)) = (&recipe.from, &recipe.lora) else { return Ok(None) };
    let model = Release::open(place, None)?;
    let (part, _, _) = sizes(&model, &mut |_| ())?;
    let shapes = part.weights("diffusion_pytorch_model", |source| Ok(modules(source)))?;
    let prefix = Which::Best.prefix(&checkpoint)?;
    let mut factors = BTreeMap::new();
    for (module, shape) in shapes.clone() {
        let ours = nets::released::our_name(&format!("{module}.weight"));
        let read = |which: &str| checkpoint.read(&format!("{prefix}{ours}.lora.{which}"));
        if !checkpoint.infos(&prefix).iter().any(|info| info.name == format!("{ours}.lora.a")) {
            continue;
        }
        let values = |which: &str| Ok::<_, Error>(read(which)?.iter::<f32>().collect::<Vec<f32>>());
        let (rank, input, output) = (lora.rank, shape[1..].iter().product(), shape[0]);
        let window = shape.get(2..).unwrap_or_default();
        let ones = vec![1; window.len()];
        factors.insert(
            module,
            Factors {
                down: values("a")?,
                up: values("b")?,
                sizes: [input, output],
                shapes: [[&[rank, shape[1]], window].concat(), [&[output, rank], &ones[..]].concat()],
            },
        );
    }
    let adapter = folder.join(FOLDER);
    let files = [PEFT, KOHYA].map(|name| adapter.join(name));
    keep(&files[0], peft(model.family(), &factors), &settings(model.family(), lora, &factors))?;
    let rows: BTreeMap<String, usize> = shapes.iter().map(|(module, shape)| (module.clone(), shape[0])).collect();
    let (tensors, left) = kohya(model.family(), lora, &factors, &rows);
    if !left.is_empty() {
        context.note(format!("{}: the layout has no name for {}; PEFT's has", files[1].display(), left.join(", ")));
    }
    let about = HashMap::from([
        ("ss_network_module".to_owned(), "networks.lora".to_owned()),
        ("ss_network_dim".to_owned(), lora.rank.to_string()),
        ("ss_network_alpha".to_owned(), lora.alpha.to_string()),
    ]);
    keep(&files[1], tensors, &about)?;
    Ok(Some(files))
}

/// As [`write`], at the end of a training, and says where they are.
///
/// # Errors
/// Those of [`write`].
pub fn hand_over(folder: &Path, context: &mut Context) -> Result<(), Error> {
    if let Some([peft, kohya]) = write(folder, context)? {
        context.note(format!("the corrections for other programs: {}, {}", peft.display(), kohya.display()));
    }
    Ok(())
}

/// Modules with a weight of two axes or more, and its shape.
fn modules(source: &dyn TensorSource) -> Vec<(String, Vec<usize>)> {
    let of = |name: String| Some((name.strip_suffix(".weight")?.to_owned(), source.shape(&name)?));
    source.names().into_iter().filter_map(of).filter(|(_, shape)| shape.len() >= 2).collect()
}

/// What stands before the network's names in diffusers.
fn part(family: Family) -> &'static str {
    match family {
        Family::Sd3 | Family::Flux | Family::Wan | Family::ZImage | Family::QwenImage | Family::Flux2 { .. } => {
            "transformer"
        }
        Family::InstaFlow | Family::StableDiffusion => "unet",
    }
}

fn peft(family: Family, factors: &BTreeMap<String, Factors>) -> Tensors {
    let part = part(family);
    let of = |(module, Factors { down, up, shapes: [a, b], .. }): (&String, &Factors)| {
        let name = |which: &str| format!("{part}.{module}.lora_{which}.weight");
        [(name("A"), (a.clone(), down.clone())), (name("B"), (b.clone(), up.clone()))]
    };
    factors.iter().flat_map(of).collect()
}

/// The metadata from which diffusers makes PEFT's configuration.
fn settings(family: Family, lora: &LoraConfig, factors: &BTreeMap<String, Factors>) -> HashMap<String, String> {
    let part = part(family);
    let key = |name: &str| format!("{part}.{name}");
    let modules: Vec<&String> = factors.keys().collect();
    let settings = json!({
        key("r"): lora.rank, key("lora_alpha"): lora.alpha, key("target_modules"): modules, key("lora_dropout"): 0.0, key("bias"): "none",
    });
    HashMap::from([("format".to_owned(), "pt".to_owned()), ("lora_adapter_metadata".to_owned(), settings.to_string())])
}

/// Under kohya's names, and modules that have none there.
fn kohya(
    family: Family,
    lora: &LoraConfig,
    factors: &BTreeMap<String, Factors>,
    rows: &BTreeMap<String, usize>,
) -> (Tensors, Vec<String>) {
    let (mut tensors, mut left) = (Tensors::new(), Vec::new());
    let mut put = |name: &str, shapes: [Vec<usize>; 2], down: Vec<f32>, up: Vec<f32>, alpha: f64| {
        let [a, b] = shapes;
        tensors.insert(format!("{name}.lora_down.weight"), (a, down));
        tensors.insert(format!("{name}.lora_up.weight"), (b, up));
        tensors.insert(format!("{name}.alpha"), (vec![], vec![alpha as f32]));
    };
    if family != Family::Flux {
        let before = if family == Family::Sd3 { "lora_transformer_" } else { "lora_unet_" };
        for (module, Factors { down, up, shapes, .. }) in factors {
            let name = format!("{before}{}", module.replace('.', "_"));
            put(&name, shapes.clone(), down.clone(), up.clone(), lora.alpha);
        }
        return (tensors, left);
    }
    let mut placed = Vec::new();
    for (name, parts) in flux_authors(factors.keys(), |module| rows.get(module).copied()) {
        let own: Vec<Option<&Factors>> = parts.iter().map(|(module, _)| factors.get(module)).collect();
        let Some(input) = own.iter().flatten().map(|own| own.sizes[0]).next() else { continue };
        let ranks = own.iter().flatten().count() * lora.rank;
        let rows: usize = parts.iter().map(|(_, rows)| rows).sum();
        let (mut down, mut up) = (Vec::with_capacity(ranks * input), vec![0.0; rows * ranks]);
        let (mut row, mut column) = (0, 0);
        for ((module, height), own) in parts.iter().zip(own) {
            if let Some(own) = own {
                down.extend_from_slice(&own.down);
                for (i, values) in own.up.chunks(lora.rank).enumerate() {
                    up[(row + i) * ranks + column..][..lora.rank].copy_from_slice(values);
                }
                column += lora.rank;
                placed.push(module.clone());
            }
            row += height;
        }
        let alpha = lora.alpha * (ranks / lora.rank) as f64;
        put(&format!("lora_unet_{name}"), [vec![ranks, input], vec![rows, ranks]], down, up, alpha);
    }
    left.extend(factors.keys().filter(|module| !placed.contains(module)).cloned());
    (tensors, left)
}

/// Writes tensors in f32, whole or not at all.
fn keep(file: &Path, tensors: Tensors, about: &HashMap<String, String>) -> Result<(), Error> {
    let failed = |why: String| Error::Failure(format!("cannot write {}: {why}", file.display()));
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, (shape, values))| (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(bytes.len());
    for (name, shape, bytes) in &bytes {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(|error| failed(error.to_string()))?;
        views.push((name.clone(), view));
    }
    let whole = serialize(views, Some(about.clone())).map_err(|error| failed(error.to_string()))?;
    Ok(media::atomic::write(file, &whole)?)
}
