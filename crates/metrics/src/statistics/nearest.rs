//! How near samples are to training images: what a network learned by heart lies nearer than other real images do.
//!
//! A sample is a copy, in the sense of Alaa et al. 2022 (arXiv 2102.08921, section 4.3, there 1 - authenticity), if its nearest
//! training image is nearer to it than to any other training image. Of other real images, half to six tenths are.

use super::manifold::{distances, radii};
use crate::MetricsError;
use crate::matrix::Matrix;

/// Training images and how far each is from its nearest other one.
#[derive(Clone, Debug)]
pub struct Neighbourhood {
    train: Matrix,
    shift: Vec<f64>,
    apart: Vec<f64>,
}

/// How near a set of samples is to the training images.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Nearest {
    /// Median distance from a sample to its nearest training image, in features.
    pub distance: f64,
    /// Share of samples that are copies: 1 where everything was learned by heart, 0.5 to 0.6 for other real images.
    pub copies: f64,
}

impl Neighbourhood {
    /// Looks at the training images' features, `[n d]`; costs `n^2 d` once.
    ///
    /// # Errors
    /// Fewer than two rows, numbers that are not finite.
    pub fn of(train: &Matrix) -> Result<Self, MetricsError> {
        let what = "the nearest training image";
        Matrix::check_pair(train, train, 2, what)?;
        let shift = train.mean();
        let apart = radii(train, 1, &shift);
        Ok(Self { train: train.clone(), shift, apart })
    }

    /// Looks at samples, `[m d]`; costs `n m d`.
    ///
    /// # Errors
    /// No rows, rows of another dimension, numbers that are not finite.
    pub fn nearest(&self, fake: &Matrix) -> Result<Nearest, MetricsError> {
        Matrix::check_pair(&self.train, fake, 1, "the nearest training image")?;
        let mut best = vec![(f64::INFINITY, 0usize); fake.rows()];
        distances(&self.train, fake, &self.shift, |i, start, row| {
            for (offset, &d) in row.iter().enumerate() {
                let found = &mut best[start + offset];
                if d < found.0 {
                    *found = (d, i);
                }
            }
        });
        let copies = best.iter().filter(|(d, i)| *d < self.apart[*i]).count();
        let mut all: Vec<f64> = best.iter().map(|(d, _)| d.sqrt()).collect();
        let middle = all.len() / 2;
        let (_, median, _) = all.select_nth_unstable_by(middle, f64::total_cmp);
        Ok(Nearest { distance: *median, copies: copies as f64 / fake.rows() as f64 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Key, Purpose};

    fn column(values: &[f32]) -> Matrix {
        Matrix::new(values.to_vec(), values.len(), 1).unwrap()
    }

    /// Training points 0, 1, 5, 9. Sample 0.25 is 0.25 from 0, which is 1 from its own nearest: a copy. 7.5 is 1.5 from 9, which is
    /// 4 from its own: a copy. -2 is 2 from 0: none. 3 lies 2 from 1 (which is 1 from 0) and from 5: none, as 1 comes first.
    /// Mutants: the sample's own nearest other sample in place of the training image's; the distance squared.
    #[test]
    fn hand_computed_neighbours() {
        let train = Neighbourhood::of(&column(&[0.0, 1.0, 5.0, 9.0])).unwrap();
        let got = train.nearest(&column(&[0.25, 7.5, -2.0, 3.0, -2.0])).unwrap();
        assert_eq!(got.copies, 2.0 / 5.0);
        assert!((got.distance - 2.0).abs() < 1e-9, "{got:?}");
    }

    #[test]
    fn memorised_images_are_copies_and_others_of_the_law_are_half() {
        let rows =
            |seed, n: usize| Matrix::new(Key::new(seed, Purpose::Probe).normals(0, n * 3).collect(), n, 3).unwrap();
        let train = rows(1, 1500);
        let known = Neighbourhood::of(&train).unwrap();
        let learned = known.nearest(&train.select(&(0..300).collect::<Vec<_>>())).unwrap();
        assert_eq!(learned.copies, 1.0);
        assert!(learned.distance < 1e-5, "{learned:?}");
        let others = known.nearest(&rows(2, 600)).unwrap();
        // 0.593 of points in space are their nearest neighbour's nearest; 600 throws scatter by 2 %, the edges take some.
        assert!((0.5..0.68).contains(&others.copies) && others.distance > 0.05, "{others:?}");
        let far = known.nearest(&Matrix::new(vec![50.0; 9], 3, 3).unwrap()).unwrap();
        assert_eq!(far.copies, 0.0);
        assert!(known.nearest(&Matrix::empty(3)).is_err() && known.nearest(&column(&[1.0])).is_err());
        assert!(Neighbourhood::of(&column(&[1.0])).is_err());
    }
}
