//! The training objective: the only place where path, parameterization, time law, loss and weighting meet.

use crate::native::{Native, Port};
use crate::{
    Beside, Exercise, FlowError, Loss, Parameterization, Path, Perceptual, TimeConfig, Weighting, error::require,
    loss::IMPROVED_RF, path::Ends, rows,
};
use base::{Condition, Key, Network, Paper, Pass, Tensor, Times};
use serde::{Deserialize, Serialize};

/// Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow.
pub const RECTIFIED_FLOW: Paper = Paper::arxiv(
    "liu2022flow",
    "Liu, Xingchao and Gong, Chengyue and Liu, Qiang",
    "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
    (2022, "2209.03003"),
    "ICLR 2023",
);
/// Flow Matching for Generative Modeling.
pub const FLOW_MATCHING: Paper = Paper::arxiv(
    "lipman2022flow",
    "Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and Nickel, Maximilian and Le, Matt",
    "Flow Matching for Generative Modeling",
    (2022, "2210.02747"),
    "ICLR 2023",
);

/// What a network is trained to predict, where, and how its errors count.
///
/// The default is rectified flow (2209.03003, eq. 1): linear path, velocity, uniform times, squared error. The losses of
/// stochastic interpolants (2303.08797, theorems 2.7–2.8) are its squared errors, which differ from the paper's quadratic
/// forms by a factor two and a constant.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Objective {
    /// The path between source and data.
    pub path: Path,
    /// What the network outputs.
    pub parameterization: Parameterization,
    /// Distribution of training times.
    pub time: TimeConfig,
    /// Distance between output and target.
    pub loss: Loss,
    /// Weight of the loss over time.
    pub weighting: Weighting,
    /// Looks at every pair twice, with `z` and with `-z`, and averages: what grows as `1/gamma` cancels between the two
    /// (2303.08797, appendix on antithetic sampling). Needs a path with a latent; needed by a direct score there.
    pub antithetic: bool,
    /// The reading in which output and target are compared; the network's own output without. Rectified Diffusion
    /// (arXiv 2410.07303, released code) trains noise networks and compares their data estimates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Parameterization>,
    /// The path and output the network was first trained with, where that was another: it keeps its inputs and output and
    /// is read on `path` as `parameterization`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<Native>,
    /// A perceptual distance beside the loss; whoever trains supplies it as a [`Premetric`](crate::Premetric).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perceptual: Option<Perceptual>,
}

impl Objective {
    /// The papers it is from, rectified flow's first.
    pub fn papers(&self) -> Vec<Paper> {
        let wrapped = self.native.as_ref().map(|_| IMPROVED_RF);
        let seen = self.perceptual.as_ref().map(Perceptual::papers).unwrap_or_default();
        let parts = [self.path.papers(), self.parameterization.papers(), seen, wrapped.into_iter().collect()];
        let rest = [self.time.papers(), self.loss.papers(), self.weighting.papers()];
        [RECTIFIED_FLOW, FLOW_MATCHING].into_iter().chain(parts.into_iter().chain(rest).flatten()).collect()
    }

    /// Refuses settings out of range and combinations without meaning.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting, [`FlowError::Unreadable`] for an output the path has not got.
    pub fn check(&self) -> Result<(), FlowError> {
        self.path.check()?;
        self.parameterization.check(&self.path)?;
        self.time.check()?;
        self.loss.check()?;
        self.weighting.check()?;
        self.weighting.check_beside(&self.path, self.compared(), &self.time)?;
        if let Some(measure) = self.measure {
            measure.check(&self.path)?;
            self.parameterization.check_reads(measure, &self.path)?;
        }
        if let Some(native) = &self.native {
            native.check(&self.path)?;
        }
        if let Some(perceptual) = &self.perceptual {
            perceptual.check()?;
            self.parameterization.check_reads(Parameterization::Data {}, &self.path)?;
        }
        let latent = self.path.has_latent();
        let remedy = "there is no latent to reflect on this path; set antithetic = false";
        require(latent || !self.antithetic, "antithetic", self.antithetic, remedy)?;
        let score = self.parameterization == Parameterization::Score {};
        let remedy = "the target z/gamma of a direct score diverges at both ends and only pairs of z and -z cancel it: set \
                      antithetic = true, or train parameterization = { type = \"latent\" }, from which the score is read";
        require(!(latent && score) || self.antithetic, "antithetic", self.antithetic, remedy)
    }

    /// Training times of samples `indices`, held to where the parameterization is finite.
    pub fn times(&self, key: Key, indices: &[u64]) -> Times {
        self.clamp(&self.time.sample(key, indices))
    }

    /// The latents of samples `indices`, like `x1` `[b ...]` in shape and device, where the path has one; row `i` depends on
    /// `key` and `indices[i]` alone.
    pub fn latent<const D: usize>(&self, key: Key, indices: &[u64], x1: &Tensor<D>) -> Option<Tensor<D>> {
        self.path.has_latent().then(|| key.normal_tensor(indices, x1.dims(), &x1.device()))
    }

    /// The weighted loss of each pair, `[b]`: `x0`, `x1` are `[b ...]`, already coupled. For paths without latent.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if `x0`, `x1` and `times` disagree, [`FlowError::Setting`] if the path has a latent.
    pub fn loss<const D: usize>(
        &self,
        network: &dyn Network<D>,
        x0: Tensor<D>,
        x1: Tensor<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
    ) -> Result<Tensor<1>, FlowError> {
        self.loss_of(network, (x0, x1).into(), condition, times, pass)
    }

    /// The weighted loss of each pair with its latent, `[b]`.
    ///
    /// # Errors
    /// [`FlowError::Shape`] if the ends and `times` disagree, [`FlowError::Setting`] if a latent is needed and missing.
    pub fn loss_of<const D: usize>(
        &self,
        network: &dyn Network<D>,
        ends: Ends<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
    ) -> Result<Tensor<1>, FlowError> {
        self.loss_seen(network, ends, condition, times, pass, Beside::default())
    }

    /// The same with the distance that [`Objective::perceptual`] weighs and what the loss looks through.
    ///
    /// # Errors
    /// As for [`Objective::loss_of`].
    pub fn loss_seen<const D: usize>(
        &self,
        network: &dyn Network<D>,
        ends: Ends<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
        beside: Beside<'_, D>,
    ) -> Result<Tensor<1>, FlowError> {
        if self.antithetic {
            return self.reflected(network, ends, condition, times, pass, beside);
        }
        let exercise = self.exercise(ends, times, condition)?;
        Ok(self.loss_on(network, exercise, pass, beside))
    }

    /// The reading in which output and target are compared.
    pub fn compared(&self) -> Parameterization {
        self.measure.unwrap_or(self.parameterization)
    }

    /// Times held to where the network's output and the compared reading are finite.
    pub fn clamp(&self, times: &Times) -> Times {
        self.compared().clamp(&self.path, &self.parameterization.clamp(&self.path, times))
    }

    /// What every pair asks for at its time: the point of the path and what the pair itself says of it.
    ///
    /// # Errors
    /// As for [`Objective::loss_of`].
    pub fn exercise<const D: usize>(
        &self,
        ends: Ends<D>,
        times: &Times,
        condition: &Condition,
    ) -> Result<Exercise<D>, FlowError> {
        let times = self.clamp(times);
        let point = self.path.point_of(ends, &times)?;
        let wanted = self.compared().target(&self.path, &point);
        let (x, data) = (point.xt, Some(point.x1));
        Ok(Exercise { x, times, condition: condition.clone(), wanted, reading: self.compared(), data })
    }

    /// The weighted loss of each row of an exercise, `[b]`; its times must lie where [`Objective::clamp`] holds them.
    pub fn loss_on<const D: usize>(
        &self,
        network: &dyn Network<D>,
        exercise: Exercise<D>,
        pass: &Pass,
        beside: Beside<'_, D>,
    ) -> Tensor<1> {
        let Exercise { x, times, condition, wanted, reading, data } = exercise;
        let port = Port { path: &self.path, parameterization: self.parameterization, native: self.native.as_ref() };
        let compared = self.compared();
        let output = port.ask(network, x.clone(), &times, &condition, pass);
        let read = |wanted, output| self.parameterization.read(wanted, &self.path, x.clone(), output, &times);
        let wanted = reading.read(compared, &self.path, x.clone(), wanted, &times);
        let (said, wanted) = match beside.gauge {
            None => (read(compared, output.clone()), wanted),
            Some(gauge) => gauge.seen(read(compared, output.clone()), wanted, data.as_ref()),
        };
        let losses = self.loss.per_sample(said, wanted);
        let losses = match self.weighting.weights(&self.path, compared, &self.time, &times) {
            None => losses,
            Some(weights) => rows::scale(losses, weights),
        };
        let losses = match (self.perceptual, beside.premetric, data) {
            (Some(how), Some(premetric), Some(data)) => {
                let estimate = read(Parameterization::Data {}, output.clone());
                let factors = |f: &dyn Fn(f64) -> f64| times.values().iter().map(|&t| f(t)).collect();
                rows::scale(losses, factors(&|t| how.of_loss(t)))
                    + rows::scale(premetric.distance(data, estimate), factors(&|t| how.of_distance(t)))
            }
            _ => losses,
        };
        match beside.onlooker {
            Some(onlooker) => losses + onlooker.losses(read(Parameterization::Data {}, output), &times),
            None => losses,
        }
    }

    /// Mean of the losses at `z` and at `-z`, the network asked once about both.
    fn reflected<const D: usize>(
        &self,
        network: &dyn Network<D>,
        ends: Ends<D>,
        condition: &Condition,
        times: &Times,
        pass: &Pass,
        beside: Beside<'_, D>,
    ) -> Result<Tensor<1>, FlowError> {
        let Some(z) = ends.z.filter(|_| self.path.has_latent()) else {
            let remedy = "it needs a path with a latent, and the latent beside the two ends";
            return Err(FlowError::Setting { setting: "antithetic", value: "true".into(), remedy });
        };
        let twice = |x: Tensor<D>| Tensor::cat(vec![x.clone(), x], 0);
        let both = Ends { x0: twice(ends.x0), x1: twice(ends.x1), z: Some(Tensor::cat(vec![z.clone(), -z], 0)) };
        // The same dropout masks on both sides: the two differ in the latent alone.
        let pass = pass.repeated(2);
        let plain = Self { antithetic: false, ..self.clone() };
        let losses = plain.loss_seen(network, both, &condition.repeated(2), &times.cat(times), &pass, beside)?;
        let batch = times.len();
        Ok((losses.clone().narrow(0, 0, batch) + losses.narrow(0, batch, batch)) * 0.5)
    }
}
