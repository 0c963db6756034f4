//! What a sample must answer to: a cost of its data estimate, with its gradient and its largest curvature.

use super::operator::Operator;
use crate::MethodError;
use base::Tensor;
use flow::rows;
use std::sync::Arc;

/// A cost `L` of data estimates, rows `[b n]`.
pub trait Cost {
    /// `L` of every row, `[b]`.
    fn value(&self, data: Tensor<2>) -> Tensor<1>;

    /// `∇L` of every row, `[b n]`, without a tape.
    fn gradient(&self, data: Tensor<2>) -> Tensor<2>;

    /// The largest curvature of `L`: `κ` divided by it is the step along the gradient.
    fn curvature(&self) -> f64;

    /// The linear measurement whose misfit it is, for the methods that need one.
    fn linear(&self) -> Option<Linear<'_>> {
        None
    }

    /// Standard deviation of the noise in what is known.
    fn noise(&self) -> f64 {
        self.linear().map_or(0.0, |linear| linear.noise)
    }
}

/// A linear measurement `y = A x + noise`.
#[derive(Clone, Copy)]
pub struct Linear<'a> {
    /// `A`.
    pub operator: &'a dyn Operator,
    /// `y`, `[b m]`.
    pub measured: &'a Tensor<2>,
    /// Standard deviation of the noise.
    pub noise: f64,
}

/// `½ |A x - y|²`: the misfit to a linear measurement.
pub struct Measurement {
    operator: Arc<dyn Operator>,
    measured: Tensor<2>,
    noise: f64,
}

impl Measurement {
    /// The misfit to `measured` `[b m]`, of which `noise` is the standard deviation of its noise.
    ///
    /// # Errors
    /// [`MethodError::Steering`] where the operator measures another number of values; [`MethodError::Setting`] for a noise
    /// that is none.
    pub fn new(operator: impl Into<Arc<dyn Operator>>, measured: Tensor<2>, noise: f64) -> Result<Self, MethodError> {
        let operator = operator.into();
        let (_, m) = operator.sizes();
        if measured.dims()[1] != m {
            let (name, given) = (operator.name(), measured.dims()[1]);
            return Err(MethodError::Steering(format!(
                "{name} measures {m} values of a sample, but {given} were given"
            )));
        }
        if !(noise.is_finite() && noise >= 0.0) {
            let remedy = "it must be zero or more, in the units of the data (images span 2)";
            return Err(MethodError::Setting { setting: "noise", value: noise.to_string(), remedy });
        }
        Ok(Self { operator, measured, noise })
    }

    fn residual(&self, data: Tensor<2>) -> Tensor<2> {
        self.operator.forward(data) - self.measured.clone()
    }
}

impl Cost for Measurement {
    fn value(&self, data: Tensor<2>) -> Tensor<1> {
        rows::sum(self.residual(data).square()) * 0.5
    }

    fn gradient(&self, data: Tensor<2>) -> Tensor<2> {
        self.operator.adjoint(self.residual(data))
    }

    fn curvature(&self) -> f64 {
        self.operator.bound()
    }

    fn linear(&self) -> Option<Linear<'_>> {
        Some(Linear { operator: &*self.operator, measured: &self.measured, noise: self.noise })
    }
}

/// A weighted sum of costs.
pub struct Weighed<'a>(
    /// Weights and costs.
    pub Vec<(f64, Box<dyn Cost + 'a>)>,
);

impl Cost for Weighed<'_> {
    fn value(&self, data: Tensor<2>) -> Tensor<1> {
        let none = rows::sum(data.clone()) * 0.0;
        self.0.iter().fold(none, |sum, (weight, cost)| sum + cost.value(data.clone()) * *weight)
    }

    fn gradient(&self, data: Tensor<2>) -> Tensor<2> {
        self.0.iter().fold(data.zeros_like(), |sum, (weight, cost)| sum + cost.gradient(data.clone()) * *weight)
    }

    /// Of the sum no more than this.
    fn curvature(&self) -> f64 {
        self.0.iter().map(|(weight, cost)| weight * cost.curvature()).sum()
    }

    fn noise(&self) -> f64 {
        self.0.iter().map(|(_, cost)| cost.noise()).fold(0.0, f64::max)
    }
}

/// Any differentiable cost of data estimates, its gradient by the tape (through the cost alone, never through the flow).
pub struct ByTape<F> {
    /// Rows `[b n]` to their costs `[b]`, in tensor operations.
    pub cost: F,
    /// Its largest curvature, or what stands for it: the step is `κ` divided by this.
    pub curvature: f64,
}

impl<F: Fn(Tensor<2>) -> Tensor<1>> Cost for ByTape<F> {
    fn value(&self, data: Tensor<2>) -> Tensor<1> {
        (self.cost)(data)
    }

    fn gradient(&self, data: Tensor<2>) -> Tensor<2> {
        let zeros = data.zeros_like();
        let leaf = data.detach().autodiff().require_grad();
        let value = (self.cost)(leaf.clone());
        if !value.is_tracked() {
            return zeros; // a cost that does not look at its data
        }
        leaf.grad(&value.sum().backward()).unwrap_or(zeros)
    }

    fn curvature(&self) -> f64 {
        self.curvature
    }
}
