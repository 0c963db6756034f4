//! Weights pickled as nested dictionaries of numpy arrays, as JAX projects publish them.

use crate::MetricsError;
use crate::weights::{HostTensor, Weights};
use half::f16;
use pickle::{Graph, Id, Value};
use std::path::Path;

/// Reads a pickle of nested dictionaries of float arrays; names are the keys joined with `.`, shapes as stored
/// (JAX keeps kernels as `[kh kw i o]`). `path` is only for messages.
pub fn numpy_pickle(bytes: &[u8], path: &Path) -> Result<Weights, MetricsError> {
    let corrupt = |offset, message: String| MetricsError::Corrupt { path: path.to_path_buf(), offset, message };
    let graph = Graph::read(bytes, 0).map_err(|f| corrupt(f.offset, f.message))?;
    let mut weights = Weights::default();
    let Value::Dict(entries) = graph.root() else {
        return Err(corrupt(0, "the pickle does not hold a dictionary of arrays".into()));
    };
    collect(&graph, entries, "", 0, &mut weights).map_err(|message| corrupt(0, message))?;
    Ok(weights)
}

/// Deepest nesting of dictionaries; shared dictionaries could otherwise be walked without end.
const DEPTH: usize = 8;
/// Most arrays in a file.
const ARRAYS: usize = 100_000;

fn collect(graph: &Graph, entries: &[(Id, Id)], prefix: &str, depth: usize, out: &mut Weights) -> Result<(), String> {
    if depth > DEPTH {
        return Err(format!("dictionaries nested deeper than {DEPTH} at `{prefix}`"));
    }
    for &(key, value) in entries {
        let key = graph.text(key).ok_or_else(|| format!("a key under `{prefix}` is no text"))?;
        let name = if prefix.is_empty() { key.to_string() } else { format!("{prefix}.{key}") };
        match graph.get(value) {
            Value::Dict(inner) => collect(graph, inner, &name, depth + 1, out)?,
            _ => {
                let tensor = array(graph, value).map_err(|e| format!("`{name}`: {e}"))?;
                if out.tensors.len() >= ARRAYS || out.tensors.insert(name.clone(), tensor).is_some() {
                    return Err(format!("`{name}` appears twice, or there are more than {ARRAYS} arrays"));
                }
            }
        }
    }
    Ok(())
}

/// An array: `_reconstruct(ndarray, (0,), b'b')` with the state `(version, shape, dtype, fortran order, bytes)`.
fn array(graph: &Graph, id: Id) -> Result<HostTensor, String> {
    let (function, _, state) = graph.call(id).ok_or("not an array")?;
    if !function.ends_with("multiarray._reconstruct") {
        return Err(format!("made by {function}, not an array"));
    }
    let state = state.and_then(|s| graph.tuple(s)).ok_or("an array without contents")?;
    let [_, shape, dtype, fortran, bytes] = state else {
        return Err(format!("an array state of {} parts, 5 expected", state.len()));
    };
    let shape = graph.sizes(*shape).ok_or("a shape that is no tuple of sizes")?;
    let Value::Bytes(bytes) = graph.get(*bytes) else { return Err("contents that are no bytes".into()) };
    if *graph.get(*fortran) != Value::Bool(false) && shape.len() > 1 {
        return Err("column-major contents; save a C-contiguous array".into());
    }
    let (_, arguments, dtype_state) = graph.call(*dtype).ok_or("a dtype that is none")?;
    let kind = arguments.first().and_then(|&a| graph.text(a)).ok_or("a dtype without a name")?;
    let order = dtype_state.and_then(|s| graph.tuple(s)).and_then(|s| graph.text(*s.get(1)?)).unwrap_or("<");
    if order != "<" && order != "=" && order != "|" {
        return Err(format!("byte order `{order}`; little-endian is read"));
    }
    let width = match kind {
        "f4" => 4,
        "f2" => 2,
        "f8" => 8,
        other => return Err(format!("numbers of kind `{other}`; f2, f4 and f8 are read")),
    };
    let count = shape.iter().try_fold(width, |n: usize, &s| n.checked_mul(s));
    if count != Some(bytes.len()) {
        return Err(format!("{} bytes are not an array of {shape:?}", bytes.len()));
    }
    let data = bytes.chunks_exact(width).map(number).collect();
    Ok(HostTensor { shape, data })
}

/// A little-endian float of two, four or eight bytes.
pub(super) fn number(bytes: &[u8]) -> f32 {
    match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).to_f32(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]) as f32,
        _ => f32::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// python3 -c "import numpy as n, pickle, sys; sys.stdout.buffer.write(pickle.dumps(
    ///   {'net': {'kernel': n.arange(6, dtype='f4').reshape(2, 3), 'bias': n.array([.5], 'f4')}}, 3))" (numpy 1.x naming)
    fn sample() -> Vec<u8> {
        let mut out = b"\x80\x03}q\x00X\x03\x00\x00\x00netq\x01}q\x02(X\x06\x00\x00\x00kernelq\x03cnumpy.core.multiarray\n_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85q\x06C\x01bq\x07\x87q\x08Rq\x09(K\x01K\x02K\x03\x86q\x0acnumpy\ndtype\nq\x0bX\x02\x00\x00\x00f4q\x0c\x89\x88\x87q\x0dRq\x0e(K\x03X\x01\x00\x00\x00<q\x0fNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x10b\x89C\x18".to_vec();
        out.extend((0..6).flat_map(|i| (i as f32).to_le_bytes()));
        out.extend(b"q\x11tq\x12bX\x04\x00\x00\x00biasq\x13h\x04h\x05K\x00\x85q\x14h\x07\x87q\x15Rq\x16(K\x01K\x01\x85q\x17h\x0e\x89C\x04");
        out.extend(0.5f32.to_le_bytes());
        out.extend(b"q\x18tq\x19bus.");
        out
    }

    #[test]
    fn nested_arrays_come_out_named_and_shaped() {
        let weights = numpy_pickle(&sample(), Path::new("x")).unwrap();
        assert_eq!(weights.tensors["net.kernel"].shape, [2, 3]);
        assert_eq!(weights.tensors["net.kernel"].data, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(weights.tensors["net.bias"].data, [0.5]);
    }

    proptest! {
        #[test]
        fn damaged_files_never_panic(cut in 0usize..1000, at in 0usize..1000, mask in 1u8..) {
            let mut bytes = sample();
            let cut = cut % bytes.len();
            prop_assert!(numpy_pickle(&bytes[..cut], Path::new("x")).is_err());
            let at = at % bytes.len();
            bytes[at] ^= mask;
            let _ = numpy_pickle(&bytes, Path::new("x"));
        }
    }
}
