//! Whether a JPEG image is whole, by its markers (ITU-T T.81, annex B). Decoders fill what is missing with grey.

/// More scans than any encoder writes; each costs a pass over the image.
const SCANS: usize = 256;

/// What is wrong with the image, if anything. Bytes after its end marker (the film of a phone's motion photo, a second picture)
/// are not looked at.
pub(crate) fn fault(bytes: &[u8]) -> Option<&'static str> {
    const TRUNCATED: Option<&str> = Some("a truncated JPEG image: its end marker is missing");
    let mut at = 2; // after the start marker
    let mut scans = 0;
    loop {
        // A marker is 0xFF, any number of further 0xFF, and its code.
        let Some(skip) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte != 0xff)) else {
            return TRUNCATED;
        };
        if skip == 0 {
            // Between segments nothing but markers should stand; decoders pass over it, and so do we.
            at += 1;
            continue;
        }
        let code = bytes[at + skip];
        at += skip + 1;
        match code {
            0xd9 => return if scans > 0 { None } else { Some("a JPEG image without pixels") },
            0x00 | 0x01 | 0xd0..=0xd8 => continue,
            _ => {}
        }
        let Some(&[high, low]) = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>()) else { return TRUNCATED };
        at += usize::from(u16::from_be_bytes([high, low]));
        if code == 0xda {
            scans += 1;
            if scans > SCANS {
                return Some("a JPEG image of more than 256 scans, which would take minutes to read");
            }
            // Coded data: 0xFF is followed by 0 or by a restart marker there.
            let coded = |pair: &[u8]| pair[0] != 0xff || matches!(pair[1], 0x00 | 0xd0..=0xd7 | 0xff);
            match bytes.get(at..).and_then(|rest| rest.windows(2).position(|pair| !coded(pair))) {
                Some(end) => at += end,
                None => return TRUNCATED,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo() -> Vec<u8> {
        let image = image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * y) as u8, (7 * x) as u8, (y * y) as u8]));
        let mut out = std::io::Cursor::new(Vec::new());
        image.write_to(&mut out, image::ImageFormat::Jpeg).unwrap();
        out.into_inner()
    }

    #[test]
    fn trailers_are_passed_over_and_truncation_is_seen() {
        let whole = photo();
        assert_eq!(fault(&whole), None);
        // A trailer with a start of scan of its own, and one that is a truncated JPEG.
        for trailer in [&b"MotionPhoto\xff\xda\x00\x01 ftyp"[..], &whole[..whole.len() / 2], &[0xff; 9]] {
            assert_eq!(fault(&[&whole[..], trailer].concat()), None);
        }
        for cut in 3..whole.len() {
            assert!(fault(&whole[..cut]).is_some(), "cut at {cut} of {}", whole.len());
        }
        // A preview inside a segment brings an end marker of its own, which is not the image's.
        let preview = &whole[..whole.len()];
        let length = ((preview.len() + 2) as u16).to_be_bytes();
        let held = [&[0xff, 0xd8, 0xff, 0xe1][..], &length, preview, &whole[2..]].concat();
        assert_eq!(fault(&held), None);
        assert!(fault(&held[..held.len() - 40]).is_some());
    }
}
