//! A tree of boxes over a mesh's faces: nearest point of the surface, and winding number.
//!
//! Winding numbers of far groups of faces are taken from one dipole each: Barill, Dickson, Schmidt, Levin, Jacobson 2018,
//! "Fast Winding Numbers for Soups and Clouds", eq. 10, first term.

use super::Mesh;
use super::vector::{Point, add, cross, dot, norm, scale, sub};
use std::f64::consts::PI;

const LEAF: usize = 4;
/// A group is far when it is this many of its radii away. The paper takes 2; 3 keeps the error below 0.01 on closed shapes.
const FAR: f64 = 3.0;

#[derive(Clone, Debug)]
struct Node {
    low: Point,
    high: Point,
    /// Of a leaf the faces `start..end`; of a fork the children are `start` and `start + 1`, and `end` is 0.
    start: usize,
    end: usize,
    /// Sum of the faces' area vectors, their centre weighted by area, and the distance from it to the farthest corner.
    dipole: Point,
    centre: Point,
    radius: f64,
}

/// The nearest point of the surface.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearest {
    /// Its distance, squared.
    pub squared: f64,
    /// Where it is.
    pub point: Point,
    /// On which face of the mesh.
    pub face: usize,
}

/// The faces of a mesh, sorted into boxes.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: Vec<Node>,
    corners: Vec<[Point; 3]>,
    faces: Vec<usize>,
}

impl Tree {
    /// The tree of `mesh`; `None` without faces.
    pub fn new(mesh: &Mesh) -> Option<Self> {
        if mesh.faces.is_empty() {
            return None;
        }
        let mut faces: Vec<usize> = (0..mesh.faces.len()).collect();
        let mut nodes = vec![Node::over(mesh, &faces)];
        let mut open = vec![(0, 0, faces.len())];
        while let Some((at, start, end)) = open.pop() {
            if end - start <= LEAF {
                (nodes[at].start, nodes[at].end) = (start, end);
                continue;
            }
            let middle = |face: usize| mesh.corners(face).into_iter().fold([0.0; 3], add);
            let (low, high) = faces[start..end]
                .iter()
                .map(|&face| middle(face))
                .fold(([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]), |(low, high), m| {
                    ([0, 1, 2].map(|k| low[k].min(m[k])), [0, 1, 2].map(|k| high[k].max(m[k])))
                });
            let widest = |a: &usize, b: &usize| (high[*a] - low[*a]).total_cmp(&(high[*b] - low[*b]));
            let axis = (0..3).max_by(widest).unwrap_or(0);
            let half = start + (end - start) / 2;
            faces[start..end]
                .select_nth_unstable_by(half - start, |&a, &b| middle(a)[axis].total_cmp(&middle(b)[axis]));
            let child = nodes.len();
            nodes[at].start = child;
            for (child, from, to) in [(child, start, half), (child + 1, half, end)] {
                nodes.push(Node::over(mesh, &faces[from..to]));
                open.push((child, from, to));
            }
        }
        let corners = faces.iter().map(|&face| mesh.corners(face)).collect();
        Some(Self { nodes, corners, faces })
    }

    /// The point of the surface nearest to `p`.
    pub fn nearest(&self, p: Point) -> Nearest {
        let mut best = Nearest { squared: f64::INFINITY, point: p, face: 0 };
        let mut open = vec![(self.nodes[0].squared(p), 0)];
        while let Some((bound, at)) = open.pop() {
            let node = &self.nodes[at];
            if bound >= best.squared {
                continue;
            }
            if node.end > 0 {
                for i in node.start..node.end {
                    let point = nearest_of_triangle(p, self.corners[i]);
                    let gap = sub(p, point);
                    if dot(gap, gap) < best.squared {
                        best = Nearest { squared: dot(gap, gap), point, face: self.faces[i] };
                    }
                }
                continue;
            }
            let children = [node.start, node.start + 1].map(|child| (self.nodes[child].squared(p), child));
            let nearer = usize::from(children[1].0 < children[0].0);
            open.push(children[1 - nearer]);
            open.push(children[nearer]); // looked at first
        }
        best
    }

    /// How often the surface winds around `p`: 1 inside, 0 outside; between them near the holes of an open mesh.
    pub fn winding(&self, p: Point) -> f64 {
        let mut sum = 0.0;
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            let node = &self.nodes[at];
            let gap = sub(node.centre, p);
            let distance = norm(gap);
            if distance > FAR * node.radius {
                sum += dot(node.dipole, gap) / (distance * distance * distance);
            } else if node.end > 0 {
                sum += self.corners[node.start..node.end].iter().map(|&face| solid_angle(p, face)).sum::<f64>();
            } else {
                open.extend([node.start, node.start + 1]);
            }
        }
        sum / (4.0 * PI)
    }
}

impl Node {
    fn over(mesh: &Mesh, faces: &[usize]) -> Self {
        let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        let (mut dipole, mut centre, mut weight) = ([0.0; 3], [0.0; 3], 0.0);
        for &face in faces {
            let vector = scale(mesh.cross(face), 0.5);
            let area = norm(vector);
            let corners = mesh.corners(face);
            dipole = add(dipole, vector);
            centre = add(centre, scale(corners.into_iter().fold([0.0; 3], add), area / 3.0));
            weight += area;
            for corner in corners {
                low = [0, 1, 2].map(|k| low[k].min(corner[k]));
                high = [0, 1, 2].map(|k| high[k].max(corner[k]));
            }
        }
        centre = if weight > 0.0 { scale(centre, 1.0 / weight) } else { low };
        let corners = faces.iter().flat_map(|&face| mesh.corners(face));
        let radius = corners.map(|corner| norm(sub(corner, centre))).fold(0.0, f64::max);
        Self { low, high, start: 0, end: 0, dipole, centre, radius }
    }

    /// Squared distance from `p` to the box.
    fn squared(&self, p: Point) -> f64 {
        (0..3).map(|k| (self.low[k] - p[k]).max(p[k] - self.high[k]).max(0.0).powi(2)).sum()
    }
}

/// Signed solid angle of a triangle seen from `p` (Van Oosterom and Strackee 1983).
fn solid_angle(p: Point, corners: [Point; 3]) -> f64 {
    let [a, b, c] = corners.map(|corner| sub(corner, p));
    let (la, lb, lc) = (norm(a), norm(b), norm(c));
    let below = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb;
    2.0 * dot(a, cross(b, c)).atan2(below)
}

/// The point of a triangle nearest to `p`, by the region of the triangle's plane it falls into.
pub fn nearest_of_triangle(p: Point, [a, b, c]: [Point; 3]) -> Point {
    let (ab, ac, ap) = (sub(b, a), sub(c, a), sub(p, a));
    let (d1, d2) = (dot(ab, ap), dot(ac, ap));
    if d1 <= 0.0 && d2 <= 0.0 {
        return a;
    }
    let bp = sub(p, b);
    let (d3, d4) = (dot(ab, bp), dot(ac, bp));
    if d3 >= 0.0 && d4 <= d3 {
        return b;
    }
    let cp = sub(p, c);
    let (d5, d6) = (dot(ab, cp), dot(ac, cp));
    if d6 >= 0.0 && d5 <= d6 {
        return c;
    }
    let along = |from: Point, to: Point, share: f64| add(from, scale(sub(to, from), share));
    let vc = d1 * d4 - d3 * d2;
    if vc <= 0.0 && d1 >= 0.0 && d3 <= 0.0 {
        return along(a, b, d1 / (d1 - d3));
    }
    let vb = d5 * d2 - d1 * d6;
    if vb <= 0.0 && d2 >= 0.0 && d6 <= 0.0 {
        return along(a, c, d2 / (d2 - d6));
    }
    let va = d3 * d6 - d5 * d4;
    if va <= 0.0 && d4 - d3 >= 0.0 && d5 - d6 >= 0.0 {
        return along(b, c, (d4 - d3) / ((d4 - d3) + (d5 - d6)));
    }
    let whole = va + vb + vc;
    add(a, add(scale(ab, vb / whole), scale(ac, vc / whole)))
}

#[cfg(test)]
mod tests {
    use super::super::{mesh::cuboid, sample};
    use super::*;

    fn soup() -> Mesh {
        let mut mesh = cuboid([-0.5; 3], [0.5, 0.2, 0.4]);
        for i in 0..40 {
            let at = |lane| sample::uniform(3, 0, i, lane) * 1.6 - 0.8;
            mesh.append(&cuboid([at(0), at(1), at(2)], [at(0) + 0.1, at(1) + 0.2, at(2) + 0.05]));
        }
        mesh
    }

    fn probes() -> impl Iterator<Item = Point> {
        (0..300).map(|i| [0, 1, 2].map(|lane| sample::uniform(4, 0, i, lane) * 2.4 - 1.2))
    }

    #[test]
    fn the_nearest_point_is_that_of_all_faces() {
        let mesh = soup();
        let tree = Tree::new(&mesh).unwrap();
        for p in probes() {
            let squared = |i: usize| {
                let gap = sub(nearest_of_triangle(p, mesh.corners(i)), p);
                dot(gap, gap)
            };
            let slow = (0..mesh.faces.len()).map(squared).fold(f64::INFINITY, f64::min);
            let found = tree.nearest(p);
            assert_eq!(found.squared, slow);
            assert!((squared(found.face) - slow).abs() < 1e-15);
        }
    }

    #[test]
    fn the_nearest_point_of_a_triangle_beats_a_dense_grid_of_it() {
        let triangle = [[0.1, 0.0, 0.2], [1.0, 0.3, -0.1], [0.2, 0.9, 0.4]];
        for p in probes() {
            let found = norm(sub(nearest_of_triangle(p, triangle), p));
            let n = 60;
            let grid = (0..=n).flat_map(|i| (0..=n - i).map(move |j| (i as f64 / n as f64, j as f64 / n as f64)));
            let slow = grid
                .map(|(u, v)| {
                    let [a, b, c] = triangle;
                    norm(sub(add(a, add(scale(sub(b, a), u), scale(sub(c, a), v))), p))
                })
                .fold(f64::INFINITY, f64::min);
            assert!(found <= slow + 1e-12 && found > slow - 0.02, "{found} {slow}");
        }
    }

    #[test]
    fn far_groups_change_the_winding_number_by_less_than_a_fiftieth() {
        let mesh = soup();
        let tree = Tree::new(&mesh).unwrap();
        for p in probes() {
            let slow: f64 = (0..mesh.faces.len()).map(|i| solid_angle(p, mesh.corners(i))).sum::<f64>() / (4.0 * PI);
            assert!((tree.winding(p) - slow).abs() < 0.02, "{} {slow}", tree.winding(p));
        }
    }
}
