//! FLAC files out, through `flacenc`.

use super::{Depth, Sound, wav};
use crate::MediaError;
use flacenc::{bitsink::ByteSink, component::BitRepr, error::Verify, source::MemSource};

pub(super) fn encode(sound: &Sound, depth: Depth) -> Result<Vec<u8>, MediaError> {
    let fail = |error: String| MediaError::setting(format!("this sound as FLAC: {error}"), "write it as WAV");
    if !(1..=8).contains(&sound.channels.len()) || sound.rate > 655_350 {
        return Err(fail(format!("{} channels at {} Hz, and FLAC holds 8", sound.channels.len(), sound.rate)));
    }
    let bits = depth.bits().min(24);
    let interleaved: Vec<i32> =
        (0..sound.frames()).flat_map(|i| sound.channels.iter().map(move |c| wav::integer(c[i], bits))).collect();
    let config = flacenc::config::Encoder::default().into_verified().map_err(|(_, e)| fail(format!("{e:?}")))?;
    let source = MemSource::from_samples(&interleaved, sound.channels.len(), bits.into(), sound.rate as usize);
    let mut stream = flacenc::encode_with_fixed_block_size(&config, source, config.block_size)
        .map_err(|e| fail(format!("{e:?}")))?;
    // The least block size does not count the last block (RFC 9639, sec. 8.2); the encoder counts it, and strict readers then
    // take the stream for one of varying blocks and refuse its numbering.
    let size = config.block_size;
    stream.stream_info_mut().set_block_sizes(size, size).map_err(|e| fail(format!("{e:?}")))?;
    let mut sink = ByteSink::new();
    stream.write(&mut sink).map_err(|e| fail(format!("{e:?}")))?;
    Ok(sink.as_slice().to_vec())
}
