//! Rows as pictures to look at: images and clips as they are, the views of a shape side by side.

use crate::Error;
use base::{Shape, ShapeError};
use media::{Images, shape::views::CHANNELS};

/// `[c h w]` of what is shown of a sample of `shape`.
///
/// # Errors
/// Samples that are neither images nor views.
pub(crate) fn shape(shape: Shape) -> Result<[usize; 3], ShapeError> {
    match shape.lengths() {
        [views, CHANNELS, h, w] => Ok([3, *h, views * w]),
        _ => shape.image(),
    }
}

/// `rows` of `count` samples of `shape` as pictures. Of views the colours are shown, which stand on white already.
///
/// # Errors
/// Samples that are neither images nor views; rows of another length.
pub(crate) fn of(rows: Vec<f32>, count: usize, shape: Shape) -> Result<Images, Error> {
    let whole = self::shape(shape)?;
    let [views, CHANNELS, h, w] = *shape.lengths() else { return Ok(Images::new(rows, count, whole)?) };
    let line = |row: &[f32], at: usize| {
        let (channel, y, view) = (at / (h * views), at / views % h, at % views);
        row[((view * CHANNELS + channel) * h + y) * w..][..w].to_vec()
    };
    let side_by_side =
        rows.chunks_exact(shape.numel()).flat_map(|row| (0..3 * h * views).flat_map(move |at| line(row, at)));
    Ok(Images::new(side_by_side.collect(), count, whole)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: views below one another; the covered share shown as a colour.
    #[test]
    fn views_stand_side_by_side_in_colour() {
        // Two views of two pixels, one above the other: the numbers say view, channel and place.
        let row: Vec<f32> = (0..16).map(|i| i as f32 / 20.0).collect();
        let images = of([row.clone(), row].concat(), 2, [2, 4, 2, 1].into()).unwrap();
        assert_eq!((images.len(), images.shape()), (2, [3, 2, 2]));
        let wanted = [0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13].map(|i| i as f32 / 20.0);
        assert_eq!(images.image(1), wanted);
        assert_eq!(of(vec![0.0; 4], 1, [1, 2, 2].into()).unwrap().shape(), [1, 2, 2]);
        assert!(shape([2, 3, 1, 2].into()).is_err() && of(vec![0.0; 6], 1, [3, 2].into()).is_err());
    }
}
