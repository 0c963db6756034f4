//! Released networks in training: gradients of corrections of low rank against differences of the loss, with and without running
//! blocks again, on the tiny models of `fixtures/`.

use base::{Condition, Device, Key, Network, Pass, Purpose, Shape, Tensor, TensorData, Tokens};
use nets::{
    LoraConfig, Net, NetsError, ReleasedConfig,
    published::{Published, read},
    released::Sizes,
    weights::{ParamMap, ParamVisit, Stored, TensorSource, map_named, visit_trained},
};
use serde::Deserialize;
use std::{collections::BTreeMap, path::Path};

/// A folder's weights as they are, or rounded to bfloat16.
struct Halved(Stored, bool);

impl TensorSource for Halved {
    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.shape(name)
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, NetsError> {
        self.0.read(name)
    }

    fn data(&self, name: &str) -> Result<TensorData, NetsError> {
        let data = self.0.data(name)?;
        Ok(if self.1 { data.convert_dtype(burn::tensor::DType::BF16) } else { data })
    }
}

fn numbers<const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<D> {
    let values: Vec<f32> = Key::new(seed, Purpose::Probe).normals(0, shape.iter().product()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

/// The network of a fixture's folder with corrections of its attentions that are not zero.
fn corrected(name: &str, halved: bool, targets: &[&str]) -> Net {
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    fn config<T: Published>(folder: &Path) -> T {
        read(&std::fs::read(folder.join("config.json")).unwrap()).unwrap().0
    }
    let (at, sizes, steps) = match name {
        "flux_dev_tiny" => (at.join("transformer"), Sizes::Flux(config(&at.join("transformer"))), None),
        "sd15_tiny" => (at.join("unet"), Sizes::Unet(Box::new(config(&at.join("unet")))), Some(1000)),
        _ => (at.join("transformer"), Sizes::Mmdit(config(&at.join("transformer"))), None),
    };
    let config = ReleasedConfig::new(sizes, steps);
    let shape = if name == "sd15_tiny" { [4, 8, 8] } else { [16, 8, 8] };
    let source = Halved(Stored::in_folder(&at, "diffusion_pytorch_model").unwrap(), halved);
    let net = Net::released(config.load(&source, shape, &Device::flex()).unwrap(), Shape::from(shape));
    let targets = targets.iter().map(|target| (*target).to_owned()).collect();
    let net = LoraConfig { rank: 2, alpha: 3.0, targets }.init(net, 5, &Device::flex()).unwrap();
    moved(net, &|name| name.ends_with("lora.b").then_some(0.2))
}

/// Parameters moved by numbers of their own, as far as `by` says.
fn moved(net: Net, by: &dyn Fn(&str) -> Option<f32>) -> Net {
    struct Move<'a>(&'a dyn Fn(&str) -> Option<f32>);
    impl ParamMap for Move<'_> {
        fn map<const D: usize>(&mut self, name: &str, tensor: Tensor<D>) -> Tensor<D> {
            match (self.0)(name) {
                Some(far) => tensor.clone() + numbers(name.bytes().map(u64::from).sum(), tensor.dims()) * far,
                None => tensor,
            }
        }
    }
    map_named(net, &mut Move(by))
}

/// The mean square of what it says, and the gradient of every number that learns, by name.
fn loss(net: &Net, recompute: bool, learns: bool) -> (f64, BTreeMap<String, Vec<f32>>) {
    let n = net.shape().numel();
    let flux = net.attentions() == 4; // two blocks of each kind
    let (tokens, vector) = if n == 256 {
        (32, 0)
    } else if flux {
        (40, 32)
    } else {
        (64, 56)
    };
    let (x, embedding) = (numbers(1, [2, n]), numbers(2, [2, 5, tokens]));
    let mask = Tensor::<2>::ones([2, 5], &Device::flex()).greater_elem(0.0);
    let vector = (vector > 0).then(|| numbers(3, [2, vector]));
    let condition = Condition { vector, tokens: Some(Tokens { embedding, mask }), ..Condition::none() };
    let pass = Pass::train(Key::new(0, Purpose::Dropout), vec![0, 1]).recomputing(recompute);
    let device = if learns { Device::flex().autodiff() } else { Device::flex() };
    let t = Tensor::<1>::from_floats([0.3, 0.8], &device);
    let x: Tensor<2> = x;
    let (x, condition) = if learns { (Tensor::from_inner(x), condition.on(&device)) } else { (x, condition) };
    let said = net.predict(x, t, &condition, &pass).square().mean();
    let value = f64::from(said.clone().inner().into_scalar::<f32>());
    if !learns {
        return (value, BTreeMap::new());
    }
    struct Seen(burn::tensor::Gradients, BTreeMap<String, Vec<f32>>);
    impl ParamVisit for Seen {
        fn visit<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
            let gradient = tensor.grad(&self.0).unwrap_or_else(|| panic!("{name} learns nothing"));
            self.1.insert(name.to_owned(), gradient.into_data().iter::<f32>().collect());
        }
    }
    let mut seen = Seen(said.backward(), BTreeMap::new());
    visit_trained(net, &mut seen);
    (value, seen.1)
}

fn dot(a: &BTreeMap<String, Vec<f32>>, direction: impl Fn(&str, usize) -> Vec<f32>) -> f64 {
    let of = |(name, values): (&String, &Vec<f32>)| -> f64 {
        let along = direction(name, values.len());
        values.iter().zip(along).map(|(a, b)| f64::from(*a) * f64::from(b)).sum()
    };
    a.iter().map(of).sum()
}

/// Mutants: a text stream cut off the tape where blocks run again; a correction of a half read without being widened; the last norm's
/// embedding a constant.
#[test]
fn gradients_are_the_differences_of_the_loss_and_do_not_depend_on_running_again() {
    for (name, halved) in [("sd3_tiny", false), ("sd35m_tiny", true), ("flux_dev_tiny", false), ("sd15_tiny", true)] {
        // The embedding of the text too, so that a gradient passes through every stream to the beginning.
        let early = if name == "sd15_tiny" { "time_embedding" } else { "context_embedder" };
        let net = corrected(name, halved, &["attn*", early]);
        let training = burn::module::Module::train(net.clone());
        let (value, gradients) = loss(&training, false, true);
        let (again, same) = loss(&training, true, true);
        assert!((value - again).abs() < 1e-6 * value, "{name}: {value} {again}");
        for (name, gradient) in &gradients {
            let size = gradient.iter().fold(0f32, |most, g| most.max(g.abs()));
            let far = gradient.iter().zip(&same[name]).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
            // Sums in another order: 1.3e-5 apart with AVX-512. Nobody hears what a text asks that is dropped.
            let idle = name.contains("blocks.2.attn.add_q_proj");
            assert!((size > 0.0) != idle && far <= 5e-5 * size + 1e-9, "{name}: {far} of {size}");
        }
        // Along one direction through all corrections, and along one through each end of the network.
        for part in ["lora.", early] {
            let along = |by: f32| move |name: &str| (name.contains("lora.") && name.contains(part)).then_some(by);
            let step = 4e-3;
            let [up, down] = [step, -step].map(|by| loss(&moved(net.clone(), &along(by)), false, false).0);
            let slope = (up - down) / (2.0 * f64::from(step));
            let wanted = dot(&gradients, |name, len| match name.contains(part) {
                true => Key::new(name.bytes().map(u64::from).sum(), Purpose::Probe).normals(0, len).collect(),
                false => vec![0.0; len],
            });
            println!("{name} {part}: {slope} {wanted}");
            // Third derivatives at this step, and f32's rounding over it.
            assert!((slope - wanted).abs() < 0.02 * wanted.abs() + 2e-3 * value, "{name} {part}: {slope} {wanted}");
        }
    }
}

/// Mutants: a pattern that matches any letters of a name; one that no layer answers to let through.
#[test]
fn targets_are_parts_of_names() {
    let count = |targets: &[&str]| {
        let net = corrected("sd3_tiny", false, targets);
        let mut names = Vec::new();
        struct Names<'a>(&'a mut Vec<String>);
        impl ParamVisit for Names<'_> {
            fn visit<const D: usize>(&mut self, name: &str, _: &Tensor<D>) {
                self.0.push(name.to_owned());
            }
        }
        visit_trained(&net, &mut Names(&mut names));
        (names.len() / 2, names)
    };
    let (queries, names) = count(&["attn.to_q"]);
    assert!(queries == 3 && names.iter().all(|name| name.contains(".attn.to_q.weight.lora.")), "{names:?}");
    assert_eq!(count(&["transformer_blocks.1.ff"]).0, 2);
    assert_eq!(count(&["ff*"]).0, 3 * 2 + 2 * 2); // the last block drops the text
    let at = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/sd3_tiny/transformer");
    let config = read(&std::fs::read(at.join("config.json")).unwrap()).unwrap().0;
    let config = nets::NetConfig::Released(Box::new(ReleasedConfig::new(Sizes::Mmdit(config), None)));
    let net = config.init(0, [16, 8, 8], 0, &Device::flex()).unwrap();
    let refused = LoraConfig { targets: vec!["attn.qkv".into()], ..LoraConfig::default() };
    let said = refused.init(net, 0, &Device::flex()).unwrap_err().to_string();
    assert!(said.contains("`attn.qkv`") && said.contains("pos_embed.proj"), "{said}");
}

#[test]
fn costs_of_released_networks_are_counted_on_themselves() {
    let config =
        |name: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap();
    let sd3 = Sizes::Mmdit(read(&config("sd3_tiny/transformer/config.json")).unwrap().0);
    let flux = Sizes::Flux(read(&config("flux_dev_tiny/transformer/config.json")).unwrap().0);
    let unet = Sizes::Unet(Box::new(read(&config("sd15_tiny/unet/config.json")).unwrap().0));
    for (sizes, shape) in [(sd3, [16, 8, 8]), (flux, [16, 8, 8]), (unet, [4, 8, 8])] {
        let config = nets::NetConfig::Released(Box::new(ReleasedConfig::new(sizes, None)));
        let cost = config.cost(shape, 0).unwrap();
        let net = config.init(1, shape, 0, &Device::flex()).unwrap();
        assert_eq!(cost.parameters, burn::module::Module::num_params(&net));
        assert!(
            cost.checkpointed_bytes_per_sample < cost.activation_bytes_per_sample / 2 * 3
                && cost.forward_flops_per_sample > 0
        );
        // A recipe that a run keeps says it all.
        let kept = toml::Table::try_from(&config).unwrap();
        assert_eq!(nets::NetConfig::deserialize(kept).unwrap(), config);
        assert!(config.init(1, [3, 8, 8], 0, &Device::flex()).unwrap_err().to_string().contains("3 channels"));
    }
    // Stable Diffusion 3 medium: 2.0283 billion numbers and the table of positions, which is no parameter to its authors.
    let real = Sizes::Mmdit(nets::MmditConfig {
        num_layers: 24,
        num_attention_heads: 24,
        caption_projection_dim: 1536,
        pos_embed_max_size: 192,
        ..Default::default()
    });
    let cost = nets::NetConfig::Released(Box::new(ReleasedConfig::new(real, None))).cost([16, 64, 64], 0).unwrap();
    assert_eq!(cost.parameters / 1_000_000, 2084);
}
