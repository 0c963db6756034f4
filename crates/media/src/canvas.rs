//! A small canvas for points, lines and heat maps in the plane: anti-aliased, in linear light, with glow by addition.

use crate::Bitmap;

/// A colour, red, green and blue in [0, 1], linear.
pub type Color = [f32; 3];

/// A picture in the making. Positions are pixels from the top left corner; drawing outside is cut off.
#[derive(Clone, Debug)]
pub struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    /// A canvas of one colour.
    pub fn new(width: usize, height: usize, background: Color) -> Self {
        Self { width, height, pixels: vec![background; width * height] }
    }

    /// `[width, height]` in pixels.
    pub fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    /// Adds light in a soft disc of radius `radius` pixels.
    pub fn glow(&mut self, [x, y]: [f32; 2], radius: f32, color: Color, strength: f32) {
        let reach = 2.5 * radius;
        self.each([x - reach, y - reach], [x + reach, y + reach], |pixel, at| {
            let squared = ((at[0] - x).powi(2) + (at[1] - y).powi(2)) / (radius * radius);
            add(pixel, color, strength * (-squared).exp());
        });
    }

    /// Blends a sharp disc of radius `radius` pixels over what is there.
    pub fn disc(&mut self, [x, y]: [f32; 2], radius: f32, color: Color, opacity: f32) {
        let reach = radius + 1.0;
        self.each([x - reach, y - reach], [x + reach, y + reach], |pixel, at| {
            let distance = (at[0] - x).hypot(at[1] - y);
            blend(pixel, color, opacity * (radius + 0.5 - distance).clamp(0.0, 1.0));
        });
    }

    /// Blends a line of `width` pixels from `a` to `b` over what is there.
    pub fn line(&mut self, a: [f32; 2], b: [f32; 2], width: f32, color: Color, opacity: f32) {
        if !a.iter().chain(&b).all(|v| v.is_finite()) {
            return; // `min` and `max` below would pass over a NaN
        }
        let reach = 0.5 * width + 1.0;
        let low = [a[0].min(b[0]) - reach, a[1].min(b[1]) - reach];
        let high = [a[0].max(b[0]) + reach, a[1].max(b[1]) + reach];
        let along = [b[0] - a[0], b[1] - a[1]];
        let squared = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
        self.each(low, high, |pixel, at| {
            let to = [at[0] - a[0], at[1] - a[1]];
            let share = ((to[0] * along[0] + to[1] * along[1]) / squared).clamp(0.0, 1.0);
            let distance = (to[0] - share * along[0]).hypot(to[1] - share * along[1]);
            blend(pixel, color, opacity * (0.5 * width + 0.5 - distance).clamp(0.0, 1.0));
        });
    }

    /// Puts `part` at `[x, y]`.
    pub fn place(&mut self, part: &Canvas, [x, y]: [usize; 2]) {
        for row in 0..part.height.min(self.height.saturating_sub(y)) {
            let width = part.width.min(self.width.saturating_sub(x));
            let to = (y + row) * self.width + x;
            self.pixels[to..to + width].copy_from_slice(&part.pixels[row * part.width..row * part.width + width]);
        }
    }

    /// Every pixel from `color(x, y)` with the position of its centre.
    pub fn fill(&mut self, color: impl Fn(f32, f32) -> Color) {
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            *pixel = color((i % self.width) as f32 + 0.5, (i / self.width) as f32 + 0.5);
        }
    }

    /// The picture as bytes: light beyond one is rolled off, then brought to the screen's curve (sRGB).
    pub fn bitmap(&self) -> Bitmap {
        let byte = |v: f32| {
            let v = v.max(0.0);
            let v = if v > 0.8 { 0.8 + 0.2 * (1.0 - (-(v - 0.8) / 0.2).exp()) } else { v };
            let curve = if v <= 0.003_130_8 { 12.92 * v } else { 1.055 * v.powf(1.0 / 2.4) - 0.055 };
            (255.0 * curve + 0.5) as u8
        };
        let pixels = self.pixels.iter().flatten().map(|v| byte(*v)).collect();
        Bitmap { pixels, height: self.height, width: self.width, channels: 3 }
    }

    fn each(&mut self, low: [f32; 2], high: [f32; 2], mut f: impl FnMut(&mut Color, [f32; 2])) {
        if !low.iter().chain(&high).all(|v| v.is_finite()) {
            return;
        }
        let (x0, y0) = (low[0].max(0.0) as usize, low[1].max(0.0) as usize);
        let x1 = (high[0].ceil().max(0.0) as usize).min(self.width);
        let y1 = (high[1].ceil().max(0.0) as usize).min(self.height);
        for y in y0..y1 {
            for x in x0..x1 {
                f(&mut self.pixels[y * self.width + x], [x as f32 + 0.5, y as f32 + 0.5]);
            }
        }
    }
}

fn add(pixel: &mut Color, color: Color, strength: f32) {
    pixel.iter_mut().zip(color).for_each(|(p, c)| *p += c * strength);
}

fn blend(pixel: &mut Color, color: Color, opacity: f32) {
    pixel.iter_mut().zip(color).for_each(|(p, c)| *p += (c - *p) * opacity);
}

/// A colour given as on the screen (sRGB bytes), for drawing.
pub fn screen(rgb: [u8; 3]) -> Color {
    rgb.map(|v| {
        let v = f32::from(v) / 255.0;
        if v <= 0.040_45 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
    })
}

/// The colour at `at` in [0, 1] of a map through `stops`, at least one, evenly spaced.
pub fn ramp(stops: &[Color], at: f32) -> Color {
    let place = at.clamp(0.0, 1.0) * (stops.len() - 1) as f32;
    let low = (place as usize).min(stops.len().saturating_sub(2));
    let (a, b) = (stops[low], stops[(low + 1).min(stops.len() - 1)]);
    let share = place - low as f32;
    [0, 1, 2].map(|k| a[k] + (b[k] - a[k]) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHITE: Color = [1.0; 3];

    #[test]
    fn shapes_cover_what_they_should() {
        let mut canvas = Canvas::new(41, 41, [0.0; 3]);
        canvas.disc([20.5, 20.5], 10.0, WHITE, 1.0);
        let area: f32 = canvas.pixels.iter().map(|p| p[0]).sum();
        assert!((area / (std::f32::consts::PI * 100.0) - 1.0).abs() < 0.02, "{area}");
        let mut canvas = Canvas::new(41, 41, [0.0; 3]);
        canvas.line([5.0, 20.5], [35.0, 20.5], 2.0, WHITE, 0.5);
        let area: f32 = canvas.pixels.iter().map(|p| p[0]).sum();
        assert!((area / (0.5 * (60.0 + std::f32::consts::PI)) - 1.0).abs() < 0.06, "{area}");
    }

    #[test]
    fn drawing_outside_and_at_no_place_is_cut_off() {
        let mut canvas = Canvas::new(8, 8, [0.0; 3]);
        canvas.disc([-50.0, 4.0], 3.0, WHITE, 1.0);
        canvas.line([f32::NAN, 0.0], [3.0, 3.0], 1.0, WHITE, 1.0);
        canvas.glow([f32::INFINITY, 0.0], 3.0, WHITE, 1.0);
        assert!(canvas.pixels.iter().all(|p| *p == [0.0; 3]));
        canvas.line([-1e6, 4.0], [1e6, 4.0], 1.0, WHITE, 1.0);
        assert!(canvas.pixels.iter().any(|p| p[0] > 0.4));
    }

    #[test]
    fn screen_colours_survive() {
        for rgb in [[0, 0, 0], [18, 90, 200], [160, 7, 99]] {
            let bitmap = Canvas::new(1, 1, screen(rgb)).bitmap();
            assert_eq!(bitmap.pixels, rgb);
        }
        assert_eq!(ramp(&[[0.0; 3], [1.0; 3], [0.0; 3]], 0.75), [0.5; 3]);
    }
}
