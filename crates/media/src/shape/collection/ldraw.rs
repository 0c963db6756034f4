//! The parts of an LDraw library: the first line is the caption, its first word the class.

use super::Entry;
use crate::MediaError;
use crate::shape::Library;

/// The parts that show a thing, and what was passed over.
pub(super) fn entries(library: &Library) -> Result<(Vec<Entry>, Vec<String>), MediaError> {
    let mut entries = Vec::new();
    let (mut helpers, mut stickers, mut mute) = (0, 0, 0);
    for name in library.parts()? {
        let Some(bytes) = library.bytes(&name)? else { continue };
        let text = String::from_utf8_lossy(&bytes);
        let first = text.trim_start_matches('\u{feff}').lines().next().unwrap_or_default();
        let caption = first.strip_prefix('0').unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        let class = caption.split(' ').next().unwrap_or_default().to_string();
        if caption.is_empty() {
            mute += 1;
        } else if caption.starts_with(['~', '_', '=', '|']) {
            helpers += 1; // moved, aliases, halves of flexible parts
        } else if class == "Sticker" {
            stickers += 1;
        } else {
            let digits = name.find(|c: char| !c.is_ascii_digit()).filter(|&at| at > 0);
            let family = digits.map_or(name.trim_end_matches(".dat"), |at| &name[..at]).to_string();
            entries.push(Entry { name, caption, class, family });
        }
    }
    let notes = [
        (helpers, "parts that only move, alias or help others"),
        (stickers, "stickers"),
        (mute, "parts without caption"),
    ];
    let notes = notes.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("left out: {count} {what}"));
    Ok((entries, notes.collect()))
}
