//! Wavefront OBJ: points and polygons. Materials, texture coordinates and normals are not geometry and are passed over.
//!
//! Own parser: it is short, and the crates for it do not say in which line a file is broken.

use super::{Loaded, broken};
use crate::MediaError;
use crate::shape::{Mesh, triangulate};
use std::collections::BTreeMap;
use std::path::Path;

/// Reads the text of an OBJ file.
pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Loaded, MediaError> {
    let text = String::from_utf8_lossy(bytes);
    let mut mesh = Mesh::default();
    let mut skipped: BTreeMap<&str, usize> = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    let mut joined;
    while let Some((number, line)) = lines.next() {
        let mut line = line;
        if line.ends_with('\\') {
            // A backslash carries a statement on to the next line.
            joined = line.trim_end_matches('\\').to_string();
            for (_, more) in lines.by_ref() {
                joined.push(' ');
                joined.push_str(more.trim_end_matches('\\'));
                if !more.ends_with('\\') {
                    break;
                }
            }
            line = &joined;
        }
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let fail = |what: String| broken("OBJ", path, format!("line {}: {what}", number + 1));
        match words.next() {
            Some("v") => {
                let mut point = [0.0; 3];
                for value in &mut point {
                    let word = words.next().ok_or_else(|| fail("a point needs three numbers".into()))?;
                    *value = word.parse().map_err(|_| fail(format!("`{word}` is not a number")))?;
                }
                mesh.points.push(point);
            }
            Some("f") => {
                let corners = words.map(|word| corner(word, mesh.points.len()).map_err(&fail));
                let corners = corners.collect::<Result<Vec<u32>, _>>()?;
                if corners.len() < 3 {
                    return Err(fail(format!("a face needs three corners, this one has {}", corners.len())));
                }
                triangulate::polygon(&mesh.points, &corners, &mut mesh.faces);
            }
            None | Some("vn" | "vt" | "o" | "g" | "s" | "usemtl" | "mtllib" | "usemap" | "maplib") => {}
            Some(_) => {
                let word = line.split_whitespace().next().unwrap_or_default();
                let known = KINDS.iter().find(|(key, _)| *key == word).map_or("unknown statements", |(_, name)| name);
                *skipped.entry(known).or_default() += 1;
            }
        }
    }
    let notes = skipped.into_iter().map(|(what, count)| format!("left out: {count} {what}")).collect();
    Ok(Loaded { mesh, caption: None, notes })
}

const KINDS: [(&str, &str); 7] = [
    ("l", "lines"),
    ("p", "single points"),
    ("vp", "curve parameters"),
    ("curv", "curves"),
    ("curv2", "curves"),
    ("surf", "free-form surfaces"),
    ("cstype", "free-form surface types"),
];

/// The point of `7`, `7/1`, `7//2`, `7/1/2` or, counted backwards, `-1`.
fn corner(word: &str, points: usize) -> Result<u32, String> {
    let first = word.split('/').next().unwrap_or_default();
    let number: i64 = first.parse().map_err(|_| format!("`{word}` is not a corner of a face"))?;
    let at = if number < 0 { points as i64 + number } else { number - 1 };
    if at < 0 || at >= points as i64 {
        return Err(format!("corner `{word}` names a point that is not there ({points} so far)"));
    }
    u32::try_from(at).map_err(|_| "more than 4 294 967 295 points".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Loaded, MediaError> {
        decode(text.as_bytes(), Path::new("x.obj"))
    }

    #[test]
    fn polygons_of_every_spelling_are_read() {
        let text =
            "v 0 0 0\nv 1 0 0 # a comment\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nf 1/1 2/2 \\\n 3//1 4/1/1\nf -4 -3 -2\nl 1 2\n";
        let loaded = read(text).unwrap();
        assert_eq!(loaded.mesh.faces.len(), 3);
        assert!((loaded.mesh.area() - 1.5).abs() < 1e-12);
        assert_eq!(loaded.notes, ["left out: 1 lines"]);
    }

    #[test]
    fn errors_name_the_line() {
        for (text, words) in [
            ("v 0 0\n", "line 1: a point needs three numbers"),
            ("v 0 0 0\nv 1 x 0\n", "line 2: `x` is not a number"),
            ("v 0 0 0\nf 1 1 2\n", "line 2: corner `2` names a point that is not there"),
            ("v 0 0 0\nf 1 1\n", "line 2: a face needs three corners"),
            ("v 0 0 0\nf 0 1 1\n", "corner `0`"),
        ] {
            let message = read(text).unwrap_err().to_string();
            assert!(message.contains(words) && message.contains("x.obj"), "{message}");
        }
    }
}
