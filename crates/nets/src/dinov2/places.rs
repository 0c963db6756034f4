//! Places between known ones: a table of a square of places brought to another number of rows and columns by bicubic interpolation, as PyTorch
//! does it (Keys 1981, a = -0.75; centres aligned, borders repeated, no antialiasing).

/// The kernel's slope at its first zero.
const A: f64 = -0.75;

/// What of each of the places `from` (rows, columns) each of those of `to` is, row-major `[to from]`.
pub(super) fn between(from: [usize; 2], to: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = [0, 1].map(|axis| line(from[axis], to[axis]));
    let mut taps = Vec::with_capacity(from.iter().chain(&to).product());
    for row in rows.chunks(from[0]) {
        for column in columns.chunks(from[1]) {
            taps.extend(row.iter().flat_map(|y| column.iter().map(move |x| (y * x) as f32)));
        }
    }
    taps
}

/// The same along one axis, `[to from]`.
fn line(from: usize, to: usize) -> Vec<f64> {
    let mut taps = vec![0.0; from * to];
    for (i, row) in taps.chunks_mut(from).enumerate() {
        let place = (i as f64 + 0.5) * from as f64 / to as f64 - 0.5;
        let first = place.floor();
        for tap in -1..=2 {
            let at = first + f64::from(tap);
            let clamped = at.clamp(0.0, (from - 1) as f64) as usize;
            row[clamped] += kernel((place - at).abs());
        }
    }
    taps
}

fn kernel(x: f64) -> f64 {
    match x {
        _ if x <= 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
        _ if x < 2.0 => ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A,
        _ => 0.0,
    }
}
