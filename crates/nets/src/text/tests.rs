//! The encoder computes what the reference does; `golden.py` beside this file prints the numbers.

use super::{Bert, BertConfig, TextEncoder, WordPieces};
use base::Device;
use std::collections::BTreeMap;

fn small() -> BertConfig {
    BertConfig {
        vocab_size: 20,
        hidden_size: 8,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 12,
        max_position_embeddings: 6,
        layer_norm_eps: 1e-12,
    }
}

/// Weights that follow a formula of their published names: a wrong name, layout or order shows.
fn made_up(config: &BertConfig, prefix: &str) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let (d, wide) = (config.hidden_size, config.intermediate_size);
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_string(), vec![config.vocab_size, d]),
        ("embeddings.position_embeddings.weight".into(), vec![config.max_position_embeddings, d]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, d]),
        ("embeddings.LayerNorm.weight".into(), vec![d]),
        ("embeddings.LayerNorm.bias".into(), vec![d]),
    ];
    for i in 0..config.num_hidden_layers {
        for (name, o, n) in [
            ("attention.self.query", d, d),
            ("attention.self.key", d, d),
            ("attention.self.value", d, d),
            ("attention.output.dense", d, d),
            ("intermediate.dense", wide, d),
            ("output.dense", d, wide),
        ] {
            shapes.push((format!("encoder.layer.{i}.{name}.weight"), vec![o, n]));
            shapes.push((format!("encoder.layer.{i}.{name}.bias"), vec![o]));
        }
        for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
            shapes.push((format!("encoder.layer.{i}.{name}.weight"), vec![d]));
            shapes.push((format!("encoder.layer.{i}.{name}.bias"), vec![d]));
        }
    }
    let value = |name: &str, i: usize| {
        let phase = name.bytes().map(f64::from).sum::<f64>();
        let base = if name.contains("LayerNorm.weight") { 1.0 } else { 0.0 };
        (base + 0.3 * (1.7 * i as f64 + phase).sin()) as f32
    };
    let fill = |(name, shape): (String, Vec<usize>)| {
        let values = (0..shape.iter().product()).map(|i| value(&name, i)).collect();
        (format!("{prefix}{name}"), (shape, values))
    };
    shapes.into_iter().map(fill).collect()
}

fn every(tokens: &base::Tokens, step: usize) -> Vec<f32> {
    tokens.embedding.clone().into_data().try_to_vec::<f32>().unwrap().into_iter().step_by(step).collect()
}

fn assert_near(got: &[f32], want: &[f32], tolerance: f32) {
    assert_eq!(got.len(), want.len());
    assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < tolerance), "{got:?} against {want:?}");
}

const IDS: [i64; 12] = [2, 7, 19, 3, 0, 0, 2, 4, 3, 0, 0, 0];
const MASK: [bool; 12] = [true, true, true, true, false, false, true, true, true, false, false, false];

#[test]
fn it_computes_what_the_reference_does_with_made_up_weights() {
    let device = Device::flex();
    let want = [
        1.115522, 1.041783, -0.478004, 1.688816, -0.939273, 0.0, 0.0, 0.736155, -0.914138, -0.766691, -0.136414, 0.0,
        0.0, 0.0,
    ];
    for prefix in ["", "bert."] {
        let bert = Bert::load(&small(), &made_up(&small(), prefix), &device).unwrap();
        // Six printed digits.
        assert_near(&every(&bert.tokens(&IDS, &MASK, [2, 6], &device), 7), &want, 5e-6);
    }
}

#[test]
fn weights_that_do_not_fit_are_named() {
    let device = Device::flex();
    let mut weights = made_up(&small(), "");
    weights.remove("encoder.layer.1.attention.self.key.bias");
    let said = Bert::load(&small(), &weights, &device).unwrap_err().to_string();
    assert!(said.contains("layers.1.key.bias"), "{said}");
    let heads = BertConfig { num_attention_heads: 3, ..small() };
    assert!(Bert::load(&heads, &weights, &device).unwrap_err().to_string().contains("does not divide 8"));
    assert!(WordPieces::parse(b"{}").unwrap_err().to_string().contains("tokenizer.json cannot be read"));
    // Cut off inside its decoder: the crate that reads it panics there.
    let cut = br#"{"version": "1.0", "decoder": {"type": "WordPiece", "prefix": "#;
    assert!(WordPieces::parse(cut).unwrap_err().to_string().contains("tokenizer.json cannot be read"));
}

/// With the published weights, where `rectiflow data get minilm` has put them; says so where it has not.
#[test]
fn it_computes_what_the_reference_does_with_the_published_weights() {
    let folder = |variable: &str, below: &str| Some(std::path::Path::new(&std::env::var_os(variable)?).join(below));
    let cache = folder("RECTIFLOW_DATA", "").or_else(|| folder("XDG_CACHE_HOME", "rectiflow"));
    let folder = cache.or_else(|| folder("HOME", ".cache/rectiflow")).unwrap_or_default().join("minilm");
    let read = |file: &str| std::fs::read(folder.join(file)).ok();
    let (Some(weights), Some(words), Some(config)) =
        (read("model.safetensors"), read("tokenizer.json"), read("config.json"))
    else {
        println!("no weights in {}: run `rectiflow data get minilm` for this test to compare them", folder.display());
        return;
    };
    let device = Device::flex();
    let config: BertConfig = serde_json::from_slice(&config).unwrap();
    let bert = Bert::load(&config, &safetensors::SafeTensors::deserialize(&weights).unwrap(), &device).unwrap();
    let encoder = TextEncoder::new(bert, WordPieces::parse(&words).unwrap(), 12, &device).unwrap();
    let prompts = ["grinning face with big eyes", "Café: a hot beverage!", "woman’s hand, 32 bananas"];
    let (ids, _) = encoder.words.batch(&prompts, 12).unwrap();
    assert_eq!(ids[..12], [101, 11478, 2227, 2007, 2502, 2159, 102, 0, 0, 0, 0, 0]);
    assert_eq!(ids[24..36], [101, 2450, 1521, 1055, 2192, 1010, 3590, 26191, 102, 0, 0, 0]);
    let (cut, mask) = encoder.words.batch(&prompts[..1], 4).unwrap();
    assert_eq!((cut, mask), (vec![101, 11478, 2227, 102], vec![true; 4]), "the end is marked whatever is cut");
    let want = [0.128344, 0.826456, 0.0, 0.0, -0.136056, -0.335306, 0.0, 0.544969, 0.976522, 0.0];
    assert_near(&every(&encoder.encode(&prompts).unwrap(), 1531), &want, 2e-5);
    let sentences = encoder.sentences(&prompts).unwrap();
    let cosines: Vec<f32> = sentences.clone().matmul(sentences.transpose()).into_data().try_to_vec().unwrap();
    assert_near(&cosines, &[1.0, 0.257761, 0.181504, 0.257761, 1.0, 0.262607, 0.181504, 0.262607, 1.0], 1e-5);
    assert!(TextEncoder::new(encoder.bert, encoder.words, 513, &device).unwrap_err().to_string().contains("3 to 512"));
}

/// The mutants: padding counted in, a mean in place of a direction, no text taken for a number that is none.
#[test]
fn a_text_is_pooled_over_its_tokens() {
    use base::Tensor;
    let device = Device::flex();
    let embedding: Tensor<3> = Tensor::<1>::from_floats([3.0, 0.0, 0.0, 4.0, 9.0, 9.0], &device).reshape([1, 3, 2]);
    let embedding = Tensor::cat(vec![embedding.clone(), embedding], 0);
    let mask = Tensor::<2>::from_floats([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], &device).greater_elem(0.5);
    let pooled = super::pooled(&base::Tokens { embedding, mask });
    // (3, 4) at length sqrt 2; the second text has no token.
    let want = [0.6 * 2f32.sqrt(), 0.8 * 2f32.sqrt(), 0.0, 0.0];
    assert_near(&pooled.into_data().try_to_vec::<f32>().unwrap(), &want, 1e-6);
}
