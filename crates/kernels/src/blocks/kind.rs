//! Formats of blocks, and what the bytes of one say (ggml's; the names are theirs).

/// A format of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BlockKind {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Iq4Nl,
    Iq4Xs,
}

impl BlockKind {
    /// Numbers of a block.
    pub const fn numbers(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Iq4Nl => 32,
            Self::Q2K | Self::Q3K | Self::Q4K | Self::Q5K | Self::Q6K | Self::Iq4Xs => 256,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 | Self::Iq4Nl => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2K => 84,
            Self::Q3K => 110,
            Self::Iq4Xs => 136,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// The numbers of a block, whose bytes and numbers are as many as [`bytes`](Self::bytes) and [`numbers`](Self::numbers) say.
    pub(super) fn widen(self, block: &[u8], out: &mut [f32]) {
        match self {
            Self::Q4_0 => halves(&block[2..], out, half(block, 0), -8.0 * half(block, 0), |_| 0),
            Self::Q4_1 => halves(&block[4..], out, half(block, 0), half(block, 2), |_| 0),
            Self::Q5_0 => {
                let high = word(block, 2);
                halves(&block[6..], out, half(block, 0), -16.0 * half(block, 0), |i| high >> i & 1);
            }
            Self::Q5_1 => {
                let high = word(block, 4);
                halves(&block[8..], out, half(block, 0), half(block, 2), |i| high >> i & 1);
            }
            Self::Q8_0 => {
                let scale = half(block, 0);
                for (out, byte) in out.iter_mut().zip(&block[2..]) {
                    *out = scale * f32::from(byte.cast_signed());
                }
            }
            Self::Q2K => quarters(block, out),
            Self::Q3K => signed_quarters(block, out),
            Self::Q4K => eighths(block, &block[16..], out, |_, _| 0),
            // One plane of bits for each eighth, 32 bytes for all of them.
            Self::Q5K => eighths(block, &block[48..], out, |eighth, i| block[16 + i] >> eighth & 1),
            Self::Q6K => sixteenths(block, out),
            Self::Iq4Nl => looked_up(&block[2..], out, half(block, 0)),
            Self::Iq4Xs => {
                let upper = u16::from_le_bytes([block[2], block[3]]);
                for (eighth, out) in out.chunks_exact_mut(32).enumerate() {
                    let lower = block[4 + eighth / 2] >> (4 * (eighth % 2)) & 15;
                    let six = u16::from(lower) | (upper >> (2 * eighth) & 3) << 4;
                    looked_up(&block[8 + 16 * eighth..], out, half(block, 0) * (f32::from(six) - 32.0));
                }
            }
        }
    }
}

/// The half-precision number at `at`.
fn half(block: &[u8], at: usize) -> f32 {
    half::f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn word(block: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// 32 numbers of four bits: the lower halves of 16 bytes, then the upper ones; `fifth` is one more bit of each.
fn halves(bytes: &[u8], out: &mut [f32], scale: f32, least: f32, fifth: impl Fn(usize) -> u32) {
    let (low, high) = out.split_at_mut(16);
    for (i, byte) in bytes[..16].iter().enumerate() {
        let whole = |bits: u8, i: usize| (u32::from(bits) | fifth(i) << 4) as f32;
        low[i] = scale * whole(byte & 15, i) + least;
        high[i] = scale * whole(byte >> 4, i + 16) + least;
    }
}

/// 256 numbers in eighths, each with a scale and a least of six bits, in units of two halves at the block's start.
fn eighths(block: &[u8], bytes: &[u8], out: &mut [f32], fifth: impl Fn(usize, usize) -> u8) {
    let (scale, least) = (half(block, 0), half(block, 2));
    let six = &block[4..16];
    for (eighth, out) in out.chunks_exact_mut(32).enumerate() {
        // The first four of each lie in the lower bits of their own bytes, the others in halves, with their upper bits above those.
        let (s, l) = match eighth {
            0..4 => (six[eighth] & 63, six[eighth + 4] & 63),
            _ => (six[eighth + 4] & 15 | six[eighth - 4] >> 6 << 4, six[eighth + 4] >> 4 | six[eighth] >> 6 << 4),
        };
        let (scale, least) = (scale * f32::from(s), least * f32::from(l));
        let bytes = &bytes[eighth / 2 * 32..][..32];
        for (i, (out, byte)) in out.iter_mut().zip(bytes).enumerate() {
            let bits = if eighth % 2 == 0 { byte & 15 } else { byte >> 4 };
            *out = scale * f32::from(bits | fifth(eighth, i) << 4) - least;
        }
    }
}

/// What four bits stand for where steps grow with their distance from zero.
const GROWING: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/// 32 numbers that four bits stand for: the lower halves of 16 bytes, then the upper ones.
fn looked_up(bytes: &[u8], out: &mut [f32], scale: f32) {
    let (low, high) = out.split_at_mut(16);
    for (i, byte) in bytes[..16].iter().enumerate() {
        let number = |bits: u8| scale * f32::from(GROWING[usize::from(bits)]);
        (low[i], high[i]) = (number(byte & 15), number(byte >> 4));
    }
}

/// Number `i` of 256 in two bits: two halves of 128, in each of which four runs of 32 share the bytes, the lowest bits first.
fn two_bits(bytes: &[u8], i: usize) -> u8 {
    bytes[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32)) & 3
}

/// 256 numbers of two bits in sixteenths, each with a scale and a least of four bits, in units of two halves at the block's end.
fn quarters(block: &[u8], out: &mut [f32]) {
    let (scales, bytes, scale, least) = (&block[..16], &block[16..80], half(block, 80), half(block, 82));
    for (i, out) in out.iter_mut().enumerate() {
        let own = scales[i / 16];
        let (scale, least) = (scale * f32::from(own & 15), least * f32::from(own >> 4));
        *out = scale * f32::from(two_bits(bytes, i)) - least;
    }
}

/// 256 numbers of three bits around zero in sixteenths, each with a scale of six bits around zero. The third bit takes four off where it is not
/// set; a plane of 32 bytes has them all, a bit for each run of 32.
fn signed_quarters(block: &[u8], out: &mut [f32]) {
    let (plane, bytes, packed, unit) = (&block[..32], &block[32..96], &block[96..108], half(block, 108));
    for (i, out) in out.iter_mut().enumerate() {
        let s = i / 16;
        // Four lower bits in halves of eight bytes, two upper ones in quarters of four.
        let six = packed[s % 8] >> (4 * (s / 8)) & 15 | (packed[8 + s % 4] >> (2 * (s / 4)) & 3) << 4;
        let off = if plane[i % 32] >> (i / 32) & 1 == 0 { 4.0 } else { 0.0 };
        *out = unit * (f32::from(six) - 32.0) * (f32::from(two_bits(bytes, i)) - off);
    }
}

/// 256 numbers of six bits around zero, in sixteenths with a signed scale each.
fn sixteenths(block: &[u8], out: &mut [f32]) {
    let (low, high, scales, unit) = (&block[..128], &block[128..192], &block[192..208], half(block, 208));
    for (i, out) in out.iter_mut().enumerate() {
        // Two halves of 128; in each, four runs of 32 share the bytes: lower halves of 64, then upper ones.
        let (part, run, at) = (i / 128, i % 128 / 32, i % 32);
        let byte = low[part * 64 + run % 2 * 32 + at];
        let four = if run < 2 { byte & 15 } else { byte >> 4 };
        let two = high[part * 32 + at] >> (2 * run) & 3;
        let scale = unit * f32::from(scales[i / 16].cast_signed());
        *out = scale * (f32::from(four | two << 4) - 32.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn widened(kind: BlockKind, bytes: &[u8]) -> Vec<f32> {
        assert_eq!(bytes.len(), kind.bytes());
        let mut out = vec![0.0; kind.numbers()];
        kind.widen(bytes, &mut out);
        out
    }

    /// One half, 1/4, and 2 as halves.
    const HALF: [u8; 2] = 0x3800u16.to_le_bytes();
    const QUARTER: [u8; 2] = 0x3400u16.to_le_bytes();
    const TWO: [u8; 2] = 0x4000u16.to_le_bytes();

    /// Bytes whose lower halves count up and whose upper halves count down.
    fn up_and_down() -> Vec<u8> {
        (0..16u8).map(|i| i | (15 - i) << 4).collect()
    }

    /// Blocks of 32, each number by hand: `q` counts 0 to 15, then 15 to 0.
    ///
    /// Mutants: upper halves first; 16 taken off in place of 8; the fifth bit of the second half of the first.
    #[test]
    fn blocks_of_32_are_their_numbers() {
        let counted: Vec<f32> = (0..16).map(|i| i as f32).chain((0..16).map(|i| (15 - i) as f32)).collect();
        let of = |kind, bytes: Vec<u8>| widened(kind, &bytes);
        let want =
            |f: &dyn Fn(usize, f32) -> f32| -> Vec<f32> { counted.iter().enumerate().map(|(i, q)| f(i, *q)).collect() };
        assert_eq!(of(BlockKind::Q4_0, [&HALF[..], &up_and_down()].concat()), want(&|_, q| 0.5 * (q - 8.0)));
        assert_eq!(of(BlockKind::Q4_1, [&HALF[..], &TWO, &up_and_down()].concat()), want(&|_, q| 0.5 * q + 2.0));
        // Fifth bits at 0, 17 and 31.
        let high = (1u32 | 1 << 17 | 1 << 31).to_le_bytes();
        let more = |i: usize| if [0, 17, 31].contains(&i) { 16.0 } else { 0.0 };
        let bytes = [&HALF[..], &high, &up_and_down()].concat();
        assert_eq!(of(BlockKind::Q5_0, bytes), want(&|i, q| 0.5 * (q + more(i) - 16.0)));
        let bytes = [&HALF[..], &TWO, &high, &up_and_down()].concat();
        assert_eq!(of(BlockKind::Q5_1, bytes), want(&|i, q| 0.5 * (q + more(i)) + 2.0));
        let signed: Vec<u8> = (0..32u8).map(|i| (i.cast_signed() * 8 - 127).cast_unsigned()).collect();
        let want: Vec<f32> = (0..32).map(|i| 0.25 * (i as f32 * 8.0 - 127.0)).collect();
        assert_eq!(of(BlockKind::Q8_0, [&QUARTER[..], &signed].concat()), want);
    }

    /// Scales 1 to 8 and leasts 56 to 63 (six bits, so that the upper two of the last four matter) packed by hand.
    fn six_bits() -> ([u8; 12], [u8; 8], [u8; 8]) {
        let scales: [u8; 8] = [1, 2, 3, 36, 5, 22, 39, 56];
        let leasts: [u8; 8] = [63, 1, 33, 60, 50, 17, 2, 47];
        let mut packed = [0u8; 12];
        for j in 0..4 {
            packed[j] = scales[j] | scales[j + 4] >> 4 << 6;
            packed[j + 4] = leasts[j] | leasts[j + 4] >> 4 << 6;
            packed[j + 8] = scales[j + 4] & 15 | (leasts[j + 4] & 15) << 4;
        }
        (packed, scales, leasts)
    }

    /// 256 numbers in eighths: the numbers of eighth `e` are `(e + i) mod 16` in four bits, and a fifth where `i + e` is a multiple of 3.
    ///
    /// Mutants: eighths 2 and 3 for 1 and 2 of one run of bytes; scales' upper bits taken from the leasts; leasts added.
    #[test]
    fn blocks_of_256_in_eighths_are_their_numbers() {
        let (packed, scales, leasts) = six_bits();
        let four = |e: usize, i: usize| ((e + i) % 16) as u8;
        let fifth = |e: usize, i: usize| u8::from((e + i).is_multiple_of(3));
        let mut bytes = [0u8; 128];
        let mut planes = [0u8; 32];
        for e in 0..8 {
            for i in 0..32 {
                bytes[e / 2 * 32 + i] |= four(e, i) << (4 * (e % 2));
                planes[i] |= fifth(e, i) << e;
            }
        }
        let want = |high: bool| -> Vec<f32> {
            let number = |e: usize, i: usize| {
                let q = f32::from(four(e, i)) + if high { 16.0 * f32::from(fifth(e, i)) } else { 0.0 };
                0.25 * f32::from(scales[e]) * q - 2.0 * f32::from(leasts[e])
            };
            (0..256).map(|n| number(n / 32, n % 32)).collect()
        };
        let four_bits = [&QUARTER[..], &TWO, &packed, &bytes].concat();
        assert_eq!(widened(BlockKind::Q4K, &four_bits), want(false));
        let five_bits = [&QUARTER[..], &TWO, &packed, &planes, &bytes].concat();
        assert_eq!(widened(BlockKind::Q5K, &five_bits), want(true));
    }

    /// 256 numbers of six bits, no two runs of 32 alike, in sixteenths scaled by -8 to 7.
    ///
    /// Mutants: runs 1 and 2 exchanged; scales without sign; the two upper bits of the neighbouring run.
    #[test]
    fn blocks_of_256_in_sixteenths_are_their_numbers() {
        let six = |n: usize| ((7 * n + 5 * (n / 32)) % 64) as u8;
        let (mut low, mut high) = ([0u8; 128], [0u8; 64]);
        for n in 0..256 {
            let (part, run, at) = (n / 128, n % 128 / 32, n % 32);
            low[part * 64 + run % 2 * 32 + at] |= (six(n) & 15) << (4 * (run / 2));
            high[part * 32 + at] |= six(n) >> 4 << (2 * run);
        }
        let scales: Vec<u8> = (0..16i8).map(|s| (s - 8).cast_unsigned()).collect();
        let bytes = [&low[..], &high, &scales, &HALF].concat();
        let want: Vec<f32> = (0..256).map(|n| 0.5 * ((n / 16) as f32 - 8.0) * (f32::from(six(n)) - 32.0)).collect();
        assert_eq!(widened(BlockKind::Q6K, &bytes), want);
    }
}
