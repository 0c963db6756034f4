//! YUV4MPEG2, the plain text-headed stream of uncompressed frames that ffmpeg, mpv and every encoder read.
//!
//! Colours are those of BT.601 in its limited range (ITU-R BT.601-7, sec. 2.5.3), no pixel of them left out (`C444`), which is what a
//! reader takes such a stream for that says nothing else.

use crate::{Bitmap, MediaError, animation::Delay, atomic};
use std::path::Path;

/// `frames` of one size as the bytes of a stream, `rate` of them a second.
///
/// # Errors
/// [`MediaError::Format`] for no frame, frames of different sizes, and a rate that is none.
pub fn encode(frames: &[Bitmap], rate: f64) -> Result<Vec<u8>, MediaError> {
    let fail = |reason: &str| MediaError::Format { kind: "y4m", path: "clip in memory".into(), reason: reason.into() };
    let first = frames.first().ok_or_else(|| fail("there is no frame"))?;
    if frames.iter().any(|f| (f.width, f.height, f.channels) != (first.width, first.height, first.channels)) {
        return Err(fail("its frames differ in size"));
    }
    if !(rate.is_finite() && rate > 0.0) {
        return Err(fail("its rate is no number above 0"));
    }
    let Delay { numerator: under, denominator: over } = Delay::of_rate(rate);
    let (width, height) = (first.width, first.height);
    let mut bytes =
        format!("YUV4MPEG2 W{width} H{height} F{over}:{under} Ip A1:1 C444 XCOLORRANGE=LIMITED\n").into_bytes();
    for frame in frames {
        bytes.extend(b"FRAME\n");
        let pixels =
            || frame.pixels.chunks_exact(frame.channels).map(|pixel| [0, 1, 2].map(|i| pixel[i % frame.channels]));
        for weights in [LUMA, BLUE, RED] {
            bytes.extend(pixels().map(|rgb| weigh(rgb, weights)));
        }
    }
    Ok(bytes)
}

/// Writes [`encode`]'s bytes to `path`, whole or not at all.
///
/// # Errors
/// As [`encode`] and [`atomic::write`].
pub fn save(path: &Path, frames: &[Bitmap], rate: f64) -> Result<(), MediaError> {
    atomic::write(path, &encode(frames, rate)?)
}

/// Weights of red, green and blue in 0..=255, and what is added.
type Weights = ([f64; 3], f64);

const LUMA: Weights = ([65.481 / 255.0, 128.553 / 255.0, 24.966 / 255.0], 16.0);
const BLUE: Weights = ([-37.797 / 255.0, -74.203 / 255.0, 112.0 / 255.0], 128.0);
const RED: Weights = ([112.0 / 255.0, -93.786 / 255.0, -18.214 / 255.0], 128.0);

fn weigh(rgb: [u8; 3], (weights, offset): Weights) -> u8 {
    let sum: f64 = rgb.iter().zip(weights).map(|(value, weight)| f64::from(*value) * weight).sum();
    (sum + offset).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known colours of BT.601, limited range.
    ///
    /// Mutants: the two colour planes exchanged, full range in place of limited, planes of all frames one after another.
    #[test]
    fn planes_follow_each_other_frame_by_frame() {
        let frame = |rgb: [u8; 3]| Bitmap { pixels: rgb.repeat(2), height: 1, width: 2, channels: 3 };
        let bytes = encode(&[frame([255, 0, 0]), frame([255, 255, 255])], 12.5).unwrap();
        let head = b"YUV4MPEG2 W2 H1 F25:2 Ip A1:1 C444 XCOLORRANGE=LIMITED\n";
        assert_eq!(&bytes[..head.len()], head);
        let frames = b"FRAME\n\x51\x51\x5a\x5a\xf0\xf0FRAME\n\xeb\xeb\x80\x80\x80\x80";
        assert_eq!(&bytes[head.len()..], frames);
        // Grey is a colour without colour.
        let grey = Bitmap { pixels: vec![0], height: 1, width: 1, channels: 1 };
        assert!(
            encode(std::slice::from_ref(&grey), 16.0)
                .unwrap()
                .ends_with(b"F16:1 Ip A1:1 C444 XCOLORRANGE=LIMITED\nFRAME\n\x10\x80\x80")
        );
        assert!(encode(&[], 16.0).is_err() && encode(&[grey.clone(), frame([0; 3])], 16.0).is_err());
        assert!(encode(&[grey], 0.0).is_err());
    }
}
