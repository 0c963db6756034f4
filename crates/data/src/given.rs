//! One picture that somebody sends, brought to the shape a model wants, and what of it is transparent.

use crate::decode::{Form, Raw, decode, transparency};
use crate::read::Limits;
use crate::{DataError, Fit, Result, normalize};
use std::path::Path;

/// A picture as networks see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Given {
    /// Its values in [-1, 1], `[c h w]`; what is transparent is white.
    pub values: Vec<f32>,
    /// Where it is more transparent than not, `[h w]`; none of a picture without a transparent place.
    pub clear: Option<Vec<bool>>,
}

/// What messages call a picture that has no file.
const CALLED: &str = "the picture";

/// The picture in `bytes` (PNG, JPEG, WebP, BMP, GIF) as `[c h w]`, at most `megapixels` large before. One of another size is cut to
/// the square in its middle and resized, where a square is wanted.
///
/// # Errors
/// What is no picture, is too large, or of another size where none but squares are resized to.
pub fn given(bytes: &[u8], [c, h, w]: [usize; 3], megapixels: u64) -> Result<Given> {
    let path = Path::new(CALLED);
    let limits = Limits { pixels: megapixels.saturating_mul(1_000_000), bytes: u64::MAX };
    let raw = decode(path, bytes, limits)?;
    let (height, width) = (raw.height, raw.width);
    if h != w && (height, width) != (h, w) {
        let what = format!("it is {width} x {height} pixels, and {w} x {h} are wanted");
        return Err(DataError::malformed(path, what, "bring it to that size"));
    }
    let form = |channels| Form { channels, size: (h == w).then_some(w), fit: Fit::Crop, limits };
    let clear = match transparency(path, bytes, limits)? {
        None => None,
        Some(alpha) => {
            let alpha = form(1).apply(Raw { pixels: alpha, height, width, channels: 1 }, path)?;
            let clear: Vec<bool> = alpha.pixels.iter().map(|alpha| *alpha < 128).collect();
            clear.contains(&true).then_some(clear)
        }
    };
    let raw = form(c).apply(raw, path)?;
    let plane = |channel: usize| raw.pixels.iter().skip(channel).step_by(c).map(|value| normalize(*value));
    Ok(Given { values: (0..c).flat_map(plane).collect(), clear })
}

/// A picture that somebody sends, as it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Grey {
    /// Its brightness in [-1, 1], `[h w]`; what is transparent is white.
    pub values: Vec<f32>,
    /// How opaque each pixel is, 0 to 1; none of a picture that knows no transparency.
    pub opacity: Option<Vec<f32>>,
    /// Pixels of a row.
    pub width: usize,
}

/// The picture in `bytes` in grey, at most `megapixels` large, neither cut nor resized.
///
/// # Errors
/// What is no picture or too large.
pub fn grey(bytes: &[u8], megapixels: u64) -> Result<Grey> {
    let path = Path::new(CALLED);
    let limits = Limits { pixels: megapixels.saturating_mul(1_000_000), bytes: u64::MAX };
    let raw = decode(path, bytes, limits)?;
    let alpha = transparency(path, bytes, limits)?;
    let opacity = alpha.map(|alpha| alpha.into_iter().map(|alpha| f32::from(alpha) / 255.0).collect());
    let raw = Form { channels: 1, size: None, fit: Fit::Crop, limits }.apply(raw, path)?;
    Ok(Grey { values: raw.pixels.iter().map(|value| normalize(*value)).collect(), opacity, width: raw.width })
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

    /// Mutants: transparency told where the picture is opaque; rows and channels swapped; the middle not cut out.
    #[test]
    fn pictures_come_as_models_want_them() {
        let pixels = [255, 0, 0, 255, 0, 255, 0, 0, 0, 0, 255, 255, 0, 0, 0, 100];
        let bytes = png(&pixels, 2, 2, ExtendedColorType::Rgba8);
        let seen = given(&bytes, [3, 2, 2], 1).unwrap();
        assert_eq!(seen.clear, Some(vec![false, true, false, true]));
        // Red, white where it is clear, blue; black that is mostly clear is light.
        assert_eq!(seen.values[..3], [1.0, 1.0, -1.0]);
        assert_eq!(seen.values[8..11], [-1.0, 1.0, 1.0]);
        let opaque = png(&[7; 8], 4, 2, ExtendedColorType::L8);
        let seen = given(&opaque, [1, 2, 2], 1).unwrap();
        assert_eq!((seen.clear, seen.values), (None, vec![normalize(7); 4]));
        let wide = png(&[0, 255, 255, 0, 0, 255, 255, 0], 4, 2, ExtendedColorType::L8);
        assert_eq!(given(&wide, [1, 2, 2], 1).unwrap().values, [1.0; 4]);
        assert_eq!(given(&wide, [1, 2, 4], 1).unwrap().values[..2], [-1.0, 1.0]);
    }

    /// Mutants: black where it is clear; opacity told the other way round.
    #[test]
    fn a_picture_may_come_whole_and_in_grey() {
        let pixels = [255, 255, 255, 255, 0, 0, 0, 255, 0, 0, 0, 0];
        let seen = grey(&png(&pixels, 3, 1, ExtendedColorType::Rgba8), 1).unwrap();
        assert_eq!((seen.values, seen.width), (vec![1.0, -1.0, 1.0], 3));
        assert_eq!(seen.opacity, Some(vec![1.0, 1.0, 0.0]));
        assert_eq!(grey(&png(&[7; 8], 4, 2, ExtendedColorType::L8), 1).unwrap().opacity, None);
    }

    #[test]
    fn what_is_no_picture_or_too_large_is_refused() {
        let said = |bytes: &[u8], shape| given(bytes, shape, 1).unwrap_err().to_string();
        assert!(said(b"", [1, 2, 2]).contains("empty"));
        assert!(said(b"GIF87a no more", [1, 2, 2]).contains("the picture"));
        assert!(said(&png(&[0; 8], 4, 2, ExtendedColorType::L8), [1, 2, 3]).contains("3 x 2 are wanted"));
        // A head that promises a gigapixel is refused before a pixel is made.
        let mut bomb = png(&[0; 4], 2, 2, ExtendedColorType::L8);
        bomb[16..24].copy_from_slice(&[0, 0, 0x80, 0, 0, 0, 0x80, 0]);
        let crc = crc32(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(said(&bomb, [1, 2, 2]).contains("million pixels"), "{}", said(&bomb, [1, 2, 2]));
    }

    fn crc32(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
        };
        !bytes.iter().fold(!0, step)
    }
}
