//! Whether a data set may be mirrored: [`metrics::symmetry`] asked of images, and what `plan`, `train` and `data show` say.

use crate::{Context, Error, Recipe};
use data::Dataset;
use metrics::symmetry::{FEWEST, Mirror, mirror_test, shrunk};

/// Images looked at, at most: half of them teach, half are asked. Seconds.
const IMAGES: usize = 2000;
/// Images decoded together.
const BATCH: usize = 64;

/// The mirror test on images spread over the set; `None` where there are too few to say anything.
///
/// # Errors
/// Images that cannot be read.
pub fn mirrored(dataset: &dyn Dataset) -> Result<Option<Mirror>, Error> {
    let count = dataset.len().min(IMAGES);
    let Ok([c, h, w]) = dataset.shape().image() else { return Ok(None) };
    if count < FEWEST || w < 2 {
        return Ok(None);
    }
    let rows: Vec<usize> = (0..count).map(|i| (i as u128 * dataset.len() as u128 / count as u128) as usize).collect();
    let (mut images, mut shape) = (Vec::new(), [0; 4]);
    for rows in rows.chunks(BATCH) {
        let batch = data::gather(dataset, rows)?;
        let (small, [_, c, h, w]) = shrunk(&batch.rows, [batch.len(), c, h, w]);
        images.extend(small);
        shape = [count, c, h, w];
    }
    Ok(Some(mirror_test(&images, shape, 0)?))
}

/// Tells the reader where a recipe's mirroring changes what is learned.
///
/// # Errors
/// Images that cannot be read.
pub(crate) fn warn(recipe: &Recipe, dataset: &dyn Dataset, context: &mut Context) -> Result<(), Error> {
    if !recipe.data.flip || recipe.needs_pairs() {
        return Ok(()); // stored pairs are mirrored where their teacher was taught so, and that was said to the teacher
    }
    if let Some(found) = mirrored(dataset)?.filter(Mirror::changes) {
        context.note(format!("warning: {}", advice(&found)));
    }
    Ok(())
}

/// What mirroring these images would do.
pub fn advice(found: &Mirror) -> String {
    match found.changes() {
        true => format!(
            "data.flip = true changes what is learned: {found}, so half of the samples would face a way that the data do not; \
             set data.flip = false"
        ),
        false => format!("mirroring changes nothing measurable: {found}; data.flip = true doubles the data"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::DataConfig;

    /// The embedded shoes all face left. Mutant: images read in the order of their classes with a learner of one class.
    #[test]
    fn shoes_face_one_way() {
        let shoes = DataConfig {
            classes: vec!["Sneaker".into(), "Ankle boot".into()],
            limit: Some(600),
            ..DataConfig::default()
        };
        let found = mirrored(&*data::open(&shoes).unwrap()).unwrap().unwrap();
        assert!(found.told > 0.98 && found.p < 1e-12, "{found:?}");
        assert!(advice(&found).contains("data.flip = false"));
        let few = DataConfig { limit: Some(20), ..DataConfig::default() };
        assert_eq!(mirrored(&*data::open(&few).unwrap()).unwrap(), None);
    }
}
