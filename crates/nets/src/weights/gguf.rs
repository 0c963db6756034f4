//! GGUF files (ggml's format, versions 2 and 3): a header of keys, a list of tensors, and their numbers, many of them in blocks.
//!
//! All counts are little-endian; lengths of axes stand fastest first. Only the list is read here: names, types, shapes and where the
//! bytes lie.

use kernels::BlockKind;
use safetensors::Dtype;
use std::collections::HashMap;
use std::ops::Range;

/// How files begin.
pub(super) const MAGIC: &[u8] = b"GGUF";

/// What a tensor is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    /// Numbers of a type.
    Number(Dtype),
    /// Blocks of a kind.
    Block(BlockKind),
}

/// What a file lists.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Name, type, shape and bytes of every tensor.
    pub tensors: Vec<(String, Element, Vec<usize>, Range<usize>)>,
    /// The keys whose values are texts.
    pub notes: HashMap<String, String>,
    /// What a pickle holds beside tensors.
    pub others: Vec<String>,
}

/// Reads the list of a file; the error says what is wrong with it.
pub(super) fn read(bytes: &[u8]) -> Result<Listed, String> {
    let mut at = Reader { bytes, at: MAGIC.len() };
    let version = at.number(4)?;
    if !(2..=3).contains(&version) {
        return Err(format!("is GGUF of version {version}; 2 and 3 are read (a large number may be big-endian)"));
    }
    let (tensors, keys) = (at.number(8)?, at.number(8)?);
    let mut listed = Listed::default();
    let (mut alignment, mut shapes) = (32, HashMap::new());
    for _ in 0..keys {
        let key = at.text()?;
        let kind = at.number(4)?;
        match at.value(kind, 0)? {
            Value::Number(number) if key == "general.alignment" => alignment = number,
            Value::Text(text) => drop(listed.notes.insert(key, text)),
            // ComfyUI's converter flattens tensors whose rows are no whole blocks, and says their shape here.
            Value::Numbers(numbers) => {
                if let Some(name) = key.strip_prefix("comfy.gguf.orig_shape.") {
                    shapes.insert(name.to_owned(), numbers);
                }
            }
            Value::Number(_) | Value::Other => {}
        }
    }
    if alignment == 0 {
        return Err("says that its tensors are aligned to 0 bytes; fetch it again".into());
    }
    let mut places = Vec::new();
    for _ in 0..tensors {
        let name = at.text()?;
        let axes = at.number(4)?;
        if axes > 8 {
            return Err(format!("says that `{name}` has {axes} axes; fetch it again"));
        }
        let mut shape = (0..axes).map(|_| at.number(8)).collect::<Result<Vec<_>, _>>()?;
        shape.reverse();
        let element = element(at.number(4)?).map_err(|why| format!("holds `{name}` {why}"))?;
        places.push((name, element, shape, at.number(8)?));
    }
    let start = at.at.next_multiple_of(alignment);
    for (name, element, shape, offset) in places {
        let length = length(element, &shape).ok_or_else(|| {
            format!("says that `{name}` is {shape:?} of {element:?}, which are no whole blocks; fetch it again")
        })?;
        let begin = start.checked_add(offset);
        let range = begin.and_then(|begin| Some(begin..begin.checked_add(length)?));
        let Some(range) = range.filter(|range| range.end <= bytes.len()) else {
            return Err(format!("ends within `{name}`; fetch it again"));
        };
        // The other shape, where it is of as many numbers and its rows are whole blocks.
        let same =
            |other: &Vec<usize>| self::length(element, other) == Some(length) && numbers(other) == numbers(&shape);
        let shape = shapes.remove(&name).filter(same).unwrap_or(shape);
        listed.tensors.push((name, element, shape, range));
    }
    Ok(listed)
}

fn numbers(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |all, n| all.checked_mul(*n))
}

/// Bytes of a tensor, whose rows must be whole blocks.
fn length(element: Element, shape: &[usize]) -> Option<usize> {
    let all = numbers(shape)?;
    let (count, bytes) = match element {
        Element::Number(Dtype::F64) => (1, 8),
        Element::Number(Dtype::F32) => (1, 4),
        Element::Number(_) => (1, 2),
        Element::Block(kind) => (kind.numbers(), kind.bytes()),
    };
    let row = shape.last().copied().unwrap_or(1);
    if row.is_multiple_of(count) { (all / count).checked_mul(bytes) } else { None }
}

/// ggml's numbers of types, and the names of those that are not read.
fn element(number: usize) -> Result<Element, String> {
    const UNREAD: [(usize, &str); 14] = [
        (9, "Q8_1"),
        (15, "Q8_K"),
        (16, "IQ2_XXS"),
        (17, "IQ2_XS"),
        (18, "IQ3_XXS"),
        (19, "IQ1_S"),
        (21, "IQ3_S"),
        (22, "IQ2_S"),
        (24, "I8"),
        (26, "I32"),
        (29, "IQ1_M"),
        (34, "TQ1_0"),
        (35, "TQ2_0"),
        (39, "MXFP4"),
    ];
    Ok(match number {
        0 => Element::Number(Dtype::F32),
        1 => Element::Number(Dtype::F16),
        28 => Element::Number(Dtype::F64),
        30 => Element::Number(Dtype::BF16),
        2 => Element::Block(BlockKind::Q4_0),
        3 => Element::Block(BlockKind::Q4_1),
        6 => Element::Block(BlockKind::Q5_0),
        7 => Element::Block(BlockKind::Q5_1),
        8 => Element::Block(BlockKind::Q8_0),
        10 => Element::Block(BlockKind::Q2K),
        11 => Element::Block(BlockKind::Q3K),
        12 => Element::Block(BlockKind::Q4K),
        13 => Element::Block(BlockKind::Q5K),
        14 => Element::Block(BlockKind::Q6K),
        20 => Element::Block(BlockKind::Iq4Nl),
        23 => Element::Block(BlockKind::Iq4Xs),
        other => {
            let name = UNREAD.iter().find(|(number, _)| *number == other);
            let name = name.map_or_else(|| format!("number {other}"), |(_, name)| (*name).to_owned());
            return Err(format!(
                "in ggml's type {name}; F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K, IQ4_NL and IQ4_XS are read, take \
                 such a file"
            ));
        }
    })
}

/// A key's value, as far as it is of use here.
enum Value {
    Number(usize),
    Numbers(Vec<usize>),
    Text(String),
    Other,
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("ends within its header, at byte {}; fetch it again", self.bytes.len()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn number(&mut self, bytes: usize) -> Result<usize, String> {
        let at = self.at;
        let mut all = [0u8; 8];
        all[..bytes].copy_from_slice(self.take(bytes)?);
        usize::try_from(u64::from_le_bytes(all)).map_err(|_| format!("has a count too large at byte {at}"))
    }

    fn text(&mut self) -> Result<String, String> {
        let (at, length) = (self.at, self.number(8)?);
        String::from_utf8(self.take(length)?.to_vec())
            .map_err(|_| format!("has a name that is no text at byte {at}; fetch it again"))
    }

    /// A value of ggml's kind `kind`; lists may be nested.
    fn value(&mut self, kind: usize, depth: usize) -> Result<Value, String> {
        const SIZES: [usize; 13] = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];
        const UNSIGNED: [usize; 4] = [0, 2, 4, 10];
        const SIGNED: [usize; 4] = [1, 3, 5, 11];
        match kind {
            8 => Ok(Value::Text(self.text()?)),
            9 => {
                let (kind, count) = (self.number(4)?, self.number(8)?);
                if depth > 4 {
                    return Err("has lists within lists within lists; fetch it again".into());
                }
                let mut numbers = Vec::new();
                for _ in 0..count {
                    // Each takes a byte at least, so that a false count ends with the file.
                    if let Value::Number(number) = self.value(kind, depth + 1)? {
                        numbers.push(number);
                    }
                }
                Ok(Value::Numbers(numbers))
            }
            kind if UNSIGNED.contains(&kind) || SIGNED.contains(&kind) => Ok(Value::Number(self.number(SIZES[kind])?)),
            kind if kind < SIZES.len() => {
                self.take(SIZES[kind])?;
                Ok(Value::Other)
            }
            other => Err(format!("has a key of kind {other}, which GGUF does not know; fetch it again")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::weights::{Stored, TensorSource};

    fn text(out: &mut Vec<u8>, text: &str) {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    }

    /// A file of tensors: name, ggml's type, shape slowest first, bytes.
    pub(crate) fn file(tensors: &[(&str, u32, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let mut out = [MAGIC, &3u32.to_le_bytes(), &(tensors.len() as u64).to_le_bytes(), &3u64.to_le_bytes()].concat();
        text(&mut out, "general.architecture");
        out.extend(8u32.to_le_bytes());
        text(&mut out, "flux");
        text(&mut out, "general.alignment");
        out.extend(4u32.to_le_bytes());
        out.extend(64u32.to_le_bytes());
        text(&mut out, "comfy.gguf.orig_shape.flat");
        out.extend(9u32.to_le_bytes());
        out.extend(5u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        out.extend([8i32, 4].iter().flat_map(|n| n.to_le_bytes()));
        let mut offset = 0usize;
        for (name, kind, shape, bytes) in tensors {
            text(&mut out, name);
            out.extend((shape.len() as u32).to_le_bytes());
            shape.iter().rev().for_each(|n| out.extend((*n as u64).to_le_bytes()));
            out.extend(kind.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(64);
        }
        for (_, _, _, bytes) in tensors {
            out.resize(out.len().next_multiple_of(64), 0);
            out.extend(bytes);
        }
        out
    }

    fn opened(bytes: &[u8]) -> Result<Stored, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, bytes).unwrap();
        Stored::open(&path).map_err(|error| error.to_string())
    }

    fn sample() -> Vec<u8> {
        let f32s: Vec<u8> = (0..32).flat_map(|i| (i as f32).to_le_bytes()).collect();
        let block = |scale: u16| [&scale.to_le_bytes()[..], &(0..32).collect::<Vec<u8>>()].concat();
        file(&[
            ("flat", 0, vec![1, 32], f32s),
            ("q", 8, vec![2, 32], [block(0x3c00), block(0x4000)].concat()),
            ("bf", 30, vec![2], [0x3f80u16, 0xc000].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ])
    }

    /// Mutants: axes in the file's order; data right behind the list, unaligned; the alignment always 32.
    #[test]
    fn tensors_are_found_where_they_lie() {
        let stored = opened(&sample()).unwrap();
        assert_eq!(stored.names(), ["bf", "flat", "q"]);
        assert_eq!(stored.note("general.architecture"), Some("flux"));
        assert_eq!((stored.shape("flat"), stored.shape("q")), (Some(vec![8, 4]), Some(vec![2, 32])));
        assert_eq!(stored.read("bf").unwrap(), [1.0, -2.0]);
        assert_eq!(stored.read("flat").unwrap()[..3], [0.0, 1.0, 2.0]);
        let want: Vec<f32> = (0..64).map(|i| (i % 32) as f32 * if i < 32 { 1.0 } else { 2.0 }).collect();
        assert_eq!(stored.read("q").unwrap(), want);
        assert_eq!(stored.blocks("q").unwrap().rows(1..2).widened(), want[32..]);
        assert!(stored.blocks("flat").is_none());
        assert_eq!(stored.rows("q", 1..2).unwrap().try_to_vec::<f32>().unwrap(), want[32..]);
    }

    #[test]
    fn damaged_files_and_other_types_are_refused_with_the_reason() {
        let whole = sample();
        let said = |bytes: &[u8]| opened(bytes).expect_err("a damaged file");
        assert!(said(&whole[..whole.len() - 1]).contains("ends within `bf`"), "{}", said(&whole[..whole.len() - 1]));
        for cut in 4..whole.len() - 1 {
            assert!(opened(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut old = whole.clone();
        old[4] = 1;
        assert!(said(&old).contains("version 1"));
        let mut other = whole.clone();
        other[0] = b'X';
        assert!(said(&other).contains("does not begin with GGUF"), "{}", said(&other));
        let unread = said(&file(&[("w", 21, vec![1, 256], vec![0; 110])]));
        assert!(unread.contains("`w` in ggml's type IQ3_S") && unread.contains("Q6_K"), "{unread}");
        assert!(said(&file(&[("w", 99, vec![1], vec![0; 4])])).contains("number 99"));
        let odd = said(&file(&[("w", 8, vec![32, 4], vec![0; 136])]));
        assert!(odd.contains("no whole blocks"), "{odd}");
    }
}
