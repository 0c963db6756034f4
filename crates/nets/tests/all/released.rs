//! Released layouts against the reference libraries' own numbers: every module alone, on the tiny models of `fixtures/`.
//!
//! Tolerance 1e-4 absolute for answers of size one; the reference differs from itself in f64 by up to 1e-5.

use base::{Device, Tensor, TensorData};
use burn::module::Module;
use nets::{
    AutoencoderConfig, BigVganConfig, ClipCodecConfig, FlowSep, Flux2Config, FluxConfig, MmditConfig, PatchedConfig,
    QwenImageConfig, WanConfig, ZImageConfig,
    published::{Published, read},
    text::{ClipConfig, QwenConfig, T5Config, WordPieces},
    text_unet::TextUnetConfig,
    weights::{Stored, TensorSource},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const TOLERANCE: f32 = 1e-4;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn config<T: Published>(folder: &Path) -> T {
    let (config, unknown) = read(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert!(unknown.is_empty(), "{}: {unknown:?}", folder.display());
    config
}

struct Golden(Stored);

impl Golden {
    fn of(name: &str) -> Self {
        Self(Stored::open(&folder(name).join("golden.safetensors")).unwrap())
    }

    fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (shape, values) = (self.0.shape(name).unwrap(), self.0.read(name).unwrap());
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// Whole numbers, stored as such.
    fn ids(&self, name: &str) -> (Vec<i64>, [usize; 2]) {
        let file = std::fs::read(self.0.path()).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let view = tensors.tensor(name).unwrap();
        let ids = match view.dtype() {
            safetensors::Dtype::I64 => view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            safetensors::Dtype::I32 => {
                view.data().as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()
            }
            other => panic!("{name} is {other:?}"),
        };
        (ids, [view.shape()[0], view.shape()[1]])
    }

    fn holds<const D: usize>(&self, name: &str, got: Tensor<D>) {
        let want = self.tensor::<D>(name);
        assert_eq!(got.dims(), want.dims(), "{name}");
        let far = (got - want).abs().max().into_scalar::<f32>();
        println!("{name}: {far:e}");
        assert!(far < TOLERANCE, "{name} is off by {far:e}");
    }
}

fn stored(folder: &Path, name: &str) -> Stored {
    Stored::in_folder(folder, name).unwrap()
}

const WEIGHTS: &str = "diffusion_pytorch_model";

#[test]
fn mmdit_answers_as_the_reference() {
    let device = Device::flex();
    for name in ["sd3_tiny", "sd35m_tiny"] {
        let (at, golden) = (folder(name).join("transformer"), Golden::of(name));
        let config: MmditConfig = config(&at);
        let net = config.load(&stored(&at, WEIGHTS), &device).unwrap();
        let tensor = |name: &str| golden.tensor::<1>(name);
        let answer = net.forward(
            golden.tensor("fwd.x"),
            tensor("fwd.t"),
            golden.tensor("fwd.pooled"),
            golden.tensor("fwd.ctx"),
            &[],
            None,
        );
        golden.holds("fwd.out", answer);
    }
}

#[test]
fn flux_answers_as_the_reference() {
    let device = Device::flex();
    for name in ["flux_schnell_tiny", "flux_dev_tiny"] {
        let (at, golden) = (folder(name).join("transformer"), Golden::of(name));
        let config: FluxConfig = config(&at);
        let net = config.load(&stored(&at, WEIGHTS), &device).unwrap();
        let guidance = net.guided().then(|| golden.tensor::<1>("fwd.guidance"));
        assert_eq!(net.guided(), name == "flux_dev_tiny");
        // The reference's call takes tokens of a 3x5 grid.
        let x = nets::flux::unpack(golden.tensor("fwd.x"), 6, 10);
        let answer = net.forward(
            x,
            golden.tensor("fwd.t"),
            guidance,
            golden.tensor("fwd.pooled"),
            golden.tensor("fwd.ctx"),
            None,
        );
        golden.holds("fwd.out", nets::flux::pack(answer));
    }
}

#[test]
fn autoencoder_encodes_and_decodes_as_the_reference() {
    let device = Device::flex();
    for name in ["sd3_tiny", "flux_schnell_tiny"] {
        let (at, golden) = (folder(name).join("vae"), Golden::of(name));
        let config: AutoencoderConfig = config(&at);
        let net = config.load(&stored(&at, WEIGHTS), &device).unwrap();
        let latent = net.encode(golden.tensor("vae.encode.image"));
        golden.holds("vae.encode.mean", latent.mean.clone());
        golden.holds("vae.encode.logvar", latent.logvar);
        golden.holds("vae.encode.latent_mode", net.scaled(latent.mean));
        let last = golden.tensor::<4>("image").dims();
        let latents = match name {
            "sd3_tiny" => golden.tensor("latents.step4"),
            _ => {
                nets::flux::unpack(golden.tensor("latents.step4"), last[2] / config.factor(), last[3] / config.factor())
            }
        };
        golden.holds("image", net.decode(latents));
    }
    // AudioLDM's shape: one channel in, eight of a latent, time and bands for rows and columns. Its latents are scaled.
    let (at, golden) = (folder("audio_tiny").join("vae"), Golden::of("audio_tiny"));
    let net = config::<AutoencoderConfig>(&at).load(&stored(&at, WEIGHTS), &device).unwrap();
    let latent = net.encode(golden.tensor("vae.input"));
    golden.holds("vae.mean", latent.mean.clone());
    golden.holds("vae.logvar", latent.logvar);
    let latent = net.scaled(latent.mean);
    golden.holds("vae.latent_mode", latent.clone());
    golden.holds("vae.output_mel", net.decode(latent));
}

/// Mutant tried: heads turned by row, column and frame. Named: a table left out, queries normalised head by head.
#[test]
fn wan_answers_as_the_reference() {
    let (at, golden) = (folder("wan_tiny").join("transformer"), Golden::of("wan_tiny"));
    let config: WanConfig = config(&at);
    let net = config.load(&stored(&at, WEIGHTS), &Device::flex()).unwrap();
    golden.holds("fwd.out", net.forward(golden.tensor("fwd.x"), golden.tensor("fwd.t"), golden.tensor("fwd.ctx")));
    // A key of another network of the family is refused, not passed over.
    let text = String::from_utf8(std::fs::read(at.join("config.json")).unwrap()).unwrap();
    let said = |text: String| read::<WanConfig>(text.as_bytes()).unwrap_err().to_string();
    assert!(said(text.replace("\"image_dim\": null", "\"image_dim\": 64")).contains("image_dim is 64"));
    assert!(said(text.replace("\"eps\"", "\"window\": 3, \"eps\"")).contains("window is 3"));
}

/// Mutant tried: the two halves of a doubled rate exchanged. Named: the first frame doubled, zeros in place of what came before a piece, the
/// deviation divided by.
#[test]
fn the_codec_of_clips_encodes_and_decodes_as_the_reference() {
    let device = Device::flex();
    let (at, golden) = (folder("wan_tiny").join("vae"), Golden::of("wan_tiny"));
    let config: ClipCodecConfig = config(&at);
    assert_eq!((config.factor(), config.frames_factor(), config.latent_frames(9).unwrap()), (4, 4, 3));
    assert!(config.latent_frames(8).unwrap_err().to_string().contains("5 or 9"));
    let net = config.load(&stored(&at, WEIGHTS), &device).unwrap();
    let latent = net.encode(golden.tensor("vae.encode.video"));
    golden.holds("vae.encode.mean", latent.mean.clone());
    golden.holds("vae.encode.logvar", latent.logvar);
    golden.holds("vae.encode.latent_mode", net.scaled(latent.mean));
    let z = net.scaled(golden.tensor("vae.decode.z"));
    golden.holds("vae.decode.one_frame", net.decode(z.clone().narrow(2, 0, 1)));
    // In pieces of one frame of the latent, of two, and at once.
    (1..4).for_each(|frames| golden.holds("euler.video", net.decode_in(z.clone(), frames)));
}

/// Mutant tried: what is said of padding kept. Named: padding listened to, the first block's bias for all.
#[test]
fn umt5_reads_as_the_reference() {
    let device = Device::flex();
    let (at, golden) = (folder("wan_tiny"), Golden::of("wan_tiny"));
    let config: T5Config = config(&at.join("text_encoder"));
    let net = config.load(&stored(&at.join("text_encoder"), "model"), &device).unwrap();
    for side in ["pos", "neg"] {
        let (ids, size) = golden.ids(&format!("text.{side}.ids"));
        let real = ids.iter().position(|id| *id == 0).unwrap();
        golden.holds(&format!("text.{side}.prompt_embeds"), net.read_real(&ids, size, &[real], &device));
    }
    let texts: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("golden.json")).unwrap()).unwrap();
    let words = WordPieces::parse(&std::fs::read(at.join("tokenizer/tokenizer.json")).unwrap()).unwrap();
    let (ids, [_, length]) = golden.ids("tok.umt5");
    for (text, ids) in texts["tok_texts"].as_array().unwrap().iter().zip(ids.chunks(length)) {
        assert_eq!(words.split(text.as_str().unwrap(), length).unwrap().ids, ids, "{text}");
    }
}

#[test]
fn clip_reads_as_the_reference() {
    let device = Device::flex();
    // Both ways of finding a text's end: the historic 2 in the first encoder, a real id in the second.
    let golden = Golden::of("sd3_tiny");
    for (part, name) in [("text_encoder", "clip_l"), ("text_encoder_2", "clip_g")] {
        let at = folder("sd3_tiny").join(part);
        let config: ClipConfig = config(&at);
        assert_eq!(config.eos_token_id == 2, name == "clip_l");
        let net = config.load(true, &stored(&at, "model"), &device).unwrap();
        for side in ["pos", "neg"] {
            let (ids, shape) = golden.ids(&format!("text.{side}.{name}.ids"));
            let read = net.read(&ids, shape, 1, &device);
            golden.holds(&format!("text.{side}.{name}.hidden"), read.tokens);
            golden.holds(&format!("text.{side}.{name}.pooled"), read.pooled);
        }
    }
    // Without a projection and without `text_model.` in its names.
    let golden = Golden::of("flux_schnell_tiny");
    let at = folder("flux_schnell_tiny").join("text_encoder");
    let net = config::<ClipConfig>(&at).load(false, &stored(&at, "model"), &device).unwrap();
    let (ids, shape) = golden.ids("text.clip.ids");
    let read = net.read(&ids, shape, 0, &device);
    golden.holds("text.clip.last", read.tokens);
    golden.holds("text.clip.pooled", read.pooled);
}

/// Token numbers of texts in a chat, and what is on Qwen3's mind of one before its last layer.
///
/// Mutants: text normalised or cut as CLIP's; see `z_image.rs` of the other crate's tests.
#[test]
fn qwen_reads_as_the_reference() {
    let device = Device::flex();
    let (at, golden) = (folder("z_image_tiny"), Golden::of("z_image_tiny"));
    let words = WordPieces::parse(&std::fs::read(at.join("tokenizer/tokenizer.json")).unwrap()).unwrap();
    let told: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("golden.json")).unwrap()).unwrap();
    let at = at.join("text_encoder");
    let net = config::<QwenConfig>(&at).load(&stored(&at, "model"), &device).unwrap();
    for (i, text) in told["texts"].as_array().unwrap().iter().enumerate() {
        let chat = format!("<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", text.as_str().unwrap());
        let pieces = words.first(&chat, 512, false).unwrap();
        let (ids, _) = golden.ids(&format!("tok.{i}"));
        assert_eq!((pieces.ids.clone(), pieces.cut), (ids, None), "{text}");
        if i == 0 {
            golden.holds("text.pos.prompt_embeds", net.read(&pieces.ids, 1, &device));
        }
    }
}

#[test]
fn t5_reads_as_the_reference() {
    let device = Device::flex();
    let golden = Golden::of("flux_dev_tiny");
    let at = folder("flux_dev_tiny").join("text_encoder_2");
    let net = config::<T5Config>(&at).load(&stored(&at, "model"), &device).unwrap();
    let (ids, shape) = golden.ids("text.t5.ids");
    golden.holds("text.t5.hidden", net.read(&ids, shape, &device));
}

/// Several times, whole and not; a batch of two times; sides that two does not divide.
#[test]
fn text_unet_answers_as_the_reference() {
    let device = Device::flex();
    let name = "instaflow_tiny";
    let (at, golden) = (folder(name).join("unet"), Golden::of(name));
    let config: TextUnetConfig = config(&at);
    let net = config.load(&stored(&at, WEIGHTS), &device).unwrap();
    let prompt = || golden.tensor::<3>("text.pos.hidden");
    for time in ["0", "1", "500.5", "666.667", "999", "1000"] {
        let t = Tensor::<1>::from_floats([time.parse::<f32>().unwrap()], &device);
        golden.holds(&format!("unet.t{time}"), net.forward(golden.tensor("latents.init"), t, prompt(), None));
    }
    let batch = net.forward(
        golden.tensor("unet.batch.x"),
        golden.tensor("unet.batch.t"),
        golden.tensor("unet.batch.ctx"),
        None,
    );
    golden.holds("unet.batch.out", batch);
    let t = Tensor::<1>::from_floats([400.0], &device);
    golden.holds("unet.odd.out", net.forward(golden.tensor("unet.odd.x"), t, prompt(), None));
    let mut odd = config.clone();
    odd.others.insert("class_embed_type".into(), "timestep".into());
    assert!(odd.declare(&device).unwrap_err().to_string().contains("class_embed_type"));
    // Stable Diffusion 1.5.
    let size = TextUnetConfig { cross_attention_dim: 768, ..TextUnetConfig::default() };
    let net = size.declare(&device).unwrap();
    assert_eq!((nets::weights::named_shapes(&net).len(), net.num_params()), (686, 859_520_964));
}

/// What `reference.py` beside the golden tensors fills a tensor with.
fn made_up(name: &str, shape: &[usize]) -> Vec<f32> {
    let sum: u64 = name.bytes().map(u64::from).sum();
    let count: usize = shape.iter().product();
    let value = |i: u64| ((7 * i * i + 13 * i + sum) % 1009) as f64;
    let one = if name.ends_with("weight") { 1.0 } else { 0.0 };
    let scaled = |sine: f64| match shape {
        [rows, _, ..] => 2.0 * sine / ((count / rows) as f64).sqrt(),
        _ => 0.1 * sine + one,
    };
    (0..count as u64).map(|i| scaled(value(i).sin()) as f32).collect()
}

/// The whole checkpoint of FlowSep, under the names that a second program in PyTorch gives it: words, codec, network and four steps of
/// Euler. The reference pads the query and hides the padding; here there is none.
///
/// Mutants: the weights for their averages (asserted below); times in thousandths, padding read, another word, no mixture (each tried in the
/// second program, where the velocity is then off by 0.2 to 1.1).
#[test]
fn flow_sep_answers_as_the_reference() {
    let device = Device::flex();
    let at = folder("flow_sep_tiny");
    let layout: BTreeMap<String, Vec<usize>> =
        serde_json::from_slice(&std::fs::read(at.join("layout.json")).unwrap()).unwrap();
    let filled = |(name, shape): (&String, &Vec<usize>)| match name.as_str() {
        "scale_factor" => vec![0.7],
        "cond_stage_models.0.model.encoder.embed_tokens.weight" => {
            made_up("cond_stage_models.0.model.shared.weight", shape)
        }
        _ => made_up(name, shape),
    };
    let mut all: BTreeMap<String, (Vec<usize>, Vec<f32>)> =
        layout.iter().map(|line| (line.0.clone(), (line.1.clone(), filled(line)))).collect();
    let sizes = BigVganConfig {
        upsample_rates: vec![2, 2],
        upsample_kernel_sizes: vec![4, 4],
        upsample_initial_channel: 8,
        resblock_kernel_sizes: vec![3],
        resblock_dilation_sizes: vec![vec![1]],
        num_mels: 8,
        ..BigVganConfig::default()
    };
    assert!(FlowSep::is_one(&all));
    let net = FlowSep::load(&all, &sizes, &device).unwrap();
    let over = ["alphas_cumprod", "betas", "first_stage_model.loss.discriminator.main.0.weight"];
    assert_eq!(net.passed_over[..3], over, "{:?}", net.passed_over);
    assert_eq!(net.passed_over[3..], ["model_ema.decay", "model_ema.num_updates"]);
    let golden = Golden::of("flow_sep_tiny");
    let text = net.text.as_ref().unwrap().read(&[3, 7, 11, 1], [1, 4], &device);
    golden.holds("text", text.clone());
    let mixture = net.encode(golden.tensor("mel"));
    golden.holds("mixture", mixture.clone());
    let mut z = golden.tensor::<4>("noise");
    for i in 0..4 {
        let t = Tensor::<1>::from_floats([i as f32 / 4.0], &device);
        if i == 1 {
            golden.holds("at", z.clone());
        }
        let velocity = net.velocity(z.clone(), mixture.clone(), t, text.clone());
        if i == 1 {
            golden.holds("velocity", velocity.clone());
        }
        z = z + velocity / 4.0;
    }
    golden.holds("latent", z.clone());
    let heard = net.decode(z);
    golden.holds("heard", heard.clone());
    let waves = net.vocoder.as_ref().unwrap().forward(heard.reshape([1, 16, 8]));
    assert_eq!(waves.dims(), [1, 64], "four samples to a column");
    // Without averages the weights beside them are read; some of them alone are an error.
    let gone = "model_ema.diffusion_modelout0bias";
    assert!(all.remove(gone).is_some());
    let said = FlowSep::load(&all, &sizes, &device).unwrap_err().to_string();
    assert!(said.contains(gone), "{said}");
    all.retain(|name, _| !name.starts_with("model_ema."));
    let raw = FlowSep::load(&all, &sizes, &device).unwrap();
    let t = || Tensor::<1>::from_floats([0.25], &device);
    let other = raw.velocity(golden.tensor("at"), mixture, t(), text);
    assert!((other - golden.tensor("velocity")).abs().max().into_scalar::<f32>() > 0.01);
}

/// Fourteen texts with apostrophes, digits, scripts, ligatures, white space and special words.
#[test]
fn texts_are_split_as_by_the_reference() {
    let at = folder("sd3_tiny");
    let golden = Golden::of("sd3_tiny");
    let texts: serde_json::Value = serde_json::from_slice(&std::fs::read(at.join("golden.json")).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(texts["tok_texts"].clone()).unwrap();
    let file = |name: &str| std::fs::read(at.join(name)).unwrap();
    let vocabulary = |folder: &str| WordPieces::parse(&file(&format!("{folder}/tokenizer.json"))).unwrap();
    let merges = String::from_utf8(file("tokenizer/merges.txt")).unwrap();
    let older = WordPieces::clip(&file("tokenizer/vocab.json"), &merges).unwrap();
    let end = "<|endoftext|>";
    for (name, words) in [
        ("tok.clip_l", vocabulary("tokenizer").padded_with(end).unwrap()),
        ("tok.clip_l", older.padded_with(end).unwrap()),
        ("tok.clip_g", vocabulary("tokenizer_2").padded_with("!").unwrap()),
        ("tok.t5", vocabulary("tokenizer_3")),
    ] {
        let (ids, [_, length]) = golden.ids(name);
        for (text, want) in texts.iter().zip(ids.chunks(length)) {
            let pieces = words.split(text, length).unwrap();
            assert_eq!(pieces.ids, want, "{name}: {text:?}");
            assert_eq!(pieces.cut.is_some(), text.starts_with("mountains"), "{name}: {text:?}");
        }
    }
    let cut = vocabulary("tokenizer").split("red fox, snow", 4).unwrap().cut;
    assert!(cut.as_ref().is_some_and(|cut| !cut.is_empty() && "red fox, snow".ends_with(cut.as_str())), "{cut:?}");
}

/// Released sizes, counted without a single number being allocated.
#[test]
fn released_sizes_have_the_published_parameter_counts() {
    let device = Device::flex();
    let sd3 = MmditConfig {
        num_layers: 24,
        num_attention_heads: 24,
        caption_projection_dim: 1536,
        pos_embed_max_size: 192,
        ..MmditConfig::default()
    };
    let medium = MmditConfig {
        pos_embed_max_size: 384,
        dual_attention_layers: (0..13).collect(),
        qk_norm: Some("rms_norm".into()),
        ..sd3.clone()
    };
    let large = MmditConfig {
        num_layers: 38,
        num_attention_heads: 38,
        caption_projection_dim: 2432,
        qk_norm: Some("rms_norm".into()),
        ..sd3.clone()
    };
    // Published parameters leave the table of positions out. Published tensors (491, 665, 923) are those of single files, whose
    // queries, keys and values are one: eight fewer a block, twelve with a second attention.
    for (config, billions, tensors) in [(&sd3, 2.0283, 683), (&medium, 2.2432, 909), (&large, 8.0566, 1227)] {
        let net = config.declare(&device).unwrap();
        let table = config.pos_embed_max_size.pow(2) * config.width();
        let counted = (net.num_params() - table) as f64 / 1e9;
        assert!((counted - billions).abs() < 5e-5, "{counted} B against {billions} B");
        assert_eq!(nets::weights::named_shapes(&net).len(), tensors);
    }
    let dev = FluxConfig { guidance_embeds: true, ..FluxConfig::default() };
    let counted = dev.declare(&device).unwrap().num_params() as f64 / 1e9;
    assert!((counted - 11.901).abs() < 5e-4, "{counted} B");
    // As their libraries count: Qwen-Image, FLUX.2-klein, Z-Image, and the Qwen3 of 4 B that the latter hears prompts by.
    assert_eq!(QwenImageConfig::default().declare(&device).unwrap().num_params(), 20_430_401_088);
    let klein = Flux2Config {
        num_layers: 5,
        num_single_layers: 20,
        num_attention_heads: 24,
        joint_attention_dim: 7680,
        ..Flux2Config::default()
    };
    assert_eq!(klein.declare(&device).unwrap().num_params(), 3_875_544_576);
    // Its autoencoder's, and the statistics of 128 channels.
    let codec = PatchedConfig::default().network().declare(&device).unwrap();
    assert_eq!(codec.num_params(), 84_046_115 + 2 * 128);
    assert_eq!(ZImageConfig::default().declare(&device).unwrap().num_params(), 6_154_908_736);
    let qwen = QwenConfig {
        hidden_size: 2560,
        intermediate_size: 9728,
        num_hidden_layers: 36,
        num_key_value_heads: 8,
        ..QwenConfig::default()
    };
    assert_eq!(qwen.declare(&device).unwrap().num_params(), 4_022_468_096);

    let sixteen = AutoencoderConfig {
        latent_channels: 16,
        block_out_channels: vec![128, 256, 512, 512],
        layers_per_block: 2,
        use_quant_conv: false,
        use_post_quant_conv: false,
        ..AutoencoderConfig::default()
    };
    let four =
        AutoencoderConfig { latent_channels: 4, use_quant_conv: true, use_post_quant_conv: true, ..sixteen.clone() };
    let counted = |config: &AutoencoderConfig| {
        let net = config.declare(&device).unwrap();
        (nets::weights::named_shapes(&net).len(), net.num_params())
    };
    assert_eq!(counted(&four), (248, 83_653_863));
    let (tensors, parameters) = counted(&sixteen);
    assert!(tensors == 244 && (parameters as f64 / 1e6 - 83.82).abs() < 5e-3, "{tensors} {parameters}");

    let clip = ClipConfig {
        hidden_size: 768,
        intermediate_size: 3072,
        num_attention_heads: 12,
        projection_dim: 768,
        ..ClipConfig::default()
    };
    let net = clip.declare(false, &device).unwrap();
    assert_eq!((nets::weights::named_shapes(&net).len(), net.num_params()), (196, 123_060_480));
}

/// Weights of another model, by the names of what is amiss.
#[test]
fn weights_that_do_not_fit_are_named() {
    let device = Device::flex();
    let at = folder("sd3_tiny").join("transformer");
    let store = stored(&at, WEIGHTS);
    let config: MmditConfig = config(&at);
    let said = |config: MmditConfig| config.load(&store, &device).unwrap_err().to_string();
    let deeper = said(MmditConfig { num_layers: 4, ..config.clone() });
    assert!(
        deeper.contains("28 missing")
            && deeper.contains("norm1_context.linear.weight: expected [192, 32], found [64, 32]"),
        "{deeper}"
    );
    let shallower = said(MmditConfig { num_layers: 2, ..config.clone() });
    assert!(shallower.contains("unexpected: `transformer_blocks."), "{shallower}");
    let wider = said(MmditConfig { joint_attention_dim: 48, ..config.clone() });
    assert!(wider.contains("context_embedder.weight: expected [32, 48], found [32, 64]"), "{wider}");
    let normal = said(MmditConfig { qk_norm: Some("layer_norm".into()), ..config });
    assert!(normal.contains("qk_norm"), "{normal}");
}

/// bf16 on disk stays bf16 in memory and answers as the widened numbers do.
#[test]
fn halves_are_kept_and_answer_as_their_values() {
    let device = Device::flex();
    let (at, golden) = (folder("sd3_tiny").join("transformer"), Golden::of("sd3_tiny"));
    let store = stored(&at, WEIGHTS);
    let dir = tempfile::tempdir().unwrap();
    let halves: Vec<(String, Vec<usize>, Vec<u8>)> = store
        .names()
        .into_iter()
        .map(|name| {
            let upper = |x: f32| ((x.to_bits() >> 16) as u16).to_le_bytes();
            let values = store.read(&name).unwrap().into_iter().flat_map(upper).collect();
            (name.clone(), store.shape(&name).unwrap(), values)
        })
        .collect();
    let views = halves.iter().map(|(name, shape, bytes)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::BF16, shape.clone(), bytes).unwrap())
    });
    std::fs::write(dir.path().join("m.safetensors"), safetensors::serialize(views, None).unwrap()).unwrap();
    let store = Stored::in_folder(dir.path(), "m").unwrap();
    let config: MmditConfig = config(&at);
    let kept = config.load(&store, &device).unwrap();
    assert_eq!(kept.context_embedder.weight.val().dtype(), burn::tensor::DType::BF16);
    // The same numbers as f32, from a source that keeps no types.
    let widened: std::collections::BTreeMap<_, _> = store
        .names()
        .into_iter()
        .map(|name| (name.clone(), (store.shape(&name).unwrap(), store.read(&name).unwrap())))
        .collect();
    let plain = config.load(&widened, &device).unwrap();
    let answer = |net: &nets::Mmdit| {
        let (x, t) = (golden.tensor("fwd.x"), golden.tensor("fwd.t"));
        net.forward(x, t, golden.tensor("fwd.pooled"), golden.tensor("fwd.ctx"), &[], None).into_data()
    };
    assert_eq!(answer(&kept), answer(&plain));
}
