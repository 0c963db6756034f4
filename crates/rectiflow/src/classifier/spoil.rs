//! Spoiling training images, so that the network learns to tell which defect they have: what classes alone never ask for, noise and a
//! wrong background say, its features would not show.

use base::Key;
use metrics::{defects::Defect, symmetry::mirrored};
use rand::RngExt;

/// What there is to tell: untouched, mirrored, shifted, blurred, noisy, wrong background.
pub(super) const KINDS: usize = 6;

/// Spoils `image` `[c h w]` half of the time, and says which of the [`KINDS`] it is now; a function of key and index.
pub(super) fn spoil(image: &mut [f32], [c, h, w]: [usize; 3], key: Key, index: u64) -> usize {
    let mut rng = key.at(index);
    if rng.random::<bool>() {
        return 0;
    }
    let kind = rng.random_range(1..KINDS);
    let strength = rng.random::<f64>();
    let change = |defect: Defect, image: &[f32]| defect.change(image, [1, c, h, w], key.fold(index));
    let levels = 1.5 + 6.5 * strength;
    let spoiled = match kind {
        1 => mirrored(image, w),
        2 if strength < 0.5 => change(Defect::Shifted { pixels: 1 }, image),
        2 => mirrored(&change(Defect::Shifted { pixels: 1 }, &mirrored(image, w)), w),
        3 => change(Defect::Blurred { sigma: 0.4 + 0.8 * strength }, image),
        4 => change(Defect::Noisy { levels }, image),
        _ => change(Defect::Background { levels }, image),
    };
    image.copy_from_slice(&spoiled);
    kind
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;

    /// Half untouched, the rest spread over the kinds, and the kind is what happened. Mutant: a label drawn apart from the change.
    #[test]
    fn half_are_spoiled_and_called_what_they_are() {
        let whole = [-1.0, -1.0, 0.5, -1.0, 0.0, 1.0, -1.0, -1.0, 0.25, -1.0, -1.0, -1.0, -1.0, 0.5, 0.5, -1.0];
        let mut seen = [0usize; KINDS];
        for index in 0..600 {
            let mut image = whole;
            let kind = spoil(&mut image, [1, 4, 4], Key::new(3, Purpose::Augment), index);
            seen[kind] += 1;
            match kind {
                0 => assert_eq!(image, whole),
                1 => assert_eq!(image.to_vec(), mirrored(&whole, 4)),
                5 => assert!(image[0] > -1.0 && image[2] == 0.5),
                _ => assert_ne!(image, whole),
            }
        }
        assert!((240..360).contains(&seen[0]) && seen[1..].iter().all(|n| (30..100).contains(n)), "{seen:?}");
    }
}
