//! Animated PNG: every frame whole and in true colour, shown by every browser, and a plain PNG of its first frame elsewhere.

use crate::{Bitmap, MediaError, atomic};
use std::path::Path;

/// How long a frame is shown: a fraction of a second, as PNG keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// Above the line.
    pub numerator: u16,
    /// Below it, at least 1.
    pub denominator: u16,
}

impl Delay {
    /// So many thousandths of a second.
    pub fn milliseconds(milliseconds: u16) -> Self {
        Self { numerator: milliseconds, denominator: 1000 }
    }

    /// That of `rate` frames a second: exact where it can be written so (16, 29.97, 24000/1001), else the nearest of the fractions that
    /// continue `1/rate`.
    pub fn of_rate(rate: f64) -> Self {
        let most = f64::from(u16::MAX);
        let mut rest = 1.0 / rate;
        // Convergents of the continued fraction, the last two.
        let ([mut above, mut before], [mut below, mut behind]) = ([1.0, 0.0], [0.0, 1.0]);
        loop {
            let whole = rest.floor();
            let next = [whole * above + before, whole * below + behind];
            if !next.iter().all(|n| n.is_finite() && *n <= most) {
                break;
            }
            ([above, before], [below, behind]) = ([next[0], above], [next[1], below]);
            let apart = (above / below * rate - 1.0).abs();
            rest = 1.0 / (rest - whole);
            if apart < 1e-12 || !rest.is_finite() {
                break;
            }
        }
        if below < 1.0 || above < 1.0 {
            // Slower or faster than 16 bits say.
            return if rate < 1.0 {
                Self { numerator: u16::MAX, denominator: 1 }
            } else {
                Self { numerator: 1, denominator: u16::MAX }
            };
        }
        Self { numerator: above as u16, denominator: below as u16 }
    }
}

/// `frames` as the bytes of an animated PNG that repeats for ever, each shown for `milliseconds`, the last one for `rest`.
///
/// # Errors
/// As [`encode_with`].
pub fn encode(frames: &[Bitmap], milliseconds: u16, rest: u16) -> Result<Vec<u8>, MediaError> {
    encode_with(frames, Delay::milliseconds(milliseconds), Delay::milliseconds(rest), &[])
}

/// As [`encode`], each frame shown for `delay`, with one text chunk per `(keyword, text)`.
///
/// # Errors
/// [`MediaError::Channels`] where the frames have other than 3 channels; [`MediaError::Format`] for no frame, or frames of
/// different sizes.
pub fn encode_with(frames: &[Bitmap], delay: Delay, rest: Delay, text: &[(&str, &str)]) -> Result<Vec<u8>, MediaError> {
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
    encoder.set_frame_delay(delay.numerator, delay.denominator).map_err(wrong)?;
    for &(keyword, value) in text {
        encoder.add_itxt_chunk(keyword.into(), value.into()).map_err(wrong)?;
    }
    let mut writer = encoder.write_header().map_err(wrong)?;
    for (i, frame) in frames.iter().enumerate() {
        if i + 1 == frames.len() {
            writer.set_frame_delay(rest.numerator, rest.denominator).map_err(wrong)?;
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

    /// Mutants: milliseconds, rounded (16 a second as 62 or 63 thousandths); numerator and denominator exchanged.
    #[test]
    fn a_rate_is_kept_to_the_frame() {
        let of = |rate: f64| {
            let Delay { numerator, denominator } = Delay::of_rate(rate);
            (numerator, denominator)
        };
        assert_eq!((of(16.0), of(1.0), of(240.0), of(0.5)), ((1, 16), (1, 1), (1, 240), (2, 1)));
        assert_eq!((of(29.97), of(24000.0 / 1001.0), of(0.1)), ((100, 2997), (1001, 24000), (10, 1)));
        assert_eq!((of(12.5), of(23.976)), ((2, 25), (125, 2997)));
        for rate in [std::f64::consts::PI, 59.123_456_7, 0.123_456_789, 239.999] {
            let (above, below) = of(rate);
            let apart = (f64::from(above) / f64::from(below) * rate - 1.0).abs();
            // A frame in a hundred thousand: the next fraction that continues these has more than 16 bits.
            assert!(apart < 1e-5, "{rate}: {above}/{below} is off by {apart}");
        }
        let frame = |v: u8| Bitmap { pixels: vec![v; 3], height: 1, width: 1, channels: 3 };
        let delay = Delay::of_rate(16.0);
        let bytes = encode_with(&[frame(1), frame(2)], delay, delay, &[]).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        reader.next_frame(&mut [0; 3]).unwrap();
        let said = reader.info().frame_control().unwrap();
        assert_eq!((said.delay_num, said.delay_den), (1, 16));
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
