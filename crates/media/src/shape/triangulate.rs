//! Polygons to triangles by cutting ears, so that a face that is not convex keeps its outline.

use super::vector::{Point, add, cross, dot, sub};

/// Appends the triangles of the polygon over `corners` (numbers of `points`) to `faces`.
pub fn polygon(points: &[Point], corners: &[u32], faces: &mut Vec<[u32; 3]>) {
    if let &[a, b, c] = corners {
        return faces.push([a, b, c]);
    }
    let at = |i: u32| points[i as usize];
    // Newell's normal: twice the polygon's area, right also where corners are not quite in one plane.
    let origin = at(corners[0]);
    let normal = (0..corners.len()).fold([0.0; 3], |sum, i| {
        let next = at(corners[(i + 1) % corners.len()]);
        add(sum, cross(sub(at(corners[i]), origin), sub(next, origin)))
    });
    let mut left = corners.to_vec();
    // Cutting ears costs the cube of the corners in the worst case; beyond this they are fanned out.
    while left.len() > 3 && corners.len() <= 512 {
        let n = left.len();
        let ear = (0..n).find(|&i| {
            let [a, b, c] = [left[(i + n - 1) % n], left[i], left[(i + 1) % n]];
            let turns = dot(cross(sub(at(b), at(a)), sub(at(c), at(b))), normal);
            turns > 0.0
                && left.iter().all(|&p| p == a || p == b || p == c || !contains([at(a), at(b), at(c)], normal, at(p)))
        });
        let Some(i) = ear else { break };
        faces.push([left[(i + n - 1) % n], left[i], left[(i + 1) % n]]);
        left.remove(i);
    }
    faces.extend((1..left.len() - 1).map(|i| [left[0], left[i], left[i + 1]]));
}

/// Whether `p`, seen along `normal`, lies in the triangle.
fn contains([a, b, c]: [Point; 3], normal: Point, p: Point) -> bool {
    [(a, b), (b, c), (c, a)].iter().all(|&(from, to)| dot(cross(sub(to, from), sub(p, from)), normal) >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::Mesh;

    #[test]
    fn an_arrowhead_keeps_its_outline() {
        // Corner 2 is pulled in, so that a fan from corner 1 or 3 would cover more than the outline.
        let points = vec![[0.0, 0.0, 0.0], [2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [1.0, 2.0, 0.0]];
        for turn in 0..4u32 {
            let corners: Vec<u32> = (0..4).map(|i| (i + turn) % 4).collect();
            let mut mesh = Mesh { points: points.clone(), faces: vec![] };
            polygon(&points, &corners, &mut mesh.faces);
            assert_eq!(mesh.faces.len(), 2);
            let shoelace = 0.5
                * (0..4)
                    .map(|i| {
                        let (a, b) = (points[i], points[(i + 1) % 4]);
                        a[0] * b[1] - a[1] * b[0]
                    })
                    .sum::<f64>();
            assert!((mesh.area() - shoelace).abs() < 1e-12, "{} of {shoelace}", mesh.area());
        }
    }
}
