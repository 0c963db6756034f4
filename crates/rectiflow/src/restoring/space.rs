//! Where a flow is held to what is known of pictures: on what it moves, or through a decoder on the pictures.
//!
//! Latents know a hole as well as pixels do (FlowChef, arXiv 2412.00100, masks the latent): a latent is known where all its pixels
//! are. What a blur or fewer pixels leave is no part of a latent, so there the decoder stands between.

use crate::{Error, host::host, restoring::Task, steerable::Steerable};
use base::{Shape, Tensor};
use methods::steer::{Sensor, operator::Mask};
use serde::Serialize;

/// Where a flow of latents is held to what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// On the latents, for holes: as cheap as on pictures.
    Latent,
    /// On what the decoder makes of them, differentiated.
    Decoder,
}

impl Space {
    /// From the command line.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "latent" => Some(Self::Latent),
            "decoder" => Some(Self::Decoder),
            _ => None,
        }
    }
}

/// Where the flow is held; none where it moves pictures.
pub(super) fn space_of(
    model: &dyn Steerable,
    (task, sensor): (&Task, &Sensor),
    noise: f64,
    (asked, pulled): (Option<Space>, bool),
) -> Result<Option<Space>, Error> {
    if !model.moves_latents() {
        return match asked {
            None => Ok(None),
            Some(_) => {
                Err(Error::Usage(format!("--cost: {} moves pictures, not latents; leave it out", model.place())))
            }
        };
    }
    let holes = matches!(task, Task::Inpaint(_));
    match asked {
        Some(Space::Latent) if !holes => Err(Error::Usage(format!(
            "--cost latent: what {} leaves is no part of a latent; only --task inpaint can be asked of latents, use decoder",
            task.words()
        ))),
        Some(Space::Latent) if noise > 0.0 => Err(Error::Usage(
            "--cost latent: noise in pixels is not the same noise in latents; use --cost decoder with --noise".into(),
        )),
        Some(Space::Latent) if pulled => Err(Error::Usage(
            "--cost latent: what --toward names are pictures, and latents are none; use --cost decoder".into(),
        )),
        Some(space) => Ok(Some(space)),
        None if holes && noise == 0.0 && !pulled && leaves(sensor, model)? => Ok(Some(Space::Latent)),
        None => Ok(Some(Space::Decoder)),
    }
}

/// Least share of what is known of the pixels that must be known of the latents, where nobody says where to hold a flow.
const LEAST: f64 = 0.25;

/// Whether a hole leaves enough latents: one of scattered pixels touches almost all, and the flow would hardly be told anything.
fn leaves(sensor: &Sensor, model: &dyn Steerable) -> Result<bool, Error> {
    let share = |known: &[bool]| known.iter().filter(|known| **known).count() as f64 / known.len() as f64;
    let pixels: Vec<bool> = seen(sensor)?.iter().map(|value| *value != 0.0).collect();
    // Latents that do not divide the pictures are nobody's habit.
    let [_, h, w] = model.picture()?;
    let [_, rows, columns] = model.moved().image()?;
    if !h.is_multiple_of(rows) || !w.is_multiple_of(columns) {
        return Ok(false);
    }
    Ok(share(&known(sensor, model.picture()?, model.moved())?) >= LEAST * share(&pixels))
}

/// What a mask leaves of ones.
fn seen(sensor: &Sensor) -> Result<Vec<f32>, Error> {
    host(sensor.forward(Tensor::<2>::ones([1, sensor.sizes().0], &base::Device::flex())))
}

/// The mask of latents that the hole of `sensor` leaves.
pub(super) fn masked(sensor: &Sensor, model: &dyn Steerable) -> Result<Mask, Error> {
    let known = known(sensor, model.picture()?, model.moved())?;
    Mask::new(known).map_err(|error| {
        let wide = model.picture().map_or(0, |[_, _, w]| w) / model.moved().image().map_or(1, |[_, _, w]| w);
        Error::Usage(format!("--cost latent: {error}; one latent is {wide} pixels wide, give --cost decoder"))
    })
}

/// Which latents, `[c h w]`, are known: those all of whose pixels are.
fn known(sensor: &Sensor, [_, h, w]: [usize; 3], latent: Shape) -> Result<Vec<bool>, Error> {
    let [c, rows, columns] = latent.image()?;
    if h % rows != 0 || w % columns != 0 {
        return Err(Error::Usage(format!(
            "--cost latent: latents of {rows} x {columns} do not divide pictures of {h} x {w}; use --cost decoder"
        )));
    }
    let pixels = seen(sensor)?;
    let mut cells = vec![true; rows * columns];
    for (i, _) in pixels[..h * w].iter().enumerate().filter(|(_, value)| **value == 0.0) {
        cells[i / w / (h / rows) * columns + i % w / (w / columns)] = false;
    }
    Ok((0..c).flat_map(|_| cells.iter().copied()).collect())
}
