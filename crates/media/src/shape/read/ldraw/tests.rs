//! LDraw: winding through mirrors, inversions and clockwise files; missing parts; rings.

use super::*;
use crate::shape::read::read;
use std::fs;

/// A box of half side 1 around the origin as six quadrilaterals, counter-clockwise from outside in LDraw's frame.
const BOX: &str = "0 A box\n0 BFC CERTIFY CCW\n\
4 16 -1 -1 -1 -1 -1 1 -1 1 1 -1 1 -1\n4 16 1 -1 1 1 -1 -1 1 1 -1 1 1 1\n\
4 16 -1 -1 -1 1 -1 -1 1 -1 1 -1 -1 1\n4 16 -1 1 1 1 1 1 1 1 -1 -1 1 -1\n\
4 16 1 -1 -1 -1 -1 -1 -1 1 -1 1 1 -1\n4 16 -1 -1 1 1 -1 1 1 1 1 -1 1 1\n";

/// Volume of the part `text` in a library that has the box as `p/box.dat`.
fn volume(text: &str) -> f64 {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("p")).unwrap();
    fs::create_dir_all(root.path().join("parts")).unwrap();
    fs::write(root.path().join("p/box.dat"), BOX).unwrap();
    let path = root.path().join("parts/x.dat");
    fs::write(&path, text).unwrap();
    let library = Library::around(&path);
    library.decode(text.as_bytes(), &path).unwrap().mesh.volume()
}

#[test]
fn the_outside_stays_outside_through_every_kind_of_turn() {
    assert!((volume(BOX) - 8.0).abs() < 1e-9, "{}", volume(BOX));
    let head = "0 T\n0 BFC CERTIFY CCW\n";
    assert!((volume(&format!("{head}1 16 5 0 0 1 0 0 0 2 0 0 0 1 box.dat\n")) - 16.0).abs() < 1e-9);
    assert!((volume(&format!("{head}1 16 5 0 0 -1 0 0 0 1 0 0 0 1 BOX.dat\n")) - 8.0).abs() < 1e-9);
    assert!((volume(&format!("{head}0 BFC INVERTNEXT\n1 16 5 0 0 1 0 0 0 1 0 0 0 1 box.dat\n")) + 8.0).abs() < 1e-9);
    // Only the next reference is inverted, and a mirror inside an inversion is outside in again.
    let two = "0 BFC INVERTNEXT\n1 16 5 0 0 1 0 0 0 1 0 0 0 1 box.dat\n1 16 9 0 0 3 0 0 0 1 0 0 0 1 box.dat\n";
    assert!((volume(&format!("{head}{two}")) - 16.0).abs() < 1e-9);
    let clockwise = BOX.replace("CERTIFY CCW", "CERTIFY CW");
    assert!((volume(&clockwise) + 8.0).abs() < 1e-9);
}

#[test]
fn y_points_up_and_the_first_line_is_the_caption() {
    let text = "0 Brick  2 x  4\n0 BFC CERTIFY CCW\n3 16 0 -5 0 1 -5 0 0 -5 1\n";
    let loaded = Library::default().decode(text.as_bytes(), Path::new("x.dat")).unwrap();
    assert_eq!(loaded.caption.as_deref(), Some("Brick 2 x 4"));
    assert!(loaded.mesh.points.iter().all(|p| (p[1] - 5.0).abs() < 1e-12));
}

#[test]
fn what_is_missing_and_what_is_not_certified_is_said() {
    let text = "0 T\n3 16 0 0 0 1 0 0 0 0 1\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 s\\gone.dat\n";
    let notes = Library::default().decode(text.as_bytes(), Path::new("x.dat")).unwrap().notes;
    assert!(notes[0].contains("1 references") && notes[0].contains("s/gone.dat"), "{notes:?}");
    assert!(notes[1].contains("not certified"), "{notes:?}");
}

#[test]
fn rings_and_broken_lines_are_refused_with_their_place() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("ring.dat");
    fs::write(&path, "0 R\n1 16 0 0 0 1 0 0 0 1 0 0 0 1 ring.dat\n").unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("in a ring"));
    // Thirty files, each twice the next: a billion, without one face.
    for i in 0..30 {
        let line = format!("1 16 0 0 0 1 0 0 0 1 0 0 0 1 {}.dat\n", i + 1);
        fs::write(root.path().join(format!("{i}.dat")), format!("0 D\n{line}{line}")).unwrap();
    }
    fs::write(root.path().join("30.dat"), "0 D\n").unwrap();
    assert!(read(&root.path().join("0.dat")).unwrap_err().to_string().contains("unfold to more than"));
    for (text, words) in [
        ("0 T\n3 16 0 0 0\n", "line 2: 9 numbers"),
        ("0 T\n\n4 16 a 0 0 1 1 1 2 2 2 3 3 3\n", "line 3: `a` is not a number"),
        ("hello\n", "line 1: `hello` begins no LDraw line"),
        ("0 T\n1 16 0 0 0 1 0 0 0 1 0 0 0 1\n", "line 2: a reference without"),
        ("0 FILE a.ldr\n0 FILE b.ldr\n", "line 2: several files"),
    ] {
        let message = Library::default().decode(text.as_bytes(), Path::new("x.dat")).unwrap_err().to_string();
        assert!(message.contains(words) && message.contains("x.dat"), "{message}");
    }
    assert_eq!(Library::around(&path).bytes("../../etc/passwd").unwrap(), None);
}
