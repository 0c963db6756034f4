//! What is wrong with a mesh, and what can be mended without changing its shape.

use super::Mesh;
use super::vector::{Point, norm};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

/// What there is to know of a mesh before it is used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Condition {
    /// Points.
    pub points: usize,
    /// Triangles.
    pub faces: usize,
    /// Pieces that share no point.
    pub pieces: usize,
    /// Edges of one face alone: the rim of a hole.
    pub open_edges: usize,
    /// Edges of three faces and more.
    pub crowded_edges: usize,
    /// Edges that two faces walk in the same direction: one of them is turned.
    pub turned_edges: usize,
    /// Whether no edge is of the last three kinds, so that the mesh encloses a volume.
    pub watertight: bool,
    /// Points less edges plus faces.
    pub euler: i64,
    /// Sum of the faces' areas.
    pub area: f64,
    /// The enclosed volume; `None` for a mesh that encloses none.
    pub volume: Option<f64>,
    /// Smallest and largest coordinates.
    pub bounds: Option<[Point; 2]>,
}

/// Looks a mesh over.
pub fn condition(mesh: &Mesh) -> Condition {
    let (mut open, mut crowded, mut turned) = (0, 0, 0);
    for [up, down] in mesh.edges().into_values() {
        match up + down {
            1 => open += 1,
            2 => turned += usize::from(up != 1),
            _ => crowded += 1,
        }
    }
    let watertight = open + crowded + turned == 0 && !mesh.faces.is_empty();
    Condition {
        points: mesh.points.len(),
        faces: mesh.faces.len(),
        pieces: pieces(mesh),
        open_edges: open,
        crowded_edges: crowded,
        turned_edges: turned,
        watertight,
        euler: mesh.euler(),
        area: mesh.area(),
        volume: watertight.then(|| mesh.volume()),
        bounds: mesh.bounds(),
    }
}

/// Parts of the mesh that share no point, by joining the corners of every face.
fn pieces(mesh: &Mesh) -> usize {
    fn root(of: &mut [u32], mut at: u32) -> u32 {
        while of[at as usize] != at {
            of[at as usize] = of[of[at as usize] as usize];
            at = of[at as usize];
        }
        at
    }
    let mut of: Vec<u32> = (0..mesh.points.len() as u32).collect();
    for &[a, b, c] in &mesh.faces {
        let first = root(&mut of, a);
        for other in [b, c] {
            let other = root(&mut of, other);
            of[other as usize] = first;
        }
    }
    let used: HashSet<u32> = mesh.faces.iter().map(|face| face[0]).collect();
    used.into_iter().map(|at| root(&mut of, at)).collect::<HashSet<_>>().len()
}

/// The mesh without faces that are no surface, without points twice, and not inside out; with a line for all that was mended.
pub fn clean(mesh: Mesh) -> (Mesh, Vec<String>) {
    let mut notes = Vec::new();
    let mut note = |count: usize, what: &str| {
        if count > 0 {
            notes.push(format!("{count} {what}"));
        }
    };
    let mut mesh = mesh;
    let finite: Vec<bool> = mesh.points.iter().map(|p| p.iter().all(|v| v.is_finite() && v.abs() < 1e30)).collect();
    let before = mesh.faces.len();
    mesh.faces.retain(|face| face.iter().all(|&at| finite[at as usize]));
    note(before - mesh.faces.len(), "faces with coordinates that are no numbers left out");
    for (point, finite) in mesh.points.iter_mut().zip(&finite) {
        if !finite {
            *point = [0.0; 3]; // in no face any more
        }
    }

    let mut mesh = weld(&mesh, 0.0);
    let size = mesh.bounds().map_or(0.0, |[low, high]| norm(super::vector::sub(high, low)));
    let before = mesh.faces.len();
    // Twice the area below this share of the squared size is rounding of the coordinates.
    let kept = (0..before).filter(|&i| norm(mesh.cross(i)) > 1e-14 * size * size).map(|i| mesh.faces[i]).collect();
    mesh.faces = kept;
    note(before - mesh.faces.len(), "faces without area left out");

    let before = mesh.faces.len();
    let mut seen = HashSet::with_capacity(before);
    mesh.faces.retain(|face| {
        let mut key = *face;
        key.sort_unstable();
        seen.insert(key)
    });
    note(before - mesh.faces.len(), "faces that were there twice left out");

    let mut mesh = weld(&mesh, 0.0);
    let closed = mesh.edges().values().all(|&walks| walks == [1, 1]);
    if closed && mesh.volume() < 0.0 {
        mesh.faces.iter_mut().for_each(|face| face.swap(1, 2));
        notes.push("it was inside out: all faces turned".to_string());
    }
    (mesh, notes)
}

/// One point for all that lie in the same cell of side `tolerance` (0: at the same place), and none that no face uses.
pub fn weld(mesh: &Mesh, tolerance: f64) -> Mesh {
    let key = |p: Point| {
        let near = tolerance > 0.0 && p.iter().all(|v| v.is_finite());
        p.map(|v| if near { (v / tolerance).round() as i64 } else { (v + 0.0).to_bits() as i64 })
    };
    let mut places: HashMap<[i64; 3], u32> = HashMap::with_capacity(mesh.points.len());
    let mut welded = Mesh { points: Vec::new(), faces: Vec::with_capacity(mesh.faces.len()) };
    for face in &mesh.faces {
        let face = face.map(|at| {
            let point = mesh.points[at as usize];
            *places.entry(key(point)).or_insert_with(|| {
                welded.points.push(point);
                welded.points.len() as u32 - 1
            })
        });
        welded.faces.push(face);
    }
    welded
}

/// How a mesh was fitted into the cube.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// The mesh, its bounding box centred and its longest side twice `half`.
    pub mesh: Mesh,
    /// The centre it had.
    pub centre: Point,
    /// What its coordinates were multiplied by.
    pub scale: f64,
    /// What a reader should know about the size it had.
    pub note: Option<String>,
}

/// Moves the mesh to the centre of the cube [-1, 1]³ and scales its longest side to `2 half`. `None` for a mesh without extent.
pub fn fit(mesh: &Mesh, half: f64) -> Option<Fitted> {
    let [low, high] = mesh.bounds()?;
    let centre = [0, 1, 2].map(|axis| (low[axis] + high[axis]) / 2.0);
    let longest = (0..3).map(|axis| high[axis] - low[axis]).fold(0.0, f64::max);
    if longest.is_nan() || longest <= 0.0 {
        return None;
    }
    let factor = 2.0 * half / longest;
    let note = (!(0.02..=20.0).contains(&longest)).then(|| {
        let unit =
            if longest > 20.0 { "millimetres or another small unit" } else { "kilometres or another large unit" };
        format!("its longest side is {longest:.6} units long ({unit}?): scaled by {factor:.6}")
    });
    let points = mesh.points.iter().map(|p| [0, 1, 2].map(|axis| (p[axis] - centre[axis]) * factor)).collect();
    Some(Fitted { mesh: Mesh { points, faces: mesh.faces.clone() }, centre, scale: factor, note })
}

#[cfg(test)]
mod tests {
    use super::super::mesh::cuboid;
    use super::*;

    #[test]
    fn everything_wrong_with_a_box_is_found_and_mended() {
        let sound = cuboid([0.0; 3], [1.0; 3]);
        let mut mesh = sound.clone();
        mesh.points.push([f64::NAN, 0.0, 0.0]);
        mesh.points.push([0.0; 3]); // point 0 again
        mesh.faces.push([0, 1, 8]); // not a number
        mesh.faces.push([0, 9, 1]); // no area
        mesh.faces.push([mesh.faces[0][1], mesh.faces[0][2], mesh.faces[0][0]]); // twice
        mesh.faces.push([mesh.faces[1][0], mesh.faces[1][2], mesh.faces[1][1]]); // twice, from behind
        mesh.faces.iter_mut().for_each(|face| face.swap(0, 1));
        let (mended, notes) = clean(mesh);
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes[0].starts_with("1 faces with coordinates") && notes[1].starts_with("1 faces without area"));
        assert!(notes[2].starts_with("2 faces that were there twice") && notes[3].contains("inside out"));
        assert!(condition(&mended).watertight);
        assert!((mended.volume() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn open_crowded_and_turned_edges_are_counted() {
        let sound = condition(&cuboid([0.0; 3], [1.0; 3]));
        assert!(sound.watertight && sound.pieces == 1 && sound.euler == 2);
        let mut open = cuboid([0.0; 3], [1.0; 3]);
        open.faces.pop();
        let found = condition(&open);
        assert_eq!((found.open_edges, found.watertight, found.volume), (3, false, None));
        let mut turned = cuboid([0.0; 3], [1.0; 3]);
        turned.faces[0].swap(0, 1);
        assert_eq!(condition(&turned).turned_edges, 3);
        let mut crowded = cuboid([0.0; 3], [1.0; 3]);
        let fin = crowded.points.len() as u32;
        crowded.points.push([0.5, -1.0, 0.5]);
        crowded.faces.push([0, 1, fin]);
        assert_eq!(condition(&crowded).crowded_edges, 1);
        let mut two = cuboid([0.0; 3], [1.0; 3]);
        two.append(&cuboid([2.0; 3], [3.0; 3]));
        assert_eq!((condition(&two).pieces, condition(&two).euler), (2, 4));
    }

    #[test]
    fn a_mesh_in_millimetres_fits_the_cube_and_says_so() {
        let fitted = fit(&cuboid([100.0, 0.0, 0.0], [400.0, 100.0, 60.0]), 0.9).unwrap();
        let [low, high] = fitted.mesh.bounds().unwrap();
        assert!((high[0] - 0.9).abs() < 1e-12 && (low[0] + 0.9).abs() < 1e-12 && (high[1] - 0.3).abs() < 1e-12);
        assert!(fitted.note.unwrap().contains("300"));
        assert_eq!(fit(&cuboid([0.0; 3], [1.0; 3]), 1.0).unwrap().note, None);
        assert!(fit(&Mesh::default(), 1.0).is_none());
    }

    #[test]
    fn points_of_one_place_are_one() {
        let mesh = Mesh {
            points: vec![[0.0; 3], [-0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [9.0; 3], [1.0, 1e-5, 0.0]],
            faces: vec![[0, 2, 3], [1, 3, 5]],
        };
        assert_eq!(weld(&mesh, 0.0).points.len(), 4);
        assert_eq!(weld(&mesh, 1e-3).points.len(), 3);
    }
}
