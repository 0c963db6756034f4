//! NumPy arrays: `.npy` with labels beside it, `.npz` with both inside.
//!
//! Images are `[n h w]`, `[n h w c]` or `[n c h w]` with c = 1 or 3. Bytes are taken as they are; floating-point arrays are in
//! [-1, 1] if any number is negative, in [0, 1] if none is above 1, else in [0, 255], and are rounded to bytes.

use super::{Block, Source, numbered_classes, rows};
use crate::{DataError, Result, denormalize};
use npyz::{DType, NpyFile, Order, TypeChar};
use std::io::{Cursor, Read};
use std::path::Path;

const REMEDY: &str = "save it with numpy.save as uint8 or float32, [n h w] or [n h w c]";
const IMAGE_KEYS: [&str; 7] = ["images", "x", "x_train", "x_test", "data", "samples", "arr_0"];
const LABEL_KEYS: [&str; 6] = ["labels", "label", "y", "y_train", "y_test", "arr_1"];

/// The images of a `.npy` or `.npz` file.
pub(crate) fn open_file(path: &Path) -> Result<Source> {
    let read = |path: &Path| std::fs::read(path).map_err(|e| DataError::io(path, "read", e));
    let bytes = read(path)?;
    if bytes.is_empty() {
        return Err(DataError::malformed(path, "the file is empty", REMEDY));
    }
    let (images, labels) = if bytes.starts_with(b"PK") {
        members(path, bytes)?
    } else {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let names =
            [format!("{stem}_labels.npy"), format!("{stem}.labels.npy"), stem.replace("images", "labels") + ".npy"];
        let beside = names.iter().map(|name| path.with_file_name(name)).find(|file| file.is_file() && file != path);
        (bytes, beside.map(|file| read(&file)).transpose()?)
    };
    let block = block(path, &images)?;
    let labels = labels.map(|bytes| integers(path, &bytes)).transpose()?;
    if let Some(labels) = &labels
        && labels.len() != block.len()
    {
        let what = format!("{} labels for {} images", labels.len(), block.len());
        return Err(DataError::malformed(path, what, "save one label per image"));
    }
    let class_names = numbered_classes(path, labels.as_deref().unwrap_or_default())?;
    Ok(Source { class_names, entries: rows(block, labels.as_deref()), own_split: false, ..Source::default() })
}

/// The image and label arrays of an archive, as npy files.
fn members(path: &Path, bytes: Vec<u8>) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let broken =
        |e: &dyn std::fmt::Display| DataError::malformed(path, format!("not a whole npz file ({e})"), "save it again");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| broken(&e))?;
    let mut find = |keys: &[&str]| -> Result<Option<Vec<u8>>> {
        for key in keys {
            let mut content = Vec::new();
            match archive.by_name(&format!("{key}.npy")) {
                Ok(mut member) => {
                    member.read_to_end(&mut content).map_err(|e| broken(&e))?;
                    return Ok(Some(content));
                }
                Err(zip::result::ZipError::FileNotFound) => {}
                Err(e) => return Err(broken(&e)),
            }
        }
        Ok(None)
    };
    let images = find(&IMAGE_KEYS)?.ok_or_else(|| {
        DataError::malformed(path, "no array of images in it", format!("name it one of {}", IMAGE_KEYS.join(", ")))
    })?;
    Ok((images, find(&LABEL_KEYS)?))
}

fn header<'a>(path: &Path, bytes: &'a [u8]) -> Result<(NpyFile<&'a [u8]>, TypeChar, u64)> {
    let broken = |what: String| DataError::malformed(path, what, REMEDY);
    let file = NpyFile::new(bytes).map_err(|e| broken(format!("not an npy array ({e})")))?;
    if file.order() != Order::C {
        return Err(broken("stored column by column (Fortran order)".to_string()));
    }
    let DType::Plain(kind) = file.dtype() else {
        return Err(broken("an array of records".to_string()));
    };
    let numbers = file.shape().iter().try_fold(1u64, |product, &side| product.checked_mul(side));
    let size = numbers.and_then(|numbers| numbers.checked_mul(kind.size_field()));
    // Checked before reading, so that a damaged header cannot ask for more memory than the file could fill.
    if size.is_none_or(|size| size > bytes.len() as u64) {
        return Err(broken(format!("truncated: shape {:?} does not fit in {} bytes", file.shape(), bytes.len())));
    }
    Ok((file, kind.type_char(), kind.size_field()))
}

fn block(path: &Path, bytes: &[u8]) -> Result<Block> {
    let broken = |what: String| DataError::malformed(path, what, REMEDY);
    let unreadable = |e: std::io::Error| broken(format!("truncated or damaged ({e})"));
    let (file, kind, size) = header(path, bytes)?;
    let shape: Vec<usize> = file.shape().iter().map(|&side| side as usize).collect();
    let colours = |c: usize| c == 1 || c == 3;
    let (planar, height, width, channels) = match shape[..] {
        [_, h, w] => (false, h, w, 1),
        [_, h, w, c] if colours(c) => (false, h, w, c),
        [_, c, h, w] if colours(c) => (true, h, w, c),
        _ => return Err(broken(format!("an array of shape {shape:?}"))),
    };
    if height == 0 || width == 0 {
        return Err(broken(format!("an array of shape {shape:?}")));
    }
    let mut values = match (kind, size) {
        (TypeChar::Uint, 1) => file.into_vec::<u8>().map_err(unreadable)?,
        (TypeChar::Float, 4) => to_bytes(path, &file.into_vec::<f32>().map_err(unreadable)?)?,
        (TypeChar::Float, 8) => {
            let wide = file.into_vec::<f64>().map_err(unreadable)?;
            to_bytes(path, &wide.into_iter().map(|v| v as f32).collect::<Vec<_>>())?
        }
        _ => return Err(broken(format!("numbers of kind {kind:?} with {size} bytes"))),
    };
    if planar {
        let plane = height * width;
        let interleave = |image: &[u8]| -> Vec<u8> {
            (0..plane).flat_map(|at| (0..channels).map(move |c| (at, c))).map(|(at, c)| image[c * plane + at]).collect()
        };
        values = values.chunks_exact(plane * channels).flat_map(interleave).collect();
    }
    Ok(Block { path: path.to_path_buf(), height, width, channels, bytes: values })
}

fn to_bytes(path: &Path, values: &[f32]) -> Result<Vec<u8>> {
    if let Some((at, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        let remedy = "find out where it comes from, or leave that image out".to_string();
        return Err(DataError::NotFinite { path: path.to_path_buf(), what: format!("number {at}"), value, remedy });
    }
    let least = values.iter().copied().fold(0.0, f32::min);
    let most = values.iter().copied().fold(0.0, f32::max);
    let signed: fn(f32) -> f32 = match (least < 0.0, most > 1.0) {
        (true, false) if least >= -1.0 => |v| v,
        (false, false) => |v| 2.0 * v - 1.0,
        (false, true) if most <= 255.0 => |v| v / 127.5 - 1.0,
        _ => {
            let what = format!("numbers from {least} to {most}");
            return Err(DataError::malformed(path, what, "bring them to [-1, 1], [0, 1] or [0, 255]"));
        }
    };
    Ok(values.iter().map(|&value| denormalize(signed(value))).collect())
}

fn integers(path: &Path, bytes: &[u8]) -> Result<Vec<u32>> {
    let broken = |what: String| DataError::malformed(path, what, "save labels as integers, [n]");
    let unreadable = |e: std::io::Error| broken(format!("labels truncated or damaged ({e})"));
    let (file, kind, size) = header(path, bytes)?;
    let wide: Vec<i64> = match (kind, size) {
        (TypeChar::Uint, 1) => file.into_vec::<u8>().map_err(unreadable)?.into_iter().map(i64::from).collect(),
        (TypeChar::Int, 4) => file.into_vec::<i32>().map_err(unreadable)?.into_iter().map(i64::from).collect(),
        (TypeChar::Int, 8) => file.into_vec::<i64>().map_err(unreadable)?,
        _ => return Err(broken(format!("labels of kind {kind:?} with {size} bytes"))),
    };
    wide.into_iter().map(|v| u32::try_from(v).map_err(|_| broken(format!("label {v}")))).collect()
}
