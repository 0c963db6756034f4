//! The random streams that stand beside others of their purpose, by name. One list, so that no two share their numbers under one seed.

use crate::{Key, Purpose};

macro_rules! streams {
    ($($(#[$doc:meta])+ $name:ident = $purpose:ident $number:literal,)+) => {
        /// A stream of its own under a seed; [`Key::of`] gives its numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RandomStream {
            $($(#[$doc])+ $name,)+
        }

        impl RandomStream {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The purpose it serves, and its number there. Numbers are kept in files by what they drew: never change one.
            const fn place(self) -> (Purpose, u64) {
                match self {
                    $(Self::$name => (Purpose::$purpose, $number),)+
                }
            }
        }
    };
}

streams! {
    /// Source points of validation.
    ValidationNoise = Noise 1,
    /// Source points of samples.
    SampleNoise = Noise 2,
    /// Source points of the trajectories that a search for steps looks at.
    ScheduleNoise = Noise 3,
    /// What target rules draw while they teach.
    LessonNoise = Noise 4,
    /// Where the one more step of a sample starts.
    OneMoreStepNoise = Noise 5,
    /// Source points of restorations.
    RestoreNoise = Noise 6,
    /// Source points of edited samples.
    EditNoise = Noise 7,
    /// Source points of the trajectories that a diagnosis looks at.
    DiagnoseNoise = Noise 8,
    /// The interpolant's latent in validation.
    ValidationLatent = Latent 1,
    /// Brownian paths of samples.
    SamplePaths = Latent 2,
    /// The interpolant's latent in a diagnosis.
    DiagnoseLatent = Latent 3,
    /// The interpolant's latent in pictures of points.
    ToyLatent = Latent 4,
    /// Order in which a second data set is visited.
    SourceOrder = Order 1,
    /// Which images stand for a data set when it judges.
    JudgedOrder = Order 31,
    /// Which of the pairs that people judged are learned from, and which judge what was learned.
    JudgedPairs = Order 32,
    /// Which samples are shown beside each other to be labelled.
    LabelledPairs = Order 33,
    /// Points of sets in the plane.
    Points = Order 45,
    /// Mixtures that separation is scored on.
    ScoredMixtures = Probe 1,
    /// Which view of a shape a training step sees.
    SeenViews = Probe 5,
    /// Through which window a training step looks at what a latent stands for.
    SeenWindows = Probe 6,
    /// Directions of the sliced Wasserstein distance.
    Slices = Probe 2,
    /// Which rows of features are kept.
    KeptRows = Probe 3,
    /// Noise of what a restoration starts from.
    Measurement = Probe 4,
    /// Which pixels a drawn mask hides.
    HiddenPixels = Probe 11,
    /// Which numbers of a sample are sensed.
    SensedNumbers = Probe 12,
    /// Where a drawn gap of a recording lies.
    LostStretch = Probe 13,
    /// Sounds that a listener learns from.
    ListenedSounds = Probe 7,
    /// Sounds that it is tried on.
    ListenedTrial = Probe 8,
    /// Which images are compared with their mirror images.
    Mirrored = Probe 21,
    /// Which images are spoiled to learn what a judge sees.
    Spoiled = Probe 22,
    /// Which rows a bootstrap takes.
    Bootstrap = Probe 23,
}

impl Key {
    /// The numbers of `stream` under `seed`.
    pub fn of(seed: u64, stream: RandomStream) -> Self {
        let (purpose, number) = stream.place();
        Self::new(seed, purpose).fold(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Mutant: two streams at one place.
    #[test]
    fn no_two_streams_share_their_numbers_nor_those_of_their_purpose() {
        let first = |key: Key| key.bits(0);
        let plain = [Purpose::Noise, Purpose::Latent, Purpose::Order, Purpose::Init, Purpose::Probe];
        let mut seen: BTreeSet<u64> = plain.iter().map(|&purpose| first(Key::new(7, purpose))).collect();
        for &stream in RandomStream::ALL {
            assert!(seen.insert(first(Key::of(7, stream))), "{stream:?}");
        }
    }
}
