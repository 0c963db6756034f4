//! Images as numbers in [-1, 1] and as bytes, and the way from one to the other.

use crate::MediaError;

/// A set of images of one shape as host numbers: `[n c h w]`, values in [-1, 1] (outside values are clamped when drawn).
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    values: Vec<f32>,
    count: usize,
    shape: [usize; 3],
}

impl Images {
    /// `count` images of `shape` `[c h w]`.
    ///
    /// # Errors
    /// [`MediaError::Shape`] where `values` has another length.
    pub fn new(values: Vec<f32>, count: usize, shape: [usize; 3]) -> Result<Self, MediaError> {
        if values.len() != count * shape.iter().product::<usize>() {
            return Err(MediaError::Shape { count: values.len(), images: count, shape });
        }
        Ok(Self { values, count, shape })
    }

    /// Number of images.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// `[c h w]` of each image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// All numbers, `[n c h w]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The numbers of image `i`, `[c h w]`.
    pub fn image(&self, i: usize) -> &[f32] {
        let size: usize = self.shape.iter().product();
        &self.values[i * size..(i + 1) * size]
    }

    /// The first `count` images (all where there are fewer).
    pub fn take(&self, count: usize) -> Self {
        let count = count.min(self.count);
        let size: usize = self.shape.iter().product();
        Self { values: self.values[..count * size].to_vec(), count, shape: self.shape }
    }

    /// Each channel as a grey picture of its own: the frames of clips `[f h w]`, one after another.
    pub fn frames(&self) -> Self {
        let [channels, height, width] = self.shape;
        Self { values: self.values.clone(), count: self.count * channels, shape: [1, height, width] }
    }

    /// Image `i` as bytes.
    pub fn bitmap(&self, i: usize) -> Bitmap {
        let [channels, height, width] = self.shape;
        let image = self.image(i);
        let mut pixels = Vec::with_capacity(image.len());
        for position in 0..height * width {
            for channel in 0..channels {
                pixels.push(byte(image[channel * height * width + position]));
            }
        }
        Bitmap { pixels, height, width, channels }
    }
}

/// One image as bytes, `[h w c]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    /// `h * w * c` bytes, rows from the top.
    pub pixels: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// 1 (grey) or 3 (red, green, blue).
    pub channels: usize,
}

/// [-1, 1] to 0..=255 by rounding to the nearest, the inverse of `byte / 127.5 - 1`. Not-a-number becomes black.
pub fn byte(value: f32) -> u8 {
    ((value + 1.0) * 127.5).round().clamp(0.0, 255.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives_the_round_trip() {
        for b in 0..=255u8 {
            assert_eq!(byte(b as f32 / 127.5 - 1.0), b);
        }
        assert_eq!([byte(-3.0), byte(7.0), byte(f32::NAN)], [0, 255, 0]);
    }

    #[test]
    fn channels_move_to_the_end() {
        // One 1x2 image with planes R = (1, -1), G = (-1, 1), B = (-1, -1): a red and a green pixel.
        let images = Images::new(vec![1.0, -1.0, -1.0, 1.0, -1.0, -1.0], 1, [3, 1, 2]).unwrap();
        assert_eq!(images.bitmap(0).pixels, [255, 0, 0, 0, 255, 0]);
    }

    #[test]
    fn a_wrong_count_is_refused() {
        assert!(Images::new(vec![0.0; 5], 1, [1, 2, 2]).unwrap_err().to_string().contains("5 numbers"));
    }
}
