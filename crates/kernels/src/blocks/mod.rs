//! Numbers stored in blocks that share scales, as GGUF files hold them, and their widening to `f32` (ggml's block formats; the names are
//! theirs).
//!
//! A block is 32 or 256 neighbours of a row: small whole numbers, and what they are multiplied with. A matrix stays in its blocks,
//! mapped from its file; [`Blocks::linear`] widens some of its rows at a time and multiplies with them, so that a product needs room for
//! those and no more.

mod kind;

pub use kind::BlockKind;

use crate::activation::Activation;
use crate::mapped::Mapped;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;
use std::ops::Range;

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

    const QUARTER: [u8; 2] = 0x3400u16.to_le_bytes();

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
