//! FLAC, Ogg Vorbis and MP3 in, through `symphonia`. A damaged packet is passed over and counted, as players do.

use super::{Reading, Sound};
use crate::MediaError;
use std::{io::Cursor, path::Path};
use symphonia::core::{
    codecs::audio::AudioDecoderOptions,
    errors::Error,
    formats::{FormatOptions, TrackType, probe::Hint},
    io::MediaSourceStream,
    meta::MetadataOptions,
};

pub(super) fn decode(
    bytes: Vec<u8>,
    path: &Path,
    kind: &'static str,
    hint: &str,
    most: usize,
) -> Result<Reading, MediaError> {
    let fail = |reason: String| MediaError::Format { kind, path: path.into(), reason };
    let damage = |error: Error| fail(format!("{error}; it may be cut short or damaged: fetch or export it again"));
    let stream = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let mut known = Hint::new();
    known.with_extension(hint);
    let mut format = symphonia::default::get_probe()
        .probe(&known, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(damage)?;
    let track = format.default_track(TrackType::Audio).ok_or_else(|| fail("no track of it is sound".into()))?;
    let id = track.id;
    let parameters = track.codec_params.as_ref().and_then(|p| p.audio());
    let parameters = parameters.ok_or_else(|| fail("its sound track does not say how it is coded".into()))?;
    let mut decoder = symphonia::default::get_codecs()
        .make_audio_decoder(parameters, &AudioDecoderOptions::default())
        .map_err(|error| fail(format!("{error}; convert it to WAV")))?;

    let mut sound = Sound { rate: 0, channels: Vec::new() };
    let mut planes: Vec<Vec<f32>> = Vec::new();
    let mut damaged = 0;
    loop {
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            Err(Error::ResetRequired) => {
                return Err(fail("it is several recordings in one stream; split it into files".into()));
            }
            Err(error) => return Err(damage(error)),
        };
        if packet.track_id != id {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(part) => {
                let (rate, count) = (part.spec().rate(), part.num_planes());
                if sound.channels.is_empty() {
                    sound = Sound { rate, channels: vec![Vec::new(); count] };
                } else if sound.rate != rate || sound.channels.len() != count {
                    let (old, was) = (sound.rate, sound.channels.len());
                    return Err(fail(format!(
                        "it changes from {was} channels at {old} Hz to {count} at {rate} Hz on the way; split it there"
                    )));
                }
                part.copy_to_vecs_planar(&mut planes);
                sound.channels.iter_mut().zip(&planes).for_each(|(all, part)| all.extend_from_slice(part));
                if sound.frames().saturating_mul(count) > most {
                    return Err(super::too_long(kind, path, most));
                }
            }
            Err(Error::DecodeError(_) | Error::IoError(_)) => damaged += 1,
            Err(error) => return Err(damage(error)),
        }
    }
    if sound.rate == 0 && damaged > 0 {
        return Err(fail(format!("none of its {damaged} packets could be read; fetch or export it again")));
    }
    Ok(Reading { sound, damaged, kind })
}
