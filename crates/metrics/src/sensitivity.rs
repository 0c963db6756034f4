//! What a judge sees: the Fréchet distance that real images get when something known is wrong with them, beside the one they
//! get untouched. A judge that gives both the same number is blind to that defect, and so is every table made with it.

use crate::{
    Extractor, Gaussian, Matrix, MetricsError, class_accuracy,
    classifier::Classifier,
    defects::Defect,
    frechet_distance_to,
    statistics::bootstrap::{Bootstrap, frechet_error},
};
use base::{Key, RandomStream};
use serde::{Deserialize, Serialize};

/// One defect as a judge sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// What is wrong.
    pub defect: Defect,
    /// Fréchet distance of the defective images.
    pub frechet: f64,
    /// That over the distance of untouched images.
    pub factor: f64,
    /// Share with the class their label says, where the judge reads labels.
    pub class_accuracy: Option<f64>,
}

/// The sensitivities of one judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// Whose features.
    pub extractor: String,
    /// Images behind each distance.
    pub images: usize,
    /// Images behind the reference.
    pub reference: usize,
    /// Fréchet distance of untouched real images: nothing real can be expected below it.
    pub floor: f64,
    /// Two standard errors of it, by bootstrap.
    pub floor_error: f64,
    /// Class accuracy of untouched images.
    pub class_accuracy: Option<f64>,
    /// The defects.
    pub seen: Vec<Seen>,
}

/// Real images that the reference was not made of, with their classes (-1 for none).
#[derive(Clone, Copy, Debug)]
pub struct Pool<'a> {
    /// `[n c h w]` in [-1, 1].
    pub images: &'a [f32],
    /// Their shape.
    pub shape: [usize; 4],
    /// Their classes, `[n]`.
    pub classes: &'a [i64],
}

/// Measures `defects` on `n` images of the pool (fewer where it has no more) against `reference`, which must come from the same
/// extractor. Defects of classes leave out what the pool cannot show: one without classes, or with too few images of one.
///
/// # Errors
/// Images that the extractor does not accept; fewer than two.
pub fn sensitivity(
    extractor: &dyn Extractor,
    reads_labels: Option<&Classifier>,
    reference: &Gaussian,
    pool: Pool<'_>,
    n: usize,
    defects: &[Defect],
) -> Result<Sensitivity, MetricsError> {
    let [_, c, h, w] = pool.shape;
    let size = c * h * w;
    let features = |images: &[f32]| extractor.features(images, [images.len() / size.max(1), c, h, w]);
    // Class defects choose from the whole pool, so its features are needed once.
    let all = features(pool.images)?;
    let rows = Defect::None {}.rows(pool.classes, n);
    let untouched = all.select(&rows);
    let floor = frechet_distance_to(reference, &untouched)?;
    let error = frechet_error(reference, &untouched, &Bootstrap::default())?;
    let logits = match reads_labels.filter(|_| pool.classes.iter().all(|class| *class >= 0)) {
        Some(judge) => Some(judge.logits(pool.images, pool.shape)?),
        None => None,
    };
    let accuracy = |rows: &[usize], defect: Defect| -> Result<Option<f64>, MetricsError> {
        let Some(logits) = &logits else { return Ok(None) };
        let asked: Vec<i64> = rows.iter().map(|&i| pool.classes[i]).collect();
        Ok(Some(class_accuracy(&logits.select(rows), &defect.labels(&asked))?.overall))
    };
    let key = Key::of(0, RandomStream::Spoiled);
    let mut seen = Vec::new();
    for defect in defects {
        let chosen = defect.rows(pool.classes, rows.len());
        if chosen.len() < rows.len() || !possible(defect, pool.classes) {
            continue;
        }
        let set: Matrix = if defect.keeps_images() {
            all.select(&chosen)
        } else {
            let images: Vec<f32> =
                chosen.iter().flat_map(|&i| &pool.images[i * size..(i + 1) * size]).copied().collect();
            features(&defect.change(&images, [chosen.len(), c, h, w], key))?
        };
        let frechet = frechet_distance_to(reference, &set)?;
        let class_accuracy = if defect.keeps_images() { accuracy(&chosen, *defect)? } else { None };
        seen.push(Seen { defect: *defect, frechet, factor: frechet / floor.max(f64::MIN_POSITIVE), class_accuracy });
    }
    Ok(Sensitivity {
        extractor: extractor.label(),
        images: rows.len(),
        reference: reference.count,
        floor,
        floor_error: 2.0 * error,
        class_accuracy: accuracy(&rows, Defect::None {})?,
        seen,
    })
}

/// Whether the pool has the classes that the defect is about.
fn possible(defect: &Defect, classes: &[i64]) -> bool {
    match defect {
        Defect::Missing { class } | Defect::Doubled { class } => classes.contains(class),
        Defect::Swapped { classes: both } => both.iter().all(|class| classes.contains(class)),
        _ => true,
    }
}

impl Sensitivity {
    /// The factor of a defect, where it was measured.
    pub fn factor(&self, defect: Defect) -> Option<f64> {
        self.seen.iter().find(|seen| seen.defect == defect).map(|seen| seen.factor)
    }

    /// The table as plain text, Markdown's kind.
    pub fn table(&self) -> String {
        let percent = |value: Option<f64>| value.map_or("–".into(), |v| format!("{:.1} %", v * 100.0));
        let mut out = format!(
            "| {} real images with this defect | FD ({}) | times the floor | class accuracy |\n|---|---|---|---|\n",
            self.images, self.extractor
        );
        let floor = format!("{:.3} ± {:.3}", self.floor, self.floor_error);
        out +=
            &format!("| none (the floor, ± two standard errors) | {floor} | 1 | {} |\n", percent(self.class_accuracy));
        for seen in &self.seen {
            let factor = if seen.factor < 10.0 { format!("{:.2}", seen.factor) } else { format!("{:.0}", seen.factor) };
            out +=
                &format!("| {} | {:.3} | {factor} | {} |\n", seen.defect, seen.frechet, percent(seen.class_accuracy));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pixels, defects::DEFECTS};
    use base::Purpose;

    /// Noise around a bright column on the left, brighter by class.
    fn images(seed: u64, n: usize) -> (Vec<f32>, Vec<i64>) {
        let classes: Vec<i64> = (0..n as i64).map(|i| i % 4).collect();
        let noise = Key::new(seed, Purpose::Probe).normals(0, n * 16);
        let value = |(i, z): (usize, f32)| {
            let (left, bright) = (i % 4 == 1, classes[i / 16] as f32);
            (0.05 * z + if left { 0.2 * bright } else { -0.9 }).clamp(-1.0, 1.0)
        };
        (noise.enumerate().map(value).collect(), classes)
    }

    /// Mutants: the defect applied to the reference, the features of the untouched used for the changed, factor upside down.
    #[test]
    fn pixels_see_every_defect_of_a_simple_set_in_the_order_of_severity() {
        let pixels = Pixels::new(16);
        let (real, _) = images(1, 600);
        let reference = Gaussian::of(&pixels.features(&real, [600, 1, 4, 4]).unwrap()).unwrap();
        let (held, classes) = images(2, 600);
        let pool = Pool { images: &held, shape: [600, 1, 4, 4], classes: &classes };
        let got = sensitivity(&pixels, None, &reference, pool, 300, DEFECTS).unwrap();
        assert_eq!((got.images, got.reference, got.seen.len()), (300, 600, DEFECTS.len()), "{}", got.table());
        assert!(got.floor > 0.0 && got.floor_error > 0.0, "{got:?}");
        let factor = |defect| got.factor(defect).unwrap();
        assert!(factor(Defect::Mirrored { share: 0.25 }) > 5.0);
        assert!(factor(Defect::Mirrored { share: 0.5 }) > factor(Defect::Mirrored { share: 0.25 }));
        assert!(factor(Defect::Missing { class: 0 }) > 2.0);
        assert!(factor(Defect::Background { levels: 8.0 }) > factor(Defect::Background { levels: 2.0 }));
        // Labels are not what a distance of pixels looks at.
        assert_eq!(factor(Defect::Swapped { classes: [0, 1] }), 1.0);
        assert!(got.table().lines().count() == 3 + DEFECTS.len());
    }

    #[test]
    fn a_pool_without_classes_leaves_their_defects_out() {
        let pixels = Pixels::new(16);
        let (held, _) = images(2, 100);
        let reference = Gaussian::of(&pixels.features(&held, [100, 1, 4, 4]).unwrap()).unwrap();
        let pool = Pool { images: &held, shape: [100, 1, 4, 4], classes: &[-1; 100] };
        let got = sensitivity(&pixels, None, &reference, pool, 100, DEFECTS).unwrap();
        assert_eq!(got.factor(Defect::Missing { class: 0 }), None);
        assert!(got.factor(Defect::Shifted { pixels: 1 }).is_some());
    }
}
