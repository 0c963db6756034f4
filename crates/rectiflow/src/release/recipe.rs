//! What a training that starts from a released model takes over from it: the layer beneath a recipe, from `--from MODEL`.
//!
//! Network, path and output are what the weights mean. The other values are habits that a recipe may change: SD3's logit-normal times
//! (arXiv 2403.03206, sec. 3.1) under the model's own shift, one sample a step, blocks run again for the gradient.

use super::{Release, is_released, network::sizes, times::shift};
use crate::{
    Error, Recipe,
    recipe::{Generate, Layers, PairsRecipe, SampleConfig, TaskConfig, TextConfig},
};
use data::DataConfig;
use flow::{Parameterization, ScheduleConfig, Solver, TimeConfig, TimeLaw, guidance::GuidanceConfig};
use nets::{AutoencoderConfig, LoraConfig, NetConfig, ReleasedConfig, released::Sizes};
use std::path::Path;
use train::TrainConfig;

/// Rank of corrections where nobody says one.
const RANK: usize = 16;

/// The recipe of a training from the model in `place`, under what `lay` lays over it: a file, single keys. Corrections are trained where
/// `lora` asks for them or what is laid over has the table `lora`; a rank that `lora` names is laid over all.
///
/// What it takes over depends on what is laid over it (habits of corrections or of all weights, the shift of the size that pictures
/// have), so that it is laid twice.
///
/// # Errors
/// Those of [`recipe`] and of `lay`; a recipe that cannot be followed.
pub fn layered(
    place: &Path,
    lora: Option<Option<usize>>,
    lay: impl Fn(Layers) -> Result<Layers, Error>,
    note: &mut dyn FnMut(String),
) -> Result<Recipe, Error> {
    let first = lay(Layers::new().recipe(&recipe(place, Some(RANK), None, note)?))?;
    let (corrects, given) = (lora.is_some() || first.wrote("lora"), lora.flatten());
    let first = first.unchecked()?;
    let rank = given.or(first.lora.map(|lora| lora.rank)).filter(|_| corrects);
    let mut layers = lay(Layers::new().recipe(&recipe(place, rank, first.data.size, &mut |_| ())?))?;
    if let Some(rank) = given {
        layers = layers.set(&format!("lora.rank={rank}"))?;
    }
    layers.build()
}

/// `layers` of a run that others begin at, with corrections of `rank`: of the recipe's, or [`RANK`], without.
///
/// # Errors
/// A table `lora` that is none.
pub fn correcting(layers: Layers, rank: Option<usize>) -> Result<Layers, Error> {
    let known = layers.clone().unchecked()?.lora;
    let rank = rank.or(known.as_ref().map(|lora| lora.rank)).unwrap_or(RANK);
    match known {
        Some(_) => layers.set(&format!("lora.rank={rank}")),
        // As far as those of released models count.
        None => layers.set(&format!("lora={{rank={rank},alpha={rank}.0}}")),
    }
}

/// What a training from the model in `place`, which is a folder in diffusers' layout, takes over for pictures of `size` pixels, its own
/// without; of corrections of rank `lora`, or of the weights themselves.
///
/// # Errors
/// A model that cannot be read or lacks a part.
pub fn recipe(
    place: &Path,
    lora: Option<usize>,
    size: Option<usize>,
    note: &mut dyn FnMut(String),
) -> Result<Recipe, Error> {
    if place.is_file() {
        return Err(Error::Usage(format!(
            "--from {}: a training keeps its model's place, and takes a folder in diffusers' layout; make one of the file by `rectiflow \
             convert FILE FOLDER --layout diffusers`",
            place.display()
        )));
    }
    if !is_released(place) {
        return Err(Error::Usage(format!(
            "--from {}: no released model is there (a folder with model_index.json); a run is continued by `resume`, and taught from by `reflow`",
            place.display()
        )));
    }
    let place = std::path::absolute(place).unwrap_or_else(|_| place.to_path_buf());
    let model = Release::open(&place, None)?;
    model.check(note)?;
    let (_, sizes, diffusion) = sizes(&model, note)?;
    let codec: AutoencoderConfig = model.part("vae", &["AutoencoderKL"])?.config(note)?;
    let (side, patch, told) = match &sizes {
        Sizes::Mmdit(config) => (config.sample_size, config.patch_size, false),
        Sizes::Flux(config) => (128, 2, config.guidance_embeds),
        Sizes::Unet(config) => (config.sample_size, 1, config.time_cond_proj_dim.is_some()),
    };
    let (steps, guidance, length) = match (&sizes, &diffusion) {
        (Sizes::Mmdit(_), _) => (28, 7.0, 256),
        (Sizes::Flux(_), _) if told => (28, 1.0, 512),
        (Sizes::Flux(_), _) => (4, 1.0, 256),
        (Sizes::Unet(_), None) => (1, 1.0, 77),
        (Sizes::Unet(_), Some(_)) if told => (4, 1.0, 77),
        (Sizes::Unet(_), Some(_)) => (50, 7.5, 77),
    };
    let size = size.unwrap_or(side * codec.factor());
    let tokens = (size / codec.factor() / patch).max(1).pow(2);
    let (shift, law) = match &sizes {
        Sizes::Mmdit(_) | Sizes::Flux(_) => (shift(&model, tokens)?, TimeLaw::LogitNormal { mean: 0.0, std: 1.0 }),
        Sizes::Unet(_) => (1.0, TimeLaw::Uniform {}),
    };
    let (path, parameterization, solver, layout) = match &diffusion {
        Some(found) => {
            let layout = ScheduleConfig::Custom { times: found.times(steps, &found.solver)?.times().to_vec() };
            (flow::Path::Ddpm(found.path.clone()), found.output, found.solver.clone(), layout)
        }
        None if shift == 1.0 => {
            (flow::Path::Linear {}, Parameterization::Velocity {}, Solver::Euler {}, ScheduleConfig::Uniform {})
        }
        None => {
            (flow::Path::Linear {}, Parameterization::Velocity {}, Solver::Euler {}, ScheduleConfig::Shifted { shift })
        }
    };
    let guided = GuidanceConfig { scale: guidance, ..GuidanceConfig::default() };
    // A teacher is followed as its pipeline follows it.
    let generate = methods::PairsConfig {
        solver: solver.clone(),
        steps,
        schedule: layout.clone(),
        batch: 1,
        ..Default::default()
    };
    let counted = diffusion.map(|diffusion| diffusion.path.steps);
    // What its pipeline tells it.
    let guidance = match &sizes {
        Sizes::Unet(_) if told => 8.5,
        _ if told => 3.5,
        _ => 1.0,
    };
    let network = ReleasedConfig { guidance, ..ReleasedConfig::new(sizes, counted) };
    let name = place.file_name().map_or("model".into(), |name| name.to_string_lossy().replace('.', "-"));
    let text = TextConfig { encoder: TextConfig::RELEASED.into(), length, model: Some(place.clone()) };
    let mut train = TrainConfig {
        images: 2000,
        batch: 1,
        gradient_checkpointing: true,
        validate_every: 0, // and nothing is held out for it: ten pictures are ten
        ..TrainConfig::default()
    };
    train.optim.lr = if lora.is_some() { 1e-4 } else { 1e-5 };
    train.ema.decays = Vec::new();
    Ok(Recipe {
        name: format!("{}-tuned", name.trim_matches('-')),
        task: TaskConfig::Generate(Generate { codec: Some(place.clone()), text: Some(text), ..Generate::default() }),
        path,
        parameterization,
        time: TimeConfig { law, shift },
        lora: lora.map(|rank| LoraConfig { rank, alpha: rank as f64, targets: vec!["attn*".into()] }),
        // Of the few pictures that teach a thing none is kept apart.
        data: DataConfig { size: Some(size), channels: Some(3), holdout: 0.0, ..DataConfig::default() },
        network: NetConfig::Released(Box::new(network)),
        train,
        pairs: PairsRecipe { count: 1000, guidance: guided.clone(), generate, ..PairsRecipe::default() },
        sample: SampleConfig { steps, batch: 1, solver, schedule: layout, guidance: guided, ..SampleConfig::default() },
        from: Some(place),
        ..Recipe::default()
    })
}
