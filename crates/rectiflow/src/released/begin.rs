//! What a drawing begins with beside noise: a picture to change, as far as a strength says, and a mask of what may change.
//!
//! The picture's latent is mixed with noise as the path mixes them at the time where the drawing begins (SDEdit; Meng et al.,
//! arXiv 2108.01073). Where the mask says that the picture stays, latents are put back on that mixture after every step (Lugmayr et al.,
//! arXiv 2201.09865, eq. 8, without going back), and pixels are the picture's own at the end.

use super::ReleasedRequest;
use crate::{Error, sent::Sent, start::read_points};
use base::{Device, Tensor, TensorData};
use data::{DataConfig, Split};
use flow::{Path, Schedule};
use std::path::Path as File;

/// A picture to begin with, or a mask of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A file of pixels, or numbers: `FILE.npy`, `FILE.safetensors`, or `FILE.safetensors:TENSOR`.
    File(String),
    /// Its values in [-1, 1], `[c h w]`, and its pixels, height first.
    Values(Vec<f32>, [usize; 2]),
}

impl From<String> for Shown {
    fn from(file: String) -> Self {
        Self::File(file)
    }
}

impl Shown {
    /// What messages call it.
    fn called(&self) -> &str {
        match self {
            Self::File(file) => file,
            Self::Values(..) => "that was given",
        }
    }

    /// Its values of `channels` channels, and its pixels, height first; `option` names it.
    fn read(&self, channels: usize, option: &str) -> Result<(Vec<f32>, [usize; 2]), Error> {
        match self {
            Self::File(file) => picture(file, channels, option),
            Self::Values(values, [h, w]) if values.len() == channels * h * w => Ok((values.clone(), [*h, *w])),
            Self::Values(values, size) => {
                let count = values.len();
                Err(Error::Usage(format!(
                    "{option}: {count} numbers are no picture of {channels} channels and {size:?} pixels"
                )))
            }
        }
    }
}

/// What a drawing begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Begins {
    /// Whether a part of the picture stays.
    pub in_part: bool,
    /// The share of the steps that is taken, in (0, 1].
    pub strength: f64,
    /// Bytes that it takes until it is let go of.
    pub held: usize,
}

/// A picture that a drawing begins with. A copy keeps what it has when another lets go of it.
#[derive(Clone)]
pub(super) struct Begin {
    /// `[3 h w]` in [-1, 1].
    pixels: Sent<f32>,
    /// Pixels, height first.
    pub size: [usize; 2],
    strength: f64,
    /// For each pixel whether it may change; all where absent.
    mask: Option<Sent<bool>>,
}

/// The picture's latent, and where it stays.
pub(super) struct Known {
    latent: Tensor<4>,
    /// 1 where it may change, `[1 1 h w]`.
    free: Option<Tensor<4>>,
}

impl Begin {
    /// Reads what the request names.
    ///
    /// # Errors
    /// Pictures that cannot be read, a mask of another size or that lets nothing change, a strength out of its range.
    pub(super) fn of(request: &ReleasedRequest) -> Result<Option<Self>, Error> {
        let Some((file, strength)) = &request.init_image else {
            return match &request.mask {
                Some(_) => {
                    Err(Error::Usage("--mask: it says what of a picture may change; give one by --init-image".into()))
                }
                None => Ok(None),
            };
        };
        if !(strength.is_finite() && *strength > 0.0 && *strength <= 1.0) {
            return Err(Error::Usage(format!("--strength {strength}: it must be above 0 and at most 1")));
        }
        let (pixels, size) = file.read(3, "--init-image")?;
        let mask = match &request.mask {
            None => None,
            Some(file) => {
                let (grey, found) = file.read(1, "--mask")?;
                let file = file.called();
                if found != size {
                    return Err(Error::Usage(format!(
                        "--mask {}: it is {} x {} pixels and the picture {} x {}; draw it at that size",
                        file, found[0], found[1], size[0], size[1]
                    )));
                }
                let mask: Vec<bool> = grey.iter().map(|v| *v >= 0.0).collect();
                if !mask.contains(&true) {
                    return Err(Error::Usage(format!("--mask {file}: nothing in it is white, so nothing may change")));
                }
                Some(mask.into())
            }
        };
        Ok(Some(Self { pixels: pixels.into(), size, strength: *strength, mask }))
    }

    /// What is to be said of it.
    pub(super) fn said(&self) -> Begins {
        let mask = self.mask.as_ref().map_or(0, |mask| mask.get().len());
        let strength = self.strength;
        Begins { in_part: self.mask.is_some(), strength, held: size_of::<f32>() * self.pixels.get().len() + mask }
    }

    /// Lets go of the picture: what a drawing was can still be told, and it can no longer be made.
    pub(super) fn forget(&self) {
        self.pixels.forget();
        self.mask.iter().for_each(Sent::forget);
    }

    /// Refuses one that was let go of.
    ///
    /// # Errors
    /// [`Error::Interrupted`]: nobody waits for it.
    pub(super) fn check_held(&self) -> Result<(), Error> {
        // Another thread may let go of it while it is copied, between the picture and its mask.
        let gone = self.pixels.get().is_empty() || self.mask.as_ref().is_some_and(|mask| mask.get().is_empty());
        if gone { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// The last steps of a schedule, as many as the strength says, and one at least.
    ///
    /// # Errors
    /// A strength below 1 that skips no step, so that the drawing would begin at noise alone and the picture say nothing.
    pub(super) fn last_of(&self, times: &Schedule) -> Result<Schedule, Error> {
        let steps = times.steps();
        // As the reference counts: what is skipped is a whole number of steps.
        let skipped = (steps as f64 - (steps as f64 * self.strength).min(steps as f64)) as usize;
        let skipped = skipped.min(steps - 1);
        if skipped == 0 && self.strength < 1.0 {
            return Err(Error::Usage(self.without_effect(steps)));
        }
        Ok(Schedule::new(times.times()[skipped..].to_vec())?)
    }

    /// Why a strength does nothing in so many steps, and what would do.
    fn without_effect(&self, steps: usize) -> String {
        let strength = self.strength;
        let enough = (1.0 / (1.0 - strength) - 1e-9).ceil();
        let most = ((1.0 - 1.0 / steps as f64) * 1000.0).floor() / 1000.0;
        let or = if most > 0.0 { format!("--strength {most} or less, ") } else { String::new() };
        format!(
            "--init-image, --strength {strength}: of {steps} step(s) none is skipped, so the drawing would begin at noise alone and the \
             picture say nothing; give --steps {enough} or more, {or}or --strength 1 if noise alone is meant"
        )
    }

    /// The latent of the picture, as `encode` makes it of `[1 3 h w]`.
    pub(super) fn known(&self, encode: impl Fn(Tensor<4>) -> Tensor<4>, factor: usize, device: &Device) -> Known {
        let [h, w] = self.size;
        let pixels = Tensor::from_data(TensorData::new(self.pixels.get().to_vec(), [1, 3, h, w]), device);
        let latent = encode(pixels);
        let free = self.mask.as_ref().map(|mask| {
            // A pixel of the latent may change where any of its pixels may.
            let (rows, columns) = (h / factor, w / factor);
            let mut free = vec![0f32; rows * columns];
            for (i, _) in mask.get().iter().enumerate().filter(|(_, free)| **free) {
                free[i / w / factor * columns + i % w / factor] = 1.0;
            }
            Tensor::from_data(TensorData::new(free, [1, 1, rows, columns]), device)
        });
        Known { latent, free }
    }

    /// A drawn picture `[3 h w]` with its own pixels where it was to stay.
    pub(super) fn keep(&self, drawn: &mut [f32]) {
        let Some(mask) = self.mask.as_ref().map(Sent::get) else { return };
        let own = self.pixels.get();
        let pixels = drawn.chunks_exact_mut(mask.len()).zip(own.chunks_exact(mask.len()));
        for (drawn, own) in pixels {
            let places = drawn.iter_mut().zip(own).zip(mask.iter());
            places.filter(|(_, free)| !**free).for_each(|((drawn, own), _)| *drawn = *own);
        }
    }
}

impl Known {
    /// Whether some of it stays.
    pub(super) fn stays(&self) -> bool {
        self.free.is_some()
    }

    /// The latent with `noise`, as the path mixes them at `t`.
    pub(super) fn at(&self, path: &Path, t: f64, noise: &Tensor<4>) -> Tensor<4> {
        let mix = path.at(t);
        noise.clone() * mix.alpha + self.latent.clone() * mix.beta
    }

    /// `x` at `t`, put back where the picture stays.
    pub(super) fn put_back(&self, path: &Path, t: f64, noise: &Tensor<4>, x: Tensor<4>, last: bool) -> Tensor<4> {
        let Some(free) = &self.free else { return x };
        // The last step ends at the data, whatever little noise a diffusion's schedule leaves there.
        let known = if last { self.latent.clone() } else { self.at(path, t, noise) };
        x.clone() * free.clone() + known * (free.clone().neg() + 1.0)
    }
}

/// A picture's values of `channels` channels, and its pixels, height first: of a file of pixels, or `[1 c h w]` numbers in [-1, 1].
fn picture(given: &str, channels: usize, option: &str) -> Result<(Vec<f32>, [usize; 2]), Error> {
    let file = File::new(given);
    if given.contains(".safetensors") || given.ends_with(".npy") {
        let (shape, values) = read_points(given)?;
        let [1, c, h, w] = shape[..] else {
            return Err(Error::Usage(format!("{option} {given}: it is {shape:?}; one picture is [1 {channels} h w]")));
        };
        if c != channels || values.iter().any(|value| !value.is_finite()) {
            let why = format!("{option} {given}: it must be {channels} finite channels, and is {shape:?}");
            return Err(Error::Usage(why));
        }
        return Ok((values, [h, w]));
    }
    if !file.is_file() {
        return Err(Error::Failure(format!("{option} {}: no such file", file.display())));
    }
    let folder = tempfile::tempdir().map_err(|error| Error::Failure(format!("no temporary folder: {error}")))?;
    std::fs::copy(file, folder.path().join(file.file_name().unwrap_or_default()))
        .map_err(|error| Error::Failure(format!("{option} {}: {error}", file.display())))?;
    let at = DataConfig::at(folder.path());
    let config = DataConfig { channels: Some(channels), split: Split::Train, holdout: 0.0, ..at };
    let told = |error: data::DataError| {
        Error::Failure(format!("{option} {}: no readable picture ({error}); give a PNG", file.display()))
    };
    let set = data::open(&config).map_err(told)?;
    let batch = data::gather(&*set, &[0]).map_err(told)?;
    let [_, h, w] = set.shape().image()?;
    Ok((batch.rows, [h, w]))
}
