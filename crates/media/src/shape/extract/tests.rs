//! Extraction against closed forms: the sphere of test T2, a torus, random fields.

use super::super::repair::condition;
use super::super::vector::{norm, sub};
use super::super::{repair, sample};
use super::*;
use std::convert::Infallible;
use std::f64::consts::PI;

type Answer = Result<Vec<f64>, Infallible>;

const CENTRE: Point = [0.1, -0.2, 0.05];
const RADIUS: f64 = 0.6;
/// TripoSG's lattice reaches a little beyond the cube.
const HALF: f64 = 1.005;

fn sphere(points: &[Point]) -> Answer {
    Ok(points.iter().map(|&p| norm(sub(p, CENTRE)) - RADIUS).collect())
}

fn torus(points: &[Point]) -> Answer {
    Ok(points.iter().map(|p| ((p[0].hypot(p[2]) - 0.6).hypot(p[1])) - 0.2).collect())
}

fn holds(extracted: &Extracted, cells: f64) {
    let mesh = &extracted.mesh;
    let cell = 2.0 * HALF / cells;
    let worst = mesh.points.iter().map(|&p| (norm(sub(p, CENTRE)) - RADIUS).abs()).fold(0.0, f64::max);
    assert!(worst < 0.25 * cell, "a point is {} cells off", worst / cell);
    assert!(norm(sub(mesh.centroid(), CENTRE)) < 1e-3, "centroid {:?}", mesh.centroid());
    let volume = 4.0 / 3.0 * PI * RADIUS.powi(3);
    assert!((mesh.volume() / volume - 1.0).abs() < 0.01, "volume {} of {volume}", mesh.volume());
    assert!(mesh.volume() > 0.0);
    assert_eq!(mesh.euler(), 2);
    assert!(condition(mesh).watertight);
}

#[test]
fn a_sphere_comes_back_dense_and_by_octree() {
    holds(&dense(Lattice::cube(HALF, 64), &mut sphere).unwrap(), 64.0);
    let sparse = octree([[-HALF; 3], [HALF; 3]], Octree::new(3, 6), &mut sphere).unwrap();
    holds(&sparse, 64.0);
    assert!(sparse.queries * 5 < 65 * 65 * 65, "{} queries", sparse.queries);
}

#[test]
fn the_octree_finds_every_face_that_the_dense_lattice_finds() {
    for field in [sphere, torus] {
        let whole = dense(Lattice::cube(HALF, 32), &mut |p: &[Point]| field(p)).unwrap().mesh;
        let sparse = octree([[-HALF; 3], [HALF; 3]], Octree::new(2, 5), &mut |p: &[Point]| field(p)).unwrap().mesh;
        assert_eq!(whole.faces.len(), sparse.faces.len());
        assert!((whole.area() - sparse.area()).abs() < 1e-9 && (whole.volume() - sparse.volume()).abs() < 1e-9);
    }
}

#[test]
fn a_torus_has_a_hole_and_its_volume() {
    let mesh = dense(Lattice::cube(HALF, 64), &mut torus).unwrap().mesh;
    assert_eq!(mesh.euler(), 0);
    let volume = 2.0 * PI * PI * 0.6 * 0.04;
    assert!((mesh.volume() / volume - 1.0).abs() < 0.02, "{} of {volume}", mesh.volume());
}

#[test]
fn a_field_of_noise_still_gives_a_surface_without_holes() {
    // Every pattern of corners occurs, the ambiguous ones too. The rim is outside, so the surface is closed.
    let lattice = Lattice::cube(1.0, 12);
    let mut noise = |points: &[Point]| -> Answer {
        let value = |p: &Point| {
            let rim = p.iter().any(|v| v.abs() > 0.99);
            let seed = p.iter().fold(17u64, |sum, v| sum * 1_000_003 + ((v + 2.0) * 1000.0) as u64);
            if rim { 1.0 } else { sample::uniform(seed, 0, 0, 0) - 0.5 }
        };
        Ok(points.iter().map(value).collect())
    };
    let mesh = dense(lattice, &mut noise).unwrap().mesh;
    let found = condition(&mesh);
    assert!(found.watertight && mesh.faces.len() > 3000, "{found:?}");
    let (cleaned, notes) = repair::clean(mesh.clone());
    assert_eq!((cleaned.faces.len(), notes.len()), (mesh.faces.len(), 0), "{notes:?}");
}

#[test]
fn zero_on_a_lattice_point_loses_no_face_its_area() {
    let mut planes = |points: &[Point]| -> Answer {
        Ok(points.iter().map(|p| p.iter().fold(0.0f64, |m, v| m.max(v.abs())) - 0.5).collect())
    };
    let mesh = dense(Lattice::cube(1.0, 8), &mut planes).unwrap().mesh;
    // The cube of side 1 with its edges cut off between the lattice points inside: a cube of side 1/2, six slabs, twelve prisms and
    // eight corners of legs 1/4.
    let volume = 0.125 + 6.0 * 0.0625 + 12.0 * 0.5 * 0.25f64.powi(2) / 2.0 + 8.0 * 0.25f64.powi(3) / 6.0;
    assert!(condition(&mesh).watertight && (mesh.volume() - volume).abs() < 1e-3, "{} of {volume}", mesh.volume());
    assert!(repair::clean(mesh).1.is_empty());
}

#[test]
fn a_field_that_says_no_number_is_told_with_its_place() {
    let mut broken = |points: &[Point]| -> Answer { Ok(vec![f64::INFINITY; points.len()]) };
    let said = dense(Lattice::cube(1.0, 2), &mut broken).unwrap_err().to_string();
    assert!(said.contains("at [-1.0, -1.0, -1.0]"), "{said}");
    let mut short = |_: &[Point]| -> Answer { Ok(vec![0.0]) };
    assert!(matches!(dense(Lattice::cube(1.0, 2), &mut short), Err(ExtractError::Count { .. })));
    let nothing = dense(Lattice::cube(1.0, 4), &mut |p: &[Point]| -> Answer { Ok(vec![1.0; p.len()]) }).unwrap();
    assert!(nothing.mesh.faces.is_empty());
}

/// A ball between the points of the first lattice, of a field that is cut off at an unknown distance: its slope misses it, the band does not.
/// Mutant: the smaller of slope and band.
#[test]
fn a_field_that_is_cut_off_is_looked_for_in_its_band() {
    let mut ball = |points: &[Point]| -> Answer {
        Ok(points.iter().map(|&p| ((norm(sub(p, [0.25; 3])) - 0.12) / 0.35).clamp(-1.0, 1.0)).collect())
    };
    let cube = [[-1.0; 3], [1.0; 3]];
    assert!(octree(cube, Octree::new(2, 5), &mut ball).unwrap().mesh.faces.is_empty());
    let found = octree(cube, Octree { band: 0.95, ..Octree::new(2, 5) }, &mut ball).unwrap();
    let whole = dense(Lattice::cube(1.0, 32), &mut ball).unwrap();
    assert!(found.mesh.faces.len() == whole.mesh.faces.len() && found.mesh.faces.len() > 50);
    assert!(found.queries * 2 < whole.queries);
}
