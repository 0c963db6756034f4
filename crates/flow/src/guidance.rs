//! Classifier-free guidance as a field around a field: `u + g (c - u)` in one batched evaluation.
//!
//! Ho & Salimans, arXiv 2207.12598, in the form of SD3 (`g = 1` means none). Guidance within an interval of times:
//! Kynkäänniemi et al., arXiv 2404.07724. Linear in the output, hence the same in every parameterization.

use crate::{Field, FlowError, Frame, error::require, rows};
use base::{Condition, Paper, Tensor, Times};
use serde::{Deserialize, Serialize};

/// Classifier-Free Diffusion Guidance.
pub const GUIDANCE: Paper = Paper::arxiv(
    "ho2022classifier",
    "Ho, Jonathan and Salimans, Tim",
    "Classifier-Free Diffusion Guidance",
    (2022, "2207.12598"),
    "NeurIPS 2021 Workshop",
);
/// Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models.
pub const INTERVAL: Paper = Paper::arxiv(
    "kynkaanniemi2024applying",
    "Kynk{\\\"a}{\\\"a}nniemi, Tuomas and Aittala, Miika and Karras, Tero and Laine, Samuli and Aila, Timo and Lehtinen, Jaakko",
    "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion Models",
    (2024, "2404.07724"),
    "NeurIPS 2024",
);

/// A field pushed away from its unconditional self.
#[derive(Clone, Debug)]
pub struct Guided<F> {
    field: F,
    config: GuidanceConfig,
}

/// Strength of guidance and where it acts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct GuidanceConfig {
    /// `g`: 1 is the conditional field, 0 the unconditional one, above 1 exaggerates the condition. Not negative.
    pub scale: f64,
    /// Times `[from, to]` (t = 1 at the data) at which guidance acts; everywhere when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
}

impl Default for GuidanceConfig {
    fn default() -> Self {
        Self { scale: 1.0, interval: None }
    }
}

impl GuidanceConfig {
    /// The papers it is from.
    pub fn papers(&self) -> Vec<Paper> {
        let pushed = (self.scale != 1.0).then_some(GUIDANCE);
        pushed.into_iter().chain(self.interval.map(|_| INTERVAL)).collect()
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] unless `scale >= 0` and `0 <= from <= to <= 1`.
    pub fn check(&self) -> Result<(), FlowError> {
        let g = self.scale;
        require(g.is_finite() && g >= 0.0, "guidance.scale", g, "it must be zero or more; 1 means none")?;
        let Some((from, to)) = self.interval else { return Ok(()) };
        let holds = 0.0 <= from && from <= to && to <= 1.0;
        let remedy = "it must be [from, to] with 0 <= from <= to <= 1 (t = 1 at the data)";
        require(holds, "guidance.interval", format!("[{from}, {to}]"), remedy)
    }

    fn scale_at(&self, t: f64) -> f64 {
        match self.interval {
            Some((from, to)) if !(from..=to).contains(&t) => 1.0,
            _ => self.scale,
        }
    }
}

impl<F> Guided<F> {
    /// Guides `field` with strength `scale` at times within `interval` (everywhere when absent).
    ///
    /// # Errors
    /// See [`GuidanceConfig::check`].
    pub fn new(field: F, scale: f64, interval: Option<(f64, f64)>) -> Result<Self, FlowError> {
        let config = GuidanceConfig { scale, interval };
        config.check()?;
        Ok(Self { field, config })
    }
}

impl<F> Guided<F> {
    /// `ask` under guidance: of points, times (the caller's own, doubled with the batch) and conditions.
    fn contrast<const D: usize>(
        &self,
        x: Tensor<D>,
        t: &Times,
        condition: &Condition,
        ask: impl Fn(Tensor<D>, bool, &Condition) -> Tensor<D>,
    ) -> Tensor<D> {
        let scales: Vec<f64> = t.values().iter().map(|&t| self.config.scale_at(t)).collect();
        if condition.is_none() || scales.iter().all(|&g| g == 1.0) {
            return ask(x, false, condition);
        }
        if scales.iter().all(|&g| g == 0.0) {
            return ask(x, false, &condition.null());
        }
        let batch = x.dims()[0];
        let both = ask(Tensor::cat(vec![x.clone(), x], 0), true, &condition.doubled());
        let conditional = both.clone().narrow(0, 0, batch);
        let unconditional = both.narrow(0, batch, batch);
        // c + (g-1)(c-u) is u + g(c-u), written so that rows with g = 1 are exactly c.
        let push = scales.iter().map(|g| g - 1.0).collect();
        conditional.clone() + rows::scale(conditional - unconditional, push)
    }
}

impl<const D: usize, F: Field<D>> Field<D> for Guided<F> {
    fn velocity(&self, x: Tensor<D>, t: &Times, condition: &Condition) -> Tensor<D> {
        self.contrast(x, t, condition, |x, twice, condition| {
            let t = if twice { &t.cat(t) } else { t };
            self.field.velocity(x, t, condition)
        })
    }

    fn average_velocity(&self, x: Tensor<D>, t: &Times, until: &Times, condition: &Condition) -> Tensor<D> {
        self.contrast(x, t, condition, |x, twice, condition| match twice {
            true => self.field.average_velocity(x, &t.cat(t), &until.cat(until), condition),
            false => self.field.average_velocity(x, t, until, condition),
        })
    }

    // Guidance is linear with factors that sum to one, so whatever is read off the guided velocity on the path (source,
    // data, score) is the guided reading. The score of the field underneath would not be guided, so it is not passed on.
    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }
}
