//! A network asked on another path than the one it was first trained on: it keeps its own inputs, times and output.
//!
//! Improving the training of rectified flows, arXiv 2405.20320, §4.3: a diffusion network is wrapped, not rebuilt. A state of
//! one path is a scaled state of the other at the time of equal `beta/alpha`
//! ([`matched`](crate::path::change::matched)); the network is asked there, as it always was, and its answer is a linear
//! equation in source and data, which reads as anything on the new path. Wrapped onto the linear path, an EDM network
//! takes the very Euler steps that it took in sigma.

use crate::{FlowError, Parameterization, Path, error::require, path::Sides, path::change::matched, rows};
use base::{Condition, Network, Pass, Tensor, Times};
use serde::{Deserialize, Serialize};

/// The path and output a network was first trained with.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Native {
    /// Its path: input scaling and times follow it.
    pub path: Path,
    /// What it outputs.
    pub parameterization: Parameterization,
}

impl Native {
    /// Refuses settings out of range and paths that are not the same flow at another pace.
    ///
    /// # Errors
    /// [`FlowError`] naming the setting.
    pub fn check(&self, path: &Path) -> Result<(), FlowError> {
        self.path.check()?;
        self.parameterization.check(&self.path)?;
        for path in [&self.path, path] {
            let remedy = "only one-sided paths (a Gaussian source and no latent) are the same flow at another pace";
            require(path.sides() == Sides::One, "native.path", path.name(), remedy)?;
        }
        Ok(())
    }
}

/// How a network is asked at a point of a path, and what its answer means there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port<'a> {
    pub path: &'a Path,
    pub parameterization: Parameterization,
    pub native: Option<&'a Native>,
}

impl Port<'_> {
    /// The network's answer at points `x` `[b ...]` of the path, as [`Port::parameterization`]; `times` within its domain.
    pub fn ask<const D: usize, N: Network<D> + ?Sized>(
        &self,
        network: &N,
        x: Tensor<D>,
        times: &Times,
        condition: &Condition,
        pass: &Pass,
    ) -> Tensor<D> {
        let device = x.device();
        let Some(native) = self.native else {
            let x = input(self.path, self.parameterization, x, times);
            return network.predict(x, times.tensor(&device), condition, pass);
        };
        let (low, high) = native.parameterization.domain(&native.path);
        let matches: Vec<_> = times.values().iter().map(|&t| matched(&native.path, self.path, t)).collect();
        let there = Times::new(matches.iter().map(|m| m.t.clamp(low, high)).collect());
        let scaled = rows::scale(x.clone(), matches.iter().map(|m| m.scale).collect());
        let output = network.predict(
            input(&native.path, native.parameterization, scaled, &there),
            there.tensor(&device),
            condition,
            pass,
        );
        // wanted = p x0 + q x1 on this path, with both ends read off the native point and output.
        let (mut of_x, mut of_output) = (Vec::new(), Vec::new());
        for ((&t, &s), m) in times.values().iter().zip(there.values()).zip(&matches) {
            let (here, c) = (self.path.at(t), native.path.at(s));
            let source = native.parameterization.convert(Parameterization::Noise {}, &c);
            let data = native.parameterization.convert(Parameterization::Data {}, &c);
            let (p, q) = self.parameterization.weights(&here);
            of_x.push((p * source.of_x + q * data.of_x) * m.scale);
            of_output.push(p * source.of_output + q * data.of_output);
        }
        rows::scale(x, of_x) + rows::scale(output, of_output)
    }
}

/// Points as a network sees them: scaled where the path's own scale is far from one.
fn input<const D: usize>(path: &Path, output: Parameterization, x: Tensor<D>, times: &Times) -> Tensor<D> {
    let scale = |t: f64| match output {
        Parameterization::Preconditioned { sigma_data } => {
            let c = path.at(t);
            1.0 / c.alpha.hypot(sigma_data * c.beta)
        }
        _ => path.input_scale(t),
    };
    rows::scale(x, times.values().iter().map(|&t| scale(t)).collect())
}
