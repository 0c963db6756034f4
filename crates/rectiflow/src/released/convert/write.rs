//! Writing the files of a conversion, tensor by tensor, so that memory holds one of them.

use super::{Numbers, tensors::Tensors};
use crate::{Context, Error};
use burn::tensor::DType;
use serde_json::{Map, Value, json};
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

fn failed(path: &Path) -> impl Fn(std::io::Error) -> Error + '_ {
    move |error| Error::Failure(format!("cannot write {}: {error}", path.display()))
}

fn room(path: &Path) -> Result<(), Error> {
    path.parent().map_or(Ok(()), |parent| std::fs::create_dir_all(parent).map_err(failed(parent)))
}

/// A safetensors file of the tensors of `parts`, which is read back; bytes of its tensors.
pub(super) fn file(path: &Path, parts: &[&Tensors], numbers: Option<Numbers>, context: &Context) -> Result<u64, Error> {
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!({ "format": "pt" }))]);
    let mut length = 0;
    for part in parts {
        let source = part.weights.source()?;
        for line in &part.lines {
            let (dtype, shape) = part.header(&*source, line, numbers)?;
            let (size, name) = match dtype {
                DType::BF16 => (2, "BF16"),
                DType::F16 => (2, "F16"),
                _ => (4, "F32"),
            };
            let bytes = shape.iter().product::<usize>() as u64 * size;
            let entry = json!({ "dtype": name, "shape": shape, "data_offsets": [length, length + bytes] });
            if header.insert(line.single.clone(), entry).is_some() {
                return Err(Error::Failure(format!("two tensors would be called `{}` in one file", line.single)));
            }
            length += bytes;
        }
    }
    let mut text = Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    room(path)?;
    let mut out = BufWriter::new(File::create(path).map_err(failed(path))?);
    out.write_all(&(text.len() as u64).to_le_bytes()).map_err(failed(path))?;
    out.write_all(&text).map_err(failed(path))?;
    for part in parts {
        let source = part.weights.source()?;
        for line in &part.lines {
            context.go_on()?;
            for piece in part.pieces(&*source, line, numbers)? {
                out.write_all(piece.as_bytes()).map_err(failed(path))?;
            }
        }
    }
    let file = out.into_inner().map_err(|error| failed(path)(error.into_error()))?;
    file.sync_all().map_err(failed(path))?;
    nets::weights::Stored::open(path)?;
    Ok(length)
}

/// A file of few bytes.
pub(super) fn small(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    room(path)?;
    std::fs::write(path, bytes).map_err(failed(path))
}

/// A file as it is.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    room(to)?;
    std::fs::copy(from, to).map(drop).map_err(failed(to))
}
