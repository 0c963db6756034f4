//! Frames of a `.wandb` file: LevelDB's log format behind a header of seven bytes, with zlib's CRC-32 in place of Castagnoli's.
//!
//! The file is blocks of 32 KiB. A record is one frame or several, none across the end of a block; a frame is its checksum (of type and
//! data), its length (`u16`), its type (1 whole, 2 first, 3 middle, 4 last), the data, all little-endian. Less than a frame's head at
//! the end of a block is filled with zeros.

use std::io::{self, Write};

const BLOCK: usize = 32 * 1024;
const HEAD: usize = 7;
/// Name, a magic number and the version of the format.
const HEADER: [u8; HEAD] = *b":W&B\xe1\xbe\x00";

/// Writes records in frames.
#[derive(Debug)]
pub struct Frames<W> {
    writer: W,
    offset: usize,
}

impl<W: Write> Frames<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of `writer`.
    pub fn begin(mut writer: W) -> io::Result<Self> {
        writer.write_all(&HEADER)?;
        Ok(Self { writer, offset: HEAD })
    }

    /// Appends a record, in one call to the writer.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&mut self, record: &[u8]) -> io::Result<()> {
        let mut framed = Vec::with_capacity(record.len() + HEAD);
        let (mut rest, mut is_first) = (record, true);
        loop {
            let left = BLOCK - (self.offset + framed.len()) % BLOCK;
            if left < HEAD {
                framed.resize(framed.len() + left, 0);
                continue;
            }
            let (data, after) = rest.split_at(rest.len().min(left - HEAD));
            let kind = match (is_first, after.is_empty()) {
                (true, true) => 1,
                (true, false) => 2,
                (false, false) => 3,
                (false, true) => 4,
            };
            framed.extend_from_slice(&checksum(kind, data).to_le_bytes());
            framed.extend_from_slice(&(data.len() as u16).to_le_bytes());
            framed.push(kind);
            framed.extend_from_slice(data);
            (rest, is_first) = (after, false);
            if rest.is_empty() {
                break;
            }
        }
        self.writer.write_all(&framed)?;
        self.offset += framed.len();
        self.writer.flush()
    }
}

fn checksum(kind: u8, data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(&[kind]);
    crc.update(data);
    crc.sum()
}

/// Reads the records of a file back, each frame's checksum held against its data.
#[cfg(test)]
pub fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    assert_eq!(bytes[..HEAD], HEADER);
    let (mut at, mut records, mut part) = (HEAD, Vec::new(), None::<Vec<u8>>);
    while at < bytes.len() {
        let left = BLOCK - at % BLOCK;
        if left < HEAD {
            assert!(bytes[at..at + left].iter().all(|byte| *byte == 0));
            at += left;
            continue;
        }
        let length = u16::from_le_bytes([bytes[at + 4], bytes[at + 5]]) as usize;
        let (kind, data) = (bytes[at + 6], &bytes[at + HEAD..at + HEAD + length]);
        assert!(HEAD + length <= left, "a frame across the end of a block");
        assert_eq!(bytes[at..at + 4], checksum(kind, data).to_le_bytes());
        assert_eq!(part.is_none(), kind == 1 || kind == 2);
        part.get_or_insert_default().extend_from_slice(data);
        if kind == 1 || kind == 4 {
            records.extend(part.take());
        }
        at += HEAD + length;
    }
    assert!(part.is_none());
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: blocks counted from behind the header; no zeros where a head does not fit; a middle frame called the last.
    #[test]
    fn records_of_all_lengths_come_back() {
        for first in (BLOCK - 3 * HEAD - 3..BLOCK - HEAD + 3).chain([0, 1, 3 * BLOCK, 100_000]) {
            let mut file = Vec::new();
            let sent: Vec<Vec<u8>> = [first, 5, 70_000, 1].map(|n| (0..n).map(|i| i as u8).collect()).to_vec();
            let mut frames = Frames::begin(&mut file).unwrap();
            sent.iter().for_each(|record| frames.write(record).unwrap());
            assert_eq!(records(&file), sent, "{first}");
        }
    }

    /// Mutant: Castagnoli's checksum.
    #[test]
    fn the_checksum_is_zlibs() {
        // zlib.crc32(b"\x01123456789"), worked out with Python's zlib.
        assert_eq!(checksum(1, b"123456789"), 0x21b5_2ec0);
    }
}
