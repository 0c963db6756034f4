//! Training augmentation: a mirror image half of the time and a shift by a few pixels; image `i` of epoch `e` depends on
//! the seed, `e` and `i` alone.

use base::Key;
use rand::RngExt;

/// Writes image `[c h w]` of bytes into `out` as numbers in [-1, 1], perhaps mirrored, shifted by at most `shift`
/// pixels each way; uncovered pixels are black (-1).
pub(super) fn augment(
    pixels: &[u8],
    [c, h, w]: [usize; 3],
    flip: bool,
    shift: usize,
    key: Key,
    index: u64,
    out: &mut [f32],
) {
    let mut rng = key.at(index);
    let mirrored = rng.random::<bool>() && flip;
    let limit = i64::try_from(shift).unwrap_or(i64::MAX).min(1 << 20);
    let (dy, dx) = (rng.random_range(-limit..=limit), rng.random_range(-limit..=limit));
    for channel in 0..c {
        for y in 0..h {
            for x in 0..w {
                let (from_y, from_x) = (y as i64 + dy, x as i64 + dx);
                let inside = (0..h as i64).contains(&from_y) && (0..w as i64).contains(&from_x);
                let from_x = if mirrored { w as i64 - 1 - from_x } else { from_x };
                out[(channel * h + y) * w + x] = match inside {
                    true => data::normalize(pixels[(channel * h + from_y as usize) * w + from_x as usize]),
                    false => -1.0,
                };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;

    #[test]
    fn every_shift_and_mirror_occurs_and_nothing_else() {
        // One bright pixel in the middle of 5 x 5: it must land within one pixel, at each of nine places.
        let mut pixels = [0u8; 25];
        pixels[12] = 255;
        let mut seen = [0usize; 25];
        let mut out = [0.0; 25];
        for i in 0..300 {
            augment(&pixels, [1, 5, 5], true, 1, Key::new(0, Purpose::Augment), i, &mut out);
            let at = out.iter().position(|&v| v == 1.0).unwrap();
            assert_eq!(out.iter().filter(|&&v| v != -1.0).count(), 1);
            seen[at] += 1;
        }
        let places: Vec<usize> = (0..25).filter(|&i| seen[i] > 0).collect();
        assert_eq!(places, [6, 7, 8, 11, 12, 13, 16, 17, 18]);
    }

    #[test]
    fn without_shift_half_of_the_images_are_mirrored() {
        let pixels = [0u8, 255];
        let mut mirrored = 0;
        for i in 0..400 {
            let mut out = [0.0; 2];
            augment(&pixels, [1, 1, 2], true, 0, Key::new(1, Purpose::Augment), i, &mut out);
            mirrored += usize::from(out == [1.0, -1.0]);
            augment(&pixels, [1, 1, 2], false, 0, Key::new(1, Purpose::Augment), i, &mut out);
            assert_eq!(out, [-1.0, 1.0]);
        }
        // 200 expected, standard deviation 10; five of them.
        assert!((150..250).contains(&mirrored), "{mirrored}");
    }
}
