//! Corrections of low rank that come as a file of their own, added into a store's weights as these are read.
//!
//! `W + scale (alpha / rank) up down` (Hu et al., arXiv 2106.09685). Files of PEFT and diffusers name a module and its two factors
//! (`to_q.lora_A.weight`), those of kohya flatten the dots (`to_q` of `lora_unet_..._to_q.lora_down.weight`); FLUX's authors' own names
//! for its blocks, whose queries, keys and values are one matrix, are taken apart. A corrected weight is held in f32; the others
//! stay mapped as they are stored.

use super::{Stored, TensorSource};
use crate::NetsError;
use base::{Device, Tensor, TensorData};
use kernels::Blocks;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// The corrections of one file.
#[derive(Debug)]
pub struct Corrections {
    stored: Stored,
    scale: f64,
    /// Names of factors by the module they correct.
    factors: BTreeMap<String, Factors>,
    /// Tensors that are no factors of low rank.
    others: Vec<String>,
}

/// Names of a module's tensors in the file.
#[derive(Clone, Debug, Default)]
struct Factors {
    down: Option<String>,
    up: Option<String>,
    alpha: Option<String>,
}

/// How layouts end the names of a module's tensors.
const DOWN: [&str; 4] = [".lora_A.weight", ".lora_A.default.weight", ".lora_down.weight", ".lora.down.weight"];
const UP: [&str; 4] = [".lora_B.weight", ".lora_B.default.weight", ".lora_up.weight", ".lora.up.weight"];
/// What stands before the network's own names.
const BEFORE: [&str; 7] = [
    "base_model.model.",
    "model.diffusion_model.",
    "diffusion_model.",
    "transformer.",
    "unet.",
    "lora_unet_",
    "lora_transformer_",
];

impl Corrections {
    /// Opens a file whose corrections are to count `scale` times.
    ///
    /// # Errors
    /// [`NetsError::File`] for a file that cannot be read, holds no corrections, one factor without the other, or something beside
    /// a module's factors that changes what they mean.
    pub fn open(path: &Path, scale: f64) -> Result<Self, NetsError> {
        let stored = Stored::open(path)?;
        let (mut factors, mut others) = (BTreeMap::<String, Factors>::new(), Vec::new());
        for name in stored.names() {
            let ends = |ends: &[&str]| ends.iter().find_map(|end| name.strip_suffix(end)).map(str::to_owned);
            if let Some(module) = ends(&DOWN) {
                factors.entry(module).or_default().down = Some(name);
            } else if let Some(module) = ends(&UP) {
                factors.entry(module).or_default().up = Some(name);
            } else if let Some(module) = ends(&[".alpha"]) {
                factors.entry(module).or_default().alpha = Some(name);
            } else {
                others.push(name);
            }
        }
        let refused = |why: String| Err(NetsError::file(path, why));
        if factors.is_empty() {
            return refused(
                "holds no corrections of low rank (`lora_A` and `lora_B`, or `lora_down` and `lora_up`)".into(),
            );
        }
        if let Some((module, _)) = factors.iter().find(|(_, found)| found.down.is_none() || found.up.is_none()) {
            return refused(format!("holds one factor of `{module}` without the other; fetch it again"));
        }
        // A magnitude beside the factors (DoRA), or a difference of a bias.
        if let Some(name) =
            others.iter().find(|name| factors.keys().any(|module| name.starts_with(&format!("{module}."))))
        {
            return refused(format!(
                "holds `{name}`, which changes what the factors beside it mean and is not built here"
            ));
        }
        Ok(Self { stored, scale, factors, others })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.stored.path()
    }

    /// `alpha / rank` of a module, or `alpha / √rank` where the file says so.
    fn share(&self, module: &str, factors: &Factors, rank: usize) -> Result<f64, NetsError> {
        if let Some(alpha) = &factors.alpha {
            let alpha = self.stored.read(alpha)?.first().copied().unwrap_or(rank as f32);
            return Ok(f64::from(alpha) / rank as f64);
        }
        let Some(text) = self.stored.note("lora_adapter_metadata") else { return Ok(1.0) };
        let settings: Map<String, Value> = serde_json::from_str(text)
            .map_err(|error| NetsError::file(self.path(), format!("its lora_adapter_metadata: {error}")))?;
        // The settings of a part stand behind its name, as its modules do.
        let part = module.split('.').next().unwrap_or_default();
        let of = |key: &str| settings.get(&format!("{part}.{key}")).or_else(|| settings.get(key));
        let own = of("alpha_pattern").and_then(Value::as_object).and_then(|pattern| {
            let mut fits = pattern.iter().filter(|(end, _)| module == *end || module.ends_with(&format!(".{end}")));
            fits.next().and_then(|(_, alpha)| alpha.as_f64())
        });
        let alpha = own.or_else(|| of("lora_alpha").and_then(Value::as_f64)).unwrap_or(rank as f64);
        let root = of("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        Ok(alpha / if root { (rank as f64).sqrt() } else { rank as f64 })
    }

    /// A module's whole correction, row by row, with its rows and columns.
    fn product(&self, module: &str, factors: &Factors) -> Result<(Vec<f32>, [usize; 2]), NetsError> {
        let [Some(down), Some(up)] = [&factors.down, &factors.up] else {
            return Err(NetsError::file(self.path(), format!("lacks a factor of `{module}`")));
        };
        let matrix = |name: &String, rank_first: bool| -> Result<(Tensor<2>, usize), NetsError> {
            let shape = self.stored.shape(name).unwrap_or_default();
            let [first, rest] = [shape.first().copied().unwrap_or(1), shape.iter().skip(1).product()];
            let values = TensorData::new(self.stored.read(name)?, [first, rest]);
            Ok((Tensor::from_data(values, &Device::flex()), if rank_first { first } else { rest }))
        };
        let ((down, rank), (up, same)) = (matrix(down, true)?, matrix(up, false)?);
        if rank != same || rank == 0 {
            let why = format!("its factors of `{module}` have ranks {rank} and {same}; fetch it again");
            return Err(NetsError::file(self.path(), why));
        }
        let share = self.scale * self.share(module, factors, rank)?;
        let shape = [up.dims()[0], down.dims()[1]];
        let values = (up.matmul(down) * share).into_data().iter::<f32>().collect();
        Ok((values, shape))
    }
}

/// The number of a file, the name of a module in it, and the rows of its correction.
type Place<'a> = (usize, &'a str, Range<usize>);

/// A store with corrections in its weights.
pub struct Corrected<'a, S: ?Sized> {
    source: &'a S,
    files: &'a [Corrections],
    /// For each corrected weight where its corrections stand.
    weights: BTreeMap<String, Vec<Place<'a>>>,
    /// Modules that were found, and tensors that have no place here, by file.
    applied: Vec<usize>,
    passed_over: Vec<Vec<&'a str>>,
}

impl<'a, S: TensorSource + ?Sized> Corrected<'a, S> {
    /// `source`, under diffusers' names, with the corrections of `files`.
    ///
    /// # Errors
    /// [`NetsError::File`] for a file of which nothing has a place here, or with a correction of another shape than its weight.
    pub fn new(source: &'a S, files: &'a [Corrections]) -> Result<Self, NetsError> {
        let names: BTreeSet<String> = source.names().into_iter().collect();
        let modules = names.iter().filter_map(|name| name.strip_suffix(".weight"));
        let flat: BTreeMap<String, &str> = modules.map(|module| (module.replace('.', "_"), module)).collect();
        let mut new = Self { source, files, weights: BTreeMap::new(), applied: vec![], passed_over: vec![] };
        for (number, file) in files.iter().enumerate() {
            let mut applied = 0;
            let mut passed_over: Vec<&str> = file.others.iter().map(String::as_str).collect();
            for (module, factors) in &file.factors {
                let short =
                    BEFORE.iter().fold(module.as_str(), |name, before| name.strip_prefix(before).unwrap_or(name));
                let short = short.replace('.', "_");
                let targets = match flat.get(&short) {
                    Some(module) => vec![module.to_string()],
                    None => of_flux(&short).unwrap_or_default(),
                };
                let found = !targets.is_empty() && targets.iter().all(|name| names.contains(&format!("{name}.weight")));
                if !found {
                    passed_over.push(module);
                    continue;
                }
                new.place(number, module, factors, &targets)?;
                applied += 1;
            }
            if applied == 0 {
                let example = file.factors.keys().next().map_or("", String::as_str);
                let why = format!("corrects nothing in this network (`{example}` and so on); it was made for another");
                return Err(NetsError::file(file.path(), why));
            }
            new.applied.push(applied);
            new.passed_over.push(passed_over);
        }
        Ok(new)
    }

    fn place(&mut self, file: usize, module: &'a str, factors: &Factors, targets: &[String]) -> Result<(), NetsError> {
        let shape = |name: &Option<String>| name.as_ref().and_then(|name| self.files[file].stored.shape(name));
        let rows = shape(&factors.up).and_then(|shape| shape.first().copied()).unwrap_or(0);
        let columns: usize = shape(&factors.down).map_or(0, |shape| shape.iter().skip(1).product());
        let mut first = 0;
        for name in targets {
            let name = format!("{name}.weight");
            let own = self.source.shape(&name).unwrap_or_default();
            let own = [own.first().copied().unwrap_or(0), own.iter().skip(1).product()];
            if own[1] != columns || first + own[0] > rows || (targets.len() == 1 && own[0] != rows) {
                let why =
                    format!("its correction of `{module}` is {rows} x {columns} and `{name}` {} x {}", own[0], own[1]);
                return Err(NetsError::file(self.files[file].path(), why + "; it was made for another model"));
            }
            self.weights.entry(name).or_default().push((file, module, first..first + own[0]));
            first += own[0];
        }
        if first != rows {
            let why = format!("its correction of `{module}` has {rows} rows and its weights {first}");
            return Err(NetsError::file(self.files[file].path(), why + "; it was made for another model"));
        }
        Ok(())
    }

    /// A line for each file: how many modules it corrects, and what of it has no place here.
    pub fn lines(&self) -> Vec<String> {
        let line = |(file, (applied, left)): (&Corrections, (&usize, &Vec<&str>))| {
            let start = format!("{}: {applied} layers corrected", file.path().display());
            match left.len() {
                0 => start,
                count => format!("{start}, {count} of its names have no place in this network: {}", left.join(", ")),
            }
        };
        self.files.iter().zip(self.applied.iter().zip(&self.passed_over)).map(line).collect()
    }
}

impl<S: TensorSource + ?Sized> TensorSource for Corrected<'_, S> {
    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.source.shape(name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        let mut values = self.source.read(name)?;
        for (file, module, rows) in self.weights.get(name).into_iter().flatten() {
            let file = &self.files[*file];
            let (product, [_, columns]) = file.product(module, &file.factors[*module])?;
            let own = &product[rows.start * columns..rows.end * columns];
            values.iter_mut().zip(own).for_each(|(value, more)| *value += more);
        }
        Ok(values)
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        match self.weights.contains_key(name) {
            false => self.source.data(name),
            true => Ok(TensorData::new(self.read(name)?, self.source.shape(name).unwrap_or_default())),
        }
    }

    fn blocks(&self, name: &str) -> Option<Blocks> {
        if self.weights.contains_key(name) { None } else { self.source.blocks(name) }
    }
}

/// Which of `modules` FLUX's authors keep as one: for each name of theirs that holds one, the modules in it in the order of their rows, and
/// how many each has.
pub fn flux_authors<'a>(
    modules: impl Iterator<Item = &'a String>,
    rows: impl Fn(&str) -> Option<usize>,
) -> Vec<(String, Vec<(String, usize)>)> {
    const DOUBLE: [&str; 10] = [
        "img_attn_qkv",
        "txt_attn_qkv",
        "img_attn_proj",
        "txt_attn_proj",
        "img_mlp_0",
        "txt_mlp_0",
        "img_mlp_2",
        "txt_mlp_2",
        "img_mod_lin",
        "txt_mod_lin",
    ];
    const SINGLE: [&str; 3] = ["linear1", "linear2", "modulation_lin"];
    const ALONE: [&str; 9] = [
        "img_in",
        "txt_in",
        "final_layer_linear",
        "time_in_in_layer",
        "time_in_out_layer",
        "vector_in_in_layer",
        "vector_in_out_layer",
        "guidance_in_in_layer",
        "guidance_in_out_layer",
    ];
    let known: BTreeSet<&String> = modules.collect();
    let number = |name: &str, kind: &str| -> Option<usize> {
        name.strip_prefix(kind)?.strip_prefix("transformer_blocks.")?.split('.').next()?.parse().ok()
    };
    let numbers = |kind: &str| known.iter().filter_map(|name| number(name, kind)).collect::<BTreeSet<usize>>();
    let double = numbers("").into_iter().flat_map(|i| DOUBLE.map(|rest| format!("double_blocks_{i}_{rest}")));
    let single = numbers("single_").into_iter().flat_map(|i| SINGLE.map(|rest| format!("single_blocks_{i}_{rest}")));
    let all = ALONE.map(str::to_owned).into_iter().chain(double).chain(single);
    let parts = |name: String| {
        let parts = of_flux(&name)?;
        let held = parts.iter().any(|part| known.contains(part));
        let parts = parts.into_iter().map(|part| rows(&part).map(|rows| (part, rows))).collect::<Option<Vec<_>>>()?;
        held.then_some((name, parts))
    };
    all.filter_map(parts).collect()
}

/// The modules that FLUX's authors keep as one called `flat`, in the order of their rows.
fn of_flux(flat: &str) -> Option<Vec<String>> {
    let one = |name: &str| Some(vec![name.to_string()]);
    let (block, rest) = match flat {
        "img_in" => return one("x_embedder"),
        "txt_in" => return one("context_embedder"),
        "final_layer_linear" => return one("proj_out"),
        "time_in_in_layer" => return one("time_text_embed.timestep_embedder.linear_1"),
        "time_in_out_layer" => return one("time_text_embed.timestep_embedder.linear_2"),
        "vector_in_in_layer" => return one("time_text_embed.text_embedder.linear_1"),
        "vector_in_out_layer" => return one("time_text_embed.text_embedder.linear_2"),
        "guidance_in_in_layer" => return one("time_text_embed.guidance_embedder.linear_1"),
        "guidance_in_out_layer" => return one("time_text_embed.guidance_embedder.linear_2"),
        _ => {
            let (kind, rest) = flat.split_once("_blocks_")?;
            let (number, rest) = rest.split_once('_')?;
            number.parse::<usize>().ok()?;
            match kind {
                "double" => (format!("transformer_blocks.{number}."), rest),
                "single" => (format!("single_transformer_blocks.{number}."), rest),
                _ => return None,
            }
        }
    };
    let parts: &[&str] = match rest {
        "img_attn_qkv" => &["attn.to_q", "attn.to_k", "attn.to_v"],
        "txt_attn_qkv" => &["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
        "img_attn_proj" => &["attn.to_out.0"],
        "txt_attn_proj" => &["attn.to_add_out"],
        "img_mlp_0" => &["ff.net.0.proj"],
        "txt_mlp_0" => &["ff_context.net.0.proj"],
        "img_mlp_2" => &["ff.net.2"],
        "txt_mlp_2" => &["ff_context.net.2"],
        "img_mod_lin" => &["norm1.linear"],
        "txt_mod_lin" => &["norm1_context.linear"],
        "linear1" => &["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
        "linear2" => &["proj_out"],
        "modulation_lin" => &["norm.linear"],
        _ => return None,
    };
    Some(parts.iter().map(|part| format!("{block}{part}")).collect())
}
