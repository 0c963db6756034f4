//! The faces of a mesh that bound what it encloses. Models are put together from pieces that run into one another, and their faces
//! inside of others are no surface: a distance to them is wrong, and so are points drawn from them.

use super::vector::{Point, add, scale, sub, unit};
use super::{Cloud, Mesh, SignedDistance};
use rayon::prelude::*;

/// How far from a face its two sides are looked at, for meshes that fill the cube [-1, 1]³.
const ASIDE: f64 = 1e-3;

/// What lies on the two sides of a surface at `p`: 1 where its normal `n` points out of what is enclosed, -1 where it points in, 0
/// where both sides are inside or both outside.
fn sides(distance: &SignedDistance, p: Point, n: Point) -> i8 {
    let step = scale(n, ASIDE);
    i8::from(distance.is_inside(sub(p, step))) - i8::from(distance.is_inside(add(p, step)))
}

/// Places of a triangle that are looked at, as shares of its corners.
const LOOKS: [[f64; 3]; 4] = [[1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]];

/// The faces of `mesh` with the enclosed on one side and nothing on the other, somewhere at least, seen counter-clockwise from
/// outside. `distance` is that of the whole mesh.
pub fn of(mesh: &Mesh, distance: &SignedDistance) -> Mesh {
    let side = |i: usize| {
        let ([a, b, c], n) = (mesh.corners(i), unit(mesh.cross(i)));
        let places = LOOKS.map(|[u, v, w]| add(scale(a, u), add(scale(b, v), scale(c, w))));
        places.into_iter().map(|p| sides(distance, p, n)).find(|side| *side != 0).unwrap_or(0)
    };
    let sides: Vec<i8> = (0..mesh.faces.len()).into_par_iter().map(side).collect();
    let faces = mesh.faces.iter().zip(sides).filter(|(_, side)| *side != 0);
    let faces = faces.map(|(&[a, b, c], side)| if side > 0 { [a, b, c] } else { [a, c, b] }).collect();
    Mesh { points: mesh.points.clone(), faces }
}

/// The points of `cloud` that bound what `distance` encloses, their normals pointing out.
pub fn points(cloud: Cloud, distance: &SignedDistance) -> Cloud {
    let seen = |(p, n): (&Point, &Point)| match sides(distance, *p, *n) {
        0 => None,
        side => Some((*p, scale(*n, f64::from(side)))),
    };
    let (points, normals) = cloud.points.par_iter().zip(&cloud.normals).filter_map(seen).unzip();
    Cloud { points, normals }
}

#[cfg(test)]
mod tests {
    use super::super::mesh::cuboid;
    use super::super::sample;
    use super::*;

    /// Mutants: faces with both sides inside kept; the turned piece left turned.
    #[test]
    fn faces_inside_are_left_out_and_turned_ones_are_turned() {
        // A block, a block half inside it, and one that lies within the first.
        let mut mesh = cuboid([-0.5; 3], [0.5; 3]);
        mesh.append(&cuboid([0.2, -0.2, -0.2], [0.8, 0.2, 0.2]));
        mesh.append(&cuboid([-0.3; 3], [-0.1; 3]));
        let whole = SignedDistance::new(&mesh).unwrap();
        let shell = of(&mesh, &whole);
        // All 12 of the first, of the second all but the two of its end inside, none of the third.
        assert_eq!(shell.faces.len(), 22);
        let cloud = points(sample::surface(&shell, 4000, 1), &whole);
        assert!(cloud.points.len() > 3000 && cloud.points.len() < 4000);
        for (p, n) in cloud.points.iter().zip(&cloud.normals) {
            let inside_first = p.iter().all(|v| v.abs() < 0.499);
            let in_second = p[0] > 0.2 && p[1].abs() < 0.199 && p[2].abs() < 0.199 && p[0] < 0.799;
            assert!(!inside_first && !in_second, "{p:?}");
            assert!(whole.is_inside(sub(*p, scale(*n, 0.01))));
        }
        let mut sheet = cuboid([-0.5; 3], [0.5; 3]);
        sheet.faces.truncate(2);
        assert!(of(&sheet, &SignedDistance::new(&sheet).unwrap()).faces.is_empty(), "a sheet encloses nothing");
    }
}
