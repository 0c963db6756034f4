//! Networks in blocks: what is drawn from a GGUF file is what is drawn from its numbers, widened beforehand.

use super::*;
use nets::layers::InBlocks;
use std::collections::BTreeMap;

pub(super) type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A file's tensors, without ComfyUI's prefix.
pub(super) fn tensors(stored: &Stored) -> Tensors {
    let bare = |name: String| name.strip_prefix("model.diffusion_model.").unwrap_or(&name).to_owned();
    let one = |name: String| (bare(name.clone()), (stored.shape(&name).unwrap(), stored.read(&name).unwrap()));
    stored.names().into_iter().map(one).collect()
}

/// The nearest half of a scale that is not too small, as bits.
fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let exponent = (bits >> 23 & 0xff) as i32 - 127 + 15;
    assert!((1..31).contains(&exponent), "{value}");
    ((bits >> 31) << 15) as u16 | (exponent as u16) << 10 | (bits >> 13 & 0x3ff) as u16
}

/// Blocks of 32 in ggml's type: Q8_0 (8) or Q4_0 (2).
fn blocks(kind: u32, values: &[f32]) -> Vec<u8> {
    let block = |values: &[f32]| {
        let most = values.iter().fold(1e-3f32, |most, v| most.max(v.abs()));
        let scale = most / if kind == 8 { 127.0 } else { 7.0 };
        let whole = |v: &f32| (v / scale).round() as i32;
        let scale = half(scale).to_le_bytes().to_vec();
        let numbers: Vec<u8> = match kind {
            8 => values.iter().map(|v| whole(v) as i8 as u8).collect(),
            _ => (0..16).map(|i| (whole(&values[i]) + 8) as u8 | ((whole(&values[i + 16]) + 8) as u8) << 4).collect(),
        };
        [scale, numbers].concat()
    };
    values.chunks(32).flat_map(block).collect()
}

/// Writes a GGUF file whose matrices are of the types that `kind` says.
fn write(path: &Path, tensors: &Tensors, kind: impl Fn(usize) -> u32) {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let mut head =
        [&b"GGUF"[..], &3u32.to_le_bytes(), &(tensors.len() as u64).to_le_bytes(), &1u64.to_le_bytes()].concat();
    head.extend([text("general.architecture"), 8u32.to_le_bytes().to_vec(), text("flux")].concat());
    let mut data = Vec::new();
    for (i, (name, (shape, values))) in tensors.iter().enumerate() {
        let matrix = shape.len() == 2 && shape[1].is_multiple_of(32);
        let kind = if matrix { kind(i) } else { 0 };
        head.extend([text(name), (shape.len() as u32).to_le_bytes().to_vec()].concat());
        shape.iter().rev().for_each(|n| head.extend((*n as u64).to_le_bytes()));
        head.extend([&kind.to_le_bytes()[..], &(data.len() as u64).to_le_bytes()].concat());
        match kind {
            0 => data.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            1 => data.extend(values.iter().flat_map(|v| if v.abs() < 1e-4 { 0 } else { half(*v) }.to_le_bytes())),
            30 => data.extend(values.iter().flat_map(|v| ((v.to_bits() >> 16) as u16).to_le_bytes())),
            blocked => data.extend(blocks(blocked, values)),
        }
        data.resize(data.len().next_multiple_of(32), 0);
    }
    head.resize(head.len().next_multiple_of(32), 0);
    std::fs::write(path, [head, data].concat()).unwrap();
}

/// Writes the same numbers, widened, as a safetensors file.
pub(super) fn write_widened(path: &Path, tensors: &Tensors) {
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name.clone(), shape.clone(), values.iter().flat_map(|v| v.to_le_bytes()).collect())
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        (name.clone(), safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A GGUF file of a single file's network, matrices in eight-bit blocks.
pub(crate) fn eight_bits(single: &Path, to: &Path) {
    write(to, &tensors(&Stored::open(single).unwrap()), |_| 8);
}

/// FLUX in eight-bit blocks alone, and in every type at once; SD3.5's last blocks exchange halves.
///
/// Mutants: queries' rows for keys'; blocks of a tensor with exchanged halves taken as they lie.
#[test]
fn blocks_draw_what_their_widened_numbers_draw() {
    let dir = tempfile::tempdir().unwrap();
    for (file, folder) in [("flux_dev_tiny_bfl.safetensors", "flux_dev_tiny"), ("sd35m_tiny.safetensors", "sd35m_tiny")]
    {
        let network = tensors(&Stored::open(&fixture("single").join(file)).unwrap());
        let usual = single::usual(folder);
        let before = drawn(&single::of_file(file, folder, usual.clone()));
        for (name, kind) in [("q8", (|_| 8) as fn(usize) -> u32), ("mixed", |i| [8, 2, 30, 1, 0][i % 5])] {
            let (gguf, widened) =
                (dir.path().join(format!("{name}.gguf")), dir.path().join(format!("{name}.safetensors")));
            write(&gguf, &network, kind);
            let stored = Stored::open(&gguf).unwrap();
            write_widened(&widened, &tensors(&stored));
            let draw = |file: &Path| {
                drawn(&ReleasedRequest { folder: file.into(), parts: Some(fixture(folder)), ..usual.clone() })
            };
            let (got, want) = (draw(&gguf), draw(&widened));
            let far = (got.clone() - want).abs().max().into_scalar::<f32>();
            let moved = (got - before.clone()).abs().max().into_scalar::<f32>();
            println!("{folder} {name}: {far:e}, moved by {moved:e}");
            assert!(far < 1e-6, "{folder} {name}: {far:e}");
            // Eight bits of a weight move the picture a little, and do move it.
            assert!(moved > 1e-5 && (name != "q8" || moved < 0.2), "{folder} {name}: {moved:e}");
        }
    }
}

/// The network holds blocks, not numbers: of a fused tensor its rows of the mapped file.
#[test]
fn a_network_keeps_its_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    eight_bits(&fixture("single/flux_dev_tiny_bfl.safetensors"), &path);
    let stored = Stored::open(&path).unwrap();
    let names = stored.names().into_iter().collect();
    let map = nets::single::Layout::Flux.map(&names);
    let source = map.apply(&stored).unwrap();
    let known = std::fs::read(fixture("flux_dev_tiny/transformer/config.json")).unwrap();
    let (known, _) = nets::published::read::<nets::FluxConfig>(&known).unwrap();
    let config = nets::single::shapes::flux(&source, Some(&known)).unwrap();
    assert_eq!(config, known);
    let net = config.load(&source, &Device::flex()).unwrap();
    let mlp = &net.single_transformer_blocks[1].proj_mlp.weight;
    let blocks = &mlp.reparameterization::<InBlocks>().unwrap().blocks;
    assert_eq!((blocks.shape(), mlp.lazy_shape().to_vec()), ([128, 32], vec![128, 32]));
    let (_, linear1) = &tensors(&stored)["single_blocks.1.linear1.weight"];
    assert_eq!(blocks.widened(), linear1[96 * 32..]);
    assert_eq!(mlp.val().into_data().try_to_vec::<f32>().unwrap(), linear1[96 * 32..]);
    // Exchanged halves are two runs of rows, and are widened.
    assert!(net.norm_out.linear.weight.reparameterization::<InBlocks>().is_none());
}

#[test]
fn other_types_and_damaged_files_are_refused_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, bad) = (dir.path().join("m.gguf"), dir.path().join("bad.gguf"));
    eight_bits(&fixture("single/flux_dev_tiny_bfl.safetensors"), &whole);
    let bytes = std::fs::read(&whole).unwrap();
    let said = |bytes: &[u8]| {
        std::fs::write(&bad, bytes).unwrap();
        let request = single::usual("flux_dev_tiny");
        let (parts, output) = (Some(fixture("flux_dev_tiny")), dir.path().join("x.png"));
        let request = ReleasedRequest { folder: bad.clone(), parts, output: output.clone(), ..request };
        let error = sample(&request, &mut Context::silent()).unwrap_err();
        assert!(!output.exists());
        error.to_string()
    };
    // A damaged file is taken for a released model, so that its damage is told.
    std::fs::write(&bad, b"nothing of the kind").unwrap();
    assert!(is_released(&bad));
    let cut = said(&bytes[..bytes.len() / 2]);
    assert!(cut.contains("bad.gguf") && cut.contains("ends within `"), "{cut}");
    let magic = said(&[b"XXXX", &bytes[4..]].concat());
    assert!(magic.contains("does not begin with GGUF"), "{magic}");
    // The first tensor's type, which stands behind its name and shape.
    let name = b"double_blocks.0.img_attn.proj.weight";
    let at = bytes.windows(name.len()).position(|part| part == name).unwrap() + name.len() + 4 + 16;
    let mut other = bytes.clone();
    assert_eq!(other[at], 8);
    other[at] = 18;
    let unread = said(&other);
    assert!(unread.contains("img_attn.proj.weight") && unread.contains("IQ3_XXS"), "{unread}");
}
