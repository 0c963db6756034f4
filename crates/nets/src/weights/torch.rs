//! PyTorch's files (`.pt`, `.bin`, `.ckpt` since version 1.6): a zip archive, nothing in it compressed, with a pickle that says which tensor
//! lies in which of its storages.
//!
//! The pickle is read as plain values (`pickle`); nothing in it is carried out, and a file that mentions anything but tensors is
//! refused. Tensors are then places in the mapped file.

use super::gguf::{Element, Listed};
use pickle::{Graph, Id, Value};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::ops::Range;

/// How an archive begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// How older files begin: a pickle whose first value is PyTorch's magic number.
pub(super) const LEGACY: &[u8] = &[0x80, 2, 0x8a, 10, 0x6c, 0xfc];

const AGAIN: &str = "fetch it again";

/// Reads the list of a file; the error says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Listed, String> {
    let entries = entries(bytes)?;
    let pickle = entries.iter().find(|(name, _)| name.ends_with("/data.pkl") || *name == "data.pkl");
    let Some((name, place)) = pickle else {
        return Err("is an archive without data.pkl, so it holds no PyTorch tensors".into());
    };
    let folder = name.strip_suffix("data.pkl").unwrap_or_default();
    if entries.get(&format!("{folder}byteorder")).is_some_and(|range| &bytes[range.clone()] == b"big") {
        return Err("holds big-endian numbers, which are not read; save it on another machine".into());
    }
    let graph = Graph::read(&bytes[place.clone()], 0).map_err(|failure| {
        format!("has a pickle that is refused at its byte {}: {}", failure.offset, failure.message)
    })?;
    // A checkpoint of a training program keeps its tensors below other things; one of an adversarial one those of its generator.
    let inner =
        ["state_dict", "generator"].iter().find_map(|key| graph.item(graph.root(), key)).map(|id| graph.get(id));
    let Value::Dict(items) = inner.unwrap_or(graph.root()) else {
        return Err("holds no dictionary of tensors".into());
    };
    let mut listed = Listed::default();
    let named = |key: Id| graph.text(key).map_or_else(|| "a key that is no text".to_owned(), str::to_owned);
    if let (Some(inner), Value::Dict(around)) = (inner, graph.root()) {
        let beside = around.iter().filter(|(_, value)| !std::ptr::eq(graph.get(*value), inner));
        listed.others.extend(beside.map(|(key, _)| named(*key)));
    }
    for (key, value) in items {
        let Some(key) = graph.text(*key) else {
            listed.others.push(named(*key));
            continue;
        };
        let found = tensor(&graph, key, *value)?;
        if found.is_none() {
            listed.others.push(key.to_owned());
        }
        if let Some(Record { dtype, shape, storage, offset }) = found {
            let place = entries.get(&format!("{folder}data/{storage}"));
            let place = place.ok_or_else(|| format!("lacks the storage {storage} of `{key}`; {AGAIN}"))?;
            let size = size(dtype);
            let count = shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
            let begin = offset.checked_mul(size).and_then(|offset| offset.checked_add(place.start));
            let end = count.and_then(|count| count.checked_mul(size)).and_then(|length| begin?.checked_add(length));
            let (Some(begin), Some(end)) = (begin, end.filter(|end| *end <= place.end)) else {
                return Err(format!("has too few numbers for `{key}`; {AGAIN}"));
            };
            listed.tensors.push((key.to_owned(), Element::Number(dtype), shape, begin..end));
        }
    }
    if listed.tensors.is_empty() {
        return Err("holds no tensors by name, neither at its top nor under `state_dict` or `generator`".into());
    }
    Ok(listed)
}

fn size(dtype: Dtype) -> usize {
    match dtype {
        Dtype::F64 | Dtype::I64 => 8,
        Dtype::F32 | Dtype::I32 => 4,
        Dtype::F16 | Dtype::BF16 => 2,
        _ => 1,
    }
}

/// Where the pickle says that a tensor lies.
struct Record {
    dtype: Dtype,
    shape: Vec<usize>,
    storage: String,
    /// Numbers before it.
    offset: usize,
}

/// A tensor's record; nothing for a value of another kind.
fn tensor(graph: &Graph, key: &str, id: Id) -> Result<Option<Record>, String> {
    const PARAMETER: &str = "torch._utils._rebuild_parameter";
    let Some((mut function, mut arguments, _)) = graph.call(id) else { return Ok(None) };
    let damaged = || format!("has a damaged record of `{key}`; {AGAIN}");
    if function == PARAMETER {
        // A parameter is a tensor, and holds no other parameter.
        let inner = graph.call(*arguments.first().ok_or_else(damaged)?).ok_or_else(damaged)?;
        if inner.0 == PARAMETER {
            return Err(damaged());
        }
        (function, arguments) = (inner.0, inner.1);
    }
    match function {
        "torch._utils._rebuild_tensor_v2" => {
            let [storage, offset, shape, strides, ..] = arguments else { return Err(damaged()) };
            let Value::Persistent(storage) = graph.get(*storage) else { return Err(damaged()) };
            // ("storage", type, key, device, count)
            let parts = graph.tuple(*storage).filter(|parts| parts.len() >= 5).ok_or_else(damaged)?;
            let dtype = match graph.global(parts[1]).ok_or_else(damaged)? {
                "torch.FloatStorage" => Dtype::F32,
                "torch.HalfStorage" => Dtype::F16,
                "torch.BFloat16Storage" => Dtype::BF16,
                "torch.DoubleStorage" => Dtype::F64,
                "torch.LongStorage" => Dtype::I64,
                "torch.IntStorage" => Dtype::I32,
                _ => Dtype::U8,
            };
            let name = graph.text(parts[2]).ok_or_else(damaged)?.to_owned();
            let (Some(offset), Some(shape)) = (graph.size(*offset), graph.sizes(*shape)) else { return Err(damaged()) };
            let strides = graph.sizes(*strides).filter(|strides| strides.len() == shape.len()).ok_or_else(damaged)?;
            let mut wanted = 1usize;
            for (n, stride) in shape.iter().zip(&strides).rev() {
                if *n > 1 && *stride != wanted {
                    return Err(format!(
                        "holds `{key}` in another order than by rows (strides {strides:?}); save its `.contiguous()`"
                    ));
                }
                wanted = wanted.saturating_mul((*n).max(1));
            }
            Ok(Some(Record { dtype, shape, storage: name, offset }))
        }
        _ => Ok(None),
    }
}

/// A little-endian number of `N` bytes at `at`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, String> {
    let cut = || format!("ends before byte {at}; {AGAIN}");
    let part = bytes.get(at..).and_then(|rest| rest.get(..N)).ok_or_else(cut)?;
    let mut all = [0u8; 8];
    all[..N].copy_from_slice(part);
    Ok(u64::from_le_bytes(all))
}

/// The files of a zip archive whose bytes lie in it as they are, by name; of archives beyond 4 GB as well (zip64).
fn entries(bytes: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    const END: &[u8] = b"PK\x05\x06";
    let tail = bytes.len().saturating_sub(22 + 65_535);
    let end = bytes[tail..].windows(END.len()).rposition(|part| part == END);
    let end = tail + end.ok_or_else(|| format!("is an archive that ends early; {AGAIN}"))?;
    let mut count = number::<2>(bytes, end + 10)?;
    let mut at = number::<4>(bytes, end + 16)?;
    if let Some(locator) = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(b"PK\x06\x07")) {
        let big = index(number::<8>(bytes, locator + 8)?)?;
        count = number::<8>(bytes, big.saturating_add(32))?;
        at = number::<8>(bytes, big.saturating_add(48))?;
    }
    let mut found = BTreeMap::new();
    let mut at = index(at)?;
    for _ in 0..count {
        if number::<4>(bytes, at)? != 0x0201_4b50 {
            return Err(format!("is an archive whose list is damaged at byte {at}; {AGAIN}"));
        }
        let method = number::<2>(bytes, at + 10)?;
        let lengths = [28, 30, 32].map(|place| number::<2>(bytes, at + place).and_then(index));
        let [name_length, extra, comment] = lengths;
        let (name_length, extra, comment) = (name_length?, extra?, comment?);
        let text = bytes.get(at + 46..at + 46 + name_length).ok_or_else(|| format!("ends within its list; {AGAIN}"))?;
        let name = String::from_utf8_lossy(text).into_owned();
        let mut sizes = [number::<4>(bytes, at + 20)?, number::<4>(bytes, at + 24)?, number::<4>(bytes, at + 42)?];
        wide(bytes, at + 46 + name_length, extra, &mut sizes)?;
        let [packed, plain, offset] = [index(sizes[0])?, index(sizes[1])?, index(sizes[2])?];
        if method != 0 || packed != plain {
            return Err(format!("is an archive with `{name}` compressed, which PyTorch does not do"));
        }
        let (name_here, extra_here) = (number::<2>(bytes, offset + 26)?, number::<2>(bytes, offset + 28)?);
        let start = offset + 30 + index(name_here + extra_here)?;
        let range = start..start.saturating_add(plain);
        if range.end > bytes.len() {
            return Err(format!("ends within `{name}`; {AGAIN}"));
        }
        found.insert(name, range);
        at += 46 + name_length + extra + comment;
    }
    Ok(found)
}

/// A place that this machine can count to, far enough from its end for sums.
fn index(number: u64) -> Result<usize, String> {
    let most = usize::MAX / 4;
    usize::try_from(number).ok().filter(|n| *n < most).ok_or_else(|| format!("has a length of {number} bytes; {AGAIN}"))
}

/// The sizes that zip64 keeps in an extra field, each in turn where the short one is all ones: plain, packed, offset.
fn wide(bytes: &[u8], start: usize, length: usize, sizes: &mut [u64; 3]) -> Result<(), String> {
    let mut at = start;
    while at + 4 <= start + length {
        let (kind, size) = (number::<2>(bytes, at)?, index(number::<2>(bytes, at + 2)?)?);
        if kind == 1 {
            let mut field = at + 4;
            for place in [1, 0, 2] {
                if sizes[place] == u64::from(u32::MAX) && field + 8 <= at + 4 + size {
                    sizes[place] = number::<8>(bytes, field)?;
                    field += 8;
                }
            }
        }
        at += 4 + size;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{Stored, TensorSource};

    /// An archive of files as PyTorch writes them.
    fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let (mut out, mut list) = (Vec::new(), Vec::new());
        for (name, bytes) in files {
            let (at, size) = ((out.len() as u32).to_le_bytes(), (bytes.len() as u32).to_le_bytes());
            let name_length = (name.len() as u16).to_le_bytes();
            out.extend(
                [&b"PK\x03\x04"[..], &[0; 14], &size, &size, &name_length, &[0, 0], name.as_bytes(), bytes].concat(),
            );
            list.extend(
                [&b"PK\x01\x02"[..], &[0; 16], &size, &size, &name_length, &[0; 12], &at, name.as_bytes()].concat(),
            );
        }
        let (count, size, at) = ((files.len() as u16).to_le_bytes(), list.len() as u32, out.len() as u32);
        let end =
            [&b"PK\x05\x06"[..], &[0; 4], &count, &count, &size.to_le_bytes(), &at.to_le_bytes(), &[0, 0]].concat();
        [out, list, end].concat()
    }

    fn text(text: &str) -> Vec<u8> {
        [&[b'X'][..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
    }

    fn sizes(sizes: &[u8]) -> Vec<u8> {
        let each = sizes.iter().flat_map(|n| [b'K', *n]);
        [b'('].into_iter().chain(each).chain([b't']).collect()
    }

    /// `key: _rebuild_tensor_v2(storage, offset, shape, strides, False, OrderedDict())`.
    fn item(key: &str, kind: &str, storage: &str, offset: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
        let head = [text(key), b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(), text("storage")].concat();
        let kind = format!("ctorch\n{kind}\n").into_bytes();
        let whole = [head, kind, text(storage), text("cpu"), vec![b'K', 6, b't', b'Q', b'K', offset]].concat();
        let tail = b"\x89ccollections\nOrderedDict\n)RtR".to_vec();
        [whole, sizes(shape), sizes(strides), tail].concat()
    }

    fn file(items: &[Vec<u8>], nested: bool) -> Vec<u8> {
        below(items, nested.then_some("state_dict"))
    }

    fn below(items: &[Vec<u8>], key: Option<&str>) -> Vec<u8> {
        let dict = [b"}(".to_vec(), items.concat(), b"u".to_vec()].concat();
        let root = match key {
            Some(key) => [b"}(".to_vec(), text("epoch"), vec![b'K', 3], text(key), dict, b"u".to_vec()].concat(),
            None => dict,
        };
        let pickle = [b"\x80\x02".to_vec(), root, b".".to_vec()].concat();
        let f32s: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let halves: Vec<u8> = [0x3f80u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect();
        zip(&[("archive/data.pkl", pickle), ("archive/data/0", f32s), ("archive/data/1", halves)])
    }

    fn opened(bytes: &[u8]) -> Result<Stored, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.ckpt");
        std::fs::write(&path, bytes).unwrap();
        Stored::open(&path).map_err(|error| error.to_string())
    }

    fn items() -> Vec<Vec<u8>> {
        vec![
            item("a", "FloatStorage", "0", 0, &[2, 3], &[3, 1]),
            item("b", "FloatStorage", "0", 4, &[1, 2], &[9, 1]),
            item("h", "BFloat16Storage", "1", 0, &[2], &[1]),
        ]
    }

    /// Mutants: offsets in bytes; a tensor's place without its local header; the top dictionary read for `state_dict`.
    #[test]
    fn tensors_are_places_in_the_archive() {
        for key in [None, Some("state_dict"), Some("generator")] {
            let stored = opened(&below(&items(), key)).unwrap();
            assert_eq!(stored.names(), ["a", "b", "h"]);
            assert_eq!((stored.shape("a"), stored.shape("b")), (Some(vec![2, 3]), Some(vec![1, 2])));
            assert_eq!(stored.read("a").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            assert_eq!(stored.read("b").unwrap(), [4.0, 5.0]);
            assert_eq!(stored.read("h").unwrap(), [1.0, -2.0]);
            assert_eq!(stored.data("h").unwrap().dtype(), burn::tensor::DType::BF16);
        }
    }

    /// Mutants: what stands beside `state_dict` not listed; parameters followed however deep they lie.
    #[test]
    fn what_is_no_tensor_is_listed_and_a_parameter_holds_a_tensor() {
        let plain = [text("note"), text("x")].concat();
        let stored = opened(&below(&[items(), vec![plain]].concat(), Some("state_dict"))).unwrap();
        let said = stored.passed_over().unwrap();
        assert!(said.contains("2 values") && said.contains("epoch, note"), "{said}");
        assert_eq!(opened(&below(&items(), None)).unwrap().passed_over(), None);
        // `key: _rebuild_parameter(.., True, OrderedDict())`, so many deep.
        let parameter = |depth: usize| {
            let whole = item("p", "FloatStorage", "0", 0, &[2, 3], &[3, 1]);
            let (key, tensor) = whole.split_at(text("p").len());
            let open = b"ctorch._utils\n_rebuild_parameter\n(".repeat(depth);
            let close = b"\x88ccollections\nOrderedDict\n)RtR".repeat(depth);
            opened(&below(&[[key, &open, tensor, &close].concat()], None))
        };
        assert_eq!(parameter(1).unwrap().read("p").unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        let deep = parameter(2).unwrap_err();
        assert!(deep.contains("damaged record of `p`"), "{deep}");
        assert!(parameter(100_000).is_err());
    }

    #[test]
    fn code_and_damage_are_refused_with_the_reason() {
        let said = |bytes: &[u8]| opened(bytes).expect_err("a refused file");
        let code = [text("a"), b"cos\nsystem\n(".to_vec(), text("true"), b"tR".to_vec()].concat();
        assert!(said(&file(&[code], false)).contains("os.system"));
        let turned = said(&file(&[item("a", "FloatStorage", "0", 0, &[2, 3], &[1, 2])], false));
        assert!(turned.contains("`a` in another order"), "{turned}");
        let short = said(&file(&[item("a", "FloatStorage", "0", 3, &[2, 3], &[3, 1])], false));
        assert!(short.contains("too few numbers for `a`"), "{short}");
        let lost = said(&file(&[item("a", "FloatStorage", "7", 0, &[2, 3], &[3, 1])], false));
        assert!(lost.contains("lacks the storage 7"), "{lost}");
        assert!(said(&file(&[], false)).contains("no tensors by name"));
        assert!(said(&zip(&[("a.txt", b"x".to_vec())])).contains("without data.pkl"));
        assert!(said(&[LEGACY, &[0; 40]].concat()).contains("1.6"));
        let whole = file(&items(), true);
        // The last two bytes say that there is no comment.
        for cut in 4..whole.len() - 2 {
            assert!(opened(&whole[..cut]).is_err(), "cut at {cut}");
        }
        // Whatever byte is another: an answer, never a panic.
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 0x5a;
            if let Ok(stored) = opened(&other) {
                stored.names().iter().for_each(|name| drop(stored.read(name)));
            }
        }
    }
}
