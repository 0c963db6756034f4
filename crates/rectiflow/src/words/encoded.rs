//! One encoded text: its tokens without padding, rounded to bfloat16 so that what was kept and what is new say the same.

use crate::{Error, host::host};
use base::{Device, Tensor, TensorData, Tokens};

/// Tokens of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// Upper halves of the `f32`, token by token.
    pub values: Vec<u16>,
}

impl Encoded {
    /// Of numbers, rounded.
    pub fn of(values: &[f32]) -> Self {
        Self { values: values.iter().map(|x| nearest(*x)).collect() }
    }

    /// Its numbers.
    pub fn floats(&self) -> impl Iterator<Item = f32> {
        self.values.iter().map(|x| f32::from_bits(u32::from(*x) << 16))
    }

    /// The rows of a batch, their padding left away.
    ///
    /// # Errors
    /// A device that cannot be read.
    pub fn rows(tokens: Tokens) -> Result<Vec<Self>, Error> {
        let [_, n, d] = tokens.embedding.dims();
        let mask: Vec<bool> = tokens.mask.into_data().iter::<bool>().collect();
        let values = host(tokens.embedding)?;
        let row = |(mask, values): (&[bool], &[f32])| {
            let length = mask.iter().filter(|real| **real).count();
            Self::of(&values[..length * d])
        };
        Ok(mask.chunks(n).zip(values.chunks(n * d)).map(row).collect())
    }

    /// A batch of `n` tokens a text, of `d` features; no token where there is no text.
    pub fn padded(rows: &[Option<&Self>], n: usize, d: usize, device: &Device) -> Tokens {
        let b = rows.len();
        let (mut values, mut mask) = (vec![0f32; b * n * d], vec![false; b * n]);
        for (row, found) in rows.iter().enumerate() {
            let Some(found) = found else { continue };
            values[row * n * d..(row + 1) * n * d].iter_mut().zip(found.floats()).for_each(|(place, x)| *place = x);
            mask[row * n..][..(found.values.len() / d).min(n)].fill(true);
        }
        let embedding = Tensor::from_data(TensorData::new(values, [b, n, d]), device);
        Tokens { embedding, mask: Tensor::from_data(TensorData::new(mask, [b, n]), device) }
    }
}

/// The upper half of the nearest bfloat16, ties to even; the encoder gives no NaN.
fn nearest(x: f32) -> u16 {
    let bits = x.to_bits();
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}
