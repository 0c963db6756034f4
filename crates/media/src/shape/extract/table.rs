//! Which triangles a cell needs for each pattern of its corners, derived rather than typed in.
//!
//! On every side of the cube each run of inside corners is cut off by one segment, so that two cells always agree on the side they
//! share and the surface has no holes (the face rule of Nielson and Hamann 1991 with inside corners kept apart). Segments chain into
//! loops, loops are cut into triangles along diagonals that lie on no side of the cube, so that no edge has more than two faces.

use std::sync::OnceLock;

/// Corners of the sides of a cube, counter-clockwise from outside; bit 0 of a corner's number is x, bit 1 y, bit 2 z.
const SIDES: [[usize; 4]; 6] = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]];

/// An edge of the cube: its lower corner and its axis.
pub(super) type Edge = (usize, usize);

/// The triangles of each of the 256 patterns; bit `i` of a pattern says that corner `i` is inside.
pub(super) fn triangles() -> &'static [Vec<[Edge; 3]>] {
    static TABLE: OnceLock<Vec<Vec<[Edge; 3]>>> = OnceLock::new();
    TABLE.get_or_init(|| (0..256).map(|pattern| loops(pattern).iter().flat_map(|ring| cut(ring)).collect()).collect())
}

fn edge(a: usize, b: usize) -> Edge {
    (a.min(b), (a ^ b).trailing_zeros() as usize)
}

/// The closed rings of edges between inside and outside, counter-clockwise seen from outside.
fn loops(pattern: usize) -> Vec<Vec<Edge>> {
    let inside = |corner: usize| (pattern >> corner) & 1 == 1;
    let mut segments = Vec::new();
    for side in SIDES {
        for i in 0..4 {
            if inside(side[i]) || !inside(side[(i + 1) % 4]) {
                continue;
            }
            // The walk enters the inside here; it leaves after the run of inside corners.
            let mut j = i + 1;
            while inside(side[(j + 1) % 4]) {
                j += 1;
            }
            segments.push((edge(side[i], side[(i + 1) % 4]), edge(side[j % 4], side[(j + 1) % 4])));
        }
    }
    let mut rings = Vec::new();
    while let Some((first, mut at)) = segments.pop() {
        let mut ring = vec![first];
        while at != first {
            ring.push(at);
            let Some(next) = segments.iter().position(|&(from, _)| from == at) else { break };
            at = segments.swap_remove(next).1;
        }
        rings.push(ring);
    }
    rings
}

/// Whether two edges lie on one side of the cube.
fn share_side(a: Edge, b: Edge) -> bool {
    let ends = |(corner, axis): Edge| [corner, corner | (1 << axis)];
    SIDES.iter().any(|side| ends(a).iter().chain(&ends(b)).all(|corner| side.contains(corner)))
}

/// The triangles of a ring, by the first way to cut it whose diagonals lie on no side.
fn cut(ring: &[Edge]) -> Vec<[Edge; 3]> {
    fn between(ring: &[Edge], from: usize, to: usize) -> Option<Vec<[Edge; 3]>> {
        if to - from < 2 {
            return Some(Vec::new());
        }
        let free = |a: usize, b: usize| b - a == 1 || !share_side(ring[a], ring[b]);
        (from + 1..to).filter(|&apex| free(from, apex) && free(apex, to)).find_map(|apex| {
            let mut triangles = between(ring, from, apex)?;
            triangles.push([ring[from], ring[apex], ring[to]]);
            triangles.extend(between(ring, apex, to)?);
            Some(triangles)
        })
    }
    // Every one of the 256 patterns can be cut so (tested below).
    between(ring, 0, ring.len() - 1).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_is_cut_without_remainder() {
        for pattern in 0..256 {
            let rings = loops(pattern);
            let mut crossed: Vec<Edge> = rings.concat();
            crossed.sort();
            let all = (0..8).flat_map(|corner| (0..3).map(move |axis| (corner, axis)));
            let wanted: Vec<Edge> = all
                .filter(|&(corner, axis)| (corner >> axis) & 1 == 0)
                .filter(|&(corner, axis)| ((pattern >> corner) ^ (pattern >> (corner | (1 << axis)))) & 1 == 1)
                .collect();
            assert_eq!(crossed, wanted, "pattern {pattern}: each crossed edge lies in one ring");
            let expected: usize = rings.iter().map(|ring| ring.len() - 2).sum();
            assert_eq!(triangles()[pattern].len(), expected, "pattern {pattern}");
        }
    }
}
