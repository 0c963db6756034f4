//! Numbers stored in blocks that share scales, as GGUF files hold them, and their widening to `f32` (ggml's block formats; the names are
//! theirs).
//!
//! A block is 32 or 256 neighbours of a row: small whole numbers, and what they are multiplied with. A matrix stays in its blocks,
//! mapped from its file; [`Blocks::linear`] widens some of its rows at a time and multiplies with them, so that a product needs room for
//! those and no more.

use crate::activation::Activation;
use crate::mapped::Mapped;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::ops::Range;

/// A format of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BlockKind {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl BlockKind {
    /// Numbers of a block.
    pub const fn numbers(self) -> usize {
        match self {
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4K | Self::Q5K | Self::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// The numbers of a block, whose bytes and numbers are as many as [`bytes`](Self::bytes) and [`numbers`](Self::numbers) say.
    fn widen(self, block: &[u8], out: &mut [f32]) {
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
            Self::Q4K => eighths(block, &block[16..], out, |_, _| 0),
            // One plane of bits for each eighth, 32 bytes for all of them.
            Self::Q5K => eighths(block, &block[48..], out, |eighth, i| block[16 + i] >> eighth & 1),
            Self::Q6K => sixteenths(block, out),
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

/// Rows of numbers in blocks, in their file.
#[derive(Clone)]
pub struct Blocks {
    file: Mapped,
    range: Range<usize>,
    kind: BlockKind,
    /// Rows, and numbers of a row.
    shape: [usize; 2],
}

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Blocks({:?}, {:?})", self.kind, self.shape)
    }
}

/// Numbers widened at a time.
const PANEL: usize = 1 << 22;

impl Blocks {
    /// `rows` x `numbers` in `range` of a file.
    ///
    /// # Errors
    /// Where rows are no whole number of blocks, or the range is not theirs or not in the file.
    pub fn new(file: &Mapped, range: Range<usize>, kind: BlockKind, shape: [usize; 2]) -> Result<Self, String> {
        let [rows, numbers] = shape;
        if !numbers.is_multiple_of(kind.numbers()) {
            return Err(format!(
                "rows of {numbers} numbers are no whole number of {kind:?} blocks ({})",
                kind.numbers()
            ));
        }
        let bytes = (numbers / kind.numbers()).checked_mul(kind.bytes()).and_then(|row| row.checked_mul(rows));
        if bytes != Some(range.len()) || range.end > file.bytes().len() {
            return Err(format!("{} bytes are not {rows} rows of {numbers} numbers in {kind:?} blocks", range.len()));
        }
        Ok(Self { file: file.clone(), range, kind, shape })
    }

    /// Rows, and numbers of a row.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// Bytes that they are stored in.
    pub fn bytes(&self) -> usize {
        self.range.len()
    }

    /// Some of the rows, in place.
    ///
    /// # Panics
    /// For rows that are not there.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        assert!(rows.start <= rows.end && rows.end <= self.shape[0], "{rows:?} of {} rows", self.shape[0]);
        let row = self.shape[1] / self.kind.numbers() * self.kind.bytes();
        let start = self.range.start;
        let range = start + rows.start * row..start + rows.end * row;
        Self { range, shape: [rows.len(), self.shape[1]], ..self.clone() }
    }

    /// All numbers, row by row.
    pub fn widened(&self) -> Vec<f32> {
        let [rows, numbers] = self.shape;
        let mut out = vec![0.0; rows * numbers];
        let (size, bytes) = (self.kind.numbers(), self.kind.bytes());
        // Some blocks to a task.
        const TOGETHER: usize = 256;
        let blocks = &self.file.bytes()[self.range.clone()];
        out.par_chunks_mut(TOGETHER * size).zip(blocks.par_chunks(TOGETHER * bytes)).for_each(|(out, blocks)| {
            for (out, block) in out.chunks_exact_mut(size).zip(blocks.chunks_exact(bytes)) {
                self.kind.widen(block, out);
            }
        });
        out
    }

    /// All numbers as a matrix.
    pub fn tensor(&self, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.widened(), self.shape), device)
    }

    /// [`linear`](crate::linear) with these rows as its weight, and the activation of it where there is one: some rows widened at a
    /// time.
    pub fn linear<const D: usize>(
        &self,
        x: Tensor<D>,
        bias: Option<Tensor<1>>,
        activation: Option<Activation>,
    ) -> Tensor<D> {
        let [rows, numbers] = self.shape;
        let (step, device) = ((PANEL / numbers.max(1)).max(1), x.device());
        let starts = (0..rows.max(1)).step_by(step);
        let panels = starts.map(|start| {
            let part = start..(start + step).min(rows);
            let bias = bias.clone().map(|bias| bias.narrow(0, part.start, part.len()));
            let weight = self.rows(part).tensor(&device);
            match activation {
                None => crate::linear(x.clone(), weight, bias),
                Some(activation) => crate::linear_activated(x.clone(), weight, bias, activation),
            }
        });
        let mut panels: Vec<Tensor<D>> = panels.collect();
        match panels.len() {
            1 => panels.remove(0),
            _ => Tensor::cat(panels, D - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::host;
    use std::io::{Seek, Write};

    fn mapped(bytes: &[u8]) -> Mapped {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("room for it");
        file.rewind().expect("a file can be rewound");
        Mapped::open(&file).expect("it maps")
    }

    fn blocks(kind: BlockKind, bytes: &[u8], shape: [usize; 2]) -> Blocks {
        Blocks::new(&mapped(bytes), 0..bytes.len(), kind, shape).expect("blocks of this size")
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
        let of = |kind, bytes: Vec<u8>| blocks(kind, &bytes, [1, 32]).widened();
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
        assert_eq!(blocks(BlockKind::Q4K, &four_bits, [1, 256]).widened(), want(false));
        let five_bits = [&QUARTER[..], &TWO, &packed, &planes, &bytes].concat();
        assert_eq!(blocks(BlockKind::Q5K, &five_bits, [1, 256]).widened(), want(true));
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
        assert_eq!(blocks(BlockKind::Q6K, &bytes, [1, 256]).widened(), want);
    }

    /// Panels of rows give what the widened matrix gives, in several panels and with bias and activation.
    ///
    /// Mutants: a bias not cut with its rows; the last panel as long as the others.
    #[test]
    fn a_product_in_panels_is_the_product() {
        let (rows, numbers) = (9000, 512);
        assert!(rows * numbers > PANEL);
        let bytes: Vec<u8> = (0..rows * numbers / 32)
            .flat_map(|block: usize| {
                let values = (0..32).map(move |i| (block * 37 + i * 11) as u8);
                QUARTER.into_iter().chain(values)
            })
            .collect();
        let blocks = blocks(BlockKind::Q8_0, &bytes, [rows, numbers]);
        let device = Device::flex();
        let x = Tensor::<3>::from_data(
            TensorData::new(crate::testing::values(1, 2 * 3 * numbers), [2, 3, numbers]),
            &device,
        );
        let bias = Tensor::<1>::from_data(TensorData::new(crate::testing::values(2, rows), [rows]), &device);
        let whole = blocks.tensor(&device);
        let same = |a: Tensor<3>, b: Tensor<3>| assert_eq!(host(a), host(b));
        same(blocks.linear(x.clone(), None, None), crate::linear(x.clone(), whole.clone(), None));
        same(
            blocks.linear(x.clone(), Some(bias.clone()), None),
            crate::linear(x.clone(), whole.clone(), Some(bias.clone())),
        );
        let silu = Activation::Silu;
        same(
            blocks.linear(x.clone(), Some(bias.clone()), Some(silu)),
            crate::linear_activated(x, whole, Some(bias), silu),
        );
        assert_eq!(blocks.rows(17..19).widened(), blocks.widened()[17 * numbers..19 * numbers]);
    }

    #[test]
    fn bytes_that_are_no_rows_of_blocks_are_refused() {
        let file = mapped(&[0; 100]);
        let said = |range, shape| Blocks::new(&file, range, BlockKind::Q4_0, shape).expect_err("no blocks");
        assert!(said(0..18, [1, 48]).contains("no whole number"), "half a block");
        assert!(said(0..20, [1, 32]).contains("20 bytes"), "too many bytes");
        assert!(said(90..108, [1, 32]).contains("18 bytes"), "behind the file's end");
        assert!(said(0..18, [usize::MAX, 32]).contains("18 bytes"), "more rows than there are numbers");
    }
}
