//! What was done to pictures or recordings and is to be undone: a hole, a gap, fewer pixels, a blur, no colour, few numbers, rounding, lost
//! phases.

use super::Gap;
use crate::Error;
use base::{Key, RandomStream};
use data::{DataConfig, Split};
use methods::MethodError;
use methods::steer::{
    Sensor,
    operator::{Grey, Kernel, Mask, Sampled, Separable},
    sensor::{Magnitudes, Rounded},
};
use std::path::{Path, PathBuf};

/// A degradation of known kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Part of every picture is unknown.
    Inpaint(Hole),
    /// A stretch of every recording is unknown.
    Gap(Gap),
    /// Fewer pixels are known.
    Super {
        /// How many times fewer on each side.
        scale: usize,
        /// By cubic convolution; averages of squares else.
        bicubic: bool,
    },
    /// A blur is known.
    Deblur(Blur),
    /// The mean of the channels is known.
    Colour,
    /// Some numbers of a random transform are known.
    Sense {
        /// How many, of all.
        share: f64,
        /// Of the transform.
        seed: u64,
    },
    /// Few levels are known.
    Dequantise {
        /// Their number is two to this.
        bits: u32,
    },
    /// What JPEG leaves is known.
    Jpeg {
        /// From 1 to 100.
        quality: u32,
    },
    /// Magnitudes of the Fourier transform are known.
    Phase,
}

/// How pictures were blurred.
#[derive(Clone, Debug, PartialEq)]
pub enum Blur {
    /// By a Gaussian.
    Gaussian {
        /// Its size, odd.
        taps: usize,
        /// Its deviation in pixels.
        sigma: f64,
    },
    /// By a motion in a straight line.
    Motion {
        /// Its pixels.
        length: f64,
        /// Degrees against the clock from the row.
        angle: f64,
    },
    /// By the weights in a file: a picture, or an array `[h w]`.
    Kernel(PathBuf),
}

/// Where pictures are unknown.
#[derive(Clone, Debug, PartialEq)]
pub enum Hole {
    /// A square of this side in the middle.
    Middle(usize),
    /// Row, column, height and width.
    Box([usize; 4]),
    /// A picture: white where the others are unknown, black where they are known.
    Mask(PathBuf),
    /// Pixel by pixel, `[h w]`: whether it is unknown.
    Pixels(Vec<bool>),
    /// Every pixel with a chance, the same in all pictures.
    Scattered {
        /// The chance.
        share: f64,
        /// Of the choice.
        seed: u64,
    },
    /// Under strokes of a brush, the same in all pictures.
    Strokes {
        /// How much they cover.
        share: f64,
        /// Of the strokes.
        seed: u64,
    },
}

impl Hole {
    /// From `14` or `7,7,14,14`.
    ///
    /// # Errors
    /// [`Error::Usage`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let numbers: Result<Vec<usize>, _> = text.split(',').map(|part| part.trim().parse()).collect();
        match numbers.as_deref() {
            Ok([side]) if *side > 0 => Ok(Self::Middle(*side)),
            Ok([top, left, height, width]) if *height > 0 && *width > 0 => {
                Ok(Self::Box([*top, *left, *height, *width]))
            }
            _ => Err(Error::Usage(format!(
                "--box {text}: give the side of a square in the middle (--box 14) or row, column, height and width (--box 7,7,14,14)"
            ))),
        }
    }
}

impl Task {
    /// Name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inpaint(_) => "inpaint",
            Self::Gap(_) => "gap",
            Self::Super { .. } => "super",
            Self::Deblur(_) => "deblur",
            Self::Colour => "colour",
            Self::Sense { .. } => "sense",
            Self::Dequantise { .. } => "dequantise",
            Self::Jpeg { .. } => "jpeg",
            Self::Phase => "phase",
        }
    }

    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Inpaint(Hole::Middle(side)) => format!("a hole of {side} x {side} pixels in the middle"),
            Self::Inpaint(Hole::Box([top, left, height, width])) => {
                format!("a hole of {height} x {width} pixels at row {top}, column {left}")
            }
            Self::Inpaint(Hole::Mask(file)) => format!("the white part of {}", file.display()),
            Self::Inpaint(Hole::Pixels(_)) => "the marked part".into(),
            Self::Inpaint(Hole::Scattered { share, seed }) => {
                format!("{:.0} % of the pixels at random (seed {seed})", 100.0 * share)
            }
            Self::Inpaint(Hole::Strokes { share, seed }) => {
                format!("strokes over {:.0} % of the pixels (seed {seed})", 100.0 * share)
            }
            Self::Gap(gap) => gap.words(),
            Self::Super { scale, bicubic: false } => format!("averages of {scale} x {scale} pixels"),
            Self::Super { scale, bicubic: true } => format!("bicubic pixels, {scale} x {scale} times fewer"),
            Self::Deblur(Blur::Gaussian { taps, sigma }) => {
                format!("a Gaussian blur of deviation {sigma} over {taps} x {taps} pixels")
            }
            Self::Deblur(Blur::Motion { length, angle }) => {
                format!("a motion of {length} pixels at {angle} degrees")
            }
            Self::Deblur(Blur::Kernel(file)) => format!("a blur by {}", file.display()),
            Self::Colour => "grey pictures".into(),
            Self::Sense { share, seed } => format!("{:.0} % of random cosines (seed {seed})", 100.0 * share),
            Self::Dequantise { bits } => format!("{} levels", 1u64 << (*bits).min(63)),
            Self::Jpeg { quality } => format!("JPEG's rounding at quality {quality}"),
            Self::Phase => "magnitudes of the Fourier transform".into(),
        }
    }

    /// Whether what is known is linear in the pictures.
    pub fn is_linear(&self) -> bool {
        !self.is_rounding() && *self != Self::Phase
    }

    /// Whether it rounds.
    pub fn is_rounding(&self) -> bool {
        matches!(self, Self::Dequantise { .. } | Self::Jpeg { .. })
    }

    /// What it does to pictures `[c h w]`.
    ///
    /// # Errors
    /// [`Error::Usage`] for pictures that it cannot be done to; a mask or kernel that cannot be read or fits no picture.
    pub fn sensor(&self, shape: [usize; 3]) -> Result<Sensor, Error> {
        let [c, h, w] = shape;
        if h < 2 || w < 2 {
            return Err(Error::Usage(format!(
                "--task {}: this model makes points of {c} numbers, not pictures",
                self.name()
            )));
        }
        if *self == Self::Colour && c > 3 {
            return Err(Error::Usage(format!(
                "--task colour: this model makes clips of {c} grey frames, without colour"
            )));
        }
        let refused = |error: MethodError| Error::Usage(format!("--task {}: {error}", self.name()));
        Ok(match self {
            Self::Inpaint(hole) => Sensor::linear(hole.mask(shape, &refused)?),
            Self::Gap(_) => {
                return Err(Error::Usage(
                    "--task gap: it is of recordings, and this model draws pictures; a flow over a codec of sound hears them".into(),
                ));
            }
            Self::Super { scale, bicubic: false } => {
                Sensor::linear(Separable::pooling(shape, *scale).map_err(refused)?)
            }
            Self::Super { scale, bicubic: true } => Sensor::linear(Separable::bicubic(shape, *scale).map_err(refused)?),
            Self::Deblur(Blur::Gaussian { taps, sigma }) => {
                Sensor::linear(Separable::blur(shape, *taps, *sigma).map_err(refused)?)
            }
            Self::Deblur(Blur::Motion { length, angle }) => {
                Sensor::linear(Kernel::motion(shape, *length, *angle).map_err(refused)?)
            }
            Self::Deblur(Blur::Kernel(file)) => {
                let (weights, size) = weights(file)?;
                let told = |error| Error::Usage(format!("--kernel {}: {error}", file.display()));
                Sensor::linear(Kernel::new(shape, &weights, size).map_err(told)?)
            }
            Self::Colour => Sensor::linear(Grey::new(shape).map_err(refused)?),
            Self::Sense { share, seed } => {
                let key = Key::of(*seed, RandomStream::SensedNumbers);
                Sensor::linear(Sampled::new(shape, *share, key).map_err(refused)?)
            }
            Self::Dequantise { bits } => Sensor::Rounded(Rounded::levels(shape, *bits).map_err(refused)?),
            Self::Jpeg { quality } => Sensor::Rounded(Rounded::jpeg(shape, *quality).map_err(refused)?),
            Self::Phase => Sensor::Magnitudes(Magnitudes::new(shape)),
        })
    }

    /// Refuses pictures that are given as they are, for models of pictures `[c h w]`, where they cannot be what is modelled.
    ///
    /// # Errors
    /// [`Error::Usage`] for masks drawn here, JPEG of torn squares or of colour, and grids that resizing would blur.
    pub fn check_given(&self, [c, h, w]: [usize; 3], resize: bool) -> Result<(), Error> {
        let refuse = |why: String| Err(Error::Usage(why));
        match self {
            Self::Inpaint(hole) if hole.is_drawn() => refuse(format!(
                "--{}: it draws a mask for originals, which --degrade hides by it; of pictures that have holes already give the \
                 mask as a picture, --mask mask.png",
                if matches!(hole, Hole::Scattered { .. }) { "scattered" } else { "strokes" }
            )),
            _ if self.is_rounding() && resize => refuse(format!(
                "--resize: what is known to --task {} is the grid of the values, which resizing destroys; bring the model to the pictures, \
                 or give originals with --degrade",
                self.name()
            )),
            Self::Jpeg { .. } if c != 1 => refuse(
                "--task jpeg: colour files are rounded as brightness and halved colours, which is not modelled; give grey ones to a model of \
                 grey pictures, or originals with --degrade"
                    .into(),
            ),
            Self::Jpeg { .. } if h % 8 != 0 || w % 8 != 0 => refuse(format!(
                "--task jpeg: the model's pictures of {h} x {w} are no whole squares of 8 x 8, and files fill up torn ones with what nobody \
                 knows; give originals with --degrade"
            )),
            _ => Ok(()),
        }
    }

    /// Pixels of the pictures of which such a size is known, height first.
    pub fn original(&self, size: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Super { scale, .. } => size.map(|pixels| pixels.saturating_mul(*scale)),
            _ => size,
        }
    }

    /// `[c h w]` of what is known of a picture `[c h w]`; none where that is no picture.
    pub fn measured(&self, [c, h, w]: [usize; 3]) -> Option<[usize; 3]> {
        match self {
            Self::Super { scale, .. } => Some([c, h / scale, w / scale]),
            Self::Colour => Some([1, h, w]),
            Self::Inpaint(_) | Self::Gap(_) | Self::Deblur(_) | Self::Dequantise { .. } | Self::Jpeg { .. } => {
                Some([c, h, w])
            }
            Self::Sense { .. } | Self::Phase => None,
        }
    }
}

impl Hole {
    /// Which pixels of pictures `[h w]` are in it.
    ///
    /// # Errors
    /// A hole that leaves the picture, or is all of it or nothing.
    pub fn unknown(&self, [h, w]: [usize; 2]) -> Result<Vec<bool>, Error> {
        let mask = self.mask([1, h, w], &|error| Error::Usage(error.to_string()))?;
        Ok(mask.known().iter().map(|known| !known).collect())
    }

    /// What it leaves known of pictures `[c h w]`.
    fn mask(&self, shape: [usize; 3], refused: &dyn Fn(MethodError) -> Error) -> Result<Mask, Error> {
        let [c, h, w] = shape;
        let key = |seed: &u64| Key::of(*seed, RandomStream::HiddenPixels);
        let mask = match self {
            Self::Middle(side) if *side > h || *side > w => {
                return Err(Error::Usage(format!("--box {side} is larger than the model's pictures of {h} x {w}")));
            }
            Self::Middle(side) => Mask::hole(shape, [(h - side) / 2, (w - side) / 2], [*side; 2]),
            Self::Box([top, left, height, width]) => Mask::hole(shape, [*top, *left], [*height, *width]),
            Self::Mask(file) => Mask::new(known(file, shape, "--mask")?),
            Self::Pixels(unknown) if unknown.len() != h * w => {
                return Err(Error::Usage(format!(
                    "--mask: it has {} pixels, the model's pictures {h} x {w}",
                    unknown.len()
                )));
            }
            Self::Pixels(unknown) => Mask::new((0..c).flat_map(|_| unknown.iter().map(|unknown| !unknown)).collect()),
            Self::Scattered { share, seed } => Mask::scattered(shape, *share, key(seed)),
            Self::Strokes { share, seed } => Mask::strokes(shape, *share, key(seed)),
        };
        mask.map_err(refused)
    }

    /// Whether it was drawn at random, so that nobody else has it.
    pub fn is_drawn(&self) -> bool {
        matches!(self, Self::Scattered { .. } | Self::Strokes { .. })
    }
}

/// The weights in a file and their height and width: a picture's brightness, or an array as it is.
fn weights(file: &Path) -> Result<(Vec<f64>, [usize; 2]), Error> {
    let array = file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"));
    if !array {
        let (values, [_, h, w]) = picture(file, 1, "--kernel")?;
        return Ok((values.into_iter().map(|v| (f64::from(v) + 1.0) / 2.0).collect(), [h, w]));
    }
    let (axes, values) = media::arrays::read_array(file)?;
    match axes[..] {
        [h, w] => Ok((values, [h, w])),
        _ => Err(Error::Usage(format!(
            "--kernel {}: it is an array of {} axes; give height and width",
            file.display(),
            axes.len()
        ))),
    }
}

/// Which values of pictures `[c h w]` a mask's picture leaves known; `option` names it.
pub(super) fn known(file: &std::path::Path, [c, h, w]: [usize; 3], option: &str) -> Result<Vec<bool>, Error> {
    if !file.is_file() {
        return Err(Error::Failure(format!("{option} {}: no such file; give a picture of {h} x {w}", file.display())));
    }
    let pixels = picture(file, 1, option)?;
    let [_, mh, mw] = pixels.1;
    if [mh, mw] != [h, w] {
        return Err(Error::Usage(format!(
            "{option} {}: it is {mh} x {mw} pixels and the model's pictures are {h} x {w}; draw it at that size",
            file.display()
        )));
    }
    // Middle grey and lighter is unknown.
    let one: Vec<bool> = pixels.0.iter().map(|v| *v < 0.0).collect();
    Ok((0..c).flat_map(|_| one.iter().copied()).collect())
}

/// The values of one picture of so many channels, and their shape; `option` names it.
pub(super) fn picture(file: &std::path::Path, channels: usize, option: &str) -> Result<(Vec<f32>, [usize; 3]), Error> {
    if !file.is_file() {
        return Err(Error::Failure(format!("{option} {}: no such file", file.display())));
    }
    let folder = tempfile::tempdir().map_err(|error| Error::Failure(format!("no temporary folder: {error}")))?;
    let name = file.file_name().unwrap_or_default();
    std::fs::copy(file, folder.path().join(name))
        .map_err(|error| Error::Failure(format!("{option} {}: {error}", file.display())))?;
    let config =
        DataConfig { channels: Some(channels), split: Split::Train, holdout: 0.0, ..DataConfig::at(folder.path()) };
    let told = |error: data::DataError| {
        Error::Failure(format!("{option} {}: no readable picture ({error}); give a PNG", file.display()))
    };
    let set = data::open(&config).map_err(told)?;
    let batch = data::gather(&*set, &[0]).map_err(told)?;
    Ok((batch.rows, set.shape().image()?))
}
