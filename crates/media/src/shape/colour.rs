//! Colours of faces: solids by formula have one for each class with a little variation, and legs are darker than what they carry.

use super::Mesh;
use super::sample::uniform;
use super::solid::{Kind, Solid};
use super::vector::{add, scale};

/// Red, green and blue in [0, 1].
pub type Colour = [f64; 3];

/// Of a mesh that has no colours.
pub const PLAIN: Colour = [0.7; 3];

/// How dark legs are beside the rest.
const LEG: f64 = 0.6;
const STREAM: u64 = 48;

/// The colour of each face of `mesh`, which is the surface of `solid`: number `index` of `kind` under `seed`.
pub fn of_solid(solid: &Solid, mesh: &Mesh, kind: Kind, seed: u64, index: u64) -> Vec<Colour> {
    let place = Kind::ALL.iter().position(|other| *other == kind).unwrap_or(0) as f64;
    let vary = |lane: u64, width: f64| width * (uniform(seed, STREAM + kind as u64, index, lane) - 0.5);
    // A third of the way to the next class at most, so that classes stay apart.
    let hue = (place + vary(0, 0.6)) / Kind::ALL.len() as f64;
    let (saturation, value) = (0.65 + vary(1, 0.2), 0.85 + vary(2, 0.2));
    let base = of_hue(hue, saturation, value);
    let face = |i: usize| {
        let [a, b, c] = mesh.corners(i);
        // Tables and chairs are four legs and then the rest.
        match solid.part(scale(add(add(a, b), c), 1.0 / 3.0)) {
            (part, parts) if parts > 4 && part < 4 => base.map(|v| v * LEG),
            _ => base,
        }
    };
    (0..mesh.faces.len()).map(face).collect()
}

/// The colour at `hue` of a full turn (0 red, 1/3 green, 2/3 blue).
fn of_hue(hue: f64, saturation: f64, value: f64) -> Colour {
    let channel = |offset: f64| {
        let k = (offset + 6.0 * hue).rem_euclid(6.0);
        value - value * saturation * k.min(4.0 - k).clamp(0.0, 1.0)
    };
    [channel(5.0), channel(3.0), channel(1.0)]
}

#[cfg(test)]
mod tests {
    use super::super::mesh::cuboid;
    use super::*;

    #[test]
    fn hues_are_red_green_and_blue_in_their_places() {
        for (hue, wanted) in [(0.0, [1.0, 0.0, 0.0]), (1.0 / 3.0, [0.0, 1.0, 0.0]), (2.0 / 3.0, [0.0, 0.0, 1.0])] {
            assert!(of_hue(hue, 1.0, 1.0).iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{hue}");
        }
    }

    /// Mutants: one colour for all classes; a colour that changes from one call to the next solid's; legs as light as the top.
    #[test]
    fn classes_differ_more_than_their_members_and_legs_are_darker() {
        let colour = |kind: Kind, index: u64| {
            let solid = kind.draw(0, index);
            of_solid(&solid, &cuboid([-0.01; 3], [0.01; 3]), kind, 0, index)[0]
        };
        let gap = |a: Colour, b: Colour| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert_eq!(colour(Kind::Box, 3), colour(Kind::Box, 3));
        assert!(gap(colour(Kind::Box, 3), colour(Kind::Box, 4)) > 1e-3);
        assert!(gap(colour(Kind::Box, 3), colour(Kind::Torus, 3)) > 0.3);
        let chair = Kind::Chair.draw(0, 0);
        let at = |y: f64| cuboid([0.29, y - 0.01, 0.29], [0.31, y + 0.01, 0.31]);
        let of = |y: f64| of_solid(&chair, &at(y), Kind::Chair, 0, 0)[0];
        assert!((of(-0.6)[0] / of(0.9)[0] - LEG).abs() < 1e-9);
    }
}
