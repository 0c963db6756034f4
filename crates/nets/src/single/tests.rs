//! Maps between layouts: every line there and back, on networks that were declared and never filled.

use super::*;
use crate::text_unet::PerLevel;
use crate::weights::named_shapes;
use crate::{AutoencoderConfig, FluxConfig, MmditConfig, TextUnetConfig};
use base::Device;

type Shape = Vec<usize>;
type Store = BTreeMap<String, (Shape, Vec<f32>)>;

/// A network's tensors under diffusers' names, filled with numbers that say where they are.
fn tensors(shapes: Vec<(String, Shape)>) -> Store {
    let theirs = |name: String| {
        let pieces = [(".fc1.", ".net.0.proj."), (".fc2.", ".net.2."), (".to_out.", ".to_out.0.")];
        pieces.iter().fold(name, |name, (ours, theirs)| name.replace(ours, theirs))
    };
    let mut next = 0u32;
    let mut filled = |shape: Shape| {
        let values = (0..shape.iter().product::<usize>()).map(|_| {
            next += 1;
            next as f32
        });
        let values = values.collect();
        (shape, values)
    };
    shapes.into_iter().map(|(name, shape)| (theirs(name), filled(shape))).collect()
}

/// The single file of `store` by `map`, its tensors put together by hand.
fn written(store: &Store, map: &Map) -> Store {
    let (lines, left) = map.joined(&store.keys().cloned().collect());
    assert!(left.is_empty(), "{left:?}");
    let put = |line: Line| {
        let first = &store[&line.diffusers[0]];
        let (mut shape, mut values) = first.clone();
        match line.how {
            How::Same => {}
            How::Swapped => values.rotate_left(first.1.len() / 2),
            How::Kernel => shape.resize(if shape.len() == 2 { 4 } else { shape.len() }, 1),
            How::Rows(_) => {
                for name in &line.diffusers[1..] {
                    shape[0] += store[name].0[0];
                    values.extend(&store[name].1);
                }
            }
        }
        (line.single, (shape, values))
    };
    lines.into_iter().map(put).collect()
}

fn networks() -> Vec<(Layout, Store)> {
    let device = Device::flex();
    let mmdit = MmditConfig {
        num_layers: 3,
        attention_head_dim: 64,
        num_attention_heads: 1,
        caption_projection_dim: 64,
        joint_attention_dim: 8,
        pooled_projection_dim: 6,
        pos_embed_max_size: 3,
        dual_attention_layers: vec![0, 1],
        qk_norm: Some("rms_norm".into()),
        ..MmditConfig::default()
    };
    let flux = FluxConfig {
        num_layers: 2,
        num_single_layers: 3,
        attention_head_dim: 16,
        num_attention_heads: 1,
        joint_attention_dim: 8,
        pooled_projection_dim: 6,
        guidance_embeds: true,
        axes_dims_rope: [4, 6, 6],
        ..FluxConfig::default()
    };
    let unet = TextUnetConfig {
        block_out_channels: vec![8, 16, 16],
        down_block_types: ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"].map(str::to_owned).to_vec(),
        up_block_types: ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"].map(str::to_owned).to_vec(),
        cross_attention_dim: 8,
        attention_head_dim: PerLevel::One(2),
        norm_num_groups: 4,
        ..TextUnetConfig::default()
    };
    let twice = TextUnetConfig { extra_self_attention: true, ..unet.clone() };
    vec![
        (Layout::Unet, tensors(named_shapes(&twice.declare(&device).unwrap()))),
        (Layout::Sd3, tensors(named_shapes(&mmdit.declare(&device).unwrap()))),
        (Layout::Flux, tensors(named_shapes(&flux.declare(&device).unwrap()))),
        (Layout::Unet, tensors(named_shapes(&unet.declare(&device).unwrap()))),
    ]
}

/// That a line says the right thing is held by files that others wrote (`crates/rectiflow/tests/all/released/{single,convert}.rs`); here, that
/// each tensor has one, that the map told from either side is the same, and that what is written is read.
///
/// Mutants: residual blocks of a level counted with its halving; a level that reads no text taken for one that does; rows of a perceptron
/// cut as if it were as wide as the network.
#[test]
fn every_tensor_goes_to_a_single_file_and_comes_back() {
    for (layout, store) in networks() {
        let names: BTreeSet<String> = store.keys().cloned().collect();
        let single = written(&store, &layout.map_back(&names));
        let there: BTreeSet<String> = single.keys().cloned().collect();
        assert_eq!(Layout::of(&there), Some(layout));
        // The map told from the single file's own names is the same one.
        let map = layout.map(&there);
        let back = map.apply(&single).unwrap();
        assert_eq!(back.names(), names.iter().cloned().collect::<Vec<_>>(), "{layout:?}");
        for (name, (shape, values)) in &store {
            assert_eq!((back.shape(name).as_ref(), &back.read(name).unwrap()), (Some(shape), values), "{name}");
            assert_eq!(&back.data(name).unwrap().try_to_vec::<f32>().unwrap(), values, "{name}");
        }
    }
}

/// Published counts of tensors under the authors' names: SD3 medium, 3.5 large and 3.5 medium, FLUX dev; latent diffusion's U-Net has
/// as many as diffusers'.
#[test]
fn released_sizes_have_the_published_numbers_of_tensors() {
    let device = Device::flex();
    let counted = |layout: Layout, shapes: Vec<(String, Shape)>| {
        let names = shapes.into_iter().map(|(name, _)| tensors(vec![(name, vec![1])]).into_keys().next().unwrap());
        let names: BTreeSet<String> = names.collect();
        let (lines, left) = layout.map_back(&names).joined(&names);
        assert!(left.is_empty(), "{left:?}");
        lines.len()
    };
    let sd3 = |heads: usize, dual: usize, norm: bool| MmditConfig {
        num_layers: heads,
        num_attention_heads: heads,
        caption_projection_dim: 64 * heads,
        dual_attention_layers: (0..dual).collect(),
        qk_norm: norm.then(|| "rms_norm".into()),
        ..MmditConfig::default()
    };
    for (config, tensors) in [(sd3(24, 0, false), 491), (sd3(38, 0, true), 923), (sd3(24, 13, true), 665)] {
        assert_eq!(counted(Layout::Sd3, named_shapes(&config.declare(&device).unwrap())), tensors);
    }
    let dev = FluxConfig { guidance_embeds: true, ..FluxConfig::default() };
    assert_eq!(counted(Layout::Flux, named_shapes(&dev.declare(&device).unwrap())), 780);
    let sd = TextUnetConfig { cross_attention_dim: 768, ..TextUnetConfig::default() };
    assert_eq!(counted(Layout::Unet, named_shapes(&sd.declare(&device).unwrap())), 686);
}

/// What shapes say is what was declared; heads that shapes leave open are those of a configuration of the same shapes.
#[test]
fn configurations_are_read_off_shapes() {
    let device = Device::flex();
    let config = MmditConfig {
        num_layers: 2,
        attention_head_dim: 16,
        num_attention_heads: 8,
        caption_projection_dim: 128,
        joint_attention_dim: 40,
        pooled_projection_dim: 24,
        pos_embed_max_size: 12,
        sample_size: 16,
        ..MmditConfig::default()
    };
    let store = tensors(named_shapes(&config.declare(&device).unwrap()));
    assert_eq!(shapes::mmdit(&store, Some(&config)).unwrap(), config);
    let alone = shapes::mmdit(&store, None).unwrap();
    assert_eq!((alone.attention_head_dim, alone.num_attention_heads), (64, 2));
    // A configuration of another model says nothing.
    let other = MmditConfig { num_layers: 3, ..config.clone() };
    assert_eq!(shapes::mmdit(&store, Some(&other)).unwrap(), alone);
    let narrow = MmditConfig { num_attention_heads: 2, caption_projection_dim: 32, ..config };
    let store = tensors(named_shapes(&narrow.declare(&device).unwrap()));
    assert_eq!(shapes::mmdit(&store, Some(&narrow)).unwrap(), narrow);
    let said = shapes::mmdit(&store, None).unwrap_err().to_string();
    assert!(said.contains("32 wide"), "{said}");

    let codec = AutoencoderConfig {
        latent_channels: 16,
        block_out_channels: vec![32, 64],
        layers_per_block: 2,
        use_quant_conv: false,
        use_post_quant_conv: false,
        scaling_factor: 1.5305,
        shift_factor: Some(0.0609),
        ..AutoencoderConfig::default()
    };
    let store = tensors(named_shapes(&codec.declare(&device).unwrap()));
    assert_eq!(shapes::autoencoder(&store, None, (1.5305, Some(0.0609))).unwrap(), codec);
    // And under its authors' names, its attention as convolutions.
    let map = Map::new(autoencoder(2));
    let single = written(&store, &map);
    assert_eq!(single["decoder.mid.attn_1.q.weight"].0, [64, 64, 1, 1]);
    assert!(
        single.contains_key("decoder.up.1.upsample.conv.weight")
            && single.contains_key("decoder.up.0.block.2.conv1.bias")
    );
    let back = map.apply(&single).unwrap();
    assert!(store.iter().all(|(name, (_, values))| back.read(name).unwrap() == *values));
}

/// Numbers in names say nothing of how many there are: a file of a few bytes makes a map of a few lines.
///
/// Mutant: the greatest number and one (the first would ask for two billion lines, the last for none at all).
#[test]
fn numbers_in_names_do_not_make_a_map_long() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    assert_eq!(count(&set(&["a.0.x", "a.1.x", "a.1.y", "a.10.x", "a.2.x"]), "a."), 3);
    assert_eq!(count(&set(&["a.1.x"]), "a."), 0);
    for number in ["2000000000", "99999999999", "18446744073709551615", "18446744073709551616"] {
        let far = |place: &str| place.replace('N', number);
        let few = |layout: Layout, names: &[&str]| {
            let mut names = set(names);
            let usual = layout.map(&names).lines.len();
            names
                .extend(["joint_blocks.N.x", "double_blocks.N.x", "single_blocks.N.x", "input_blocks.N.0.x"].map(&far));
            assert_eq!((Layout::of(&names), layout.map(&names).lines.len()), (Some(layout), usual), "{number}");
            names.extend(["transformer_blocks.N.x", "single_transformer_blocks.N.x"].map(&far));
            names.extend(["down_blocks.N.x", "down_blocks.0.resnets.N.x"].map(&far));
            assert!(layout.map_back(&names).lines.len() < 200, "{number}");
        };
        few(Layout::Sd3, &["joint_blocks.0.x_block.attn.qkv.weight"]);
        few(Layout::Flux, &["double_blocks.0.img_attn.qkv.weight"]);
        few(Layout::Unet, &["input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight"]);
    }
    // As many levels as layers: their product is bounded too.
    let wide = (0..300).flat_map(|i| [format!("down_blocks.{i}.x"), format!("down_blocks.0.resnets.{i}.x")]).collect();
    assert!(Layout::Unet.map_back(&wide).lines.len() < 20_000);
}
