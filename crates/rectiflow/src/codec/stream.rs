//! A training stream seen through a codec: its samples, and the maps that stand beside them, become latents as they come. For streams
//! without end; a data set's latents are encoded once (`latents.rs`).

use super::Codec;
use crate::{Error, host::host};
use base::{Condition, Dense, Device, Tensor, TensorData};
use std::sync::Arc;
use train::{Batch, Source, TrainError};

/// A stream and what it is seen through.
pub(crate) struct Encoding<S> {
    pub source: S,
    pub codec: Arc<Codec>,
    /// Where the codec's weights are.
    pub device: Device,
}

/// `batch` as latents of `codec`, the map beside each sample too.
///
/// # Errors
/// Latents that cannot be read back from `device`.
pub(crate) fn encode_batch(batch: Batch, codec: &Codec, device: &Device) -> Result<Batch, Error> {
    let size = [batch.len(), codec.sample.numel()];
    let latents = |rows: Tensor<2>| host(codec.encode(rows)?);
    let x1 = latents(Tensor::from_data(TensorData::new(batch.x1, size), device))?;
    let dense = match batch.condition.dense {
        None => None,
        Some(map) => {
            let (rows, small) = (map.rows.to_device(device), [size[0], codec.latent.numel()]);
            let rows = Tensor::from_data(TensorData::new(latents(rows)?, small), &Device::flex());
            Some(Dense { rows, shape: codec.latent })
        }
    };
    Ok(Batch { x1, shape: codec.latent, condition: Condition { dense, ..batch.condition }, ..batch })
}

impl<S: Source> Source for Encoding<S> {
    fn seek(&mut self, images: u64) -> Result<(), TrainError> {
        self.source.seek(images)
    }

    fn next(&mut self) -> Result<Batch, TrainError> {
        let batch = self.source.next()?;
        encode_batch(batch, &self.codec, &self.device).map_err(|error| TrainError::Source(error.to_string()))
    }

    fn fingerprint(&self) -> String {
        format!("{}, as latents of {:.16}", self.source.fingerprint(), self.codec.identity)
    }
}
