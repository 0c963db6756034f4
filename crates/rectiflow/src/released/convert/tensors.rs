//! The tensors of one part as they will be written, each put together from stored ones.

use super::Numbers;
use crate::{
    Error,
    released::{folder::at, part::Weights},
};
use base::TensorData;
use burn::tensor::DType;
use nets::{
    NetsError,
    single::{How, Line},
    weights::TensorSource,
};
use std::path::PathBuf;

/// A part that is written.
pub(super) struct Tensors {
    /// Its file in a folder.
    pub file: PathBuf,
    /// Where its tensors are.
    pub weights: Weights,
    /// What they become.
    pub lines: Vec<Line>,
}

impl Tensors {
    /// Refuses tensors that could not be written, or not in their own numbers.
    pub(super) fn check(&self, numbers: Option<Numbers>) -> Result<(), Error> {
        let source = self.weights.source()?;
        for line in &self.lines {
            self.header(&*source, line, numbers)?;
        }
        Ok(())
    }

    /// Type and shape of what a line becomes.
    pub(super) fn header(
        &self,
        source: &dyn TensorSource,
        line: &Line,
        numbers: Option<Numbers>,
    ) -> Result<(DType, Vec<usize>), Error> {
        let refused = |name: &str, problem: String| {
            Error::from(NetsError::Tensor { name: format!("{}: {name}", self.weights.path().display()), problem })
        };
        let mut dtype = None;
        let mut shape = Vec::new();
        for name in &line.diffusers {
            let own = source.shape(name).unwrap_or_default();
            if source.blocks(name).is_some() && numbers.is_none() {
                return Err(refused(name, "is in blocks; say which numbers they become by --dtype".into()));
            }
            let kept = match numbers {
                Some(numbers) => numbers.dtype(),
                None => source.data(name).map_err(|error| at(self.weights.path(), error))?.dtype(),
            };
            if dtype.is_some_and(|dtype| dtype != kept) {
                return Err(refused(name, "is of another type than what it is joined with; say one by --dtype".into()));
            }
            dtype = Some(kept);
            match shape.first_mut() {
                None => shape = own,
                Some(rows) => *rows += own.first().copied().unwrap_or(0),
            }
        }
        if line.how == How::Kernel && shape.len() == 2 {
            shape.extend([1, 1]);
        }
        if line.how == How::Swapped && !shape.first().is_some_and(|rows| rows.is_multiple_of(2)) {
            return Err(refused(&line.diffusers[0], "has no two halves".into()));
        }
        Ok((dtype.unwrap_or(DType::F32), shape))
    }

    /// What a line becomes, piece after piece.
    pub(super) fn pieces(
        &self,
        source: &dyn TensorSource,
        line: &Line,
        numbers: Option<Numbers>,
    ) -> Result<Vec<TensorData>, Error> {
        let failed = |error| at(self.weights.path(), error);
        let mut pieces = Vec::new();
        for name in &line.diffusers {
            if line.how == How::Swapped {
                let rows = source.shape(name).and_then(|shape| shape.first().copied()).unwrap_or(0);
                pieces.push((name, source.rows(name, rows / 2..rows).map_err(failed)?));
                pieces.push((name, source.rows(name, 0..rows / 2).map_err(failed)?));
            } else {
                pieces.push((name, source.data(name).map_err(failed)?));
            }
        }
        let Some(numbers) = numbers else { return Ok(pieces.into_iter().map(|(_, data)| data).collect()) };
        let turned = |(name, data): (&String, TensorData)| {
            numbers.turn(data).map_err(|problem| {
                let name = format!("{}: {name}", self.weights.path().display());
                Error::from(NetsError::Tensor { name, problem })
            })
        };
        pieces.into_iter().map(turned).collect()
    }
}
