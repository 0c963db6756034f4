//! MPGD: the gradient moves the data estimate alone, and the step joins it with the noise estimate as it was.
//!
//! He et al., "Manifold preserving guided diffusion", arXiv 2311.16424, algorithm 1 without its autoencoder. One evaluation per
//! step and nothing differentiated through the network, as FlowChef; what is moved at `t` is moved by `beta(t')` at the next
//! time, so that early steps weigh little.

use super::ends::{Ends, path_of};
use super::{Problem, Steered, check_kappa, gradient};
use crate::MethodError;
use base::{Tensor, Times};
use flow::rows;
use serde::{Deserialize, Serialize};

/// Manifold Preserving Guided Diffusion.
pub const MPGD: base::Paper = base::Paper::arxiv(
    "he2023manifold",
    "He, Yutong and Murata, Naoki and Lai, Chieh-Hsin and Takida, Yuhta and others",
    "Manifold Preserving Guided Diffusion",
    (2023, "2311.16424"),
    "ICLR 2024",
);

/// Settings of MPGD.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Mpgd {
    /// `κ`, in (0, 2).
    pub kappa: f64,
    /// Allows κ of 2 and more.
    pub unstable: bool,
}

impl Default for Mpgd {
    fn default() -> Self {
        Self { kappa: 1.0, unstable: false }
    }
}

impl Mpgd {
    pub(super) fn run<const D: usize>(
        &self,
        problem: &Problem<'_, D>,
        mut x: Tensor<D>,
    ) -> Result<Steered<D>, MethodError> {
        check_kappa(self.kappa, self.unstable)?;
        let path = path_of(problem.field, "mpgd")?;
        let rate = self.kappa / problem.cost.curvature();
        for leg in problem.schedule.times().windows(2) {
            let from = Times::all(leg[0], x.dims()[0]);
            let velocity = problem.velocity(x.clone(), &from)?;
            let Ends { source, data } = Ends::of(path, x, velocity, leg[0]);
            let data = data.clone() - gradient(problem.cost, &data) * rate;
            x = Ends { source, data }.at(path, leg[1]);
            rows::check_finite(&x, &from, "the steered state")?;
        }
        Ok(Steered { x, nfe: problem.schedule.steps(), differentiated: 0 })
    }
}
