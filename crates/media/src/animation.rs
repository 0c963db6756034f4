//! Animated PNG: every frame whole and in true colour, shown by every browser, and a plain PNG of its first frame elsewhere.

use crate::{Bitmap, MediaError, atomic};
use std::path::Path;

/// `frames` as the bytes of an animated PNG that repeats for ever, each shown for `milliseconds`, the last one for `rest`.
///
/// # Errors
/// As [`encode_with`].
pub fn encode(frames: &[Bitmap], milliseconds: u16, rest: u16) -> Result<Vec<u8>, MediaError> {
    encode_with(frames, milliseconds, rest, &[])
}

/// As [`encode`], with one text chunk per `(keyword, text)`.
///
/// # Errors
/// [`MediaError::Channels`] where the frames have other than 3 channels; [`MediaError::Format`] for no frame, or frames of
/// different sizes.
pub fn encode_with(
    frames: &[Bitmap],
    milliseconds: u16,
    rest: u16,
    text: &[(&str, &str)],
) -> Result<Vec<u8>, MediaError> {
    let fail = |reason: String| MediaError::Format { kind: "PNG", path: "animation in memory".into(), reason };
    let first = frames.first().ok_or_else(|| fail("there is no frame".into()))?;
    if first.channels != 3 {
        return Err(MediaError::Channels(first.channels));
    }
    if frames.iter().any(|f| (f.width, f.height, f.channels) != (first.width, first.height, first.channels)) {
        return Err(fail("its frames differ in size".into()));
    }
    let wrong = |error: png::EncodingError| fail(error.to_string());
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, first.width as u32, first.height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Balanced);
    encoder.set_animated(frames.len() as u32, 0).map_err(wrong)?;
    encoder.set_frame_delay(milliseconds, 1000).map_err(wrong)?;
    for &(keyword, value) in text {
        encoder.add_itxt_chunk(keyword.into(), value.into()).map_err(wrong)?;
    }
    let mut writer = encoder.write_header().map_err(wrong)?;
    for (i, frame) in frames.iter().enumerate() {
        if i + 1 == frames.len() {
            writer.set_frame_delay(rest, 1000).map_err(wrong)?;
        }
        writer.write_image_data(&frame.pixels).map_err(wrong)?;
    }
    writer.finish().map_err(wrong)?;
    Ok(bytes)
}

/// Writes [`encode`]'s bytes to `path`, whole or not at all.
///
/// # Errors
/// As [`encode`] and [`atomic::write`].
pub fn save(path: &Path, frames: &[Bitmap], milliseconds: u16, rest: u16) -> Result<(), MediaError> {
    atomic::write(path, &encode(frames, milliseconds, rest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_in_order() {
        let frame = |v: u8| Bitmap { pixels: vec![v; 3 * 6], height: 2, width: 3, channels: 3 };
        let bytes = encode(&[frame(10), frame(200)], 40, 900).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        assert_eq!(reader.info().animation_control().unwrap().num_frames, 2);
        for value in [10, 200] {
            let mut pixels = vec![0; 18];
            reader.next_frame(&mut pixels).unwrap();
            assert!(pixels.iter().all(|p| *p == value));
        }
        let last = reader.info().frame_control().unwrap();
        assert_eq!((last.delay_num, last.delay_den), (900, 1000));
    }

    #[test]
    fn frames_that_do_not_fit_are_refused() {
        let frame = |width: usize| Bitmap { pixels: vec![0; 3 * width], height: 1, width, channels: 3 };
        assert!(matches!(encode(&[], 40, 40), Err(MediaError::Format { .. })));
        assert!(matches!(encode(&[frame(2), frame(3)], 40, 40), Err(MediaError::Format { .. })));
        let grey = Bitmap { pixels: vec![0; 2], height: 1, width: 2, channels: 1 };
        assert!(matches!(encode(&[grey], 40, 40), Err(MediaError::Channels(1))));
    }
}
