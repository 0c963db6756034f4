//! PNG files with their generation parameters in text chunks, so that an image can say how it was made.
//!
//! `parameters` holds the one-line form that image viewers of the field read; `rectiflow` holds JSON.
//! Latin text goes into `tEXt`, everything else into `iTXt` (PNG specification, third edition, §11.3.3).

use crate::{Bitmap, MediaError, atomic};
use std::{io::BufReader, path::Path};

/// `bitmap` as the bytes of a PNG file with one text chunk per `(keyword, text)`.
///
/// # Errors
/// [`MediaError::Channels`] where it has other than 1 or 3 channels.
pub fn encode(bitmap: &Bitmap, text: &[(&str, &str)]) -> Result<Vec<u8>, MediaError> {
    let color = match bitmap.channels {
        1 => png::ColorType::Grayscale,
        3 => png::ColorType::Rgb,
        other => return Err(MediaError::Channels(other)),
    };
    let mut bytes = Vec::new();
    let fail = |error: png::EncodingError| MediaError::Format {
        kind: "PNG",
        path: "image in memory".into(),
        reason: error.to_string(),
    };
    let mut encoder = png::Encoder::new(&mut bytes, bitmap.width as u32, bitmap.height as u32);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_compression(png::Compression::Fast);
    for &(keyword, value) in text {
        if value.chars().all(|c| (c as u32) < 256) {
            encoder.add_text_chunk(keyword.into(), value.into()).map_err(fail)?;
        } else {
            encoder.add_itxt_chunk(keyword.into(), value.into()).map_err(fail)?;
        }
    }
    let mut writer = encoder.write_header().map_err(fail)?;
    writer.write_image_data(&bitmap.pixels).map_err(fail)?;
    writer.finish().map_err(fail)?;
    Ok(bytes)
}

/// Writes [`encode`]'s bytes to `path`, whole or not at all.
///
/// # Errors
/// As [`encode`] and [`atomic::write`].
pub fn save(path: &Path, bitmap: &Bitmap, text: &[(&str, &str)]) -> Result<(), MediaError> {
    atomic::write(path, &encode(bitmap, text)?)
}

/// The text chunks of the PNG at `path`, in file order.
///
/// # Errors
/// [`MediaError::Io`] where it cannot be opened, [`MediaError::Format`] where it is no PNG.
pub fn read_text(path: &Path) -> Result<Vec<(String, String)>, MediaError> {
    let file = std::fs::File::open(path).map_err(MediaError::io("read", path))?;
    let fail = |reason: String| MediaError::Format { kind: "PNG", path: path.into(), reason };
    let mut reader = png::Decoder::new(BufReader::new(file)).read_info().map_err(|error| fail(error.to_string()))?;
    reader.finish().map_err(|error| fail(error.to_string()))?;
    let info = reader.info();
    let latin = info.uncompressed_latin1_text.iter().map(|chunk| (chunk.keyword.clone(), chunk.text.clone()));
    let mut chunks: Vec<_> = latin.collect();
    for chunk in &info.utf8_text {
        chunks.push((chunk.keyword.clone(), chunk.get_text().map_err(|error| fail(error.to_string()))?));
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pixels_and_text_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        let bitmap = Bitmap { pixels: (0..24).collect(), height: 2, width: 4, channels: 3 };
        save(&path, &bitmap, &[("parameters", "Steps: 8"), ("rectiflow", "{\"name\":\"größe – 大\"}")]).unwrap();
        let text = read_text(&path).unwrap();
        assert!(text.contains(&("parameters".into(), "Steps: 8".into())));
        assert!(text.contains(&("rectiflow".into(), "{\"name\":\"größe – 大\"}".into())));
        let decoded = image::open(&path).unwrap().to_rgb8();
        assert_eq!(decoded.dimensions(), (4, 2));
        assert_eq!(decoded.into_raw(), bitmap.pixels);
    }

    #[test]
    fn two_channels_are_refused_with_the_way_out() {
        let bitmap = Bitmap { pixels: vec![0; 2], height: 1, width: 1, channels: 2 };
        assert!(encode(&bitmap, &[]).unwrap_err().to_string().contains("npy"));
    }

    #[test]
    fn a_text_file_is_no_png() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.png");
        std::fs::write(&path, "hello").unwrap();
        assert!(read_text(&path).unwrap_err().to_string().contains("not a readable PNG"));
    }
}
