//! A small software rasteriser: depth, normals and a shaded picture of a mesh, by one ray of light from behind the viewer.
//!
//! Orthographic: a picture shows the square [-1, 1]² of the plane the viewer looks at, so that meshes fitted into the cube of
//! half side 0.57 never leave it, whatever the direction.

use super::Mesh;
use super::vector::{Point, cross, dot, unit};
use serde::{Deserialize, Serialize};

/// From where a mesh is looked at, in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct View {
    /// Around the upright axis; 0 looks along -z, 90 along -x.
    pub azimuth: f64,
    /// Above the horizon.
    pub elevation: f64,
}

/// What is seen at each pixel, rows from the top.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Pixels to a side.
    pub size: usize,
    /// Height above the plane through the origin, towards the viewer; `-inf` where nothing is seen.
    pub depth: Vec<f64>,
    /// Directions of the surface in the viewer's frame (right, up, towards the viewer), turned towards the viewer.
    pub normals: Vec<Point>,
    /// Numbers of the faces; [`NO_FACE`] where nothing is seen.
    pub faces: Vec<u32>,
}

/// No face is seen at a pixel.
pub const NO_FACE: u32 = u32::MAX;

/// Each pixel of a shaded picture is the mean of so many rays along each side.
pub(super) const RAYS: usize = 3;

impl View {
    /// The viewer's directions: right, up, towards the viewer.
    pub fn frame(self) -> [Point; 3] {
        let (a, e) = (self.azimuth.to_radians(), self.elevation.to_radians());
        let toward = [a.sin() * e.cos(), e.sin(), a.cos() * e.cos()];
        let right = [a.cos(), 0.0, -a.sin()];
        [right, cross(toward, right), toward]
    }

    /// What the viewer sees of `mesh` in `size` by `size` pixels.
    pub fn look(self, mesh: &Mesh, size: usize) -> Seen {
        let [right, up, toward] = self.frame();
        let pixels = size * size;
        let (depth, normals) = (vec![f64::NEG_INFINITY; pixels], vec![[0.0; 3]; pixels]);
        let mut seen = Seen { size, depth, normals, faces: vec![NO_FACE; pixels] };
        let half = size as f64 / 2.0;
        // Columns, rows and heights.
        let place = |p: Point| [(dot(p, right) + 1.0) * half - 0.5, (1.0 - dot(p, up)) * half - 0.5, dot(p, toward)];
        let placed: Vec<Point> = mesh.points.iter().map(|&p| place(p)).collect();
        for (i, face) in mesh.faces.iter().enumerate() {
            let [a, b, c] = face.map(|at| placed[at as usize]);
            let whole = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
            if whole == 0.0 || !whole.is_finite() {
                continue; // seen from the side
            }
            let across = unit(mesh.cross(i));
            let mut normal = [dot(across, right), dot(across, up), dot(across, toward)];
            if normal[2] < 0.0 {
                normal = normal.map(|v| -v);
            }
            let span = |axis: usize| {
                let (low, high) = (a[axis].min(b[axis]).min(c[axis]), a[axis].max(b[axis]).max(c[axis]));
                let end = (high.floor() + 1.0).clamp(0.0, size as f64) as usize;
                (low.ceil().clamp(0.0, size as f64) as usize)..end
            };
            for y in span(1) {
                for x in span(0) {
                    let p = [x as f64, y as f64];
                    let weight = |u: Point, v: Point| (u[0] - p[0]) * (v[1] - p[1]) - (u[1] - p[1]) * (v[0] - p[0]);
                    let shares = [weight(b, c) / whole, weight(c, a) / whole, weight(a, b) / whole];
                    let depth = shares[0] * a[2] + shares[1] * b[2] + shares[2] * c[2];
                    if shares.iter().all(|&s| s >= 0.0) && depth > seen.depth[y * size + x] {
                        seen.depth[y * size + x] = depth;
                        seen.normals[y * size + x] = normal;
                        seen.faces[y * size + x] = i as u32;
                    }
                }
            }
        }
        seen
    }

    /// A shaded picture in grey, `[size size]` in [-1, 1]: light from above the viewer's left shoulder, on white.
    pub fn picture(self, mesh: &Mesh, size: usize) -> Vec<f32> {
        let light = unit([-0.35, 0.5, 0.8]);
        let seen = self.look(mesh, size * RAYS);
        let grey = |at: usize| {
            if seen.depth[at] == f64::NEG_INFINITY { 1.0 } else { 0.12 + 0.75 * dot(seen.normals[at], light).max(0.0) }
        };
        let pixel = |i: usize| {
            let (y, x) = (i / size * RAYS, i % size * RAYS);
            let rays = (0..RAYS * RAYS).map(|r| grey((y + r / RAYS) * seen.size + x + r % RAYS));
            (2.0 * rays.sum::<f64>() / (RAYS * RAYS) as f64 - 1.0) as f32
        };
        (0..size * size).map(pixel).collect()
    }
}

impl Seen {
    /// Normals as colours, `[3 size size]` in [-1, 1]; nothing is grey.
    pub fn normal_map(&self) -> Vec<f32> {
        (0..3).flat_map(|axis| self.normals.iter().map(move |n| n[axis] as f32)).collect()
    }

    /// Heights from the farthest seen (-0.8) to the nearest (1), `[size size]`; nothing is -1.
    pub fn depth_map(&self) -> Vec<f32> {
        let finite = self.depth.iter().copied().filter(|d| d.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), d| (l.min(d), h.max(d)));
        let width = (high - low).max(1e-9);
        let value = |&d: &f64| if d.is_finite() { ((d - low) / width * 1.8 - 0.8) as f32 } else { -1.0 };
        self.depth.iter().map(value).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::mesh::cuboid;
    use super::*;

    #[test]
    fn a_box_is_seen_from_each_side_at_its_place() {
        let mesh = cuboid([-0.5, -0.25, -0.75], [0.5, 0.25, 0.75]);
        // (azimuth, elevation) and half width, half height, nearest height of what is seen.
        for (azimuth, elevation, wide, high, near) in
            [(0.0, 0.0, 0.5, 0.25, 0.75), (90.0, 0.0, 0.75, 0.25, 0.5), (0.0, 90.0, 0.5, 0.75, 0.25)]
        {
            let seen = View { azimuth, elevation }.look(&mesh, 64);
            let hit = seen.depth.iter().filter(|d| d.is_finite()).count() as f64;
            assert_eq!(hit, 64.0 * 64.0 * wide * high);
            let middle = 32 * 64 + 32;
            assert!((seen.depth[middle] - near).abs() < 1e-9);
            assert!(seen.normals[middle][2] > 0.999);
        }
    }

    #[test]
    fn right_is_right_up_is_up_and_the_nearer_hides_the_farther() {
        let mut mesh = cuboid([0.25, 0.5, -0.1], [0.5, 0.75, 0.1]); // right and up, seen along -z
        let seen = View { azimuth: 0.0, elevation: 0.0 }.look(&mesh, 8);
        let at: Vec<usize> = (0..64).filter(|&i| seen.depth[i].is_finite()).collect();
        assert_eq!(at, [8 + 5]);
        // From the right (azimuth 90) what is in front (z > 0) is on the left.
        let front = cuboid([-0.1, 0.0, 0.5], [0.1, 0.25, 0.75]);
        let seen = View { azimuth: 90.0, elevation: 0.0 }.look(&front, 8);
        let at: Vec<usize> = (0..64).filter(|&i| seen.depth[i].is_finite()).collect();
        assert_eq!(at, [3 * 8 + 1]);
        mesh.append(&cuboid([-1.0, -1.0, -0.9], [1.0, 1.0, -0.8]));
        let seen = View { azimuth: 0.0, elevation: 0.0 }.look(&mesh, 8);
        assert!((seen.depth[8 + 5] - 0.1).abs() < 1e-9 && (seen.depth[0] + 0.8).abs() < 1e-9);
    }

    #[test]
    fn pictures_are_white_where_nothing_is_and_darker_where_light_is_aslant() {
        let mesh = cuboid([-0.5; 3], [0.5; 3]);
        let view = View { azimuth: 30.0, elevation: 20.0 };
        let picture = view.picture(&mesh, 32);
        assert_eq!(picture[0], 1.0);
        assert!(picture.iter().any(|&v| v < 0.0) && picture.iter().all(|v| (-1.0..=1.0).contains(v)));
        let seen = view.look(&mesh, 32);
        assert_eq!((seen.normal_map().len(), seen.depth_map().len()), (3 * 32 * 32, 32 * 32));
        assert_eq!(seen.depth_map().iter().copied().fold(-2.0, f32::max), 1.0);
        assert!(View { azimuth: 0.0, elevation: 0.0 }.look(&Mesh::default(), 4).depth_map().iter().all(|&v| v == -1.0));
    }
}
