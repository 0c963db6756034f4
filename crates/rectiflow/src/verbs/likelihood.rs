//! `likelihood`: bits per dimension of held-out data under a checkpoint's flow.
//!
//! The flow is walked from each image, spread evenly over its 8-bit cell, back to the noise (`flow::likelihood`), so the
//! figure is an upper bound of the image's own bits, right on average over spreads and probes.

pub use flow::likelihood::{Divergence, Probe};

use crate::{Context, Error, Model, context::Event, device::Chosen, model::which, overrides::solver};
use base::{Key, Purpose, Tensor, TensorData};
use data::Split;
use flow::likelihood::{ByAutodiff, bits_per_dimension, dequantise, normal_log_density, ode};
use flow::{ScheduleConfig, Solver, guidance::GuidanceConfig, kl::summary};
use kernels::Precision;
use serde::Serialize;
use std::{path::PathBuf, time::Instant};

/// What to measure.
#[derive(Clone, Debug)]
pub struct LikelihoodRequest {
    /// A run's folder or a checkpoint file.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// Held-out samples to look at; all there are if fewer.
    pub count: usize,
    /// Samples computed together; does not change the figures.
    pub batch: usize,
    /// Steps of a fixed-step solver.
    pub steps: usize,
    /// The solver's name; Heun's method without.
    pub solver: Option<String>,
    /// How the divergence is found.
    pub divergence: Divergence,
    /// Seed of the spread over cells and of the probes.
    pub seed: u64,
}

/// Bits per dimension with their standard error over samples.
#[derive(Clone, Debug, Serialize)]
pub struct LikelihoodReport {
    /// Mean over images, bits per value.
    pub bits_per_dimension: f64,
    /// Its standard error, the spread of images, cells and probes together.
    pub standard_error: f64,
    /// Samples measured.
    pub samples: usize,
    /// Values of a sample.
    pub values: usize,
    /// Evaluations of the field per batch, the largest.
    pub nfe: usize,
    /// What was measured.
    pub data: String,
    /// Seconds of wall clock.
    pub seconds: f64,
}

/// Bytes lie 2/255 apart once scaled to [-1, 1] (`data::normalize`).
const CELL: f64 = 2.0 / 255.0;

/// Measures the held-out data of the checkpoint's own data set.
///
/// # Errors
/// A checkpoint or data that cannot be used, a solver or divergence that makes no sense, a flow that runs away.
pub fn likelihood(request: &LikelihoodRequest, context: &mut Context) -> Result<LikelihoodReport, Error> {
    let began = Instant::now();
    request.divergence.check()?;
    if request.count == 0 || request.batch == 0 {
        return Err(Error::Usage("--num and --batch-size must be at least 1".into()));
    }
    let solver = request.solver.as_deref().map_or(Ok(Solver::Heun {}), solver)?;
    let schedule = ScheduleConfig::Uniform {}.build(request.steps)?;
    // The divergence is a derivative: the weights go where there is a tape.
    let taped = Chosen { device: context.device.device.clone().autodiff(), name: context.device.name.clone() };
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &taped)?;
    if model.recipe.task.source().is_some() {
        return Err(Error::Usage(format!(
            "{} starts from a data set whose density nobody knows: likelihoods need a model that starts from noise",
            model.file.display()
        )));
    }
    model.check_plain("likelihood")?;
    let field = ByAutodiff(model.field(&GuidanceConfig::default(), Precision::F32)?);
    let dataset = data::open(&model.recipe.data.with_split(Split::Test))?;
    if dataset.shape() != model.subject.shape {
        return Err(Error::Usage(format!(
            "{} holds samples of {}, the model makes {}; measure a model on data like its own",
            dataset.name(),
            dataset.shape(),
            model.subject.shape
        )));
    }
    let size = model.subject.shape.numel();
    let width = model.recipe.path.start_scale();
    let prior = |x: &Tensor<2>| normal_log_density(x, width);
    let total = request.count.min(dataset.len());
    let key = Key::new(request.seed, Purpose::Probe);
    let mut bits = Vec::with_capacity(total);
    let mut nfe = 0;
    context.tell(Event::Begin { what: "samples", total: total as u64 });
    while bits.len() < total {
        context.go_on()?;
        let rows: Vec<usize> = (bits.len()..total.min(bits.len() + request.batch)).collect();
        let indices: Vec<u64> = rows.iter().map(|&row| row as u64).collect();
        let batch = data::gather(&*dataset, &rows)?;
        let x = Tensor::<2>::from_data(TensorData::new(batch.rows, [rows.len(), size]), &context.device.device);
        let x = dequantise(x, CELL, key.fold(0), &indices);
        let condition = model.condition_of(&batch.labels, &batch.captions, &taped.device)?;
        let how = (&solver, &schedule);
        let found = ode(&field, x, &condition, how, &request.divergence, &prior, key.fold(1), &indices)?;
        nfe = nfe.max(found.nfe);
        bits.extend(found.log_density.iter().map(|&log| bits_per_dimension(log, size, CELL)));
        context.tell(Event::Advance { done: bits.len() as u64 });
    }
    context.tell(Event::End);
    let found = summary(&bits);
    Ok(LikelihoodReport {
        bits_per_dimension: found.mean,
        standard_error: found.standard_error,
        samples: bits.len(),
        values: size,
        nfe,
        data: dataset.name().to_string(),
        seconds: began.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{recipe::Layers, verbs::train::train};

    /// A network that was hardly trained says nothing, its flow stands still, and the density of a sample is the noise's own:
    /// `E[-ln N(x + u; 0, 1)]` with `u` even over a cell, whose square adds `cell²/12`.
    ///
    /// Mutants: off by one bit, a cell of 1/255, values counted with the batch, nats for bits, the prior left out.
    #[test]
    fn a_flow_that_stands_still_has_the_likelihood_of_noise() {
        let folder = tempfile::tempdir().unwrap();
        let text = r#"
            name = "still"
            [data]
            name = "fashion-mnist-mini"
            limit = 64
            [network]
            type = "unet"
            channels = 8
            patch = 2
            groups = 4
            [train]
            images = 8
            batch = 8
            validate_every = 0
            sample_every = 0
            optim = { lr = 1e-30 }
        "#;
        let recipe = Layers::new().text(text, "still.toml").unwrap().build().unwrap();
        train(&recipe, &folder.path().join("run"), None, &mut Context::silent()).unwrap();
        let request = LikelihoodRequest {
            checkpoint: folder.path().join("run"),
            ema: None,
            count: 16,
            batch: 8,
            steps: 2,
            solver: None,
            divergence: Divergence::default(),
            seed: 0,
        };
        let found = likelihood(&request, &mut Context::silent()).unwrap();
        let dataset = data::open(&recipe.data.with_split(Split::Test)).unwrap();
        let rows = data::gather(&*dataset, &(0..16).collect::<Vec<_>>()).unwrap().rows;
        let square = rows.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / rows.len() as f64;
        let nats = 0.5 * (square + CELL * CELL / 12.0 + std::f64::consts::TAU.ln());
        let want = nats / std::f64::consts::LN_2 - (2.0f64 / 255.0).log2();
        assert!((found.bits_per_dimension - want).abs() < 1e-3, "{} for {want}", found.bits_per_dimension);
        assert_eq!((found.samples, found.values), (16, 784));
    }
}
