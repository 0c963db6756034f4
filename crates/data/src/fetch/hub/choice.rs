//! Which files of a model are read: each part once, its weights in safetensors and at full length where they come so.

use std::collections::{BTreeMap, BTreeSet};

/// What a model in diffusers' layout says of its parts in.
pub(super) const INDEX: &str = "model_index.json";

/// What a single part says of itself in.
pub(super) const CONFIG: &str = "config.json";

/// Parts of models that nothing here reads.
const UNREAD: [&str; 2] = ["safety_checker", "feature_extractor"];

/// Endings of weights, best first.
const WEIGHTS: [&str; 4] = ["safetensors", "bin", "pt", "ckpt"];

/// Endings of the files beside them: configurations, vocabularies.
const BESIDE: [&str; 3] = ["json", "txt", "model"];

/// Marks of weights that are another form of others.
const VARIANTS: [&str; 3] = [".fp16.", ".bf16.", ".non_ema."];

/// Names of the parts that an index (`model_index.json`) lists; nothing where it is no index.
pub(super) fn parts_of(index: &[u8]) -> Option<BTreeSet<String>> {
    let index: BTreeMap<String, serde_json::Value> = serde_json::from_slice(index).ok()?;
    let is_part =
        |value: &serde_json::Value| value.as_array().is_some_and(|pair| pair.iter().all(serde_json::Value::is_string));
    let parts =
        index.into_iter().filter(|(name, value)| !name.starts_with('_') && is_part(value)).map(|(name, _)| name);
    Some(parts.filter(|name| !UNREAD.contains(&name.as_str())).collect())
}

/// The files that are read of `files`: those of the `parts`, or, without, those of a single part at the root.
pub(super) fn chosen<'a>(files: impl Iterator<Item = &'a String>, parts: Option<&BTreeSet<String>>) -> Vec<String> {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for file in files {
        let (part, own) = file.rsplit_once('/').unwrap_or(("", file));
        let is_part = parts.map_or(part.is_empty(), |parts| parts.contains(part));
        if is_part && !own.starts_with('.') {
            of.entry(part).or_default().push(file);
        }
    }
    of.values().flat_map(|files| of_part(files)).map(str::to_string).collect()
}

/// The files that are read of one part's.
fn of_part<'a>(files: &[&'a str]) -> Vec<&'a str> {
    let whole = |file: &&&str| is_whole(file);
    let best = WEIGHTS.iter().find(|kind| files.iter().filter(whole).any(|file| ending(file) == **kind));
    // Where there are variants alone, these are read, with their list of pieces.
    let variants = WEIGHTS.iter().find(|kind| files.iter().any(|file| ending(file) == **kind));
    let taken = |file: &&&str| {
        let variant = VARIANTS.iter().any(|mark| file.contains(mark));
        match (best, variants) {
            _ if BESIDE.contains(&ending(file)) => best.is_none() || !variant,
            (Some(kind), _) => ending(file) == *kind && is_whole(file),
            (None, Some(kind)) => ending(file) == *kind,
            _ => false,
        }
    };
    files.iter().filter(taken).copied().collect()
}

fn ending(file: &str) -> &str {
    file.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Whether a file holds weights of any kind.
pub(super) fn is_weights(file: &str) -> bool {
    WEIGHTS.contains(&ending(file)) || ending(file) == "gguf"
}

/// Whether weights are neither a variant (`model.fp16.safetensors`, `model.non_ema.bin`) nor another program's.
fn is_whole(file: &str) -> bool {
    let own = file.rsplit('/').next().unwrap_or(file);
    let stem = own.rsplit_once('.').map_or(own, |(stem, _)| stem);
    WEIGHTS.contains(&ending(file)) && !stem.contains('.') && !own.starts_with("flax") && !own.starts_with("training")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: both kinds of weights; halves beside whole ones; halves without their list; the single files at the root of a model in
    /// parts; folders that the index does not name, or names as absent.
    #[test]
    fn each_part_comes_once() {
        let index = br#"{"_class_name": "FluxPipeline", "text_encoder": ["transformers", "CLIPTextModel"], "transformer": ["diffusers", "X"],
            "tokenizer": ["transformers", "Y"], "scheduler": ["diffusers", "Z"], "vae": ["diffusers", "V"], "eye": ["a", "b"],
            "safety_checker": ["a", "b"], "image_encoder": [null, null], "_diffusers_version": "0.30"}"#;
        let parts = parts_of(index).unwrap();
        assert!(parts_of(b"[1]").is_none() && parts_of(b"x").is_none());
        let chosen = |files: &[&str], parts: Option<&BTreeSet<String>>| {
            let files: Vec<String> = files.iter().map(|file| file.to_string()).collect();
            chosen(files.iter(), parts).join(" ")
        };
        let model = chosen(
            &[
                "README.md",
                "flux1-dev.safetensors",
                "eye/model-00001-of-00001.fp16.safetensors",
                "eye/model.safetensors.index.fp16.json",
                "image_encoder/model.safetensors",
                "safety_checker/model.safetensors",
                "scheduler/scheduler_config.json",
                "text_encoder/config.json",
                "text_encoder/model.fp16.safetensors",
                "text_encoder/model.fp16.safetensors.index.json",
                "text_encoder/model.safetensors",
                "text_encoder/pytorch_model.bin",
                "text_encoders/clip_l.safetensors",
                "tokenizer/merges.txt",
                "transformer/config.json",
                "transformer/diffusion_pytorch_model-00001-of-00002.safetensors",
                "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
                "transformer/diffusion_pytorch_model.safetensors.index.json",
                "unet/deep/er.safetensors",
                "vae/diffusion_pytorch_model.bin",
                "vae/diffusion_pytorch_model.fp16.bin",
            ],
            Some(&parts),
        );
        let wanted = "eye/model-00001-of-00001.fp16.safetensors eye/model.safetensors.index.fp16.json scheduler/scheduler_config.json text_encoder/config.json text_encoder/model.safetensors \
                      tokenizer/merges.txt transformer/config.json transformer/diffusion_pytorch_model-00001-of-00002.safetensors \
                      transformer/diffusion_pytorch_model-00002-of-00002.safetensors \
                      transformer/diffusion_pytorch_model.safetensors.index.json vae/diffusion_pytorch_model.bin";
        assert_eq!(model, wanted);
        let part = chosen(
            &["config.json", "flax_model.msgpack", "model.safetensors", "pytorch_model.bin", "onnx/model.json"],
            None,
        );
        assert_eq!(part, "config.json model.safetensors");
    }
}
