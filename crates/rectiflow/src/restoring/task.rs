//! What was done to pictures and is to be undone: a hole, fewer pixels, a blur, no colour.

use crate::Error;
use data::{DataConfig, Split};
use methods::MethodError;
use methods::steer::{
    Operator,
    operator::{Grey, Mask, Separable},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// A degradation of known kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Part of every picture is unknown.
    Inpaint(Hole),
    /// Averages of squares of so many pixels are known.
    Super {
        /// Side of a square.
        scale: usize,
    },
    /// A Gaussian blur is known.
    Deblur {
        /// Its size, odd.
        taps: usize,
        /// Its deviation in pixels.
        sigma: f64,
    },
    /// The mean of the channels is known.
    Colour,
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
    /// The task of these options.
    ///
    /// # Errors
    /// [`Error::Usage`] for an option that belongs to another task, or one that is missing.
    pub fn named(
        name: &str,
        hole: Option<&str>,
        mask: Option<&Path>,
        scale: Option<usize>,
        blur: (Option<usize>, Option<f64>),
    ) -> Result<Self, Error> {
        let stray =
            |option: &str, of: &str| Err(Error::Usage(format!("{option} belongs to --task {of}, not to {name}")));
        if name != "inpaint" && (hole.is_some() || mask.is_some()) {
            return stray("--box or --mask", "inpaint");
        }
        if name != "super" && scale.is_some() {
            return stray("--scale", "super");
        }
        if name != "deblur" && (blur.0.is_some() || blur.1.is_some()) {
            return stray("--taps or --sigma", "deblur");
        }
        match (name, hole, mask) {
            ("inpaint", Some(_), Some(_)) => {
                Err(Error::Usage("--box and --mask both say where the hole is: give one".into()))
            }
            ("inpaint", Some(hole), None) => Ok(Self::Inpaint(Hole::parse(hole)?)),
            ("inpaint", None, Some(mask)) => Ok(Self::Inpaint(Hole::Mask(mask.to_path_buf()))),
            ("inpaint", None, None) => {
                Err(Error::Usage("--task inpaint: say where the hole is with --box or --mask".into()))
            }
            ("super", ..) => Ok(Self::Super { scale: scale.unwrap_or(2) }),
            ("deblur", ..) => Ok(Self::Deblur { taps: blur.0.unwrap_or(7), sigma: blur.1.unwrap_or(1.0) }),
            ("colour", ..) => Ok(Self::Colour),
            _ => Err(Error::Usage(format!("--task {name} is unknown; there are inpaint, super, deblur and colour"))),
        }
    }

    /// Name on the command line.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Inpaint(_) => "inpaint",
            Self::Super { .. } => "super",
            Self::Deblur { .. } => "deblur",
            Self::Colour => "colour",
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
            Self::Super { scale } => format!("averages of {scale} x {scale} pixels"),
            Self::Deblur { taps, sigma } => format!("a Gaussian blur of deviation {sigma} over {taps} x {taps} pixels"),
            Self::Colour => "grey pictures".into(),
        }
    }

    /// What it does to pictures `[c h w]`.
    ///
    /// # Errors
    /// [`Error::Usage`] for pictures that it cannot be done to; a mask that cannot be read or fits no picture.
    pub fn operator(&self, shape: [usize; 3]) -> Result<Arc<dyn Operator>, Error> {
        let [c, h, w] = shape;
        if h < 2 || w < 2 {
            return Err(Error::Usage(format!(
                "--task {}: this model makes points of {c} numbers, not pictures",
                self.name()
            )));
        }
        let refused = |error: MethodError| Error::Usage(format!("--task {}: {error}", self.name()));
        Ok(match self {
            Self::Inpaint(Hole::Middle(side)) => {
                if *side > h || *side > w {
                    return Err(Error::Usage(format!("--box {side} is larger than the model's pictures of {h} x {w}")));
                }
                Arc::new(Mask::hole(shape, [(h - side) / 2, (w - side) / 2], [*side; 2]).map_err(refused)?)
            }
            Self::Inpaint(Hole::Box([top, left, height, width])) => {
                Arc::new(Mask::hole(shape, [*top, *left], [*height, *width]).map_err(refused)?)
            }
            Self::Inpaint(Hole::Mask(file)) => Arc::new(Mask::new(known(file, shape, "--mask")?).map_err(refused)?),
            Self::Inpaint(Hole::Pixels(unknown)) => {
                if unknown.len() != h * w {
                    return Err(Error::Usage(format!(
                        "--mask: it has {} pixels, the model's pictures {h} x {w}",
                        unknown.len()
                    )));
                }
                let known = (0..c).flat_map(|_| unknown.iter().map(|unknown| !unknown));
                Arc::new(Mask::new(known.collect()).map_err(refused)?)
            }
            Self::Super { scale } => Arc::new(Separable::pooling(shape, *scale).map_err(refused)?),
            Self::Deblur { taps, sigma } => Arc::new(Separable::blur(shape, *taps, *sigma).map_err(refused)?),
            Self::Colour => Arc::new(Grey::new(shape).map_err(refused)?),
        })
    }

    /// Pixels of the pictures of which such a size is known, height first.
    pub fn original(&self, size: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Super { scale } => size.map(|pixels| pixels.saturating_mul(*scale)),
            Self::Colour | Self::Inpaint(_) | Self::Deblur { .. } => size,
        }
    }

    /// `[c h w]` of what is known of a picture `[c h w]`.
    pub fn measured(&self, [c, h, w]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Super { scale } => [c, h / scale, w / scale],
            Self::Colour => [1, h, w],
            Self::Inpaint(_) | Self::Deblur { .. } => [c, h, w],
        }
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
