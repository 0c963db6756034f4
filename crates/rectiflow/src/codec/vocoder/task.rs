//! How a vocoder learns: the mel picture of a segment becomes a waveform, which is held to the segment by its spectra and its own picture.

use super::{super::Loses, VocoderConfig};
use crate::Error;
use base::{Device, Tensor};
use media::audio::Mel;
use nets::{
    HifiGan,
    vocoder::{HeardLoss, MelTransform},
};
use train::{Batch, TrainError};

/// The loss of [`VocoderConfig`] over waveforms.
pub struct VocoderTask {
    config: VocoderConfig,
    heard: HeardLoss,
}

impl VocoderTask {
    /// That of `config`, its transforms on `device`.
    ///
    /// # Errors
    /// Pictures and spectra that cannot be.
    pub fn new(config: &VocoderConfig, device: &Device) -> Result<Self, Error> {
        let filters: Vec<f32> = Mel::new(&config.mel)?.filters().iter().map(|v| *v as f32).collect();
        let mel = MelTransform::new(config.mel.window, config.mel.hop, &filters, config.mel.floor, device)?;
        Ok(Self { heard: HeardLoss::new(&config.loss, mel, device)?, config: config.clone() })
    }
}

impl Loses<HifiGan> for VocoderTask {
    type Config = VocoderConfig;

    fn config(&self) -> &VocoderConfig {
        &self.config
    }

    fn lost(&self, net: &HifiGan, batch: &Batch, device: &Device, _: bool) -> Result<Tensor<1>, TrainError> {
        let real = batch.rows(&batch.x1, device);
        let picture = self.heard.picture(real.clone());
        // The last column begins where the segment ends, and makes no sample of it.
        let columns = real.dims()[1] / self.config.mel.hop;
        let made = net.forward(picture.clone().narrow(1, 0, columns));
        if made.dims() != real.dims() {
            let said = format!("a vocoder made {:?} of waveforms {:?}", made.dims(), real.dims());
            return Err(TrainError::Objective(said));
        }
        Ok(self.heard.forward(made, real, picture))
    }
}
