//! Contact sheets: many images side by side in one.

use crate::{Bitmap, Images, lettering};

/// How a sheet is laid out. Images fill it row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Images per row; 0 chooses the most nearly square sheet.
    pub columns: usize,
    /// Gap between images and around the sheet, in pixels of the sheet.
    pub padding: usize,
    /// Each pixel becomes a square of this side, so that a 28x28 image is visible; 0 chooses the smallest that makes
    /// images at least 56 pixels wide.
    pub upscale: usize,
    /// Grey level of the gaps.
    pub background: u8,
}

impl Default for Grid {
    fn default() -> Self {
        Self { columns: 0, padding: 2, upscale: 0, background: 24 }
    }
}

/// Images narrower than this are enlarged by a whole factor.
const VISIBLE_WIDTH: usize = 56;

/// A name above a column takes at most so many lines.
const NAME_LINES: usize = 2;

/// Its grey.
const NAME_LEVEL: u8 = 220;

impl Grid {
    /// The number of columns a sheet of `count` images gets.
    pub fn columns_for(&self, count: usize) -> usize {
        if self.columns > 0 { self.columns } else { ((count as f64).sqrt().ceil() as usize).max(1) }
    }

    /// [`Grid::draw`] for pictures; clips, which have frames where pictures have channels, are laid out with a row of frames each.
    pub fn sheet(&self, images: &Images) -> Bitmap {
        match (images.shape(), images.frames()) {
            ([1 | 3, ..], _) => self.draw(images),
            ([frames, ..], pictures) => Self { columns: frames, ..self.clone() }.draw(&pictures),
        }
    }

    /// [`Grid::draw`] in as many columns as there are `names`, each above its column.
    pub fn named(&self, images: &Images, names: &[String]) -> Bitmap {
        let grid = Self { columns: names.len(), ..self.clone() };
        let below = grid.draw(images);
        let width = images.shape()[2] * grid.scale_for(images.shape()[2]);
        let lines: Vec<_> = names.iter().map(|name| lettering::wrap(name, width, NAME_LINES)).collect();
        let tall = lines.iter().map(Vec::len).max().unwrap_or(0);
        let strip = self.padding + tall * lettering::LINE;
        let pixels = vec![self.background; strip * below.width * below.channels];
        let mut sheet = Bitmap { pixels, height: strip, width: below.width, channels: below.channels };
        for (column, lines) in lines.iter().enumerate() {
            let left = self.padding + column * (width + self.padding);
            for (at, line) in lines.iter().enumerate() {
                // Short names stand right above their pictures.
                let top = self.padding + (tall - lines.len() + at) * lettering::LINE;
                lettering::write(&mut sheet, line, [left, top], width, NAME_LEVEL);
            }
        }
        sheet.pixels.extend(below.pixels);
        sheet.height += below.height;
        sheet
    }

    fn scale_for(&self, width: usize) -> usize {
        if self.upscale > 0 { self.upscale } else { VISIBLE_WIDTH.div_ceil(width.max(1)).max(1) }
    }

    /// Draws the sheet; an empty set gives a sheet of one gap.
    pub fn draw(&self, images: &Images) -> Bitmap {
        let [channels, height, width] = images.shape();
        let scale = self.scale_for(width);
        let columns = self.columns_for(images.len());
        let rows = images.len().div_ceil(columns);
        let (cell_h, cell_w) = (height * scale + self.padding, width * scale + self.padding);
        let sheet_h = (rows * cell_h + self.padding).max(1);
        let sheet_w = (columns * cell_w + self.padding).max(1);
        let mut pixels = vec![self.background; sheet_h * sheet_w * channels];
        for i in 0..images.len() {
            let image = images.bitmap(i);
            let (top, left) = (self.padding + i / columns * cell_h, self.padding + i % columns * cell_w);
            for y in 0..height * scale {
                for x in 0..width * scale {
                    let from = (y / scale * width + x / scale) * channels;
                    let to = ((top + y) * sheet_w + left + x) * channels;
                    pixels[to..to + channels].copy_from_slice(&image.pixels[from..from + channels]);
                }
            }
        }
        Bitmap { pixels, height: sheet_h, width: sheet_w, channels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_image_stands_in_its_cell() {
        let images = Images::new(vec![-1.0, 0.0, 1.0], 3, [1, 1, 1]).unwrap();
        let sheet = Grid { columns: 2, padding: 1, upscale: 2, background: 7 }.draw(&images);
        assert_eq!((sheet.height, sheet.width), (7, 7));
        let at = |y: usize, x: usize| sheet.pixels[y * 7 + x];
        assert_eq!([at(1, 1), at(2, 2), at(1, 4), at(4, 1), at(5, 2)], [0, 0, 128, 255, 255]);
        assert_eq!([at(0, 0), at(3, 3), at(4, 4), at(6, 6)], [7; 4]);
    }

    /// Mutants: names in another order; the pictures no longer what they are without names.
    #[test]
    fn names_stand_above_their_columns() {
        let images = Images::new([-1.0, 1.0].map(|v| [v; 4]).repeat(2).concat(), 4, [1, 2, 2]).unwrap();
        let grid = Grid { padding: 3, ..Grid::default() };
        let named = |names: [&str; 2]| grid.named(&images, &names.map(String::from));
        let (sheet, plain) = (named(["Bag", "Sandal"]), Grid { columns: 2, ..grid.clone() }.draw(&images));
        assert_eq!((sheet.width, sheet.height), (plain.width, plain.height + 3 + lettering::LINE));
        let strip = sheet.pixels.len() - plain.pixels.len();
        assert!(sheet.pixels[strip..] == plain.pixels && sheet.pixels[..strip].iter().any(|v| *v > 200));
        let ink = |sheet: &Bitmap, columns: std::ops::Range<usize>| -> usize {
            let lit = |at: &usize| columns.contains(&(at % sheet.width)) && sheet.pixels[*at] > 120;
            (0..strip).filter(lit).count()
        };
        let half = sheet.width / 2;
        assert!(ink(&sheet, half..sheet.width) > ink(&sheet, 0..half) && ink(&sheet, 0..half) > 0);
        let other = named(["Sandal", "Bag"]);
        assert!(ink(&other, half..sheet.width) < ink(&other, 0..half));
        assert_eq!(named(["Ankle boot", ""]).height, plain.height + 3 + 2 * lettering::LINE);
    }

    /// Mutant: frames laid out as the most nearly square sheet.
    #[test]
    fn a_clip_is_a_row_of_its_frames() {
        let clips = Images::new((0..10).map(|i| i as f32 * 0.2 - 1.0).collect(), 2, [5, 1, 1]).unwrap();
        let sheet = Grid { padding: 0, upscale: 1, ..Grid::default() }.sheet(&clips);
        assert_eq!((sheet.height, sheet.width, sheet.channels), (2, 5, 1));
        assert!(sheet.pixels.is_sorted() && sheet.pixels[5] == 128, "{:?}", sheet.pixels);
        let picture = Images::new(vec![0.0; 12], 1, [3, 2, 2]).unwrap();
        assert_eq!(Grid::default().sheet(&picture), Grid::default().draw(&picture));
    }

    #[test]
    fn small_images_are_enlarged_and_large_ones_are_not() {
        let small = Images::new(vec![0.0; 28 * 28], 1, [1, 28, 28]).unwrap();
        assert_eq!(Grid { padding: 0, ..Grid::default() }.draw(&small).width, 56);
        let large = Images::new(vec![0.0; 64 * 64], 1, [1, 64, 64]).unwrap();
        assert_eq!(Grid { padding: 0, ..Grid::default() }.draw(&large).width, 64);
    }

    #[test]
    fn an_empty_set_does_not_fail() {
        let none = Images::new(vec![], 0, [3, 4, 4]).unwrap();
        let sheet = Grid::default().draw(&none);
        assert_eq!(sheet.pixels.len(), sheet.height * sheet.width * 3);
    }
}
