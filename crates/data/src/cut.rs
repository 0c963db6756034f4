//! A picture cut to what it shows, as released encoders of pictures read it: on white, a square about the object, resized by bicubic
//! interpolation (antialiased), the middle of that. TripoSG (Li et al. 2025, arXiv:2502.06608) prepares pictures so.

use crate::decode::{decode, transparency};
use crate::read::Limits;
use crate::{DataError, Result};
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use std::path::Path;

/// How a picture is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// White around the object on every side, as a share of its longer side.
    pub margin: f64,
    /// Pixels that the square is resized to.
    pub size: usize,
    /// Pixels of its middle that are kept.
    pub crop: usize,
}

/// A picture that was cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Red, green and blue in [0, 1], `[3 crop crop]`.
    pub values: Vec<f32>,
    /// Whether nothing said what the object is: no transparency, and hardly any white.
    pub whole: bool,
}

/// What is lighter than this in every colour counts as background where a picture does not say what is transparent.
const WHITE: u8 = 250;

/// Pixels of the square that are made at once.
const STRIP: usize = 1 << 20;
/// Pixels of the square at most, once its rows are resized: 200 MB.
const TALL: usize = 1 << 26;

/// The picture in `bytes` (PNG, JPEG, WebP, BMP, GIF), at most `megapixels` large; `None` of one that shows nothing.
///
/// # Errors
/// What is no picture or too large, or so long and thin that the square about it is.
pub fn cut(bytes: &[u8], how: Cut, megapixels: u64) -> Result<Option<Seen>> {
    let path = Path::new("the picture");
    let limits = Limits { pixels: megapixels.saturating_mul(1_000_000), bytes: u64::MAX };
    let raw = decode(path, bytes, limits)?;
    let clear = transparency(path, bytes, limits)?.filter(|alpha| alpha.iter().any(|alpha| *alpha < 128));
    let (width, height) = (raw.width, raw.height);
    let pixel = |i: usize| -> [u8; 3] {
        match raw.channels {
            1 => [raw.pixels[i]; 3],
            _ => std::array::from_fn(|c| raw.pixels[3 * i + c]),
        }
    };
    let shown = |i: usize| match &clear {
        Some(alpha) => alpha[i] >= 128,
        None => pixel(i).iter().any(|value| *value < WHITE),
    };
    let (mut count, mut low, mut high) = (0usize, [usize::MAX; 2], [0usize; 2]);
    for i in (0..width * height).filter(|i| shown(*i)) {
        count += 1;
        for (axis, at) in [i / width, i % width].into_iter().enumerate() {
            (low[axis], high[axis]) = (low[axis].min(at), high[axis].max(at + 1));
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let long = (high[0] - low[0]).max(high[1] - low[1]);
    let side = long + 2 * (how.margin * long as f64).round_ties_even() as usize;
    let [top, left] = [0, 1].map(|axis| ((low[axis] + high[axis]) as i64 - side as i64).div_euclid(2));
    let sized =
        |value: usize| u32::try_from(value).map_err(|_| DataError::malformed(path, "it is too large", "shrink it"));
    if side.saturating_mul(how.size) > TALL {
        let what = format!("what it shows is {long} pixels long, and the square about it too large");
        return Err(DataError::malformed(path, what, "shrink it"));
    }
    // Rows, then columns, with whole numbers between, as Pillow does it: at sharp rims that cuts off what overshoots. A strip of rows at a
    // time, and none outside the picture: the square about something thin is far larger than the picture is.
    let mut wide = RgbImage::from_pixel(sized(how.size)?, sized(side)?, Rgb([255; 3]));
    let mut row = (-top).clamp(0, side as i64) as usize;
    let end = (height as i64 - top).clamp(0, side as i64) as usize;
    while row < end {
        let rows = (STRIP / side.max(1)).clamp(1, end - row);
        let strip = RgbImage::from_fn(sized(side)?, sized(rows)?, |x, y| {
            let [x, y] = [left + i64::from(x), top + row as i64 + i64::from(y)];
            let inside = (0..width as i64).contains(&x) && (0..height as i64).contains(&y);
            Rgb(if inside { pixel(y as usize * width + x as usize) } else { [255; 3] })
        });
        let strip = imageops::resize(&strip, sized(how.size)?, sized(rows)?, FilterType::CatmullRom);
        imageops::replace(&mut wide, &strip, 0, row as i64);
        row += rows;
    }
    let large = imageops::resize(&wide, sized(how.size)?, sized(how.size)?, FilterType::CatmullRom);
    let (first, crop) = ((how.size.saturating_sub(how.crop)) / 2, how.crop.min(how.size));
    let plane = |channel: usize| {
        let large = &large;
        (0..crop * crop).map(move |i| {
            let at = large.get_pixel((first + i % crop) as u32, (first + i / crop) as u32);
            f32::from(at.0[channel]) / 255.0
        })
    };
    let whole = clear.is_none() && count as f64 > 0.95 * (width * height) as f64;
    Ok(Some(Seen { values: (0..3).flat_map(plane).collect(), whole }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ExtendedColorType, ImageEncoder, codecs::png::PngEncoder};

    fn png(pixels: &[u8], width: u32, height: u32, color: ExtendedColorType) -> Vec<u8> {
        let mut bytes = Vec::new();
        PngEncoder::new(&mut bytes).write_image(pixels, width, height, color).unwrap();
        bytes
    }

    /// A thing anywhere in a picture comes to the middle, at one size, on white, whatever is under its clear places.
    ///
    /// Mutants: what is clear taken for shown; black around; the margin on one side alone; rows and columns exchanged.
    #[test]
    fn what_is_shown_comes_to_the_middle_on_white() {
        let how = Cut { margin: 0.1, size: 24, crop: 20 };
        // Ten wide, four high, red on the left and blue on the right, in a corner of a picture that is green where it is clear.
        let (w, h) = (30, 16);
        let at = |i: usize| (20..30).contains(&(i % w)) && (0..4).contains(&(i / w));
        let colour = |i: usize| if i % w < 25 { [255, 0, 0, 255] } else { [0, 0, 255, 255] };
        let pixels: Vec<u8> = (0..w * h).flat_map(|i| if at(i) { colour(i) } else { [0, 255, 0, 0] }).collect();
        let seen = cut(&png(&pixels, 30, 16, ExtendedColorType::Rgba8), how, 1).unwrap().unwrap();
        assert!(!seen.whole && seen.values.len() == 1200);
        let rgb = |y: usize, x: usize| [0, 1, 2].map(|c| (seen.values[c * 400 + y * 20 + x] * 255.0).round());
        assert_eq!([rgb(1, 10), rgb(18, 10)], [[255.0; 3]; 2], "white above and below, the picture's rim too");
        assert_eq!([rgb(10, 3), rgb(9, 16)], [[255.0, 0.0, 0.0], [0.0, 0.0, 255.0]]);
        // Twice as large it takes 20 of the 24 pixels, 2 of them white at either side; the cut takes those away.
        assert!((0..20).all(|x| rgb(10, x)[1] < 128.0), "{:?}", (0..20).map(|x| rgb(10, x)).collect::<Vec<_>>());
        // Without transparency white is the background, and a picture without any is taken whole.
        let flat: Vec<u8> = (0..w * h).flat_map(|i| if at(i) { [0, 0, 255] } else { [255; 3] }).collect();
        let seen = cut(&png(&flat, 30, 16, ExtendedColorType::Rgb8), how, 1).unwrap().unwrap();
        assert!(!seen.whole && seen.values[10 * 20 + 10] < 0.01);
        assert!(cut(&png(&[9; 64], 8, 8, ExtendedColorType::L8), how, 1).unwrap().unwrap().whole);
        assert_eq!(cut(&png(&[255; 64], 8, 8, ExtendedColorType::L8), how, 1).unwrap(), None);
        assert!(cut(b"no picture", how, 1).is_err());
    }

    /// A line of pixels is seen, though the square about it has 576 million, and strips of rows meet without a seam; a square that not even its
    /// resized rows fit is refused. Mutants: the square made whole (2 GB and more); strips that overlap or leave a row out; the bound gone.
    #[test]
    fn a_thin_picture_takes_little_memory() {
        let how = Cut { margin: 0.1, size: 24, crop: 24 };
        let line = png(&[0; 20_000], 20_000, 1, ExtendedColorType::L8);
        let seen = cut(&line, how, 1).unwrap().unwrap();
        let darkest = seen.values.iter().fold(1.0f32, |least, value| least.min(*value));
        assert!(seen.values.len() == 3 * 576 && darkest > 0.98, "one row of 24 000: {darkest}");
        let error = cut(&line, Cut { size: 4096, ..how }, 1).unwrap_err().to_string();
        assert!(error.contains("20000 pixels long"), "{error}");
        // Two strips; a ramp down the rows stays one.
        let ramp: Vec<u8> = (0..1200 * 1200).map(|i| (i / 1200 / 5) as u8).collect();
        let seen = cut(&png(&ramp, 1200, 1200, ExtendedColorType::L8), Cut { margin: 0.0, ..how }, 6).unwrap().unwrap();
        let far = (2..22).map(|y| (seen.values[y * 24 + 12] * 255.0 - (10 * y) as f32 - 4.5).abs()).fold(0.0, f32::max);
        assert!(far <= 0.51, "{far}");
    }
}
