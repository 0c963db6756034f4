//! What falls due between steps: logs, validation, sample sheets, checkpoints.

use super::steps::{Engine, Stepped};
use crate::error::TrainError;
use crate::event::{Event, Log, ValidationLog};
use crate::memory::Memory;
use crate::task::{Live, Samples};
use base::Times;
use burn::module::Module;

impl<M: Module, B: Samples> Engine<'_, '_, M, B> {
    /// Logs, validates, samples, saves: whatever falls due between `before` and now.
    pub(super) fn after_step(&mut self, before: u64, seconds: f64, stepped: &Stepped) -> Result<(), TrainError> {
        let config = self.setup.config;
        self.interval.seconds += seconds;
        let state = self.state.as_mut().expect("put back by `step`");
        state.seconds += seconds;
        let (images, steps, trained) = (state.images, state.steps, state.seconds);
        let due = |every: u64| every > 0 && before / every != images / every;
        let last = config.progress(images, trained) >= 1.0;

        if let Some(slow) = self.watchdog.step(seconds) {
            let message = format!(
                "step {steps} took {:.2} s, the median is {:.3} s; is another program using the processor, the memory \
                 or the disk?",
                slow.seconds, slow.median
            );
            let seconds = self.seconds();
            self.tell(&Event::Warning { images, seconds, message })?;
        }
        if steps.is_multiple_of(config.log_every) || last {
            self.log(stepped)?;
            let values = self.setup.task.figures();
            if !values.is_empty() {
                self.tell(&Event::Figures { images, values: &values })?;
            }
        }
        if self.setup.validation.is_some() && config.validate_every > 0 && (due(config.validate_every) || last) {
            self.validate()?;
        }
        if config.sample_every > 0 && (due(config.sample_every) || last) {
            let module = self.state().sampler();
            if let Some(network) = self.setup.task.network(&module) {
                self.tell(&Event::Samples { images, network })?;
            }
        }
        if self.setup.checkpoints.is_some() && due(config.checkpoint.every) {
            self.save()?;
        }
        Ok(())
    }

    fn log(&mut self, stepped: &Stepped) -> Result<(), TrainError> {
        let config = self.setup.config;
        let interval = std::mem::take(&mut self.interval);
        let per_second = |n: u64| n as f64 / interval.seconds.max(1e-9);
        let state = self.state();
        let speed = per_second(interval.images);
        let by_images = config.total_images().map(|total| total.saturating_sub(state.images) as f64 / speed);
        let by_time = (config.seconds > 0.0).then_some(config.seconds - state.seconds);
        let left = [by_images, by_time].into_iter().flatten().reduce(f64::min);
        let log = Log {
            images: state.images,
            steps: state.steps,
            loss: interval.loss / interval.steps.max(1) as f64,
            lr: stepped.lr,
            gradient_norm: stepped.norm,
            seconds: self.seconds(),
            images_per_second: speed,
            steps_per_second: per_second(interval.steps),
            seconds_left: left,
            progress: config.progress(state.images, state.seconds),
            memory: Memory::now(),
        };
        self.tell(&Event::Log(log))
    }

    fn validate(&mut self) -> Result<(), TrainError> {
        let Some(batch) = self.setup.validation else { return Ok(()) };
        let network = self.state().sampler();
        let device = self.device.clone().without_autodiff();
        let mut by_time = Vec::new();
        for &t in &self.setup.config.validation_times {
            let times = Times::all(t, batch.count());
            let loss = self.setup.task.loss_at(&Live::plain(&network), batch, &times, &device)?.mean();
            by_time.push((t, f64::from(loss.without_autodiff().into_scalar::<f32>())));
        }
        let loss = by_time.iter().map(|(_, l)| l).sum::<f64>() / by_time.len().max(1) as f64;
        let (images, seconds) = (self.state().images, self.seconds());
        self.tell(&Event::Validation(ValidationLog { images, seconds, loss, by_time }))
    }

    pub(super) fn save(&mut self) -> Result<(), TrainError> {
        let Some(folder) = &self.setup.checkpoints else { return Ok(()) };
        let config = self.setup.config;
        let state = self.state();
        let (mut meta, images) = (state.meta(&self.identity, config), state.images);
        meta.extra.extend(self.setup.task.extra());
        let path = folder.save(&meta, &state.blobs(), config.checkpoint.keep_last)?;
        self.saved = Some((images, path.clone()));
        let seconds = self.seconds();
        self.tell(&Event::Checkpoint { images, seconds, path: &path })
    }
}
