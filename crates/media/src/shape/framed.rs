//! A shape's picture cut out and brought to one size, whatever camera made it: the middle of what is covered comes to the middle, its
//! longer side to a fixed share of the picture's. TripoSG (Li et al. 2025, arXiv:2502.06608) frames its conditions so.

use super::render::{NO_FACE, RAYS, View};
use super::vector::{dot, scale};
use super::{Mesh, views::lit};

/// Share of a picture's side that the longer side of what it shows takes up.
pub const SHARE: f64 = 0.9;

/// A grey picture, white where nothing is.
pub struct Grey<'a> {
    /// Rows of values in [-1, 1], `[h w]`.
    pub values: &'a [f32],
    /// Which pixels show something, `[h w]`.
    pub covered: &'a [bool],
    /// Pixels of a row.
    pub width: usize,
}

impl Grey<'_> {
    /// What is covered, `[size size]` in [-1, 1]; `None` where nothing is.
    pub fn framed(&self, size: usize) -> Option<Vec<f32>> {
        let width = self.width.max(1);
        let ends = |place: fn(usize, usize) -> usize| {
            let of = (0..self.covered.len()).filter(|&i| self.covered[i]).map(|i| place(i, width));
            let (low, high) = of.fold((usize::MAX, 0), |(low, high), at| (low.min(at), high.max(at + 1)));
            (low < high).then_some((low as f64, high as f64))
        };
        let (left, right) = ends(|i, width| i % width)?;
        let (top, bottom) = ends(|i, width| i / width)?;
        let side = (right - left).max(bottom - top) / SHARE;
        let corner = [(left + right - side) / 2.0, (top + bottom - side) / 2.0];
        // So many looks along each side of a pixel that none of the source's is passed over, up to 64.
        let pixel = side / size as f64;
        let looks = (pixel.ceil() as usize + 1).clamp(2, 64);
        let height = self.covered.len() / width;
        let value = |x: f64, y: f64| {
            let inside = x >= 0.0 && y >= 0.0 && (x as usize) < width && (y as usize) < height;
            let at = (y.max(0.0) as usize) * width + x.max(0.0) as usize;
            if inside && self.covered[at] { f64::from(self.values[at]) } else { 1.0 }
        };
        let one = |i: usize| {
            let look = |k: usize| (k as f64 + 0.5) / looks as f64;
            let places = (0..looks * looks).map(|k| {
                let x = corner[0] + (i % size) as f64 * pixel + look(k % looks) * pixel;
                let y = corner[1] + (i / size) as f64 * pixel + look(k / looks) * pixel;
                value(x, y)
            });
            (places.sum::<f64>() / (looks * looks) as f64) as f32
        };
        Some((0..size * size).map(one).collect())
    }
}

/// `mesh` seen from `view` in plain grey and framed, `[size size]`, wherever and however large it is; all white where nothing is seen.
pub fn seen(mesh: &Mesh, view: View, size: usize) -> Vec<f32> {
    let bright = lit(mesh);
    // A view shows the square [-1, 1]²: whatever does not reach past the sphere of radius 1 is in it from everywhere.
    let reach = mesh.points.iter().map(|&p| dot(p, p)).fold(0.0, f64::max).sqrt().max(1e-9);
    let points = mesh.points.iter().map(|&p| scale(p, 1.0 / reach)).collect();
    let seen = view.look(&Mesh { points, faces: mesh.faces.clone() }, size * RAYS);
    let covered: Vec<bool> = seen.faces.iter().map(|face| *face != NO_FACE).collect();
    let grey = |face: &u32| if *face == NO_FACE { 1.0 } else { (2.0 * 0.7 * bright[*face as usize] - 1.0) as f32 };
    let values: Vec<f32> = seen.faces.iter().map(grey).collect();
    let picture = Grey { values: &values, covered: &covered, width: seen.size };
    picture.framed(size).unwrap_or_else(|| vec![1.0; size * size])
}

#[cfg(test)]
mod tests {
    use super::super::mesh::cuboid;
    use super::*;

    /// The same thing anywhere in a picture of any size becomes the same picture. Mutants: width and height exchanged; the shorter
    /// side brought to the share; a corner in place of the middle.
    #[test]
    fn what_is_shown_comes_to_the_middle_at_one_size() {
        let framed = |[h, w]: [usize; 2], [top, left]: [usize; 2], scale: usize| {
            // Three wide and two high: dark on the left, lighter on the right.
            let (mut values, mut covered) = (vec![1.0; h * w], vec![false; h * w]);
            for i in 0..6 * scale * scale {
                let (y, x) = (i / (3 * scale), i % (3 * scale));
                let at = (top + y) * w + left + x;
                (values[at], covered[at]) = (if x < scale { -1.0 } else { 0.0 }, true);
            }
            Grey { values: &values, covered: &covered, width: w }.framed(20).unwrap()
        };
        let small = framed([9, 14], [1, 2], 2);
        for other in [framed([30, 40], [7, 20], 6), framed([14, 9], [10, 0], 2), framed([100, 90], [0, 0], 30)] {
            let worst = small.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let mean = small.iter().zip(&other).map(|(a, b)| (a - b).abs()).sum::<f32>() / 400.0;
            assert!(mean < 0.02 && worst < 0.7, "{mean} {worst}");
        }
        // 18 of 20 wide, 12 high: white above and below, dark to the left, grey to the right of a third.
        let at = |y: usize, x: usize| small[y * 20 + x];
        assert_eq!([at(2, 10), at(17, 10), at(10, 0), at(10, 19)], [1.0; 4]);
        assert_eq!([at(10, 2), at(5, 5), at(14, 10), at(10, 17)], [-1.0, -1.0, 0.0, 0.0]);
        assert!(Grey { values: &[1.0; 4], covered: &[false; 4], width: 2 }.framed(4).is_none());
    }

    #[test]
    fn a_mesh_fills_its_picture_from_wherever_it_is_seen() {
        let mesh = cuboid([-0.2, -0.1, -0.1], [0.2, 0.1, 0.1]);
        let picture = seen(&mesh, View { azimuth: 0.0, elevation: 0.0 }, 32);
        let dark = |row: usize| (0..32).filter(|x| picture[row * 32 + x] < 0.9).count();
        // Seen along its length: 0.9 of 32 wide, half as high.
        assert!((28..=30).contains(&dark(16)) && dark(6) == 0 && dark(25) == 0 && dark(12) > 0, "{}", dark(16));
        // A box that reaches past the faces of the cube is seen whole: 1.41 wide to 1 high over its edge. Mutant: what does not fit is cut off.
        let picture = seen(&cuboid([-0.9; 3], [0.9; 3]), View { azimuth: 45.0, elevation: 0.0 }, 64);
        let shown = |at: &dyn Fn(usize) -> usize| (0..64).filter(|i| picture[at(*i)] < 0.5).count() as f64;
        let (wide, high) = (shown(&|x| 32 * 64 + x), shown(&|y| y * 64 + 30));
        assert!((wide / high - 2f64.sqrt()).abs() < 0.08, "{wide} {high}");
        assert!(seen(&Mesh::default(), View { azimuth: 0.0, elevation: 0.0 }, 8).iter().all(|v| *v == 1.0));
    }
}
