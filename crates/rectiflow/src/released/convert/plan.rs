//! What a conversion will write: for each part its tensors and what each is made of, and the files that are copied beside them.

use super::{ConvertRequest, Numbers, tensors::Tensors};
use crate::{
    Context, Error,
    release::weighty,
    released::{Family, Release, folder::INDEX, part::Weights, single::network_of},
};
use nets::single::{How, Layout as Names, Line, Map, autoencoder, count, modern};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

/// A layout to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// A folder with `model_index.json`.
    Diffusers,
    /// One file under the authors' names.
    Single,
}

/// All that is written.
pub(super) struct Plan {
    layout: Layout,
    /// Parts with weights.
    parts: Vec<(&'static str, Tensors)>,
    /// Small files: place in the folder, and text.
    texts: Vec<(PathBuf, Value)>,
    /// Files that are copied: from, and place in the folder.
    copied: Vec<(PathBuf, PathBuf)>,
}

/// Where a part stands in a single file.
fn prefix(family: Family, part: &str, bare: bool) -> &'static str {
    match (family, part) {
        (_, "transformer" | "unet") if bare => "",
        (_, "transformer" | "unet") => "model.diffusion_model.",
        (Family::Flux, "vae") => "vae.",
        (_, "vae") => "first_stage_model.",
        (Family::Sd3 | Family::Flux, "text_encoder") => "text_encoders.clip_l.transformer.",
        (Family::Sd3, "text_encoder_2") => "text_encoders.clip_g.transformer.",
        (Family::Sd3 | Family::Flux, _) => "text_encoders.t5xxl.transformer.",
        _ => "cond_stage_model.transformer.",
    }
}

impl Plan {
    /// Plans.
    ///
    /// # Errors
    /// Parts that are missing, names that have no place in the layout.
    /// `trained` stands for the network's weights where a run has others.
    pub(super) fn of(
        release: &Release,
        mut trained: Option<Weights>,
        request: &ConvertRequest,
        note: &mut dyn FnMut(String),
    ) -> Result<Self, Error> {
        if release.family() == Family::Wan {
            return Err(Error::Usage(format!(
                "{}: it is a Wan, whose single files (its authors' names) are not known here; it stays a folder",
                release.path().display()
            )));
        }
        let (family, single) = (release.family(), request.layout == Layout::Single);
        if single && matches!(family, Family::ZImage | Family::QwenImage | Family::Flux2 { .. }) {
            return Err(Error::Usage(format!(
                "{}: it is a {}, whose single files are not known here; it stays a folder (`--layout diffusers`)",
                release.path().display(),
                family.name()
            )));
        }
        let mut plan = Self { layout: request.layout, parts: vec![], texts: vec![], copied: vec![] };
        if let Some(line) = release.passed_over() {
            note(line);
        }
        if !single {
            complete(release)?;
        }
        for (name, classes, called) in weighty(family) {
            let network = name == network_of(family);
            // A file stays what it holds; a folder is made of all there is.
            let wanted =
                if single { release.holds(name) && (network || !request.network_only) } else { release.has(name) };
            if !wanted {
                continue;
            }
            let unplaced = if single { Vec::new() } else { release.unplaced(name) };
            if let Some(first) = unplaced.first() {
                return Err(Error::Failure(format!(
                    "{}: {} tensors of `{name}` have no place in diffusers' layout (`{first}` and so on); take them out of the file, or \
                     keep it as it is",
                    release.path().display(),
                    unplaced.len()
                )));
            }
            let weights = match trained.take_if(|_| network) {
                Some(weights) => weights,
                None => release.weights(name, classes, called)?,
            };
            let names: BTreeSet<String> = weights.source()?.names().into_iter().collect();
            let lines = match single {
                true => lines(family, name, &names, request.network_only, release.path())?,
                false => names.iter().map(|name| same(name, name.clone())).collect(),
            };
            // Whole numbers, which say nothing to anybody who draws.
            const COUNTED: [(&str, &str); 2] = [
                ("embeddings.position_ids", "position_ids is left out, for it counts from 0 up"),
                ("bn.num_batches_tracked", "num_batches_tracked is left out, which training alone asks for"),
            ];
            let counts = |line: &Line| COUNTED.iter().find(|(ending, _)| line.diffusers[0].ends_with(ending));
            let (counted, lines): (Vec<Line>, Vec<Line>) = lines.into_iter().partition(|line| counts(line).is_some());
            if let Some((_, why)) = counted.first().and_then(counts) {
                note(format!("{name}: {why}"));
            }
            let path = PathBuf::from(name);
            if !single && release.in_file(name) && !release.is_known(name)? {
                plan.texts.push((path.join("config.json"), release.part(name, classes)?.described()?));
            }
            let tensors = Tensors { file: path.join(format!("{called}.safetensors")), weights, lines };
            tensors.check(request.numbers)?;
            plan.parts.push((name, tensors));
        }
        if single {
            if family == Family::InstaFlow {
                note(
                    "a single file does not say that it is an InstaFlow; with an InstaFlow's folder as --parts it is read as one"
                        .into(),
                );
            }
            return Ok(plan);
        }
        plan.fill(release, note)?;
        Ok(plan)
    }

    /// What a folder has beside weights.
    fn fill(&mut self, release: &Release, note: &mut dyn FnMut(String)) -> Result<(), Error> {
        let Some(folder) = release.folder() else { return Ok(()) };
        let root = folder.path();
        let indexed = root.join(INDEX).is_file();
        let mut left = Vec::new();
        for file in files(root)? {
            let Ok(inside) = file.strip_prefix(root) else { continue };
            let part = inside.iter().next().map(|first| first.to_string_lossy().into_owned()).unwrap_or_default();
            let name = inside.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let converted = self.parts.iter().any(|(known, _)| *known == part);
            let weights = [".safetensors", ".bin", ".ckpt", ".pt", ".index.json", ".index.fp16.json"];
            let described = self.texts.iter().any(|(place, _)| place == inside);
            if (converted && weights.iter().any(|ending| name.ends_with(ending))) || described {
                continue;
            }
            // Of a folder that only lends its parts, those that drawing needs.
            let wanted = name == INDEX || part == "scheduler" || part.starts_with("tokenizer") || converted;
            match release.is_file() && !wanted {
                true => left.push(inside.display().to_string()),
                false => self.copied.push((file.clone(), inside.to_path_buf())),
            }
        }
        if !left.is_empty() {
            note(format!("{}: not copied: {}", root.display(), left.join(", ")));
        }
        if release.published()?.is_some() {
            let (_, settings) = release.scheduler(&[])?;
            note("the scheduler's settings are the published ones".into());
            self.copied.retain(|(_, inside)| !inside.starts_with("scheduler"));
            self.texts.push(("scheduler/scheduler_config.json".into(), Value::Object(settings)));
        }
        if !indexed {
            self.texts.push((INDEX.into(), index(release, &self.texts)));
        }
        Ok(())
    }

    /// Names of the parts.
    pub(super) fn names(&self) -> Vec<String> {
        self.parts.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Tensors of all parts.
    pub(super) fn tensors(&self) -> usize {
        self.parts.iter().map(|(_, tensors)| tensors.lines.len()).sum()
    }

    /// Writes to a place where nothing is.
    ///
    /// # Errors
    /// Numbers that a half cannot hold; a place that cannot be written.
    pub(super) fn write(&self, to: &Path, numbers: Option<Numbers>, context: &Context) -> Result<u64, Error> {
        if self.layout == Layout::Single {
            let parts: Vec<&Tensors> = self.parts.iter().map(|(_, tensors)| tensors).collect();
            return super::write::file(to, &parts, numbers, context);
        }
        let mut bytes = 0;
        for (_, tensors) in &self.parts {
            bytes += super::write::file(&to.join(&tensors.file), &[tensors], numbers, context)?;
        }
        for (place, value) in &self.texts {
            let text = serde_json::to_string_pretty(value).unwrap_or_default() + "\n";
            super::write::small(&to.join(place), text.as_bytes())?;
        }
        for (from, place) in &self.copied {
            super::write::copy(from, &to.join(place))?;
        }
        Ok(bytes)
    }
}

/// Refuses a model that lacks what a folder has.
fn complete(release: &Release) -> Result<(), Error> {
    let lacking = release.lacking();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{}: a folder in diffusers' layout needs {} as well; name a folder that has them by --parts",
        release.path().display(),
        lacking.join(", ")
    )))
}

fn same(single: &str, diffusers: String) -> Line {
    Line { single: single.to_owned(), diffusers: vec![diffusers], how: How::Same }
}

/// The tensors of a part in a single file.
fn lines(family: Family, part: &str, names: &BTreeSet<String>, bare: bool, path: &Path) -> Result<Vec<Line>, Error> {
    let prefix = prefix(family, part, bare);
    // Today's names, and the stored ones.
    let today: BTreeMap<String, String> = names.iter().map(|name| (modern(name), name.clone())).collect();
    let known: BTreeSet<String> = today.keys().cloned().collect();
    let map = match (family, part) {
        (Family::Sd3, "transformer") => Names::Sd3.map_back(&known),
        (Family::Flux, "transformer") => Names::Flux.map_back(&known),
        (_, "unet") => Names::Unet.map_back(&known),
        (_, "vae") => Map::new(autoencoder(count(&known, "decoder.up_blocks."))),
        _ => {
            // transformers 5 leaves CLIP's own prefix out, and files of the authors' have it.
            let bare = known.contains("embeddings.token_embedding.weight");
            let full = |name: &String| match bare && name != "text_projection.weight" {
                true => format!("{prefix}text_model.{name}"),
                false => format!("{prefix}{name}"),
            };
            return Ok(names.iter().map(|name| same(&full(name), name.clone())).collect());
        }
    };
    let (lines, left) = map.joined(&known);
    if let Some(first) = left.first() {
        let count = left.len();
        return Err(Error::Failure(format!(
            "{}: {count} tensors of `{part}` have no place in a single file (`{first}` and so on); it stays a folder",
            path.display()
        )));
    }
    let stored = |line: Line| Line {
        single: format!("{prefix}{}", line.single),
        diffusers: line.diffusers.iter().map(|name| today[name].clone()).collect(),
        how: line.how,
    };
    Ok(lines.into_iter().map(stored).collect())
}

/// All files below a folder, in order; what begins with a dot is another program's.
fn files(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |error: std::io::Error| Error::Failure(format!("cannot read {}: {error}", folder.display()));
    let mut entries = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(std::fs::DirEntry::path);
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')) {
        match entry.path() {
            path if path.is_dir() => found.extend(files(&path)?),
            path => found.push(path),
        }
    }
    Ok(found)
}

/// A `model_index.json` for a folder of parts.
fn index(release: &Release, texts: &[(PathBuf, Value)]) -> Value {
    let class = match release.family() {
        Family::Sd3 => "StableDiffusion3Pipeline",
        Family::Flux => "FluxPipeline",
        Family::InstaFlow => "RectifiedFlowPipeline",
        Family::StableDiffusion => "StableDiffusionPipeline",
        Family::Wan => "WanPipeline",
        Family::ZImage => "ZImagePipeline",
        Family::QwenImage => "QwenImagePipeline",
        Family::Flux2 { .. } => "Flux2KleinPipeline",
    };
    let mut index = json!({ "_class_name": class });
    if let Family::Flux2 { distilled } = release.family() {
        index["is_distilled"] = distilled.into();
    }
    let names =
        ["scheduler", "text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3"];
    for name in names.into_iter().chain(["vae", network_of(release.family())]) {
        let written = texts.iter().find(|(place, _)| place == Path::new("scheduler/scheduler_config.json"));
        let scheduler = written.and_then(|(_, value)| value.get("_class_name")).and_then(Value::as_str);
        let class = if name == "scheduler" { scheduler.map(str::to_owned) } else { release.class_of(name) };
        let library = if name.starts_with("text") || name.starts_with("token") { "transformers" } else { "diffusers" };
        if let Some(class) = class {
            index[name] = json!([library, class]);
        }
    }
    index
}
