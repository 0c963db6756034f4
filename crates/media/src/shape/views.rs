//! Coloured views of a mesh from fixed cameras: what a reconstruction model reads, and what it is compared with.
//!
//! Cameras are orthographic. The light stands still in space, not beside the viewer, so that a place of the surface has one colour
//! from wherever it is seen, as a field of colours without a direction can say it.

use super::Mesh;
use super::colour::Colour;
use super::render::{NO_FACE, RAYS, View};
use super::vector::{Point, add, dot, scale, unit};
use serde::{Deserialize, Serialize};

/// Where shapes are seen from, and how large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cameras {
    /// Pixels of a view to a side.
    pub size: usize,
    /// Half the side of the square that a view shows; shapes lie in the cube [-1, 1]³.
    pub half: f64,
    /// From where; a view each.
    pub views: Vec<View>,
}

impl Default for Cameras {
    fn default() -> Self {
        let view = |azimuth, elevation| View { azimuth, elevation };
        Self {
            size: 32,
            half: 1.4,
            views: vec![view(30.0, 30.0), view(120.0, -20.0), view(210.0, 30.0), view(300.0, -20.0)],
        }
    }
}

/// Numbers of a pixel: red, green and blue on white, and how much of it is covered.
pub const CHANNELS: usize = 4;

/// What a pixel looks along: points `origin + t direction`, away from the viewer as `t` grows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ray {
    /// On the plane through the middle of the cube.
    pub origin: Point,
    /// Of length 1.
    pub direction: Point,
}

impl Ray {
    /// Where it enters and leaves the cube [-1, 1]³; `None` if it misses.
    pub fn within(&self) -> Option<[f64; 2]> {
        let mut span = [f64::NEG_INFINITY, f64::INFINITY];
        for axis in 0..3 {
            let (o, d) = (self.origin[axis], self.direction[axis]);
            if d.abs() < 1e-12 {
                if o.abs() > 1.0 {
                    return None;
                }
                continue;
            }
            let (a, b) = ((-1.0 - o) / d, (1.0 - o) / d);
            span = [span[0].max(a.min(b)), span[1].min(a.max(b))];
        }
        (span[0] < span[1]).then_some(span)
    }

    /// Its point at `t`.
    pub fn at(&self, t: f64) -> Point {
        add(self.origin, scale(self.direction, t))
    }
}

impl Cameras {
    /// Refuses views of nothing, and more than a machine has room for.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        if !(4..=512).contains(&self.size) {
            return Err(format!("size = {}; views have 4 to 512 pixels to a side", self.size));
        }
        if !(self.half >= 0.5 && self.half <= 4.0) {
            return Err(format!("half = {}; shapes lie in the cube of half side 1: give 0.5 to 4", self.half));
        }
        if self.views.is_empty() || self.views.len() > 64 {
            return Err(format!("views has {} entries; give 1 to 64", self.views.len()));
        }
        match self.views.iter().find(|view| !(view.azimuth.is_finite() && view.elevation.abs() <= 90.0)) {
            None => Ok(()),
            Some(view) => Err(format!("views: an elevation of {} degrees; give -90 to 90", view.elevation)),
        }
    }

    /// `[views 4 size size]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.views.len(), CHANNELS, self.size, self.size]
    }

    /// The views of `mesh`, whose faces have `colours`: [`Cameras::shape`] numbers in [-1, 1], colours on white.
    pub fn see(&self, mesh: &Mesh, colours: &[Colour]) -> Vec<f32> {
        let points = mesh.points.iter().map(|&p| scale(p, 1.0 / self.half)).collect();
        let mesh = Mesh { points, faces: mesh.faces.clone() };
        let lit: Vec<Colour> =
            lit(&mesh).iter().zip(colours).map(|(bright, colour)| colour.map(|v| v * bright)).collect();
        self.views.iter().flat_map(|view| self.one(*view, &mesh, &lit)).collect()
    }

    fn one(&self, view: View, mesh: &Mesh, lit: &[Colour]) -> Vec<f32> {
        let size = self.size;
        let seen = view.look(mesh, size * RAYS);
        let mut values = vec![0.0; CHANNELS * size * size];
        for (at, &face) in seen.faces.iter().enumerate() {
            let pixel = at / seen.size / RAYS * size + at % seen.size / RAYS;
            let (colour, covered) = if face == NO_FACE { ([1.0; 3], 0.0) } else { (lit[face as usize], 1.0) };
            for (channel, value) in colour.into_iter().chain([covered]).enumerate() {
                values[channel * size * size + pixel] += value;
            }
        }
        let rays = (RAYS * RAYS) as f64;
        values.into_iter().map(|sum| (2.0 * sum / rays - 1.0) as f32).collect()
    }

    /// What each pixel of each view looks along, in the order of a channel: `[views size size]`.
    pub fn rays(&self) -> Vec<Ray> {
        let place = |at: usize| (2.0 * (at as f64 + 0.5) / self.size as f64 - 1.0) * self.half;
        let of = |view: &View| {
            let [right, up, toward] = view.frame();
            let pixel = move |i: usize| {
                let (x, y) = (place(i % self.size), -place(i / self.size));
                Ray { origin: add(scale(right, x), scale(up, y)), direction: scale(toward, -1.0) }
            };
            (0..self.size * self.size).map(pixel).collect::<Vec<_>>()
        };
        self.views.iter().flat_map(of).collect()
    }

    /// Of each view the directions of its frame (right, up, towards the viewer), nine numbers.
    pub fn frames(&self) -> Vec<[f32; 9]> {
        let of = |view: &View| {
            let frame = view.frame();
            std::array::from_fn(|i| frame[i / 3][i % 3] as f32)
        };
        self.views.iter().map(of).collect()
    }
}

/// How bright each face of `mesh` is under the light that stands still.
pub(super) fn lit(mesh: &Mesh) -> Vec<f64> {
    let light = unit([0.4, 0.8, 0.45]);
    (0..mesh.faces.len()).map(|face| 0.7 + 0.3 * dot(unit(mesh.cross(face)), light)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{colour::PLAIN, mesh::cuboid};
    use super::*;

    fn cameras() -> Cameras {
        let view = |azimuth, elevation| View { azimuth, elevation };
        Cameras { size: 16, half: 1.0, views: vec![view(0.0, 0.0), view(90.0, 0.0), view(37.0, 25.0)] }
    }

    /// A ray and the rasteriser see the same: what covers a pixel is what its ray meets. Mutants: rows from below, the second
    /// camera's right turned round, half forgotten in one of the two.
    #[test]
    fn rays_and_pictures_agree_about_what_is_where() {
        let (low, high) = ([-0.5, -0.1, -0.6], [0.7, 0.5, 0.4]);
        for half in [1.0, 1.5] {
            let cameras = Cameras { half, ..cameras() };
            let mesh = cuboid(low, high);
            let values = cameras.see(&mesh, &[PLAIN; 12]);
            let (pixels, mut sure) = (16 * 16, 0);
            for (i, ray) in cameras.rays().iter().enumerate() {
                let covered = values[(i / pixels * CHANNELS + 3) * pixels + i % pixels];
                let inside = |t: f64| {
                    let p = ray.at(t);
                    (0..3).all(|k| p[k] > low[k] && p[k] < high[k])
                };
                let meets = (-200..200).any(|t| inside(f64::from(t) * 0.01));
                // At the rim a pixel is covered in part.
                if covered.abs() > 0.999 {
                    assert_eq!(meets, covered > 0.0, "view {}, pixel {}", i / pixels, i % pixels);
                    sure += usize::from(meets);
                }
            }
            assert!(sure > 40, "{sure}");
        }
    }

    #[test]
    fn colours_stand_on_white_and_stay_where_they_are() {
        let mut mesh = cuboid([-0.5; 3], [0.5; 3]);
        mesh.append(&cuboid([-0.1, 0.5, -0.1], [0.1, 0.8, 0.1]));
        let colours: Vec<Colour> = (0..24).map(|i| if i < 12 { [1.0, 0.0, 0.0] } else { [0.0, 0.0, 1.0] }).collect();
        let values = cameras().see(&mesh, &colours);
        assert_eq!(values.len(), cameras().shape().iter().product::<usize>());
        let at = |channel: usize, y: usize, x: usize| values[(channel * 16 + y) * 16 + x];
        assert_eq!([at(0, 0, 0), at(1, 0, 0), at(2, 0, 0), at(3, 0, 0)], [1.0, 1.0, 1.0, -1.0]);
        assert!(at(0, 8, 8) > at(2, 8, 8) && at(3, 8, 8) == 1.0, "the lower block is red");
        assert!(at(2, 3, 8) > at(0, 3, 8), "the upper one is blue");
    }

    #[test]
    fn a_ray_knows_its_way_through_the_cube() {
        let ray = Ray { origin: [0.5, 0.0, 0.0], direction: [0.0, 0.6, -0.8] };
        let [near, far] = ray.within().unwrap();
        assert!((near + 1.25).abs() < 1e-12 && (far - 1.25).abs() < 1e-12);
        assert_eq!(Ray { origin: [1.5, 0.0, 0.0], ..ray }.within(), None);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let wrong = |cameras: Cameras, key: &str| assert!(cameras.check().unwrap_err().contains(key));
        wrong(Cameras { size: 2, ..cameras() }, "size");
        wrong(Cameras { half: f64::NAN, ..cameras() }, "half");
        wrong(Cameras { views: vec![], ..cameras() }, "views");
        wrong(Cameras { views: vec![View { azimuth: 0.0, elevation: 91.0 }], ..cameras() }, "elevation");
        assert!(Cameras::default().check().is_ok());
    }
}
