//! The surface grown cell by cell: each crossed edge of the lattice becomes one point, shared by the cells around it.

use super::super::vector::Point;
use super::super::{Mesh, vector};
use super::table;
use std::collections::HashMap;

/// A lattice over a box: `2^depth` cells to a side, `2^depth + 1` points.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lattice {
    /// Corner of the box with the smallest coordinates.
    pub low: Point,
    /// The opposite corner.
    pub high: Point,
    /// Cells to a side.
    pub cells: u32,
}

impl Lattice {
    /// Over the cube [-half, half]³.
    pub fn cube(half: f64, cells: u32) -> Self {
        Self { low: [-half; 3], high: [half; 3], cells }
    }

    /// The lattice point `at`.
    pub fn point(&self, at: [u32; 3]) -> Point {
        self.between(at.map(f64::from))
    }

    fn between(&self, at: Point) -> Point {
        [0, 1, 2].map(|k| self.low[k] + (self.high[k] - self.low[k]) * at[k] / f64::from(self.cells))
    }

    /// The diagonal of a cell.
    pub fn diagonal(&self) -> f64 {
        vector::norm(vector::sub(self.high, self.low)) / f64::from(self.cells)
    }
}

/// The mesh so far.
pub(super) struct Growing {
    lattice: Lattice,
    mesh: Mesh,
    edges: HashMap<([u32; 3], usize), u32>,
}

/// Points keep this share of an edge away from its ends, so that no face loses its area where the field is zero on a lattice point.
const CLEAR: f64 = 1e-4;

impl Growing {
    pub(super) fn new(lattice: Lattice) -> Self {
        Self { lattice, mesh: Mesh::default(), edges: HashMap::new() }
    }

    /// Adds the faces of the cell whose lowest corner is `at`; corner `i` has `values[i]`, negative inside.
    pub(super) fn cell(&mut self, at: [u32; 3], values: &[f64; 8]) {
        let pattern = (0..8).filter(|&i| values[i] < 0.0).fold(0, |pattern, i| pattern | (1 << i));
        for triangle in &table::triangles()[pattern] {
            let face = triangle.map(|(corner, axis)| {
                let from = corner_of(at, corner);
                *self.edges.entry((from, axis)).or_insert_with(|| {
                    let (a, b) = (values[corner], values[corner | (1 << axis)]);
                    let mut place = from.map(f64::from);
                    place[axis] += (a / (a - b)).clamp(CLEAR, 1.0 - CLEAR);
                    self.mesh.points.push(self.lattice.between(place));
                    self.mesh.points.len() as u32 - 1
                })
            });
            self.mesh.faces.push(face);
        }
    }

    pub(super) fn mesh(self) -> Mesh {
        self.mesh
    }
}

/// Corner `i` of the cell at `at`.
pub(super) fn corner_of(at: [u32; 3], i: usize) -> [u32; 3] {
    [at[0] + (i & 1) as u32, at[1] + ((i >> 1) & 1) as u32, at[2] + (i >> 2) as u32]
}
