//! The pictures of a flow in the plane, on the dark: trajectories, marginals beside the law they should have, an animation.

use super::density::{WINDOW, histogram};
use super::{Cloud, Tracks};
use media::Bitmap;
use media::canvas::{Canvas, Color, ramp, screen};

const NIGHT: [u8; 3] = [11, 13, 26];
const SOURCE: [u8; 3] = [96, 125, 255];
const DATA: [u8; 3] = [255, 138, 76];

fn heat() -> Vec<Color> {
    [NIGHT, [38, 26, 84], [104, 36, 122], [186, 54, 110], [244, 112, 78], [254, 190, 110], [253, 246, 205]]
        .map(screen)
        .to_vec()
}

/// A point of the window as pixels of a square of `side`.
fn place([x, y]: [f32; 2], side: usize) -> [f32; 2] {
    let scale = side as f32 / (2.0 * WINDOW);
    [(x + WINDOW) * scale, (WINDOW - y) * scale]
}

/// The first `count` trajectories, from blue (noise) to orange (data), over the faint cloud of the data.
pub fn trajectories(tracks: &Tracks, data: &Cloud, count: usize, side: usize) -> Bitmap {
    let mut canvas = Canvas::new(side, side, screen(NIGHT));
    for point in data.iter().take(6000) {
        canvas.disc(place(*point, side), 1.1, screen(DATA), 0.10);
    }
    let colors = [screen(SOURCE), screen([196, 92, 190]), screen(DATA)];
    let count = count.min(tracks.end().len());
    // Few enough pieces for a smooth line, whatever the number of steps.
    let known: Vec<f64> = match tracks.times.len() {
        0..=64 => tracks.times.clone(),
        _ => (0..=64).map(|i| tracks.times[i * (tracks.times.len() - 1) / 64]).collect(),
    };
    let clouds: Vec<Cloud> = known.iter().map(|t| tracks.at(*t)).collect();
    for i in 0..count {
        for (k, pair) in clouds.windows(2).enumerate() {
            let color = ramp(&colors, known[k] as f32);
            canvas.line(place(pair[0][i], side), place(pair[1][i], side), 1.2, color, 0.42);
        }
    }
    for i in 0..count {
        canvas.disc(place(clouds[0][i], side), 1.8, screen(SOURCE), 0.9);
        canvas.disc(place(tracks.end()[i], side), 2.2, screen([255, 214, 170]), 0.95);
    }
    canvas.bitmap()
}

/// Two rows of heat maps over `times`: above the flow's particles, below the law that the path prescribes.
pub fn marginals(flow: &[Cloud], path: &[Cloud], side: usize) -> Bitmap {
    let gap = side / 30;
    let columns = flow.len().max(1);
    let mut canvas = Canvas::new(columns * side + (columns + 1) * gap, 2 * side + 3 * gap, screen([30, 33, 52]));
    let (cells, stops) = (side / 3, heat());
    for (column, pair) in flow.iter().zip(path).enumerate() {
        let grids = [pair.0, pair.1].map(|cloud| histogram(cloud, cells));
        // Both rows of a column share their scale, so that brightness can be compared.
        let top = quantile(&grids[0], 0.995).max(quantile(&grids[1], 0.995)).max(1e-12);
        for (row, grid) in grids.iter().enumerate() {
            let mut part = Canvas::new(side, side, screen(NIGHT));
            part.fill(|x, y| ramp(&stops, (sample(grid, cells, x / 3.0, y / 3.0) / top).sqrt()));
            canvas.place(&part, [gap + column * (side + gap), gap + row * (side + gap)]);
        }
    }
    canvas.bitmap()
}

/// The particles on their way: `frames` pictures of a film.
pub fn film(tracks: &Tracks, frames: usize, side: usize) -> Vec<Bitmap> {
    let colors = [screen(SOURCE), screen([196, 92, 190]), screen(DATA)];
    let (first, last) = (tracks.times[0], tracks.times[tracks.times.len() - 1]);
    let frame = |number: usize| {
        let at = |number: usize| first + (last - first) * number as f64 / (frames - 1).max(1) as f64;
        let mut canvas = Canvas::new(side, side, screen(NIGHT));
        // Each particle with the fading trace of its last frames.
        for back in (0..4usize).rev().filter(|back| *back <= number) {
            let t = at(number - back);
            let color = ramp(&colors, t as f32);
            let strength = 0.42 * 0.45f32.powi(back as i32);
            for point in tracks.at(t) {
                canvas.glow(place(point, side), 1.5, color, strength);
            }
        }
        // A bar of time below.
        let share = number as f32 / (frames - 1).max(1) as f32;
        let y = side as f32 - 3.0;
        canvas.line([0.0, y], [side as f32 * share, y], 2.0, ramp(&colors, share), 0.8);
        canvas.bitmap()
    };
    (0..frames).map(frame).collect()
}

/// The grid's value at a place, between the cells' centres.
fn sample(grid: &[f32], side: usize, x: f32, y: f32) -> f32 {
    let (x, y) = ((x - 0.5).clamp(0.0, side as f32 - 1.0), (y - 0.5).clamp(0.0, side as f32 - 1.0));
    let (i, j) = ((x as usize).min(side - 2), (y as usize).min(side - 2));
    let (u, v) = (x - i as f32, y - j as f32);
    let row = |j: usize| grid[j * side + i] * (1.0 - u) + grid[j * side + i + 1] * u;
    row(j) * (1.0 - v) + row(j + 1) * v
}

fn quantile(values: &[f32], share: f64) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get((share * (sorted.len() - 1) as f64) as usize).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_have_their_sizes_and_show_something() {
        let start: Cloud = (0..50).map(|i| [i as f32 / 25.0 - 1.0, 0.0]).collect();
        let end: Cloud = start.iter().map(|[x, _]| [*x, 3.0]).collect();
        let tracks = Tracks { times: vec![0.0, 1.0], clouds: vec![start.clone(), end.clone()] };
        assert_eq!(tracks.at(0.5)[0], [-1.0, 1.5]);
        assert_eq!(tracks.track(0), [[-1.0, 0.0], [-1.0, 3.0]]);
        let lit = |bitmap: &Bitmap| bitmap.pixels.iter().filter(|v| **v > 120).count();
        let drawn = trajectories(&tracks, &end, 20, 220);
        assert_eq!((drawn.width, drawn.height), (220, 220));
        assert!(lit(&drawn) > 500);
        let film = film(&tracks, 5, 110);
        assert_eq!(film.len(), 5);
        // The bright row moves upwards, from the middle to 3/11 of the side above it.
        let brightest = |bitmap: &Bitmap| {
            let row =
                |y: usize| bitmap.pixels[3 * 110 * y..3 * 110 * (y + 1)].iter().map(|v| u32::from(*v)).sum::<u32>();
            (0..100).max_by_key(|y| row(*y)).unwrap()
        };
        assert!(brightest(&film[0]).abs_diff(55) < 3 && brightest(&film[4]).abs_diff(25) < 3);
        let maps = marginals(&[start.clone(), end.clone()], &[start, end], 90);
        assert_eq!((maps.width, maps.height), (2 * 90 + 9, 2 * 90 + 9));
    }
}
