//! Ways in which files are damaged: cut off, bits turned over, lengths that no file has, pieces left out, doubled and moved.

use rectiflow::base::{Key, Purpose};

/// Numbers that a header's field must not be believed on.
const ABSURD: [u64; 10] = [0, 1, 2, 0x7f, 0xff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, 0x7fff_ffff_ffff_ffff, u64::MAX];
/// The same as text.
const WORDS: [&str; 10] =
    ["0", "-1", "4294967295", "18446744073709551616", "1e999", "nan", "-0.0", "", "1099511627776", "\u{0}"];

/// A place in front of which a header is likely.
const HEADER: usize = 256;

/// Damaged file `number` of `seed`: one of the whole files, changed in one to four ways.
pub fn damaged(seeds: &[Vec<u8>], seed: u64, number: u64) -> Vec<u8> {
    let mut dice = Dice { key: Key::new(seed, Purpose::Probe).fold(number), at: 0 };
    let mut bytes = seeds[dice.below(seeds.len())].clone();
    for _ in 0..=dice.below(4) {
        change(&mut bytes, seeds, &mut dice);
    }
    bytes
}

struct Dice {
    key: Key,
    at: u64,
}

impl Dice {
    fn bits(&mut self) -> u64 {
        self.at += 1;
        self.key.bits(self.at)
    }

    /// A whole number below `most`; 0 where there is none.
    fn below(&mut self, most: usize) -> usize {
        if most == 0 { 0 } else { (self.bits() % most as u64) as usize }
    }

    /// A place in a file of `length`: every other time among its first bytes.
    fn place(&mut self, length: usize) -> usize {
        let most = if self.below(2) == 0 { length.min(HEADER) } else { length };
        self.below(most)
    }
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], dice: &mut Dice) {
    let at = dice.place(bytes.len());
    match dice.below(9) {
        0 => bytes.truncate(at),
        1 => {
            for _ in 0..=dice.below(8) {
                let at = dice.place(bytes.len());
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << dice.below(8);
                }
            }
        }
        2 | 3 => {
            let value = ABSURD[dice.below(ABSURD.len())];
            let width = [1, 2, 4, 8][dice.below(4)];
            let word = if dice.below(2) == 0 { value.to_le_bytes() } else { value.swap_bytes().to_le_bytes() };
            let word = if dice.below(2) == 0 { &word[..width] } else { &word[8 - width..] };
            if let Some(place) = bytes.get_mut(at..at + width) {
                place.copy_from_slice(word);
            }
        }
        4 => drop(bytes.drain(at..(at + dice.below(64)).min(bytes.len()))),
        5 => {
            let piece = bytes[at..(at + dice.below(64)).min(bytes.len())].to_vec();
            let to = dice.place(bytes.len());
            drop(bytes.splice(to..to, piece));
        }
        6 => {
            let other = &seeds[dice.below(seeds.len())];
            let from = dice.place(other.len());
            let piece = other[from..(from + dice.below(256)).min(other.len())].to_vec();
            let end = (at + piece.len()).min(bytes.len());
            drop(bytes.splice(at..end, piece));
        }
        7 => number(bytes, at, dice),
        _ => bytes.extend((0..dice.below(64)).map(|i| (i * 37) as u8)),
    }
}

/// Puts something absurd in the place of the first digits from `at` on.
fn number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(from) = bytes[at..].iter().position(u8::is_ascii_digit).map(|from| at + from) else { return };
    let end = bytes[from..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |end| from + end);
    let word = WORDS[dice.below(WORDS.len())];
    drop(bytes.splice(from..end, word.bytes()));
}
