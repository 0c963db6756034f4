//! The npy format: numbers of every kind numpy writes, in either order, as bytes of images or as labels.
//!
//! Bytes are taken as they are, wider whole numbers if they fit into a byte, 16-bit ones scaled if they do not; truth values are
//! black and white. Floating-point arrays are in [-1, 1] if any number is negative, in [0, 1] if none is above 1, else in [0, 255],
//! and are rounded to bytes. Samplers overshoot: what lies outside [-1, 1] becomes its nearest end, as in a PNG.

use super::annotation::{Annotation, Word};
use crate::found::Found;
use crate::{DataError, Result, denormalize};
use half::f16;
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use std::path::Path;

pub(crate) const REMEDY: &str = "save it with numpy.save as uint8 or float32, [n h w] or [n h w c]";

/// Share of numbers outside [-1, 1] above which an array is taken to mean another range. Of the standard normal numbers that an
/// untrained sampler draws 0.32 are outside, and somewhat more once it has learned the mean of dark images alone.
const OUTSIDE: f64 = 0.4;

/// An array whose header is read and whose size is checked.
pub(crate) struct Array<'a> {
    path: &'a Path,
    pub(crate) shape: Vec<usize>,
    fortran: bool,
    kind: TypeChar,
    size: usize,
    big: bool,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    /// The array in `bytes`, which stand in `path`.
    pub(crate) fn new(path: &'a Path, mut bytes: &'a [u8]) -> Result<Self> {
        let broken = |what: String| DataError::malformed(path, what, REMEDY);
        let header = NpyHeader::from_reader(&mut bytes).map_err(|e| broken(format!("not an npy array ({e})")))?;
        let DType::Plain(kind) = header.dtype() else {
            return Err(broken("an array of records".to_string()));
        };
        let size = match kind.type_char() {
            TypeChar::UnicodeStr => kind.size_field().saturating_mul(4),
            _ => kind.size_field(),
        };
        let numbers = header.shape().iter().try_fold(1u64, |product, &side| product.checked_mul(side));
        // Checked before reading, so that a damaged header cannot ask for more memory than the file could fill.
        let length =
            numbers.and_then(|numbers| numbers.checked_mul(size)).filter(|&length| length <= bytes.len() as u64);
        let Some(length) = length else {
            let what = format!("truncated: shape {:?} does not fit in {} bytes", header.shape(), bytes.len());
            return Err(broken(what));
        };
        Ok(Self {
            path,
            shape: header.shape().iter().map(|&side| side as usize).collect(),
            fortran: header.order() == Order::Fortran,
            kind: kind.type_char(),
            size: size as usize,
            big: kind.endianness() == Endianness::Big,
            data: &bytes[..length as usize],
        })
    }

    /// How a number is read from its bytes; an error for kinds that are no numbers.
    fn reader(&self) -> Result<fn(&[u8]) -> f64> {
        fn word<const N: usize>(bytes: &[u8]) -> [u8; N] {
            let mut word = [0; N];
            word.copy_from_slice(&bytes[..N]);
            word
        }
        macro_rules! kind {
            ($($kind:ident $size:literal $number:ty),*) => {
                match (self.kind, self.size, self.big) {
                    (TypeChar::Bool | TypeChar::Uint, 1, _) => |bytes: &[u8]| f64::from(bytes[0]),
                    (TypeChar::Int, 1, _) => |bytes: &[u8]| f64::from(bytes[0] as i8),
                    (TypeChar::Float, 2, false) => |bytes: &[u8]| f16::from_le_bytes(word(bytes)).to_f64(),
                    (TypeChar::Float, 2, true) => |bytes: &[u8]| f16::from_be_bytes(word(bytes)).to_f64(),
                    $((TypeChar::$kind, $size, false) => |bytes: &[u8]| <$number>::from_le_bytes(word(bytes)) as f64,
                      (TypeChar::$kind, $size, true) => |bytes: &[u8]| <$number>::from_be_bytes(word(bytes)) as f64,)*
                    (kind, size, _) => {
                        let what = format!("numbers of kind {kind:?} with {size} bytes");
                        return Err(DataError::malformed(self.path, what, REMEDY));
                    }
                }
            };
        }
        let read: fn(&[u8]) -> f64 =
            kind!(Uint 2 u16, Uint 4 u32, Uint 8 u64, Int 2 i16, Int 4 i32, Int 8 i64, Float 4 f32, Float 8 f64);
        Ok(read)
    }

    fn numbers(&self) -> Result<impl Iterator<Item = f64> + Clone + '_> {
        Ok(self.data.chunks_exact(self.size.max(1)).map(self.reader()?))
    }

    /// The numbers as bytes of images, in C order.
    pub(crate) fn bytes(&self, found: &mut Found) -> Result<Vec<u8>> {
        Ok(self.in_order(self.levels(found)?))
    }

    fn levels(&self, found: &mut Found) -> Result<Vec<u8>> {
        if (self.kind, self.size) == (TypeChar::Uint, 1) {
            return Ok(self.data.to_vec());
        }
        let numbers = self.numbers()?;
        if let Some((at, value)) = numbers.clone().enumerate().find(|(_, value)| !value.is_finite()) {
            let remedy = "find out where it comes from, or leave that image out".to_string();
            let what = format!("number {at}");
            return Err(DataError::NotFinite { path: self.path.to_path_buf(), what, value: value as f32, remedy });
        }
        let (least, most) = numbers.clone().fold((0.0, 0.0), |(a, b): (f64, f64), v| (a.min(v), b.max(v)));
        let whole = matches!(self.kind, TypeChar::Uint | TypeChar::Int);
        let level: fn(f64) -> u8 = match self.kind {
            TypeChar::Bool => |v| if v == 0.0 { 0 } else { 255 },
            _ if whole && least >= 0.0 && most <= 255.0 => |v| v as u8,
            TypeChar::Uint if self.size == 2 => |v| (v / 257.0).round() as u8,
            TypeChar::Float if least < 0.0 => {
                let outside = numbers.clone().filter(|v| v.abs() > 1.0).count();
                if outside as f64 > OUTSIDE * numbers.clone().count() as f64 {
                    return Err(self.range(least, most));
                }
                if outside > 0 {
                    let name = format!("{least} to {most}");
                    found.count(
                        "numbers outside [-1, 1]",
                        outside,
                        name,
                        "the nearest of -1 and 1 is taken, as in a PNG",
                    );
                }
                |v| denormalize(v as f32)
            }
            TypeChar::Float if most <= 1.0 => |v| denormalize((2.0 * v - 1.0) as f32),
            TypeChar::Float if most <= 255.0 => |v| denormalize((v / 127.5 - 1.0) as f32),
            _ => return Err(self.range(least, most)),
        };
        Ok(numbers.map(level).collect())
    }

    fn range(&self, least: f64, most: f64) -> DataError {
        let what = format!("numbers from {least} to {most}");
        DataError::malformed(self.path, what, "bring them to [-1, 1], [0, 1] or [0, 255]")
    }

    /// `values`, one per number in the file's order, in C order (last side fastest).
    fn in_order<T: Copy>(&self, values: Vec<T>) -> Vec<T> {
        if !self.fortran || self.shape.len() < 2 || values.is_empty() {
            return values;
        }
        let strides: Vec<usize> =
            self.shape.iter().scan(1, |stride, &side| Some(std::mem::replace(stride, *stride * side))).collect();
        let mut index = vec![0; self.shape.len()];
        let mut out = Vec::with_capacity(values.len());
        for _ in 0..values.len() {
            out.push(values[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
            for side in (0..index.len()).rev() {
                index[side] += 1;
                if index[side] < self.shape[side] {
                    break;
                }
                index[side] = 0;
            }
        }
        out
    }

    /// The labels of `images` images: whole numbers (-1 for none), names, or one-hot rows. `None` where an image has several.
    pub(crate) fn labels(&self, images: usize, found: &mut Found) -> Result<Option<Vec<Annotation>>> {
        let broken = |what: String| DataError::malformed(self.path, what, "save labels as integers, [n]");
        let rows = self.shape.first().copied().unwrap_or(0);
        if rows != images {
            let what = format!("{rows} labels for {images} images");
            return Err(DataError::malformed(self.path, what, "save one label per image"));
        }
        let width: usize = self.shape[1..].iter().product();
        let said = |label: Option<Word>| Annotation { label, ..Annotation::default() };
        if matches!(self.kind, TypeChar::UnicodeStr | TypeChar::ByteStr) && width == 1 {
            let names = self.data.chunks_exact(self.size.max(1)).map(|bytes| self.name(bytes));
            let names: Option<Vec<String>> = names.collect();
            let names = names.ok_or_else(|| broken("names of classes that are no text".into()))?;
            let word = |name: String| Some(name).filter(|name| !name.is_empty()).map(Word::Name);
            return Ok(Some(names.into_iter().map(word).map(said).collect()));
        }
        let numbers = self.in_order(
            self.numbers()
                .map_err(|_| broken(format!("labels of kind {:?} with {} bytes", self.kind, self.size)))?
                .collect(),
        );
        let class = |v: f64| match v {
            -1.0 => Ok(None),
            v if v.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&v) => Ok(Some(Word::Number(v as u32))),
            v => Err(broken(format!("label {v}"))),
        };
        match width {
            1 => numbers.into_iter().map(|v| class(v).map(said)).collect::<Result<_>>().map(Some),
            _ => {
                let hot = |row: &[f64]| {
                    let one = row.iter().position(|&v| v == 1.0)?;
                    row.iter().enumerate().all(|(at, &v)| v == f64::from(u8::from(at == one))).then_some(one as u32)
                };
                let classes: Option<Vec<u32>> = numbers.chunks_exact(width.max(1)).map(hot).collect();
                if classes.is_none() {
                    let name =
                        format!("{} [{rows} {width}]", self.path.file_name().unwrap_or_default().to_string_lossy());
                    found.note("arrays of labels", name, "an image has several labels there, and a class is one");
                }
                Ok(classes.map(|classes| classes.into_iter().map(|class| said(Some(Word::Number(class)))).collect()))
            }
        }
    }

    /// A name of fixed width, filled up with zeros.
    fn name(&self, bytes: &[u8]) -> Option<String> {
        let text = match self.kind {
            TypeChar::ByteStr => String::from_utf8(bytes.to_vec()).ok()?,
            _ => {
                let (words, _) = bytes.as_chunks::<4>();
                let word =
                    |word: &[u8; 4]| if self.big { u32::from_be_bytes(*word) } else { u32::from_le_bytes(*word) };
                words.iter().map(|bytes| char::from_u32(word(bytes))).collect::<Option<String>>()?
            }
        };
        Some(text.trim_end_matches('\0').trim().to_string())
    }
}
