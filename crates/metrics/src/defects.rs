//! Known defects for real images: what a judge of samples has to notice, as values.
//!
//! A defect chooses `n` of a pool of real images ([`Defect::rows`]: a class missing, a few images over and over) and changes
//! them ([`Defect::change`]: mirrored, shifted, blurred …). Both are functions of the key alone.

use crate::symmetry::mirrored;
use base::Key;
use serde::{Deserialize, Serialize};

/// What is wrong with a set of otherwise real images. Levels of grey are in 255ths of the range [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Defect {
    /// Nothing: other real images. Their figure is the floor.
    None {},
    /// This share of the images is mirrored left to right.
    Mirrored {
        /// 0 to 1.
        share: f64,
    },
    /// Every image is moved to the right; its left column is repeated.
    Shifted {
        /// By so many pixels.
        pixels: usize,
    },
    /// Every image is blurred by a Gaussian.
    Blurred {
        /// Its deviation in pixels.
        sigma: f64,
    },
    /// Every pixel has normal noise added, clamped to the range.
    Noisy {
        /// Its deviation in levels.
        levels: f64,
    },
    /// The background (what equals the top left pixel) is that many levels nearer to the middle of the range.
    Background {
        /// How many.
        levels: f64,
    },
    /// One class does not occur.
    Missing {
        /// Which.
        class: i64,
    },
    /// One class occurs twice as often.
    Doubled {
        /// Which.
        class: i64,
    },
    /// The same few images over and over.
    Memorised {
        /// Different images among a hundred.
        percent: f64,
    },
    /// Images of two classes carry each other's label.
    Swapped {
        /// The two.
        classes: [i64; 2],
    },
}

/// The defects of the sensitivity table, the mild form of each before the severe one.
pub const DEFECTS: &[Defect] = &[
    Defect::Mirrored { share: 0.25 },
    Defect::Mirrored { share: 0.5 },
    Defect::Shifted { pixels: 1 },
    Defect::Shifted { pixels: 2 },
    Defect::Blurred { sigma: 0.5 },
    Defect::Blurred { sigma: 1.0 },
    Defect::Noisy { levels: 2.0 },
    Defect::Noisy { levels: 8.0 },
    Defect::Background { levels: 2.0 },
    Defect::Background { levels: 8.0 },
    Defect::Doubled { class: 0 },
    Defect::Missing { class: 0 },
    Defect::Memorised { percent: 20.0 },
    Defect::Memorised { percent: 5.0 },
    Defect::Swapped { classes: [0, 1] },
];

impl Defect {
    /// Which `n` of the images with these `classes` the set holds, without repeats but for the defects that repeat. Fewer
    /// than `n` where the pool is too small.
    pub fn rows(&self, classes: &[i64], n: usize) -> Vec<usize> {
        let all = 0..classes.len();
        match *self {
            Self::Missing { class } => all.filter(|&i| classes[i] != class).take(n).collect(),
            Self::Doubled { class } => {
                // Twice the share s of a class is 2 s / (1 + s) of the new set.
                let has = classes.iter().filter(|&&c| c == class).count();
                let wanted = (2 * has * n).checked_div(classes.len() + has).unwrap_or(0);
                let of = all.clone().filter(|&i| classes[i] == class).take(wanted);
                let others = all.filter(|&i| classes[i] != class).take(n - wanted.min(n));
                of.chain(others).collect()
            }
            Self::Memorised { percent } => {
                let few = ((percent / 100.0 * n as f64) as usize).clamp(1, classes.len().max(1));
                (0..n.min(classes.len())).map(|i| i % few).collect()
            }
            _ => all.take(n).collect(),
        }
    }

    /// Whether [`change`](Self::change) leaves images as they are, so that their features need not be computed again.
    pub fn keeps_images(&self) -> bool {
        matches!(
            self,
            Self::None {} | Self::Missing { .. } | Self::Doubled { .. } | Self::Memorised { .. } | Self::Swapped { .. }
        )
    }

    /// Images `[n c h w]` in [-1, 1] as the defect leaves them.
    pub fn change(&self, images: &[f32], [_, c, h, w]: [usize; 4], key: Key) -> Vec<f32> {
        let size = (c * h * w).max(1);
        let each = |f: &dyn Fn(u64, &[f32]) -> Vec<f32>| -> Vec<f32> {
            images.chunks(size).enumerate().flat_map(|(i, image)| f(i as u64, image)).collect()
        };
        match *self {
            Self::Mirrored { share } => each(&|i, image| match key.uniform(i) < share {
                true => mirrored(image, w),
                false => image.to_vec(),
            }),
            Self::Shifted { pixels } => images
                .chunks(w.max(1))
                .flat_map(|row| (0..row.len()).map(move |x| row[x.saturating_sub(pixels)]))
                .collect(),
            Self::Blurred { sigma } => each(&|_, image| blurred(image, [c, h, w], sigma)),
            Self::Noisy { levels } => each(&|i, image| {
                let noise = key.normals(i, image.len());
                image.iter().zip(noise).map(|(v, z)| (v + level(levels) * z).clamp(-1.0, 1.0)).collect()
            }),
            Self::Background { levels } => each(&|_, image| {
                let lift = |plane: &[f32]| -> Vec<f32> {
                    let ground = plane[0];
                    let moved = ground - level(levels) * ground.signum();
                    plane.iter().map(|&v| if (v - ground).abs() < level(0.5) { moved } else { v }).collect()
                };
                image.chunks(h * w).flat_map(lift).collect()
            }),
            _ => images.to_vec(),
        }
    }

    /// The labels that images of these classes carry.
    pub fn labels(&self, classes: &[i64]) -> Vec<i64> {
        let Self::Swapped { classes: [a, b] } = *self else { return classes.to_vec() };
        classes.iter().map(|&class| [(a, b), (b, a)].iter().find(|p| p.0 == class).map_or(class, |p| p.1)).collect()
    }
}

/// So many 255ths of the range [-1, 1].
fn level(levels: f64) -> f32 {
    (levels * 2.0 / 255.0) as f32
}

/// One image `[c h w]` under a Gaussian cut at three deviations, its edges repeated.
fn blurred(image: &[f32], [_, h, w]: [usize; 3], sigma: f64) -> Vec<f32> {
    let reach = (3.0 * sigma).ceil() as i64;
    let weight = |k: i64| (-0.5 * (k as f64 / sigma).powi(2)).exp();
    let total: f64 = (-reach..=reach).map(weight).sum();
    let taps: Vec<(i64, f32)> = (-reach..=reach).map(|k| (k, (weight(k) / total) as f32)).collect();
    let at = |i: usize, k: i64, last: usize| (i as i64 + k).clamp(0, last as i64) as usize;
    let mut out = Vec::with_capacity(image.len());
    for plane in image.chunks(h * w) {
        let mut wide = vec![0.0; h * w];
        for (i, value) in wide.iter_mut().enumerate() {
            let (y, x) = (i / w, i % w);
            *value = taps.iter().map(|(k, a)| a * plane[y * w + at(x, *k, w - 1)]).sum();
        }
        for i in 0..h * w {
            let (y, x) = (i / w, i % w);
            out.push(taps.iter().map(|(k, a)| a * wide[at(y, *k, h - 1) * w + x]).sum());
        }
    }
    out
}

impl std::fmt::Display for Defect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None {} => write!(f, "none"),
            Self::Mirrored { share } => write!(f, "{:.0} % mirrored", share * 100.0),
            Self::Shifted { pixels: 1 } => write!(f, "shifted by 1 pixel"),
            Self::Shifted { pixels } => write!(f, "shifted by {pixels} pixels"),
            Self::Blurred { sigma } => write!(f, "blurred by {sigma:.1} pixels"),
            Self::Noisy { levels } => write!(f, "noise of {levels}/255"),
            Self::Background { levels } => write!(f, "background off by {levels}/255"),
            Self::Missing { class } => write!(f, "class {class} missing"),
            Self::Doubled { class } => write!(f, "class {class} twice as often"),
            Self::Memorised { percent } => write!(f, "the same {percent} % over and over"),
            Self::Swapped { classes: [a, b] } => write!(f, "labels {a} and {b} swapped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;

    const SHAPE: [usize; 4] = [1, 1, 2, 3];
    const IMAGE: [f32; 6] = [-1.0, 0.5, 1.0, -1.0, 0.0, 0.25];

    fn key() -> Key {
        Key::new(0, Purpose::Probe)
    }

    #[test]
    fn each_change_is_what_its_name_says() {
        let changed = |defect: Defect| defect.change(&IMAGE, SHAPE, key());
        assert_eq!(changed(Defect::Mirrored { share: 1.0 }), [1.0, 0.5, -1.0, 0.25, 0.0, -1.0]);
        assert_eq!(changed(Defect::Mirrored { share: 0.0 }), IMAGE);
        assert_eq!(changed(Defect::Shifted { pixels: 1 }), [-1.0, -1.0, 0.5, -1.0, -1.0, 0.0]);
        let lifted = 4.0f32 / 255.0 - 1.0;
        assert_eq!(changed(Defect::Background { levels: 2.0 }), [lifted, 0.5, 1.0, lifted, 0.0, 0.25]);
        for same in DEFECTS.iter().filter(|defect| defect.keeps_images()) {
            assert_eq!(changed(*same), IMAGE);
        }
    }

    /// Half of a thousand images are mirrored, give or take; noise has the deviation it says.
    #[test]
    fn shares_and_deviations_are_as_told() {
        let images: Vec<f32> = (0..1000).flat_map(|_| [0.0, 0.5]).collect();
        let turned = Defect::Mirrored { share: 0.5 }.change(&images, [1000, 1, 1, 2], key());
        let turned = turned.chunks(2).filter(|row| row[0] == 0.5).count();
        assert!((430..570).contains(&turned), "{turned}");
        let noisy = Defect::Noisy { levels: 8.0 }.change(&images, [1000, 1, 1, 2], key());
        let power = noisy.iter().zip(&images).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / 2000.0;
        // 16/255 = 0.0627; the error of a deviation from 2000 numbers is 1.6 %.
        assert!((power.sqrt() - 16.0 / 255.0).abs() < 0.005, "{power}");
        let edges = Defect::Noisy { levels: 8.0 }.change(&[-1.0, 1.0], [1, 1, 1, 2], key());
        assert!(edges.iter().all(|v| (-1.0..=1.0).contains(v)));
    }

    /// A Gaussian keeps constants, spreads one pixel to weights that add up to it and are those of the bell.
    #[test]
    fn blur_is_a_gaussian() {
        let mut dot = vec![0.0; 81];
        dot[40] = 1.0;
        let got = Defect::Blurred { sigma: 1.0 }.change(&dot, [1, 1, 9, 9], key());
        assert!((got.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        let bell = |x: f64, y: f64| (-0.5 * (x * x + y * y)).exp();
        assert!((f64::from(got[41] / got[40]) - bell(1.0, 0.0)).abs() < 1e-5);
        assert!((f64::from(got[50] / got[40]) - bell(1.0, 1.0)).abs() < 1e-5);
        let flat = Defect::Blurred { sigma: 1.0 }.change(&[0.25; 54], [2, 3, 3, 3], key());
        assert!(flat.iter().all(|v| (v - 0.25).abs() < 1e-6));
    }

    #[test]
    fn classes_go_missing_double_and_swap() {
        let classes: Vec<i64> = (0..200).map(|i| i % 10).collect();
        let count = |rows: &[usize], class: i64| rows.iter().filter(|&&i| classes[i] == class).count();
        let rows = Defect::Missing { class: 3 }.rows(&classes, 100);
        assert_eq!((rows.len(), count(&rows, 3)), (100, 0));
        let rows = Defect::Doubled { class: 3 }.rows(&classes, 110);
        assert_eq!((rows.len(), count(&rows, 3), count(&rows, 4)), (110, 20, 10));
        let rows = Defect::Memorised { percent: 5.0 }.rows(&classes, 100);
        assert_eq!((rows.len(), rows.iter().max()), (100, Some(&4)));
        assert_eq!(Defect::None {}.rows(&classes, 7), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(Defect::Swapped { classes: [0, 2] }.labels(&[0, 1, 2, -1]), [2, 1, 0, -1]);
        assert_eq!(Defect::None {}.labels(&[0, 1]), [0, 1]);
    }
}
