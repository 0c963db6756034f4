//! Another rate: band-limited, by Fourier transforms (`rubato`), at the same place in time.

use super::Sound;
use crate::MediaError;
use rubato::audioadapter_buffers::direct::SequentialSliceOfVecs;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

/// Frames that are transformed together.
const CHUNK: usize = 1024;

/// `sound` at `rate`; a sound of `n` frames becomes one of `ceil(n * rate / its rate)`.
///
/// # Errors
/// [`MediaError::Setting`] for a rate of zero or two rates that have no small common measure.
pub fn resample(sound: &Sound, rate: u32) -> Result<Sound, MediaError> {
    if sound.rate == rate {
        return Ok(sound.clone());
    }
    let fail = |why: String| {
        let what = format!("resampling from {} Hz to {rate} Hz: {why}", sound.rate);
        MediaError::setting(what, "use a usual rate, such as 16000 or 44100")
    };
    // Rates without a common measure would make a transform of a whole second; a hostile header could ask for hours.
    if !(1..=768_000).contains(&rate) || !(1..=768_000).contains(&sound.rate) {
        return Err(fail("rates are from 1 to 768 000 Hz".into()));
    }
    let (count, frames) = (sound.channels.len(), sound.frames());
    if count == 0 || frames == 0 {
        return Ok(Sound { rate, channels: vec![Vec::new(); count] });
    }
    // The filter delays by half a transform, which is trimmed in whole frames: an even number of the smallest transforms has a
    // whole half, an odd one would leave the sound half a frame late.
    let (from, to) = (sound.rate as usize, rate as usize);
    let pair = 2 * from / common(from, to);
    let chunk = pair * CHUNK.div_ceil(pair);
    let mut resampler =
        Fft::<f32>::new_custom(from, to, chunk, 1, count, WindowFunction::BlackmanHarris2, FixedSync::Both)
            .map_err(|e| fail(e.to_string()))?;
    let input = SequentialSliceOfVecs::new(&sound.channels, count, frames).map_err(|e| fail(e.to_string()))?;
    let output = resampler.process_all(&input, frames, None).map_err(|e| fail(e.to_string()))?.take_data();
    let channels = (0..count).map(|c| output.iter().skip(c).step_by(count).copied().collect()).collect();
    Ok(Sound { rate, channels })
}

/// The greatest common measure.
fn common(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common(b, a % b) }
}
