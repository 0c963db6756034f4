//! One clip as networks see it: a folder of frames, an animated GIF, WebP or PNG, or a strip of frames side by side, and a still picture
//! as a clip of one frame.
//!
//! A file with more frames than are wanted is read at frames spread evenly over it, its first and its last among them (the `uniform`
//! sampling of VideoAlign, arXiv 2501.13918, whose reward reads clips of any length so). One with fewer is refused: nobody knows what
//! would have come between.

use crate::decode::{Form, Raw, decode, over_white, within};
use crate::read::Limits;
use crate::read::tree::begins_as_image;
use crate::{DataError, Fit, Result, normalize};
use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, Frames, ImageDecoder, ImageError, ImageFormat};
use std::io::Cursor;
use std::path::{Path, PathBuf};

/// A clip that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Clip {
    /// Its values in [-1, 1], `[c f h w]`.
    pub values: Vec<f32>,
    /// Frames that the file has; as many as were asked for, or more.
    pub frames: usize,
    /// Frames to a second, where the file says.
    pub fps: Option<f64>,
}

/// Frames of a file at most.
const MOST: usize = 4096;
/// Pixels of all frames of a file, as multiples of what one picture may have.
const TIMES: u64 = 8;
/// Bytes to a pixel of one frame while an animation is read: red, green, blue and transparency, three times.
const BUFFERS: u64 = 12;

/// Frames, how many the file has of them, and how many pass in a second.
type Film = (Vec<Raw>, usize, Option<f64>);

/// The clip at `path` as `[c f h w]`, pictures of at most `megapixels`. Frames of another size are cut to the square in their middle and
/// resized, where a square is wanted.
///
/// # Errors
/// What is no picture, clip or folder of frames, has fewer frames than are wanted, or more of anything than the limits allow.
pub fn clip(path: &Path, [channels, frames, height, width]: [usize; 4], megapixels: u64) -> Result<Clip> {
    let limits = Limits { pixels: megapixels.saturating_mul(1_000_000), bytes: 1 << 30 };
    let (mut film, mut found, fps) = film(path, limits, Some(frames))?;
    if let [one] = &film[..]
        && frames > 1
        && let Some(cut) = strip(one, frames, [height, width])
    {
        (found, film) = (cut.len(), cut);
    }
    if frames == 1 && found > 1 {
        let what = format!("it has {found} frames, and a still picture is wanted");
        return Err(DataError::malformed(path, what, "give one of its frames"));
    }
    if found < frames {
        let what = format!("it has {found} frames, and {frames} are wanted");
        return Err(DataError::malformed(path, what, "give a longer clip, or leave its pairs out"));
    }
    let form = Form { channels, size: (height == width).then_some(width), fit: Fit::Crop, limits };
    let mut planes = vec![Vec::with_capacity(frames * height * width); channels];
    for at in spread(frames, film.len()) {
        let raw = &film[at];
        if height != width && (raw.height, raw.width) != (height, width) {
            let what = format!("it is {} x {} pixels, and {width} x {height} are wanted", raw.width, raw.height);
            return Err(DataError::malformed(path, what, "bring it to that size"));
        }
        let frame = form.apply(raw.clone(), path)?;
        for (channel, plane) in planes.iter_mut().enumerate() {
            plane.extend(frame.pixels.iter().skip(channel).step_by(channels).map(|value| normalize(*value)));
        }
    }
    Ok(Clip { values: planes.concat(), frames: found, fps })
}

/// The frames at `path` one after another as 8-bit pixels `[h w c]` of `channels`, with their height, width and frames to a second, to be
/// shown.
///
/// # Errors
/// As [`clip`]; frames of different sizes.
#[allow(clippy::type_complexity)]
pub fn frames(path: &Path, megapixels: u64) -> Result<(Vec<Vec<u8>>, [usize; 2], Option<f64>)> {
    let limits = Limits { pixels: megapixels.saturating_mul(1_000_000), bytes: 1 << 30 };
    let (film, _, fps) = film(path, limits, None)?;
    let size = [film[0].height, film[0].width];
    if let Some(other) = film.iter().find(|raw| [raw.height, raw.width] != size) {
        let what = format!("its frames are {} x {} and {} x {}", size[1], size[0], other.width, other.height);
        return Err(DataError::malformed(path, what, "bring them to one size"));
    }
    let form = Form { channels: 3, size: None, fit: Fit::Crop, limits };
    let shown = film.into_iter().map(|raw| form.apply(raw, path).map(|raw| raw.pixels));
    Ok((shown.collect::<Result<_>>()?, size, fps))
}

/// The files of a folder that are frames, in the order of their names, numbers in them read as numbers.
///
/// # Errors
/// A folder that cannot be read.
pub fn frame_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |e| DataError::io(folder, "read", e);
    let entries = std::fs::read_dir(folder).map_err(io)?.collect::<std::io::Result<Vec<_>>>().map_err(io)?;
    let hidden = |path: &Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut files: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| !hidden(path) && is_picture(path)).collect();
    files.sort_by_cached_key(|path| counted(&path.file_name().unwrap_or_default().to_string_lossy()));
    Ok(files)
}

/// Whether the file at `path` begins as a picture or an animation does.
pub fn is_picture(path: &Path) -> bool {
    path.is_file() && begins_as_image(path)
}

/// `name` with each of its numbers filled with zeros, so that frame 10 comes after frame 9.
fn counted(name: &str) -> (String, String) {
    let mut filled = String::new();
    let mut digits = String::new();
    for c in name.chars().chain(['\0']) {
        match c.is_ascii_digit() {
            true => digits.push(c),
            false => {
                if !digits.is_empty() {
                    filled += &format!("{digits:0>20}");
                    digits.clear();
                }
                filled.push(c);
            }
        }
    }
    (filled, name.to_string())
}

/// Places of `wanted` among `found`, evenly from the first to the last.
fn spread(wanted: usize, found: usize) -> impl Iterator<Item = usize> {
    let step = if wanted > 1 { (found - 1) as f64 / (wanted - 1) as f64 } else { 0.0 };
    (0..wanted).map(move |i| (i as f64 * step).round() as usize)
}

/// `frames` pictures side by side, where `one` has the proportions of so many.
fn strip(one: &Raw, frames: usize, [height, width]: [usize; 2]) -> Option<Vec<Raw>> {
    let wide = one.width / frames;
    if !one.width.is_multiple_of(frames) || wide * height != one.height * width {
        return None;
    }
    let row = one.width * one.channels;
    let part = wide * one.channels;
    let cut = |frame: usize| Raw {
        pixels: one.pixels.chunks_exact(row).flat_map(|row| &row[frame * part..][..part]).copied().collect(),
        width: wide,
        ..*one
    };
    Some((0..frames).map(cut).collect())
}

/// What is at `path`; of a folder the `wanted` frames alone are read, where it has as many and some number is wanted.
fn film(path: &Path, limits: Limits, wanted: Option<usize>) -> Result<Film> {
    if path.is_dir() {
        let files = frame_files(path)?;
        if files.is_empty() || files.len() > MOST {
            let what = format!("a folder with {} frames", files.len());
            return Err(DataError::malformed(path, what, format!("a clip has 1 to {MOST} pictures as its frames")));
        }
        let wanted = wanted.filter(|wanted| *wanted <= files.len()).unwrap_or(files.len());
        let (mut frames, mut pixels) = (Vec::with_capacity(wanted), 0);
        for file in spread(wanted, files.len()).map(|at| &files[at]) {
            let frame = decode(file, &limits.read(file)?, limits)?;
            pixels += (frame.width * frame.height) as u64;
            if pixels > most(limits) {
                return Err(too_much(path, limits));
            }
            frames.push(frame);
        }
        return Ok((frames, files.len(), None));
    }
    let bytes = limits.read(path)?;
    match animated(path, &bytes, limits)? {
        Some(film) => Ok(film),
        None => Ok((vec![decode(path, &bytes, limits)?], 1, None)),
    }
}

/// Pixels of all frames together.
fn most(limits: Limits) -> u64 {
    limits.pixels.saturating_mul(TIMES)
}

fn too_much(path: &Path, limits: Limits) -> DataError {
    let what = format!("more than {MOST} frames or {} million pixels", most(limits) / 1_000_000);
    DataError::malformed(path, what, "cut it into shorter clips")
}

/// The frames of an animation; none of a still picture.
fn animated(path: &Path, bytes: &[u8], limits: Limits) -> Result<Option<Film>> {
    let wrong =
        |e: ImageError| DataError::malformed(path, format!("not a whole animation ({e})"), "replace or remove it");
    let reader = || Cursor::new(bytes);
    // A frame may say that it is larger than its animation, and is made before anyone sees it.
    let mut bounds = image::Limits::no_limits();
    bounds.max_alloc = Some(limits.pixels.saturating_mul(BUFFERS));
    let frames = match image::guess_format(bytes) {
        Ok(ImageFormat::Gif) => {
            within(path, bytes, limits)?;
            let mut decoder = GifDecoder::new(reader()).map_err(wrong)?;
            decoder.set_limits(bounds).map_err(wrong)?;
            decoder.into_frames()
        }
        Ok(ImageFormat::Png) => {
            within(path, bytes, limits)?;
            let mut decoder = PngDecoder::new(reader()).map_err(wrong)?;
            decoder.set_limits(bounds).map_err(wrong)?;
            if !decoder.is_apng().map_err(wrong)? {
                return Ok(None);
            }
            decoder.apng().map_err(wrong)?.into_frames()
        }
        Ok(ImageFormat::WebP) => {
            within(path, bytes, limits)?;
            let mut decoder = WebPDecoder::new(reader()).map_err(wrong)?;
            decoder.set_limits(bounds).map_err(wrong)?;
            if !decoder.has_animation() {
                return Ok(None);
            }
            decoder.into_frames()
        }
        _ => return Ok(None),
    };
    collected(path, frames, limits).map(Some)
}

fn collected(path: &Path, frames: Frames<'_>, limits: Limits) -> Result<Film> {
    let (mut film, mut pixels, mut milliseconds) = (Vec::new(), 0u64, 0.0);
    for frame in frames {
        let wrong = |e: ImageError| {
            let what = format!("its frame {} cannot be read ({e})", film.len());
            DataError::malformed(path, what, "replace or remove it")
        };
        let frame = frame.map_err(wrong)?;
        let (over, under) = frame.delay().numer_denom_ms();
        milliseconds += f64::from(over) / f64::from(under.max(1));
        let image = frame.into_buffer();
        pixels += u64::from(image.width()) * u64::from(image.height());
        if film.len() == MOST || pixels > most(limits) {
            return Err(too_much(path, limits));
        }
        let (width, height) = (image.width() as usize, image.height() as usize);
        film.push(Raw { pixels: over_white::<3>(image.as_raw()), height, width, channels: 3 });
    }
    if film.is_empty() {
        return Err(DataError::malformed(path, "an animation without frames", "replace or remove it"));
    }
    let fps = (milliseconds > 0.0).then(|| 1000.0 * film.len() as f64 / milliseconds);
    let found = film.len();
    Ok((film, found, fps))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::codecs::gif::GifEncoder;
    use image::{Delay, Frame, GrayImage, RgbaImage};
    use std::fs;

    fn grey(value: u8, side: u32) -> GrayImage {
        GrayImage::from_pixel(side, side, image::Luma([value]))
    }

    fn gif(values: &[u8], milliseconds: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        {
            let mut encoder = GifEncoder::new(&mut bytes);
            for value in values {
                let picture = RgbaImage::from_pixel(4, 4, image::Rgba([*value, *value, *value, 255]));
                let delay = Delay::from_numer_denom_ms(milliseconds, 1);
                encoder.encode_frame(Frame::from_parts(picture, 0, 0, delay)).unwrap();
            }
        }
        bytes
    }

    /// The grey of each frame.
    fn levels(clip: &Clip, frames: usize) -> Vec<u8> {
        clip.values.chunks(clip.values.len() / frames).map(|frame| crate::denormalize(frame[0])).collect()
    }

    /// Mutants: frames in the order of their letters (10 before 9); the last frame never reached; a strip cut below one another.
    #[test]
    fn frames_come_in_order_from_every_kind_of_clip() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("frames");
        fs::create_dir(&folder).unwrap();
        for i in 1..=11u8 {
            grey(10 * i, 4).save(folder.join(format!("{i}.png"))).unwrap();
        }
        fs::write(folder.join("notes.txt"), "no frame").unwrap();
        let read = |path: &Path, frames| clip(path, [1, frames, 4, 4], 1).unwrap();
        let found = read(&folder, 11);
        assert_eq!(levels(&found, 11), (1..=11).map(|i| 10 * i).collect::<Vec<u8>>());
        assert_eq!((found.frames, found.fps), (11, None));
        // The first, the last, and evenly between.
        assert_eq!(levels(&read(&folder, 3), 3), [10, 60, 110]);
        let film = dir.path().join("film.gif");
        fs::write(&film, gif(&[0, 80, 160, 240], 100)).unwrap();
        let found = read(&film, 4);
        assert_eq!((levels(&found, 4), found.frames), (vec![0, 80, 160, 240], 4));
        assert!((found.fps.unwrap() - 10.0).abs() < 1e-9);
        let side_by_side = dir.path().join("strip.png");
        let mut wide = GrayImage::new(8, 4);
        wide.enumerate_pixels_mut().for_each(|(x, _, pixel)| pixel.0 = [if x < 4 { 7 } else { 9 }]);
        wide.save(&side_by_side).unwrap();
        assert_eq!(levels(&read(&side_by_side, 2), 2), [7, 9]);
        // In colour, channel after channel: `[c f h w]`.
        let colour = clip(&film, [3, 4, 2, 2], 1).unwrap();
        assert_eq!(colour.values.len(), 3 * 4 * 4);
        assert_eq!(levels(&Clip { values: colour.values[32..].to_vec(), ..colour }, 4), [0, 80, 160, 240]);
    }

    #[test]
    fn what_is_no_such_clip_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let said = |name: &str, frames| clip(&at(name), [1, frames, 4, 4], 1).unwrap_err().to_string();
        assert!(said("nothing.gif", 2).contains("not found"));
        fs::write(at("short.gif"), gif(&[1, 2], 40)).unwrap();
        assert!(said("short.gif", 3).contains("2 frames, and 3 are wanted"));
        assert!(said("short.gif", 1).contains("a still picture is wanted"));
        let whole = gif(&[1, 200, 2], 40);
        fs::write(at("cut.gif"), &whole[..whole.len() - 30]).unwrap();
        assert!(said("cut.gif", 3).contains("cut.gif"));
        // A frame that says it is 65535 pixels wide and high, in an animation of four. Mutant: decoders without bounds take 17 GB.
        let mut vast = gif(&[1, 2], 40);
        let frame = vast.windows(9).position(|w| w == [0x2c, 0, 0, 0, 0, 4, 0, 4, 0]).unwrap();
        vast[frame + 5..frame + 9].fill(0xff);
        fs::write(at("vast.gif"), vast).unwrap();
        assert!(said("vast.gif", 2).contains("limit"), "{}", said("vast.gif", 2));
        // Of a folder what is wanted is read, and of that no more pixels than a clip may have.
        fs::create_dir(at("long")).unwrap();
        for i in 0..12 {
            grey(i, 900).save(at("long").join(format!("{i}.png"))).unwrap();
        }
        assert_eq!(clip(&at("long"), [1, 3, 4, 4], 1).unwrap().frames, 12);
        assert!(said("long", 12).contains("8 million pixels"));
        assert!(frames(&at("long"), 1).unwrap_err().to_string().contains("8 million pixels"));
        fs::create_dir(at("empty")).unwrap();
        assert!(said("empty", 2).contains("0 frames"));
        grey(3, 4).save(at("still.png")).unwrap();
        assert!(said("still.png", 2).contains("1 frames, and 2"));
    }
}
