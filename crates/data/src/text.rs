//! Text files as people have them: UTF-8 with or without a byte-order mark, or UTF-16 with one, as some editors save it.

use crate::{DataError, Result};
use std::path::Path;

/// More than any caption and any table of a million lines; what is larger is no text of ours.
const MOST: u64 = 1 << 30;

/// The text of the file at `path`.
pub(crate) fn read(path: &Path) -> Result<String> {
    let io = |e| DataError::io(path, "read", e);
    let bytes = std::fs::metadata(path).map_err(io)?.len();
    if bytes > MOST {
        let what = format!("{} MiB, too large for a file of text", bytes >> 20);
        return Err(DataError::malformed(path, what, "split it, or check that it is the right file"));
    }
    decode(path, &std::fs::read(path).map_err(io)?)
}

/// The text in `bytes`, which stand in `path`.
pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<String> {
    let wrong = |what: &str| DataError::malformed(path, what, "save it as UTF-8");
    let wide = |unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes[2..].as_chunks::<2>();
        let text = char::decode_utf16(pairs.iter().map(|pair| unit(*pair))).collect::<Result<String, _>>();
        text.ok().filter(|_| rest.is_empty()).ok_or_else(|| wrong("damaged UTF-16 text"))
    };
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => utf8(rest).ok_or_else(|| wrong("not UTF-8 text")),
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => utf8(bytes).ok_or_else(|| wrong("not UTF-8 text")),
    }
}

fn utf8(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(String::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_order_mark_is_read() {
        let read = |bytes: &[u8]| decode(Path::new("a.txt"), bytes);
        let wide = |unit: fn(u16) -> [u8; 2]| "\u{feff}Käse 🧀".encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        assert_eq!(read("Käse 🧀".as_bytes()).unwrap(), "Käse 🧀");
        assert_eq!(read("\u{feff}Käse 🧀".as_bytes()).unwrap(), "Käse 🧀");
        assert_eq!(read(&wide(u16::to_le_bytes)).unwrap(), "Käse 🧀");
        assert_eq!(read(&wide(u16::to_be_bytes)).unwrap(), "Käse 🧀");
        assert!(read(&[0xff, 0xfe, 1]).is_err());
        assert!(read(b"K\xe4se").unwrap_err().to_string().contains("save it as UTF-8"));
    }
}
