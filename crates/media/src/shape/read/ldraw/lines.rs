//! The lines of one LDraw file, with the winding that its BFC statements give each face.

use crate::shape::vector::{Affine, Point};

/// Which way round the corners of a face are listed, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Winding {
    CounterClockwise,
    Clockwise,
    /// The file does not certify it; taken as counter-clockwise.
    Unknown,
}

#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A triangle or quadrilateral.
    Face { corners: [Point; 4], count: usize, winding: Winding },
    /// Another file, placed.
    Part { place: Affine, name: String, inverted: bool },
}

/// A file: its first line and what it draws.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    pub(super) caption: Option<String>,
    pub(super) lines: Vec<Line>,
}

/// Parses a file; the error names the line.
pub(super) fn parse(text: &str) -> Result<Source, String> {
    let mut source = Source::default();
    let (mut certified, mut clockwise, mut invert_next, mut files) = (false, false, false, 0);
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let fail = |what: &str| format!("line {}: {what}", number + 1);
        let mut words = line.split_whitespace();
        let kind = words.next();
        match kind {
            Some("0") => {
                let rest: Vec<&str> = words.collect();
                if number == 0 && !rest.is_empty() {
                    source.caption = Some(rest.join(" "));
                }
                match rest.as_slice() {
                    ["FILE", ..] => files += 1,
                    ["BFC", statements @ ..] => {
                        for &statement in statements {
                            match statement {
                                "CERTIFY" => certified = true,
                                "NOCERTIFY" => certified = false,
                                "CW" => (certified, clockwise) = (true, true),
                                "CCW" => (certified, clockwise) = (true, false),
                                "INVERTNEXT" => invert_next = true,
                                _ => {} // CLIP and NOCLIP are hints for drawing
                            }
                        }
                        continue; // INVERTNEXT waits for the next line of type 1
                    }
                    _ => {}
                }
                if files > 1 {
                    return Err(fail("several files in one (.mpd) are not read; save the part as a .dat of its own"));
                }
            }
            Some("1") => {
                let v: [f64; 12] = numbers(&mut words).map_err(|what| fail(&what))?;
                let name = words.collect::<Vec<_>>().join(" ").to_lowercase().replace('\\', "/");
                if name.is_empty() {
                    return Err(fail("a reference without the name of a file"));
                }
                let rows = [[v[3], v[4], v[5]], [v[6], v[7], v[8]], [v[9], v[10], v[11]]];
                let place = Affine { rows, shift: [v[0], v[1], v[2]] };
                source.lines.push(Line::Part { place, name, inverted: invert_next });
                invert_next = false;
            }
            Some("3" | "4") => {
                let count = if kind == Some("3") { 3 } else { 4 };
                let mut v = [0.0; 12];
                if count == 3 {
                    v[..9].copy_from_slice(&numbers::<9>(&mut words).map_err(|what| fail(&what))?);
                } else {
                    v = numbers(&mut words).map_err(|what| fail(&what))?;
                }
                let corners = std::array::from_fn(|i| [v[3 * i], v[3 * i + 1], v[3 * i + 2]]);
                let winding = match (certified, clockwise) {
                    (false, _) => Winding::Unknown,
                    (true, true) => Winding::Clockwise,
                    (true, false) => Winding::CounterClockwise,
                };
                source.lines.push(Line::Face { corners, count, winding });
            }
            None | Some("2" | "5") => {}
            Some(word) => return Err(fail(&format!("`{word}` begins no LDraw line (0 to 5 do)"))),
        }
    }
    Ok(source)
}

/// The colour, passed over, and `N` numbers.
fn numbers<const N: usize>(words: &mut std::str::SplitWhitespace) -> Result<[f64; N], String> {
    let _colour = words.next();
    let mut values = [0.0; N];
    for value in &mut values {
        let word = words.next().ok_or_else(|| format!("{N} numbers are needed after the colour"))?;
        *value = word.parse().map_err(|_| format!("`{word}` is not a number"))?;
    }
    Ok(values)
}
