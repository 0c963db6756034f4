//! Image files to pixels, and pixels to the shape a network wants.

use crate::jpeg;
use crate::read::Limits;
use crate::{DataError, Fit, Result};
use image::imageops::{self, FilterType};
use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Luma, Pixel, Rgb};
use std::io::Cursor;
use std::path::Path;

/// A decoded image of any shape, `[h w c]` with 1 or 3 channels.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) pixels: Vec<u8>,
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

/// The shape of an image, as it will be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Header {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) channels: usize,
}

fn broken(path: &Path, what: impl Into<String>) -> DataError {
    DataError::malformed(path, what, "replace or remove it")
}

/// A decoder of `bytes` that has read what stands before the pixels, with what it says of them.
fn begin<'a>(path: &Path, bytes: &'a [u8], limits: Limits) -> Result<(impl ImageDecoder + 'a, Header, Orientation)> {
    if bytes.is_empty() {
        return Err(broken(path, "the file is empty"));
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(|e| broken(path, e.to_string()))?;
    let Some(format) = reader.format() else {
        return Err(broken(path, "not an image of a known format (PNG, JPEG, WebP, BMP, GIF)"));
    };
    let fault = if format == ImageFormat::Jpeg { jpeg::fault(bytes) } else { None };
    if let Some(fault) = fault {
        return Err(broken(path, fault));
    }
    let what = |e: image::ImageError| broken(path, format!("not a whole {format:?} image ({e})"));
    let mut decoder = reader.into_decoder().map_err(what)?;
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    if pixels > limits.pixels {
        let (size, most) = (pixels as f64 / 1e6, limits.pixels / 1_000_000);
        let what = format!("{width} x {height} are {size:.0} million pixels, more than data.max_megapixels = {most}");
        return Err(DataError::malformed(path, what, "shrink it, or raise that limit if the machine has the memory"));
    }
    if pixels == 0 {
        return Err(broken(path, "an image without pixels"));
    }
    let orientation = decoder.orientation().map_err(what)?;
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    let turned = matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH);
    let (width, height) = if turned { (height, width) } else { (width, height) };
    let channels = if decoder.color_type().has_color() { 3 } else { 1 };
    Ok((decoder, Header { height: height as usize, width: width as usize, channels }, orientation))
}

/// The shape of the image in `bytes`, the content of `path`.
pub(crate) fn header(path: &Path, bytes: &[u8], limits: Limits) -> Result<Header> {
    begin(path, bytes, limits).map(|(_, header, _)| header)
}

/// Refuses `bytes`, the content of `path`, where their picture is larger than `limits` allow.
pub(crate) fn within(path: &Path, bytes: &[u8], limits: Limits) -> Result<()> {
    begin(path, bytes, limits).map(drop)
}

/// Decodes `bytes`, the content of `path`. The format is told by the content, not by the name; the camera's rotation is applied;
/// transparent parts become white.
pub(crate) fn decode(path: &Path, bytes: &[u8], limits: Limits) -> Result<Raw> {
    let (decoder, Header { height, width, channels }, orientation) = begin(path, bytes, limits)?;
    let what = |e: image::ImageError| broken(path, format!("not a whole {} image ({e})", format_of(bytes)));
    let mut image = DynamicImage::from_decoder(decoder).map_err(what)?;
    image.apply_orientation(orientation);
    let grey = channels == 1;
    let pixels = match (image.color().has_alpha(), grey) {
        (false, true) => image.into_luma8().into_raw(),
        (false, false) => image.into_rgb8().into_raw(),
        (true, true) => over_white::<1>(image.into_luma_alpha8().as_raw()),
        (true, false) => over_white::<3>(image.into_rgba8().as_raw()),
    };
    Ok(Raw { pixels, height, width, channels })
}

/// How opaque each pixel of `bytes` is, 255 wholly; none of an image that knows no transparency.
pub(crate) fn transparency(path: &Path, bytes: &[u8], limits: Limits) -> Result<Option<Vec<u8>>> {
    let (decoder, _, orientation) = begin(path, bytes, limits)?;
    if !decoder.color_type().has_alpha() {
        return Ok(None);
    }
    let what = |e: image::ImageError| broken(path, format!("not a whole {} image ({e})", format_of(bytes)));
    let mut image = DynamicImage::from_decoder(decoder).map_err(what)?;
    image.apply_orientation(orientation);
    Ok(Some(image.into_luma_alpha8().into_raw().into_iter().skip(1).step_by(2).collect()))
}

fn format_of(bytes: &[u8]) -> String {
    image::guess_format(bytes).map_or_else(|_| "known".into(), |format| format!("{format:?}"))
}

/// `C` colours and alpha, composed over white.
pub(crate) fn over_white<const C: usize>(pixels: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pixels.len() / (C + 1) * C);
    for pixel in pixels.chunks_exact(C + 1) {
        let alpha = u32::from(pixel[C]);
        out.extend(pixel[..C].iter().map(|&v| ((u32::from(v) * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
    }
    out
}

/// The shape images are brought to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    pub(crate) channels: usize,
    /// Side of the square; `None` leaves the size alone.
    pub(crate) size: Option<usize>,
    pub(crate) fit: Fit,
    pub(crate) limits: Limits,
}

impl Form {
    /// `raw` in this form. Resizing averages over the area when it shrinks (Lanczos of support 3, antialiased), as
    /// careless shrinking shifts Frechet distances.
    pub(crate) fn apply(&self, raw: Raw, path: &Path) -> Result<Raw> {
        let raw = match (raw.channels, self.channels) {
            (1, 3) => Raw { pixels: raw.pixels.iter().flat_map(|&v| [v; 3]).collect(), channels: 3, ..raw },
            (3, 1) => Raw { pixels: raw.pixels.chunks_exact(3).map(luma).collect(), channels: 1, ..raw },
            _ => raw,
        };
        let Some(size) = self.size.filter(|&size| size != raw.width || size != raw.height) else { return Ok(raw) };
        self.resize(&raw, size)
            .map_err(|e| DataError::malformed(path, format!("cannot be resized ({e})"), "replace or remove it"))
    }

    fn resize(&self, raw: &Raw, size: usize) -> Result<Raw, Box<dyn std::error::Error>> {
        let pixels = match raw.channels {
            1 => self.resize_pixels::<Luma<u8>>(raw, size)?,
            _ => self.resize_pixels::<Rgb<u8>>(raw, size)?,
        };
        Ok(Raw { pixels, height: size, width: size, channels: raw.channels })
    }

    fn resize_pixels<P: Pixel<Subpixel = u8> + 'static>(
        &self,
        raw: &Raw,
        size: usize,
    ) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let (width, height, size) = (raw.width.try_into()?, raw.height.try_into()?, size.try_into()?);
        let source = ImageBuffer::<P, _>::from_raw(width, height, raw.pixels.as_slice())
            .ok_or("its pixels do not fill its size")?;
        let (left, top, wide, high) = match self.fit {
            Fit::Crop => {
                let side = width.min(height);
                ((width - side) / 2, (height - side) / 2, side, side)
            }
            Fit::Stretch => (0, 0, width, height),
        };
        let part = imageops::crop_imm(&source, left, top, wide, high);
        Ok(imageops::resize(&*part, size, size, FilterType::Lanczos3).into_raw())
    }
}

// Rec. 709 weights in 16-bit fixed point; they add up to 2^16, so that grey stays the same grey.
fn luma(pixel: &[u8]) -> u8 {
    let [r, g, b] = [0, 1, 2].map(|i| u32::from(pixel[i]));
    ((13933 * r + 46871 * g + 4732 * b + 32768) >> 16) as u8
}
