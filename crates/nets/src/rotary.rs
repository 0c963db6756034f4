//! Angles of rotary positions (Su et al., 2021, arXiv 2104.09864) over several axes: each axis turns features of its own.

use base::{Device, Tensor, TensorData};

/// Cosines and sines of the angles by which queries and keys turn, `[n d/2]` each.
pub type Rotation = (Tensor<2>, Tensor<2>);

/// Angles of tokens at these places: pair `j` of an axis of `d` features turns by its place times `base^(-2j/d)`.
pub(crate) fn rotation<const A: usize>(
    places: impl Iterator<Item = [f64; A]>,
    axes: [usize; A],
    base: f64,
    device: &Device,
) -> Rotation {
    let pairs: usize = axes.iter().sum::<usize>() / 2;
    let frequency = |axis: usize| (0..axis / 2).map(move |j| base.powf(-2.0 * j as f64 / axis as f64));
    let frequencies = axes.map(|axis| frequency(axis).collect::<Vec<f64>>());
    let (mut cosines, mut sines, mut n) = (Vec::new(), Vec::new(), 0);
    for place in places {
        n += 1;
        for (place, frequencies) in place.iter().zip(&frequencies) {
            for frequency in frequencies {
                let angle = place * frequency;
                cosines.push(angle.cos() as f32);
                sines.push(angle.sin() as f32);
            }
        }
    }
    let table = |values| Tensor::from_data(TensorData::new(values, [n, pairs]), device);
    (table(cosines), table(sines))
}
