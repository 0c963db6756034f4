//! What samples are asked for: classes, prompts or pictures in turn, beside a map where one is heard or seen.

use crate::{Error, sight::Sight, words::Words};
use base::{Condition, Dense, Device, NULL_CLASS, Shape, Tensor, TensorData};
use methods::Labels;
use std::sync::Arc;

/// What sample `i` is asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Classes {
    /// No class.
    None,
    /// These in turn.
    InTurn(Vec<i64>),
    /// These prompts in turn.
    Prompts(Arc<Vec<String>>),
    /// What these pictures show, in turn.
    Pictures(Arc<Pictures>),
    /// One of these, beside a map: the mixture to hear it in.
    Beside(Box<Self>, Arc<Maps>),
}

/// Pictures that samples are to look like.
#[derive(Clone, Debug, PartialEq)]
pub struct Pictures {
    /// One after another, framed.
    pub rows: Vec<f32>,
    /// Who sees them.
    pub sight: Arc<Sight>,
}

/// Maps that stand beside samples, in turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Maps {
    /// One after another.
    pub rows: Vec<f32>,
    /// What a row is.
    pub shape: Shape,
}

impl Maps {
    /// Those of the samples `indices`.
    fn of(&self, indices: &[u64], device: &Device) -> Option<Dense> {
        let size = self.shape.numel();
        let count = (self.rows.len() / size) as u64;
        if count == 0 {
            return None;
        }
        let row = |index: &u64| self.rows[(index % count) as usize * size..][..size].iter().copied();
        let rows: Vec<f32> = indices.iter().flat_map(row).collect();
        let rows = Tensor::from_data(TensorData::new(rows, [indices.len(), size]), device);
        Some(Dense { rows, shape: self.shape })
    }
}

impl Classes {
    /// The classes from 0 to `count` in turn; none for 0.
    pub fn first(count: usize) -> Self {
        if count == 0 { Self::None } else { Self::InTurn((0..count as i64).collect()) }
    }

    /// These prompts in turn.
    pub fn prompts(prompts: Vec<String>) -> Self {
        Self::Prompts(Arc::new(prompts))
    }

    /// The class of sample `index`.
    pub fn of(&self, index: u64) -> i64 {
        match self {
            Self::InTurn(classes) if !classes.is_empty() => classes[(index % classes.len() as u64) as usize],
            Self::Beside(asked, _) => asked.of(index),
            _ => NULL_CLASS,
        }
    }

    /// The prompt of sample `index`.
    pub fn prompt(&self, index: u64) -> Option<&str> {
        match self {
            Self::Prompts(prompts) if !prompts.is_empty() => {
                Some(prompts[(index % prompts.len() as u64) as usize].as_str())
            }
            Self::Beside(asked, _) => asked.prompt(index),
            _ => None,
        }
    }

    /// What the samples `indices` are conditioned on, their prompts read by `words`.
    ///
    /// # Errors
    /// What the reader may say.
    pub fn condition(&self, words: Option<&Arc<Words>>, indices: &[u64], device: &Device) -> Result<Condition, Error> {
        if let Self::Beside(asked, maps) = self {
            return Ok(Condition { dense: maps.of(indices, device), ..asked.condition(words, indices, device)? });
        }
        if let Self::Pictures(pictures) = self {
            let Pictures { rows, sight } = &**pictures;
            let config = sight.config();
            let count = (rows.len() / config.numbers()).max(1) as u64;
            let row = |index: &u64| &rows[(index % count) as usize * config.numbers()..][..config.numbers()];
            return sight.condition(&indices.iter().flat_map(row).copied().collect::<Vec<_>>(), device);
        }
        if let (Self::Prompts(_), Some(words)) = (self, words) {
            return words.condition(&indices.iter().map(|index| self.prompt(*index)).collect::<Vec<_>>(), device);
        }
        Ok(Labels::condition(&indices.iter().map(|index| self.of(*index)).collect::<Vec<_>>(), device))
    }
}
