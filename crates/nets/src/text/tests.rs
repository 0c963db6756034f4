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

/// A class that stands for a prompt says what the prompt's tokens and its sentence say; none says nothing.
#[test]
fn prompts_are_read_by_number() {
    use crate::{ConditionConfig, DitConfig, NetConfig, UnetConfig};
    use base::{Condition, NULL_CLASS, Network, Pass, Tensor, Tokens};
    let device = Device::flex();
    let wave = |n: usize, by: f32| (0..n).map(|i| (by * i as f32).sin()).collect::<Vec<f32>>();
    let embedding: Tensor<3> = Tensor::<1>::from_floats(wave(2 * 3 * 4, 1.3).as_slice(), &device).reshape([2, 3, 4]);
    let mask = Tensor::<2>::from_floats([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]], &device);
    let embedding = embedding * mask.clone().unsqueeze_dim::<3>(2);
    let tokens = Tokens { embedding: embedding.clone(), mask: mask.clone().greater_elem(0.5) };
    let prompts = super::Prompts::new(&tokens);
    assert_eq!((prompts.len(), prompts.features()), (2, 4));
    let class = |classes: &[i64]| Condition::classes(classes, &device);
    let sentences = prompts.sentences(&class(&[1, NULL_CLASS]).class.unwrap(), false);
    let second: Vec<f32> = wave(24, 1.3)[12..16].to_vec(); // its only token
    let length = second.iter().map(|x| x * x).sum::<f32>().sqrt() / 2.0;
    let want: Vec<f32> = second.iter().map(|x| x / length).chain([0.0; 4]).collect();
    assert_near(&sentences.into_data().try_to_vec::<f32>().unwrap(), &want, 1e-6);

    let condition = ConditionConfig { tokens: 4, vector: 4, ..ConditionConfig::default() };
    let config = NetConfig::Dit(DitConfig { width: 16, depth: 2, heads: 2, condition, ..DitConfig::default() });
    struct Shake;
    impl crate::weights::ParamMap for Shake {
        fn map<const D: usize>(&mut self, _: &str, x: Tensor<D>) -> Tensor<D> {
            let n = x.shape().num_elements();
            let shake = Tensor::<1>::from_floats(
                (0..n).map(|i| 0.1 * (i as f32).cos()).collect::<Vec<_>>().as_slice(),
                &x.device(),
            );
            x.clone() + shake.reshape(x.dims())
        }
    }
    let plain = crate::weights::map_named(config.init(1, [1, 8, 8], 0, &device).unwrap(), &mut Shake);
    let reading = plain.clone().reading(&config, prompts.clone()).unwrap();
    let x = Tensor::<1>::from_floats(wave(2 * 64, 0.7).as_slice(), &device).reshape([2, 64]);
    let t = Tensor::<1>::from_floats([0.3, 0.6], &device);
    let host = |y: Tensor<2>| y.into_data().try_to_vec::<f32>().unwrap();
    let say = |net: &crate::Net, c: &Condition| host(net.predict(x.clone(), t.clone(), c, &Pass::Infer));
    // Sample 0 asks for prompt 1 and sample 1 for prompt 0.
    let rows = |order: [usize; 2]| {
        let pick = |x: Tensor<3>| Tensor::cat(order.map(|i| x.clone().narrow(0, i, 1)).to_vec(), 0);
        Tokens {
            embedding: pick(embedding.clone()),
            mask: pick(mask.clone().unsqueeze_dim::<3>(2)).squeeze_dim::<2>(2).greater_elem(0.5),
        }
    };
    let given = Condition {
        tokens: Some(rows([1, 0])),
        vector: Some(prompts.sentences(&class(&[1, 0]).class.unwrap(), false)),
        ..Condition::none()
    };
    assert_near(&say(&reading, &class(&[1, 0])), &say(&plain, &given), 1e-6);
    let none = say(&plain, &Condition::none());
    assert_near(&say(&reading, &class(&[NULL_CLASS; 2])), &none, 1e-6);
    assert_near(&say(&reading, &Condition::none()), &none, 1e-6);
    assert!(say(&reading, &class(&[1, 0])).iter().zip(&none).any(|(a, b)| (a - b).abs() > 1e-3));
    // On the tape the same, and the table gets no gradient.
    use burn::module::Module;
    let (net, tape) = (reading.clone().train(), device.clone().autodiff());
    let (xt, tt) = (Tensor::from_inner(x.clone()), Tensor::from_inner(t.clone()));
    let taped = net.predict(xt, tt, &Condition::classes(&[1, 0], &tape), &Pass::Infer);
    assert_near(&host(taped.clone().inner()), &say(&plain, &given), 1e-6);
    taped.sum().backward();

    let unet = NetConfig::Unet(UnetConfig { channels: 8, ..UnetConfig::default() });
    let refused = unet.init(1, [1, 8, 8], 0, &device).unwrap().reading(&unet, prompts.clone()).unwrap_err();
    assert!(refused.to_string().contains("condition.vector = 4"), "{refused}");
    let wide = ConditionConfig { vector: 5, ..ConditionConfig::default() };
    let wide = NetConfig::Unet(UnetConfig { channels: 8, condition: wide, ..UnetConfig::default() });
    let refused = wide.init(1, [1, 8, 8], 0, &device).unwrap().reading(&wide, prompts).unwrap_err();
    assert!(refused.to_string().contains("gives 4 features"), "{refused}");
}
