//! PyTorch's legacy `.pth` files: three small pickles (magic number, protocol, machine), the pickled state dictionary,
//! the pickled list of storage keys, then for each storage its length as `i64` and its raw little-endian numbers.

use super::numpy::number;
use crate::MetricsError;
use crate::weights::{HostTensor, Weights};
use pickle::{Failure, Graph, Id, Value};
use std::collections::HashMap;
use std::path::Path;

/// Bytes of the magic number's pickle, little-endian, 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// Length of the magic number's pickle: a failure behind it is a damaged torch file, not another format.
pub(super) const HEADER: usize = 15;

/// A tensor that waits for its storage.
struct Pending {
    name: String,
    storage: String,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// Where a storage's numbers lie in the file, and how wide they are.
#[derive(Clone, Copy)]
struct Storage {
    start: usize,
    count: usize,
    width: usize,
}

/// Reads a state dictionary; integer tensors (`num_batches_tracked`) are skipped. `path` is only for messages.
pub fn torch_legacy(bytes: &[u8], path: &Path) -> Result<Weights, MetricsError> {
    let corrupt = |offset, message: String| MetricsError::Corrupt { path: path.to_path_buf(), offset, message };
    let read = |at| Graph::read(bytes, at).map_err(|f: Failure| corrupt(f.offset, f.message));
    let magic = read(0)?;
    if *magic.root() != Value::Big(&MAGIC) {
        return Err(corrupt(0, "not a PyTorch legacy file (its magic number is missing)".into()));
    }
    let machine = read(read(magic.end)?.end)?;
    let state = read(machine.end)?;
    let at = |message| corrupt(machine.end.max(HEADER + 1), message);
    let Value::Dict(entries) = state.root() else {
        return Err(at("the file does not hold a state dictionary".into()));
    };
    let mut widths: HashMap<String, usize> = HashMap::new();
    let mut pending = Vec::new();
    for &(key, value) in entries {
        let name = state.text(key).ok_or_else(|| at("a tensor's name is no text".into()))?;
        if let Some(tensor) = tensor(&state, name, value, &mut widths, 0).map_err(|e| at(format!("`{name}`: {e}")))? {
            pending.push(tensor);
        }
    }
    let keys = read(state.end)?;
    let storages = storages(bytes, &keys, &widths).map_err(|f| corrupt(f.offset, f.message))?;
    let mut weights = Weights::default();
    for tensor in pending {
        let name = tensor.name.clone();
        let value = gather(bytes, &tensor, &storages).map_err(|e| at(format!("`{name}`: {e}")))?;
        if weights.tensors.insert(name.clone(), value).is_some() {
            return Err(at(format!("`{name}` appears twice")));
        }
    }
    Ok(weights)
}

/// `_rebuild_tensor_v2(storage, offset, size, stride, ...)`; `None` for tensors of integers.
fn tensor(
    graph: &Graph,
    name: &str,
    id: Id,
    widths: &mut HashMap<String, usize>,
    depth: usize,
) -> Result<Option<Pending>, String> {
    let (function, arguments, _) = graph.call(id).ok_or("not a tensor")?;
    if function == "torch._utils._rebuild_parameter" && depth == 0 {
        let inner = *arguments.first().ok_or("a parameter without a tensor")?;
        return tensor(graph, name, inner, widths, 1);
    }
    if function != "torch._utils._rebuild_tensor_v2" {
        return Err(format!("made by {function}, not a tensor"));
    }
    let [storage, offset, shape, strides, ..] = arguments else {
        return Err("a tensor with too few parts".into());
    };
    let Value::Persistent(storage) = graph.get(*storage) else {
        return Err("a tensor without a storage".into());
    };
    let [_, kind, key, _, _, ..] = graph.tuple(*storage).ok_or("a storage that is no tuple")? else {
        return Err("a storage with too few parts".into());
    };
    let key = graph.text(*key).ok_or("a storage without a key")?.to_string();
    let (width, float) = match graph.global(*kind).ok_or("a storage without a type")? {
        "torch.FloatStorage" => (4, true),
        "torch.HalfStorage" => (2, true),
        "torch.DoubleStorage" => (8, true),
        "torch.LongStorage" => (8, false),
        "torch.IntStorage" => (4, false),
        _ => (1, false),
    };
    if *widths.entry(key.clone()).or_insert(width) != width {
        return Err("one storage with two types".into());
    }
    if !float {
        return Ok(None);
    }
    let offset = graph.size(*offset).ok_or("an offset that is no size")?;
    let shape = graph.sizes(*shape).ok_or("a shape that is no tuple of sizes")?;
    let strides = graph.sizes(*strides).ok_or("strides that are no tuple of sizes")?;
    if shape.len() != strides.len() || shape.len() > 8 {
        return Err(format!("{} sizes and {} strides", shape.len(), strides.len()));
    }
    Ok(Some(Pending { name: name.into(), storage: key, offset, shape, strides }))
}

/// Finds every storage behind the list of keys.
fn storages(bytes: &[u8], keys: &Graph, widths: &HashMap<String, usize>) -> Result<HashMap<String, Storage>, Failure> {
    let fail = |offset, message: &str| Failure { offset, message: message.into() };
    let Value::List(list) = keys.root() else {
        return Err(fail(keys.end, "the list of storages is missing"));
    };
    let mut at = keys.end;
    let mut out = HashMap::new();
    for &key in list {
        let key = keys.text(key).ok_or_else(|| fail(at, "a storage's key is no text"))?;
        let width = *widths.get(key).ok_or_else(|| fail(at, "a storage that no tensor uses, of unknown width"))?;
        let head: [u8; 8] = bytes
            .get(at..at.saturating_add(8))
            .and_then(|b| b.try_into().ok())
            .ok_or_else(|| fail(at, "the file ends within its storages; download it again"))?;
        let count = usize::try_from(i64::from_le_bytes(head)).map_err(|_| fail(at, "a storage of negative length"))?;
        let start = at + 8;
        at = count
            .checked_mul(width)
            .and_then(|n| start.checked_add(n))
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| fail(at, "the file ends within its storages; download it again"))?;
        out.insert(key.to_string(), Storage { start, count, width });
    }
    Ok(out)
}

/// Copies a strided tensor out of its storage.
fn gather(bytes: &[u8], tensor: &Pending, storages: &HashMap<String, Storage>) -> Result<HostTensor, String> {
    let storage = storages.get(&tensor.storage).ok_or("its storage is not in the file")?;
    let overflow = || "sizes that overflow".to_string();
    let count = tensor.shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).ok_or_else(overflow)?;
    let mut last = tensor.offset;
    for (&size, &stride) in tensor.shape.iter().zip(&tensor.strides) {
        let reach = size.saturating_sub(1).checked_mul(stride).ok_or_else(overflow)?;
        last = last.checked_add(reach).ok_or_else(overflow)?;
    }
    // A stride of zero would let a small file ask for any amount of memory.
    if count > 0 && (last >= storage.count || count > storage.count) {
        return Err(format!("reaches number {last} of a storage of {}", storage.count));
    }
    let mut data = Vec::with_capacity(count);
    for flat in 0..count {
        let (mut rest, mut position) = (flat, tensor.offset);
        for (&size, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
            position += rest % size * stride;
            rest /= size;
        }
        let start = storage.start + position * storage.width;
        data.push(number(&bytes[start..start + storage.width]));
    }
    Ok(HostTensor { shape: tensor.shape.clone(), data })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend((text.len() as u32).to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn entry(out: &mut Vec<u8>, name: &str, kind: &str, key: &str, offset: u8, shape: &[u8], strides: &[u8]) {
        text(out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(out, "storage");
        out.extend(format!("ctorch\n{kind}\n").as_bytes());
        text(out, key);
        text(out, "cpu");
        out.extend([b'K', 6, b'N', b't', b'Q', b'K', offset]);
        for sizes in [shape, strides] {
            out.push(b'(');
            sizes.iter().for_each(|&s| out.extend([b'K', s]));
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
    }

    /// A 2 x 3 matrix, its transpose as a view of the same storage, and a counter.
    fn sample() -> Vec<u8> {
        let mut out = b"\x80\x02\x8a\x0a".to_vec();
        out.extend(MAGIC);
        out.extend(b".\x80\x02M\xe9\x03.\x80\x02}.\x80\x02ccollections\nOrderedDict\n)R(");
        entry(&mut out, "w", "FloatStorage", "7", 0, &[2, 3], &[3, 1]);
        entry(&mut out, "wt", "FloatStorage", "7", 0, &[3, 2], &[1, 3]);
        entry(&mut out, "tail", "FloatStorage", "7", 4, &[2], &[1]);
        entry(&mut out, "n", "LongStorage", "8", 0, &[], &[]);
        out.extend(b"u.\x80\x02](");
        text(&mut out, "7");
        text(&mut out, "8");
        out.extend(b"e.");
        out.extend(6i64.to_le_bytes());
        out.extend((0..6).flat_map(|i| (i as f32).to_le_bytes()));
        out.extend(1i64.to_le_bytes());
        out.extend(5i64.to_le_bytes());
        out
    }

    #[test]
    fn tensors_share_storages_with_their_own_offsets_and_strides() {
        let weights = torch_legacy(&sample(), Path::new("x")).unwrap();
        assert_eq!(weights.tensors["w"].data, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(weights.tensors["wt"].shape, [3, 2]);
        assert_eq!(weights.tensors["wt"].data, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(weights.tensors["tail"].data, [4.0, 5.0]);
        assert!(!weights.tensors.contains_key("n"));
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(cut in 0usize..5000, at in 0usize..5000, mask in 1u8..) {
            let mut bytes = sample();
            let cut = cut % bytes.len();
            prop_assert!(torch_legacy(&bytes[..cut], Path::new("x")).is_err());
            let at = at % bytes.len();
            bytes[at] ^= mask;
            let _ = torch_legacy(&bytes, Path::new("x"));
        }
    }
}
