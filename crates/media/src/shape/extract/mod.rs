//! From a signed field to the surface where it is zero: marching cubes over all cells, or only over those near the surface.
//! Lorensen and Cline 1987; hierarchical extraction as in TripoSG (arXiv:2502.06608), with `2^d + 1` points on every level.
//!
//! A field is negative inside. It is asked in batches, because asking a network one point at a time is slow.

mod cells;
mod memory;
mod table;

use super::Mesh;
use super::vector::Point;
pub use cells::Lattice;
use cells::{Growing, corner_of};
use std::collections::{HashMap, HashSet};

/// Why no surface came out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError<E> {
    /// The field could not be asked.
    #[error(transparent)]
    Field(E),
    /// The field answered with something else than a number.
    #[error("the field is {value} at {point:?}")]
    NotFinite {
        /// Where.
        point: Point,
        /// What it said.
        value: f64,
    },
    /// The field answered with another number of values than points were asked.
    #[error("the field gave {got} values for {asked} points")]
    Count {
        /// Points asked.
        asked: usize,
        /// Values given.
        got: usize,
    },
}

/// A surface and what it cost.
#[derive(Clone, Debug, Default)]
pub struct Extracted {
    /// Faces seen counter-clockwise from the positive side.
    pub mesh: Mesh,
    /// Points at which the field was asked.
    pub queries: usize,
}

/// A field: asked at points, it gives a value for each.
pub type Field<'a, E> = &'a mut dyn FnMut(&[Point]) -> Result<Vec<f64>, E>;

/// Points asked at once.
const BATCH: usize = 1 << 16;

/// Asks the field everywhere on the lattice, a layer at a time.
///
/// # Errors
/// What the field says, or that it says no number.
pub fn dense<E>(lattice: Lattice, field: Field<E>) -> Result<Extracted, ExtractError<E>> {
    let n = lattice.cells;
    let side = n as usize + 1;
    let mut growing = Growing::new(lattice);
    let mut below: Vec<f64> = Vec::new();
    for z in 0..=n {
        let points: Vec<Point> =
            (0..=n).flat_map(|y| (0..=n).map(move |x| [x, y, z])).map(|at| lattice.point(at)).collect();
        let layer = ask(field, &points)?;
        if z > 0 {
            for (y, x) in (0..n).flat_map(|y| (0..n).map(move |x| (y, x))) {
                let at = |i: usize| (y as usize + ((i >> 1) & 1)) * side + x as usize + (i & 1);
                let values = std::array::from_fn(|i| if i < 4 { below[at(i)] } else { layer[at(i)] });
                growing.cell([x, y, z - 1], &values);
            }
        }
        below = layer;
    }
    Ok(Extracted { mesh: growing.mesh(), queries: side * side * side })
}

/// How [`octree`] descends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Octree {
    /// The whole lattice of `2^start` cells to a side is asked first.
    pub start: u32,
    /// The finest has `2^depth` cells to a side.
    pub depth: u32,
    /// How fast the field may change over a unit of length: 1 for a distance, its reciprocal for one divided by a length.
    pub slope: f64,
    /// How many half diagonals of a cell a corner may be away from zero for the cell to be kept; 1 misses nothing of a field
    /// that keeps to `slope`.
    pub margin: f64,
    /// A corner nearer to zero than this keeps its cell whatever its size; 0 leaves it to `slope`. For a field that is cut off at 1 and
    /// does not say at what distance.
    pub band: f64,
}

impl Octree {
    /// For a true distance.
    pub fn new(start: u32, depth: u32) -> Self {
        Self { start: start.min(depth), depth, slope: 1.0, margin: 1.0, band: 0.0 }
    }
}

/// Asks the field only near the surface: a cell is divided where a corner is nearer to zero than the cell reaches.
///
/// # Errors
/// As [`dense`].
pub fn octree<E>(bounds: [Point; 2], plan: Octree, field: Field<E>) -> Result<Extracted, ExtractError<E>> {
    let lattice = |depth: u32| Lattice { low: bounds[0], high: bounds[1], cells: 1 << depth };
    let finest = lattice(plan.depth);
    let mut known: HashMap<[u32; 3], f64> = HashMap::new();
    let first = 1u32 << plan.start;
    let line = move || 0..first;
    let mut cells: Vec<[u32; 3]> =
        line().flat_map(|z| line().flat_map(move |y| line().map(move |x| [x, y, z]))).collect();
    for depth in plan.start..=plan.depth {
        // Places are counted on the finest lattice, so that a point is asked once in all levels.
        let step = 1u32 << (plan.depth - depth);
        let corner = |at: [u32; 3], i: usize| corner_of(at, i).map(|v| v * step);
        let mut wanted: HashSet<[u32; 3]> = HashSet::new();
        let mut places = Vec::new();
        for place in cells.iter().flat_map(|&at| (0..8).map(move |i| corner(at, i))) {
            if !known.contains_key(&place) && wanted.insert(place) {
                places.push(place);
            }
        }
        let points: Vec<Point> = places.iter().map(|&place| finest.point(place)).collect();
        known.extend(places.into_iter().zip(ask(field, &points)?));
        let values = |at: [u32; 3]| std::array::from_fn(|i| known[&corner(at, i)]);
        if depth == plan.depth {
            let mut growing = Growing::new(finest);
            cells.iter().for_each(|&at| growing.cell(at, &values(at)));
            return Ok(Extracted { mesh: growing.mesh(), queries: known.len() });
        }
        let reach = (plan.margin * plan.slope * lattice(depth).diagonal() / 2.0).max(plan.band);
        cells.retain(|&at| {
            let values: [f64; 8] = values(at);
            let inside = values.iter().filter(|&&v| v < 0.0).count();
            !matches!(inside, 0 | 8) || values.iter().any(|v| v.abs() <= reach)
        });
        cells = cells.iter().flat_map(|&at| (0..8).map(move |i| corner_of(at.map(|v| 2 * v), i))).collect();
    }
    Ok(Extracted::default()) // no level at all: start beyond depth
}

fn ask<E>(field: Field<E>, points: &[Point]) -> Result<Vec<f64>, ExtractError<E>> {
    let mut all = Vec::with_capacity(points.len());
    for batch in points.chunks(BATCH) {
        let values = field(batch).map_err(ExtractError::Field)?;
        if values.len() != batch.len() {
            return Err(ExtractError::Count { asked: batch.len(), got: values.len() });
        }
        if let Some(i) = values.iter().position(|value| !value.is_finite()) {
            return Err(ExtractError::NotFinite { point: batch[i], value: values[i] });
        }
        all.extend(values);
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
