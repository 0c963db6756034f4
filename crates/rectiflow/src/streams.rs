//! The random streams of sampling: what a sample draws is a function of the seed and its number.

use base::{Key, RandomStream};
use flow::Brownian;

/// The noise of samples under `seed`: a draw of its own, so that no seed gives a sample the noise of training or validation.
pub fn noise(seed: u64) -> Key {
    Key::of(seed, RandomStream::SampleNoise)
}

/// What stirs samples under `seed` on their way, in stochastic solvers.
pub(crate) fn stirred(seed: u64) -> Key {
    Key::of(seed, RandomStream::SamplePaths)
}

/// The Brownian paths of samples under `seed`, for stochastic solvers.
pub fn paths(seed: u64, indices: &[u64]) -> Brownian {
    Brownian::new(stirred(seed), indices)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Purpose;

    /// Samples start at noise that neither training nor validation of the same seed has seen. Mutant: the fold left out.
    #[test]
    fn samples_do_not_start_at_the_noise_of_training() {
        let first = |key: Key| key.normals(0, 4).collect::<Vec<f32>>();
        for training in [Key::new(7, Purpose::Noise), Key::of(7, RandomStream::ValidationNoise)] {
            assert_ne!(first(noise(7)), first(training));
        }
        assert_ne!(first(noise(7)), first(noise(8)));
    }
}
