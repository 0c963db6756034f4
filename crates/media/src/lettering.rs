//! Words on pictures: names above the columns of a sheet, in letters of one height.

use crate::Bitmap;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const SIZE: RasterHeight = RasterHeight::Size16;

/// Pixels of a line of text from top to bottom.
pub const LINE: usize = SIZE.val();

/// `text` in at most `lines` lines that fit into `width` pixels: broken at spaces and after `/`, `-` and `_`, inside a word where that
/// alone is too long; what has no place ends in `…`.
pub fn wrap(text: &str, width: usize, lines: usize) -> Vec<String> {
    let most = (width / get_raster_width(WEIGHT, SIZE)).max(1);
    let mut out = vec![String::new()];
    for part in text.split_inclusive([' ', '/', '-', '_']) {
        let long = part.trim_end().chars().count();
        let mut line = out.len() - 1;
        if out[line].chars().count() + long > most && !out[line].is_empty() {
            out.push(String::new());
            line += 1;
        }
        for sign in part.chars() {
            if out[line].chars().count() == most && !sign.is_whitespace() {
                out.push(String::new());
                line += 1;
            }
            out[line].push(sign);
        }
    }
    let mut kept: Vec<String> = out.iter().take(lines).map(|line| line.trim().to_string()).collect();
    if let (true, Some(last)) = (out.len() > lines, kept.last_mut()) {
        *last = last.chars().take(most - 1).chain(['…']).collect();
    }
    kept
}

/// Writes a line in a grey of `level`, centred in the `width` pixels right of `[left, top]`. What lies outside is cut off; a letter that
/// the font lacks becomes `?`.
pub fn write(onto: &mut Bitmap, line: &str, [left, top]: [usize; 2], width: usize, level: u8) {
    let letter = get_raster_width(WEIGHT, SIZE);
    let begin = left + width.saturating_sub(line.chars().count() * letter) / 2;
    for (i, sign) in line.chars().enumerate() {
        let Some(raster) = get_raster(sign, WEIGHT, SIZE).or_else(|| get_raster('?', WEIGHT, SIZE)) else { continue };
        for (y, row) in raster.rows().enumerate() {
            for (x, cover) in row.iter().enumerate() {
                let (x, y, cover) = (begin + i * letter + x, top + y, u32::from(*cover));
                if x < onto.width.min(left + width) && y < onto.height {
                    let at = (y * onto.width + x) * onto.channels;
                    for value in &mut onto.pixels[at..at + onto.channels] {
                        *value = ((u32::from(*value) * (255 - cover) + u32::from(level) * cover + 127) / 255) as u8;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: a break inside a word that fits on a line of its own; what is cut off left unsaid.
    #[test]
    fn names_break_where_words_do() {
        let wide = 8 * get_raster_width(WEIGHT, SIZE);
        let lines = |text| wrap(text, wide, 2).join("|");
        assert_eq!(lines("Bag"), "Bag");
        assert_eq!(lines("Pullover"), "Pullover");
        assert_eq!(lines("Ankle boot"), "Ankle|boot");
        assert_eq!(lines("T-shirt/top"), "T-shirt/|top");
        assert_eq!(lines("automobile"), "automobi|le");
        assert_eq!(lines("a very long name of a class"), "a very|long…");
        assert_eq!((lines(""), wrap("wide", 1, 1)), (String::new(), vec!["…".to_string()]));
    }

    /// Mutants: not centred; written over the next column.
    #[test]
    fn a_line_stands_in_the_middle_of_its_place() {
        let blank = || Bitmap { pixels: vec![10; 60 * 20 * 3], height: 20, width: 60, channels: 3 };
        let mut sheet = blank();
        write(&mut sheet, "o", [20, 2], 20, 250);
        let lit = |sheet: &Bitmap, x: usize| (0..20).any(|y| sheet.pixels[(y * 60 + x) * 3] > 10);
        let columns: Vec<usize> = (0..60).filter(|x| lit(&sheet, *x)).collect();
        let (first, last) = (columns[0], columns[columns.len() - 1]);
        assert!(first >= 25 && last <= 34 && (first + last).abs_diff(59) <= 2, "{columns:?}");
        assert!(sheet.pixels.chunks(3).all(|p| p[0] == p[1] && p[1] == p[2]));
        let mut cut = blank();
        write(&mut cut, "mmmmmmmmm", [50, 15], 40, 250);
        write(&mut cut, "mmmmmmmmm", [0, 0], 10, 250);
        assert!((11..50).all(|x| !lit(&cut, x)));
        let (mut known, mut strange) = (blank(), blank());
        write(&mut known, "?", [0, 0], 20, 250);
        write(&mut strange, "\u{1F600}", [0, 0], 20, 250);
        assert_eq!(known, strange);
    }
}
