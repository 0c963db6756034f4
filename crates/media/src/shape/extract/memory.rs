//! What taking a surface along an octree holds in memory, before it is taken: counted points and cells, times what the tables of this
//! module keep of each. An estimate; how many cells are near a surface only the field says, so that there are two bounds.

use super::Octree;
use std::f64::consts::PI;

/// Bytes of a lattice point whose value is known: place and value in a table that may just have doubled.
const KNOWN: u64 = 57;
/// Of one that is being asked: among those wanted, as a place, as a point, its value.
const ASKED: u64 = 74;
/// Of a cell: in a list that may just have doubled.
const CELL: u64 = 24;
/// Of a point of the mesh: its edge in a table, itself, its two faces.
const GROWN: u64 = 121;

/// Cells and points of one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Level {
    cells: u64,
    points: u64,
}

impl Octree {
    /// Points asked, and bytes held where most is, of the ball that touches the cube's faces, in a field that changes its sign there and is further
    /// from zero than the plan's band and margin reach everywhere. No field is asked less of; what leaves its band slowly is asked more.
    pub fn least(&self) -> (u64, u64) {
        // A surface of the area A crosses 1.5 A / h² cells of the side h, seen from all sides alike; that of the ball is 4 pi (side/2)².
        self.held(|depth| (1.5 * PI * 4f64.powi(depth as i32)) as u64)
    }

    /// The same of a field that is near zero everywhere, so that every cell is divided.
    pub fn most(&self) -> (u64, u64) {
        self.held(|_| u64::MAX)
    }

    /// Where so many cells of each level are divided.
    fn held(&self, divided: impl Fn(u32) -> u64) -> (u64, u64) {
        let whole = |depth: u32| 1u64 << (3 * depth);
        let lattice = |depth: u32| ((1u64 << depth) + 1).pow(3);
        let (mut known, mut most, mut cells) = (0u64, 0u64, whole(self.start));
        for depth in self.start..=self.depth {
            let level = match depth == self.start {
                true => Level { cells, points: lattice(depth) },
                // A sheet of divided cells has three layers of four points to a cell of it, of which two layers of one are known: ten new ones
                // for its eight children. In a block there are fewer.
                false => Level { cells, points: (cells * 5 / 4).min(lattice(depth) - known) },
            };
            known += level.points;
            let grown = if depth == self.depth { cells.min(divided(depth)) } else { 0 };
            most = most.max(known * KNOWN + level.points * ASKED + level.cells * CELL + grown * GROWN);
            cells = 8 * cells.min(divided(depth));
        }
        (known, most)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Point, octree};
    use super::*;

    /// The points that are counted beforehand are those that are asked with margin and band as surfaces are looked for with: of a ball in a field of
    /// signs to 3 %, of a field near zero everywhere exactly; of the same ball in a field that is cut off half a cell of the first level from it
    /// what is between. Mutants: the first level forgotten; cells not times eight; the area of a ball half as wide.
    #[test]
    fn what_is_counted_is_what_is_asked() {
        let plan = |depth: u32| Octree { band: 0.95, ..Octree::new(4, depth) };
        for depth in [5, 6, 7] {
            let mut ball = |points: &[Point]| {
                let sign = |p: &Point| if p.iter().map(|v| v * v).sum::<f64>() < 0.999 { -1.0 } else { 1.0 };
                Ok::<_, ()>(points.iter().map(sign).collect::<Vec<f64>>())
            };
            let asked = octree([[-1.0; 3], [1.0; 3]], plan(depth), &mut ball).unwrap().queries as f64;
            let counted = plan(depth).least().0 as f64;
            assert!((counted / asked - 1.0).abs() < 0.03, "{depth}: {counted} {asked}");
            let mut cut = |points: &[Point]| {
                let away = |p: &Point| (p.iter().map(|v| v * v).sum::<f64>().sqrt() - 0.999) * 16.0;
                Ok::<_, ()>(points.iter().map(|p| away(p).clamp(-1.0, 1.0)).collect::<Vec<f64>>())
            };
            let between = octree([[-1.0; 3], [1.0; 3]], plan(depth), &mut cut).unwrap().queries as f64;
            assert!(between > 1.05 * counted && between < plan(depth).most().0 as f64, "{depth}: {between} {counted}");
        }
        let mut flat = |points: &[Point]| Ok::<_, ()>(vec![0.1; points.len()]);
        let asked = octree([[-1.0; 3], [1.0; 3]], plan(6), &mut flat).unwrap().queries as u64;
        assert_eq!((asked, plan(6).most().0), (65u64.pow(3), asked));
        assert!(plan(9).most().1 > 16 * plan(9).least().1);
    }
}
