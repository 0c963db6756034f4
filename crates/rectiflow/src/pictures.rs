//! Rows as pictures to look at: images and clips as they are, the views of a shape side by side.

use crate::Error;
use base::{Shape, ShapeError};
use media::{Bitmap, Grid, Images, shape::views::CHANNELS};

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

/// So many classes at most get a column each.
pub(crate) const CLASS_COLUMNS: usize = 16;

/// A sheet of `images` in `columns` (0: as it suits them). Where picture `i` is of class `classes[i]`, these come in turn and the columns
/// allow it, each class has columns of its own with its name above; clips, which take a row each, have none.
pub(crate) fn sheet(images: &Images, columns: usize, classes: &[i64], names: &[String]) -> Bitmap {
    let grid = Grid { columns, ..Grid::default() };
    let turns = (2..=CLASS_COLUMNS.min(images.len())).filter(|_| classes.len() == images.len()).find(|turn| {
        let (first, rest) = classes.split_at(*turn);
        let told_apart = (1..*turn).all(|at| !first[..at].contains(&first[at]));
        told_apart && rest.iter().zip(classes).all(|(a, b)| a == b)
    });
    let name = |class: &i64| usize::try_from(*class).ok().and_then(|class| names.get(class)).cloned();
    let named =
        turns.filter(|turn| columns.is_multiple_of(*turn) && matches!(images.shape()[0], 1 | 3)).and_then(|turn| {
            let columns = if columns == 0 { turn } else { columns };
            let turn: Vec<String> = classes[..turn].iter().map(name).collect::<Option<_>>()?;
            Some(turn.iter().cycle().take(columns).cloned().collect::<Vec<_>>())
        });
    named.map_or_else(|| grid.sheet(images), |named| grid.named(images, &named))
}

/// Image `i` in a file of its own.
pub(crate) fn single(images: &Images, i: usize) -> Result<Bitmap, Error> {
    let one = Images::new(images.image(i).to_vec(), 1, images.shape())?;
    Ok(Grid { padding: 0, upscale: 1, ..Grid::default() }.sheet(&one))
}

/// Milliseconds that a frame of a clip is shown for: eight to a second.
pub(crate) const FRAME: media::animation::Delay = media::animation::Delay { numerator: 1, denominator: 8 };

/// The frames of clip `i`, whose frames stand where a picture has channels; none of a picture.
pub(crate) fn film(images: &Images, i: usize) -> Option<Vec<Bitmap>> {
    let ([frames, height, width], row) = (images.shape(), images.image(i));
    let frame = |plane: &[f32]| Bitmap {
        pixels: plane.iter().flat_map(|value| [data::denormalize(*value); 3]).collect(),
        height,
        width,
        channels: 3,
    };
    (frames != 1 && frames != 3).then(|| row.chunks(height * width).map(frame).collect())
}

/// Image `i` as the bytes of a PNG of its own with `text`, which a clip moves in.
///
/// # Errors
/// An image that cannot be written so.
pub(crate) fn encoded(images: &Images, i: usize, text: &[(&str, &str)]) -> Result<Vec<u8>, Error> {
    Ok(match film(images, i) {
        None => media::png::encode(&single(images, i)?, text)?,
        Some(frames) => media::animation::encode_with(&frames, FRAME, FRAME, text)?,
    })
}

/// Image `i` in a PNG of its own, which a clip moves in.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn save(path: &std::path::Path, images: &Images, i: usize, about: &str) -> Result<(), Error> {
    let text = [("parameters", about)];
    match film(images, i) {
        None => media::png::save(path, &images.bitmap(i), &text)?,
        Some(frames) => {
            media::atomic::write(path, &media::animation::encode_with(&frames, FRAME, FRAME, &text)?)?;
        }
    }
    Ok(())
}

/// A row for each image, of which there is one in every column; of clips, which take a row each, those of an image below one another. Rows are
/// spread over all images; which they are is returned.
pub(crate) fn columns(
    path: &std::path::Path,
    columns: &[Vec<f32>],
    shape: [usize; 3],
    rows: usize,
    about: &str,
) -> Result<Vec<usize>, Error> {
    let size = shape.iter().product::<usize>();
    let count = columns[0].len() / size;
    let rows = rows.clamp(1, count);
    let picked: Vec<usize> = (0..rows).map(|row| row * count / rows).collect();
    let values: Vec<f32> =
        picked.iter().flat_map(|i| columns.iter().flat_map(move |c| &c[i * size..(i + 1) * size])).copied().collect();
    let images = Images::new(values, rows * columns.len(), shape)?;
    let grid = Grid { columns: columns.len(), ..Grid::default() };
    let sheet = if matches!(shape[0], 1 | 3) { grid.draw(&images) } else { grid.sheet(&images) };
    media::png::save(path, &sheet, &[("parameters", about)])?;
    Ok(picked)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: columns that the classes do not fit; one class named over and over; names of another turn.
    #[test]
    fn classes_in_turn_have_columns() {
        let names: Vec<String> = ["Bag", "Coat", "Dress"].map(String::from).into();
        let images = Images::new(vec![0.0; 6], 6, [1, 1, 1]).unwrap();
        let plain = |columns| Grid { columns, ..Grid::default() }.draw(&images);
        let with = |columns: usize, over: &[usize]| {
            let over: Vec<String> = over.iter().map(|at| names[*at].clone()).collect();
            Grid { columns, ..Grid::default() }.named(&images, &over)
        };
        assert_eq!(sheet(&images, 0, &[0, 2, 1, 0, 2, 1], &names), with(0, &[0, 2, 1]));
        assert_eq!(sheet(&images, 4, &[0, 2, 0, 2, 0, 2], &names), with(0, &[0, 2, 0, 2]));
        assert_eq!(sheet(&images, 4, &[0, 2, 1, 0, 2, 1], &names), plain(4));
        assert_eq!(sheet(&images, 0, &[1; 6], &names), plain(0));
        assert_eq!(sheet(&images, 0, &[0, -1, 0, -1, 0, -1], &names), plain(0));
        assert_eq!(sheet(&images, 0, &[0, 7, 0, 7, 0, 7], &names), plain(0));
        assert_eq!((sheet(&images, 0, &[], &names), sheet(&images, 0, &[0, 1], &names)), (plain(0), plain(0)));
    }

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
