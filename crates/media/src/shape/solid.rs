//! Solids by formula: ten classes of random proportions, each with its signed distance, so that tests and quick recipes need no
//! file. Solid `i` of a class is a function of seed and `i` alone.
//!
//! Distances are exact (Quilez, "distance functions"), with one exception: where the boxes of a table or chair touch, the depth
//! inside is that of the deepest single box, not of their union.

use super::polygon;
use super::sample::{Cloud, uniform};
use super::vector::{Point, norm, scale, sub, unit};

/// A class of solids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A cuboid.
    Box,
    /// A ball.
    Sphere,
    /// An upright cylinder.
    Cylinder,
    /// An upright cone.
    Cone,
    /// A ring that lies.
    Torus,
    /// An upright tube.
    Tube,
    /// A cross that stands.
    Cross,
    /// An angle.
    Bracket,
    /// A top on four legs.
    Table,
    /// A seat with a back on four legs.
    Chair,
}

/// A part of a solid.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// Around `centre`, so far to each side.
    Cuboid { centre: Point, half: Point },
    /// Around the origin.
    Ball { radius: f64 },
    /// Around the upright axis.
    Ring { radius: f64, tube: f64 },
    /// A polygon `[distance from the upright axis, height]`, turned around it.
    Turned { profile: Vec<[f64; 2]> },
    /// A polygon `[x y]`, so deep to both sides along z.
    Prism { profile: Vec<[f64; 2]>, depth: f64 },
}

/// A solid within the cube [-1, 1]³, upright along y.
#[derive(Clone, Debug, PartialEq)]
pub struct Solid {
    parts: Vec<Part>,
}

impl Kind {
    /// All classes, in order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Box,
        Self::Sphere,
        Self::Cylinder,
        Self::Cone,
        Self::Torus,
        Self::Tube,
        Self::Cross,
        Self::Bracket,
        Self::Table,
        Self::Chair,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Box => "box",
            Self::Sphere => "sphere",
            Self::Cylinder => "cylinder",
            Self::Cone => "cone",
            Self::Torus => "torus",
            Self::Tube => "tube",
            Self::Cross => "cross",
            Self::Bracket => "bracket",
            Self::Table => "table",
            Self::Chair => "chair",
        }
    }

    /// Solid `index` of this class under `seed`.
    pub fn draw(self, seed: u64, index: u64) -> Solid {
        // A lane for each proportion, a stream for each class.
        let between =
            |lane: u64, low: f64, high: f64| low + (high - low) * uniform(seed, STREAM + self as u64, index, lane);
        let rectangle =
            |inner: f64, outer: f64, half: f64| vec![[inner, -half], [outer, -half], [outer, half], [inner, half]];
        let parts = match self {
            Self::Box => {
                let half = [0, 1, 2].map(|lane| between(lane, 0.3, 0.85));
                vec![Part::Cuboid { centre: [0.0; 3], half }]
            }
            Self::Sphere => vec![Part::Ball { radius: between(0, 0.4, 0.85) }],
            Self::Cylinder => {
                vec![Part::Turned { profile: rectangle(0.0, between(0, 0.25, 0.6), between(1, 0.4, 0.85)) }]
            }
            Self::Cone => {
                let (radius, half) = (between(0, 0.4, 0.8), between(1, 0.4, 0.85));
                vec![Part::Turned { profile: vec![[0.0, -half], [radius, -half], [0.0, half]] }]
            }
            Self::Torus => vec![Part::Ring { radius: between(0, 0.4, 0.6), tube: between(1, 0.12, 0.25) }],
            Self::Tube => {
                let outer = between(0, 0.4, 0.75);
                let profile = rectangle(outer * between(1, 0.45, 0.75), outer, between(2, 0.3, 0.8));
                vec![Part::Turned { profile }]
            }
            Self::Cross => {
                let (arm, wide) = (between(0, 0.6, 0.85), between(1, 0.14, 0.3));
                let quarter = [[arm, -wide], [arm, wide], [wide, wide]];
                // The arm to the right, then the same a quarter turn further, four times.
                let turn = |[x, y]: [f64; 2], times: usize| (0..times).fold([x, y], |[x, y], _| [-y, x]);
                let profile = (0..4).flat_map(|times| quarter.map(|p| turn(p, times))).collect();
                vec![Part::Prism { profile, depth: between(2, 0.14, 0.4) }]
            }
            Self::Bracket => {
                let (x, y) = (between(0, 0.5, 0.8), between(1, 0.5, 0.8));
                let thick = between(2, 0.2, 0.35);
                let profile = vec![[-x, -y], [x, -y], [x, thick - y], [thick - x, thick - y], [thick - x, y], [-x, y]];
                vec![Part::Prism { profile, depth: between(3, 0.2, 0.6) }]
            }
            Self::Table => {
                let (wide, deep, high) = (between(0, 0.5, 0.85), between(1, 0.4, 0.8), between(2, 0.35, 0.7));
                let (top, leg) = (between(3, 0.06, 0.1), between(4, 0.06, 0.1));
                let mut parts = legs([wide, deep], leg, [-high, high - 2.0 * top]);
                parts.push(Part::Cuboid { centre: [0.0, high - top, 0.0], half: [wide, top, deep] });
                parts
            }
            Self::Chair => {
                let (wide, deep, high) = (between(0, 0.35, 0.5), between(1, 0.35, 0.5), between(2, 0.7, 0.85));
                let (thick, leg) = (between(3, 0.06, 0.1), between(4, 0.06, 0.09));
                let seat = between(5, -0.25, 0.05);
                let mut parts = legs([wide, deep], leg, [-high, seat - thick]);
                parts.push(Part::Cuboid { centre: [0.0, seat, 0.0], half: [wide, thick, deep] });
                let middle = (seat + thick + high) / 2.0;
                parts.push(Part::Cuboid { centre: [0.0, middle, thick - deep], half: [wide, high - middle, thick] });
                parts
            }
        };
        Solid { parts }
    }
}

const STREAM: u64 = 16;

/// Four legs of half width `half` at the corners of a rectangle, from one height to another.
fn legs([wide, deep]: [f64; 2], half: f64, [low, high]: [f64; 2]) -> Vec<Part> {
    let corners = [[-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0], [1.0, 1.0]];
    let leg = |[x, z]: [f64; 2]| Part::Cuboid {
        centre: [x * (wide - half), (low + high) / 2.0, z * (deep - half)],
        half: [half, (high - low) / 2.0, half],
    };
    corners.map(leg).to_vec()
}

impl Part {
    fn distance(&self, p: Point) -> f64 {
        let away = |sides: [f64; 2]| {
            (sides[0].max(0.0).powi(2) + sides[1].max(0.0).powi(2)).sqrt() + sides[0].max(sides[1]).min(0.0)
        };
        match self {
            Self::Cuboid { centre, half } => {
                let q = [0, 1, 2].map(|k| (p[k] - centre[k]).abs() - half[k]);
                norm(q.map(|v| v.max(0.0))) + q[0].max(q[1]).max(q[2]).min(0.0)
            }
            Self::Ball { radius } => norm(p) - radius,
            Self::Ring { radius, tube } => (p[0].hypot(p[2]) - radius).hypot(p[1]) - tube,
            Self::Turned { profile } => polygon::distance(profile, true, [p[0].hypot(p[2]), p[1]]),
            Self::Prism { profile, depth } => {
                away([polygon::distance(profile, false, [p[0], p[1]]), p[2].abs() - depth])
            }
        }
    }
}

/// Points of the surface are drawn from a skin so thin.
const SKIN: f64 = 0.02;
/// Half width of the differences that give a direction.
const STEP: f64 = 1e-5;

impl Solid {
    /// The signed distance at `p`, negative inside.
    pub fn distance(&self, p: Point) -> f64 {
        self.parts.iter().map(|part| part.distance(p)).fold(f64::INFINITY, f64::min)
    }

    /// The number of the part nearest to `p`, the first of equals, and how many parts there are.
    pub fn part(&self, p: Point) -> (usize, usize) {
        let gaps = self.parts.iter().enumerate().map(|(i, part)| (i, part.distance(p)));
        let nearest = gaps.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(i, _)| i);
        (nearest, self.parts.len())
    }

    /// The direction in which the distance grows fastest at `p`.
    pub fn gradient(&self, p: Point) -> Point {
        let slope = |axis: usize| {
            let (mut up, mut down) = (p, p);
            up[axis] += STEP;
            down[axis] -= STEP;
            self.distance(up) - self.distance(down)
        };
        unit([slope(0), slope(1), slope(2)])
    }

    /// `count` points of the surface with their normals: points of the thin skin outside, equally likely everywhere in it, each
    /// taken to the surface beneath. An edge gets a little more than its share, a twentieth at most.
    pub fn surface(&self, count: usize, seed: u64) -> Cloud {
        let mut cloud = Cloud::default();
        let mut tried = 0u64;
        while cloud.points.len() < count {
            let p = [0, 1, 2].map(|lane| 1.8 * uniform(seed, STREAM - 1, tried, lane) - 0.9);
            tried += 1;
            let distance = self.distance(p);
            if (0.0..SKIN).contains(&distance) {
                let normal = self.gradient(p);
                cloud.points.push(sub(p, scale(normal, distance)));
                cloud.normals.push(normal);
            }
        }
        cloud
    }
}

#[cfg(test)]
mod tests {
    use super::super::extract::{Octree, octree};
    use super::*;
    use std::convert::Infallible;

    fn all() -> impl Iterator<Item = (Kind, Solid)> {
        Kind::ALL.into_iter().flat_map(|kind| (0..6).map(move |i| (kind, kind.draw(3, i))))
    }

    /// Mutants: a distance multiplied by 0.9; a solid half as large again.
    #[test]
    fn distances_grow_as_fast_as_the_way_and_every_class_is_inside_the_cube() {
        for (kind, solid) in all() {
            let mut inside = 0;
            for i in 0..800 {
                let p = [0, 1, 2].map(|lane| uniform(1, 0, i, lane) * 2.0 - 1.0);
                let distance = solid.distance(p);
                inside += usize::from(distance < 0.0);
                if distance > 1e-3 {
                    // Outside, the point beneath lies on the surface: the distance is true.
                    let beneath = sub(p, scale(solid.gradient(p), distance));
                    assert!(solid.distance(beneath).abs() < 1e-3, "{kind:?} {p:?}");
                }
                let wall = [1.0, p[1], p[2]];
                assert!(solid.distance(wall) > 0.05, "{kind:?} touches the cube");
            }
            assert!(inside > 1, "{kind:?} has no inside");
        }
    }

    /// Mutant: normals that point inwards.
    #[test]
    fn points_of_the_surface_lie_on_it_and_normals_point_out() {
        for (kind, solid) in all() {
            let cloud = solid.surface(64, 5);
            let mut true_to_length = 0;
            for (p, n) in cloud.points.iter().zip(&cloud.normals) {
                assert!(solid.distance(*p).abs() < 1e-3, "{kind:?}");
                let out = solid.distance(super::super::vector::add(*p, scale(*n, 0.01)));
                // In an inner corner another wall may be nearer.
                assert!(out > 0.0 && out < 0.0101, "{kind:?} {out}");
                true_to_length += usize::from(out > 0.0099);
            }
            assert!(true_to_length > 56, "{kind:?}: {true_to_length} of 64");
            assert_eq!(solid.surface(8, 5).points, cloud.points[..8]);
        }
        assert_ne!(Kind::Box.draw(3, 0), Kind::Box.draw(3, 1));
        assert_ne!(Kind::Box.draw(3, 0), Kind::Box.draw(4, 0));
    }

    #[test]
    fn a_torus_and_a_tube_have_a_hole_and_the_others_none() {
        for (kind, solid) in all() {
            let mut field = |points: &[Point]| -> Result<Vec<f64>, Infallible> {
                Ok(points.iter().map(|&p| solid.distance(p)).collect())
            };
            let found = octree([[-1.0; 3], [1.0; 3]], Octree::new(4, 6), &mut field).unwrap();
            let wanted = if matches!(kind, Kind::Torus | Kind::Tube) { 0 } else { 2 };
            assert_eq!(found.mesh.euler(), wanted, "{kind:?}");
        }
    }
}
