//! What a codec of shapes learns one shape from, as a row of numbers: points of the surface with normals, and points near it and
//! around it with their signed distances (TripoSG, arXiv:2502.06608, sec. 3.2).

use super::solid::Solid;
use super::vector::{Point, add, scale};
use super::{Cloud, Mesh, SignedDistance};
use super::{boundary, sample};
use serde::{Deserialize, Serialize};

/// Numbers of a point with its normal.
pub const ON: usize = 6;
/// Numbers of a point with its distance.
pub const OFF: usize = 4;

/// How many points of each kind a shape is kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Counts {
    /// Of the surface.
    pub surface: usize,
    /// Near it.
    pub near: usize,
    /// Of the cube around it.
    pub volume: usize,
}

impl Default for Counts {
    fn default() -> Self {
        Self { surface: 2048, near: 2048, volume: 1024 }
    }
}

/// Standard deviations of the points near the surface, in turn.
pub const SPREADS: [f64; 2] = [0.02, 0.08];

impl Counts {
    /// Numbers of a row.
    pub fn numbers(self) -> usize {
        ON * self.surface + OFF * (self.near + self.volume)
    }

    /// Refuses counts of nothing and rows that no machine keeps thousands of.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(self) -> Result<(), String> {
        for (key, count) in [("surface", self.surface), ("near", self.near), ("volume", self.volume)] {
            if !(16..=1 << 20).contains(&count) {
                return Err(format!("{key} = {count}; keep 16 to 1048576 points"));
            }
        }
        Ok(())
    }
}

/// A row, read.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Points of the surface with their normals.
    pub surface: &'a [[f32; ON]],
    /// Points near it with their distances.
    pub near: &'a [[f32; OFF]],
    /// Points of the cube with their distances.
    pub volume: &'a [[f32; OFF]],
}

impl<'a> Record<'a> {
    /// `row` of [`Counts::numbers`] numbers; `None` for one of another length.
    pub fn of(row: &'a [f32], counts: Counts) -> Option<Self> {
        if row.len() != counts.numbers() {
            return None;
        }
        let (surface, rest) = row.split_at(ON * counts.surface);
        let (near, volume) = rest.split_at(OFF * counts.near);
        Some(Self { surface: surface.as_chunks().0, near: near.as_chunks().0, volume: volume.as_chunks().0 })
    }

    /// Its points of the surface and their normals.
    pub fn cloud(&self) -> Cloud {
        let part = |at: usize| self.surface.iter().map(|p| [0, 1, 2].map(|k| f64::from(p[at + k]))).collect();
        Cloud { points: part(0), normals: part(3) }
    }
}

/// The row of a mesh that lies in the cube [-1, 1]³: inside is where it winds around a point, and only what bounds the inside is
/// its surface. `None` for a mesh that encloses nothing.
pub fn of_mesh(mesh: &Mesh, counts: Counts, seed: u64) -> Option<Vec<f32>> {
    let whole = SignedDistance::new(mesh)?;
    let shell = boundary::of(mesh, &whole);
    let outside = SignedDistance::new(&shell)?;
    let mut cloud = boundary::points(sample::surface(&shell, 2 * counts.surface, seed), &whole);
    let found = cloud.points.len();
    if found == 0 {
        return None;
    }
    // Where most of what was drawn lies inside, some points stand twice.
    let pick = |all: &[Point]| (0..counts.surface).map(|i| all[i % found]).collect();
    cloud = Cloud { points: pick(&cloud.points), normals: pick(&cloud.normals) };
    let distance = |p: Point| if whole.is_inside(p) { -outside.length(p) } else { outside.length(p) };
    Some(row(&cloud, counts, seed, distance))
}

/// The row of a solid.
pub fn of_solid(solid: &Solid, counts: Counts, seed: u64) -> Vec<f32> {
    row(&solid.surface(counts.surface, seed), counts, seed, |p| solid.distance(p))
}

fn row(cloud: &Cloud, counts: Counts, seed: u64, distance: impl Fn(Point) -> f64) -> Vec<f32> {
    let mut row = Vec::with_capacity(counts.numbers());
    for (p, n) in cloud.points.iter().zip(&cloud.normals) {
        row.extend(p.iter().chain(n).map(|&v| v as f32));
    }
    let mut push = |p: Point| {
        row.extend(p.map(|v| v as f32));
        // Of the rounded point: what stands in the row belongs together.
        row.push(distance(p.map(|v| f64::from(v as f32))) as f32);
    };
    for i in 0..counts.near {
        let spread = SPREADS[i % SPREADS.len()];
        let step = [0, 1, 2].map(|lane| sample::normal(seed, NEAR, i as u64, lane));
        push(add(cloud.points[i % cloud.points.len()], scale(step, spread)));
    }
    sample::volume(counts.volume, 1.0, seed).into_iter().for_each(push);
    row
}

const NEAR: u64 = 14;

#[cfg(test)]
mod tests {
    use super::super::{mesh::cuboid, solid::Kind};
    use super::*;

    const COUNTS: Counts = Counts { surface: 40, near: 30, volume: 20 };

    /// Mutant: distances of the points before they are rounded or moved.
    #[test]
    fn a_row_says_of_each_point_its_own_distance() {
        let solid = Kind::Cross.draw(1, 0);
        let row = of_solid(&solid, COUNTS, 7);
        let record = Record::of(&row, COUNTS).unwrap();
        assert_eq!((record.surface.len(), record.near.len(), record.volume.len()), (40, 30, 20));
        for point in record.near.iter().chain(record.volume) {
            let at = [0, 1, 2].map(|k| f64::from(point[k]));
            assert!((solid.distance(at) - f64::from(point[3])).abs() < 1e-6);
        }
        let far = record.near.iter().map(|p| p[3].abs()).fold(0.0, f32::max);
        assert!(far < 0.4 && far > 0.05, "{far}");
        assert!(Record::of(&row[1..], COUNTS).is_none());
    }

    /// The same shape by formula and by its faces: the same distances.
    #[test]
    fn a_mesh_and_a_formula_agree() {
        let half = [0.5, 0.3, 0.7];
        let mesh = cuboid(half.map(|v| -v), half);
        let row = of_mesh(&mesh, COUNTS, 7).unwrap();
        let record = Record::of(&row, COUNTS).unwrap();
        for point in record.near.iter().chain(record.volume) {
            let q = [0, 1, 2].map(|k| f64::from(point[k]).abs() - half[k]);
            let exact = super::super::vector::norm(q.map(|v| v.max(0.0))) + q[0].max(q[1]).max(q[2]).min(0.0);
            assert!((exact - f64::from(point[3])).abs() < 1e-6);
        }
        for point in record.surface {
            let normal = [0, 1, 2].map(|k| f64::from(point[3 + k]));
            assert!((super::super::vector::norm(normal) - 1.0).abs() < 1e-6);
        }
        assert!(of_mesh(&Mesh::default(), COUNTS, 7).is_none());
        // A block within the block changes nothing. Mutant: distances to the faces of the whole mesh.
        let mut filled = mesh.clone();
        filled.append(&cuboid([-0.2, -0.1, -0.3], [0.2, 0.1, 0.3]));
        let again = of_mesh(&filled, COUNTS, 7).unwrap();
        let (a, b) = (record, Record::of(&again, COUNTS).unwrap());
        assert_eq!(a.volume, b.volume);
        assert!(Counts { near: 0, ..COUNTS }.check().unwrap_err().contains("near"));
    }
}
