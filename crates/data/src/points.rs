//! Point sets in the plane: the toys on which a flow can be seen.
//!
//! Every point is a function of the seed and its number alone, so a set never ends and never repeats. All sets fit into a
//! disc of radius about four and are centred, with standard deviations between one and three.

use base::{Key, RandomStream};
use rand::Rng;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// A point set by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Points {
    /// Eight squares of side 2 on a board of side 8 (stochastic interpolants, arXiv 2303.08797, appendix C, scaled to it).
    Checkerboard,
    /// Eight Gaussians of deviation 0.3 on a circle of radius 4 (rectified flow, arXiv 2209.03003).
    EightGaussians,
    /// Two half moons that reach into each other.
    Moons,
    /// Four concentric rings.
    Rings,
    /// Five bent arms.
    Pinwheel,
    /// A spiral.
    SwissRoll,
}

impl Points {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Checkerboard, Self::EightGaussians, Self::Moons, Self::Rings, Self::Pinwheel, Self::SwissRoll];

    /// Name as in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Self::Checkerboard => "checkerboard",
            Self::EightGaussians => "eight_gaussians",
            Self::Moons => "moons",
            Self::Rings => "rings",
            Self::Pinwheel => "pinwheel",
            Self::SwissRoll => "swiss_roll",
        }
    }

    /// The set called `name`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|points| points.name() == name)
    }

    /// Point `index` under `seed`.
    pub fn point(self, seed: u64, index: u64) -> [f32; 2] {
        let key = Key::of(seed, RandomStream::Points);
        let mut rng = key.at(index);
        let mut noise = key.fold(1).normals(index, 2).map(f64::from);
        let mut normal = || noise.next().unwrap_or(0.0);
        let [x, y] = match self {
            Self::Checkerboard => {
                let x: f64 = 4.0 * rng.random::<f64>() - 2.0;
                let odd = x.floor().rem_euclid(2.0);
                let y = rng.random::<f64>() - if rng.random::<f64>() < 0.5 { 2.0 } else { 0.0 } + odd;
                [2.0 * x, 2.0 * y]
            }
            Self::EightGaussians => {
                let angle = 2.0 * PI * below(&mut rng, 8) as f64 / 8.0;
                [4.0 * angle.cos() + 0.3 * normal(), 4.0 * angle.sin() + 0.3 * normal()]
            }
            Self::Moons => {
                let (upper, angle) = (below(&mut rng, 2) == 0, PI * rng.random::<f64>());
                let (x, y) = if upper { (angle.cos(), angle.sin()) } else { (1.0 - angle.cos(), 0.5 - angle.sin()) };
                [2.4 * (x - 0.5) + 0.15 * normal(), 2.4 * (y - 0.25) + 0.15 * normal()]
            }
            Self::Rings => {
                let radius = (1 + below(&mut rng, 4)) as f64 + 0.08 * normal();
                let angle = 2.0 * PI * rng.random::<f64>();
                [radius * angle.cos(), radius * angle.sin()]
            }
            Self::Pinwheel => {
                let arm = 2.0 * PI * below(&mut rng, 5) as f64 / 5.0;
                let (along, across) = (2.2 + 0.75 * normal(), 0.22 * normal());
                let angle = arm + 0.35 * (along - 1.0);
                [along * angle.cos() - across * angle.sin(), along * angle.sin() + across * angle.cos()]
            }
            Self::SwissRoll => {
                let angle = 1.5 * PI * (1.0 + 2.0 * rng.random::<f64>());
                let radius = 4.0 * angle / (4.5 * PI);
                [radius * angle.cos() + 0.1 * normal(), radius * angle.sin() + 0.1 * normal()]
            }
        };
        [x as f32, y as f32]
    }
}

fn below(rng: &mut impl Rng, n: u32) -> u32 {
    rng.random_range(0..n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(points: Points) -> Vec<[f32; 2]> {
        (0..20_000).map(|i| points.point(1, i)).collect()
    }

    #[test]
    fn sets_are_centred_and_fit_the_window() {
        for set in Points::ALL {
            let drawn = draw(set);
            assert_eq!(Points::named(set.name()), Some(set));
            for axis in 0..2 {
                let mean = drawn.iter().map(|p| p[axis] as f64).sum::<f64>() / 20_000.0;
                let variance = drawn.iter().map(|p| (p[axis] as f64 - mean).powi(2)).sum::<f64>() / 20_000.0;
                // Five standard errors of a deviation of three are 0.1; a spiral is not quite balanced.
                assert!(mean.abs() < 0.7, "{}: mean {mean}", set.name());
                assert!((1.0..9.1).contains(&variance), "{}: variance {variance}", set.name());
            }
            assert!(drawn.iter().all(|p| p[0].hypot(p[1]) < 7.0), "{}", set.name());
        }
    }

    #[test]
    fn a_point_depends_on_its_seed_and_number_alone() {
        for set in Points::ALL {
            assert_eq!(set.point(3, 17), set.point(3, 17));
            assert_ne!(set.point(3, 17), set.point(4, 17));
            assert_ne!(set.point(3, 17), set.point(3, 18));
        }
    }

    #[test]
    fn sets_have_their_shapes() {
        // The board: every point on a square whose column and row sum to an even number, all eight equally full.
        let mut squares = std::collections::BTreeMap::new();
        for p in draw(Points::Checkerboard) {
            let cell = ((p[0] / 2.0).floor() as i32, (p[1] / 2.0).floor() as i32);
            assert_eq!((cell.0 + cell.1).rem_euclid(2), 0, "{p:?}");
            *squares.entry(cell).or_insert(0) += 1;
        }
        assert_eq!(squares.len(), 8);
        // Five standard errors of 2500 of 20 000 are 234.
        assert!(squares.values().all(|n| (2266..2734).contains(n)), "{squares:?}");
        for p in draw(Points::EightGaussians) {
            assert!((p[0].hypot(p[1]) - 4.0).abs() < 2.0);
        }
        let near_ring = |p: &[f32; 2]| (p[0].hypot(p[1]) - p[0].hypot(p[1]).round()).abs() < 0.25;
        assert!(draw(Points::Rings).iter().filter(|p| near_ring(p)).count() > 19_900);
    }
}
