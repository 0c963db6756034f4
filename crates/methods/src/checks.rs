//! Checks of stored pairs before a stage spends hours on them.
//!
//! The commonest ways to spoil reflow are to swap the two ends and to lose which belongs to which. Both show in simple
//! statistics: noise has the moments of noise, and a flow never makes transport dearer (arXiv 2209.03003, theorem 3.5), so
//! the ends of its pairs are positively correlated.

use crate::{MethodError, Stage};
use base::Tensor;
use flow::{Parameterization, Path, rows};

/// How many standard errors a statistic of true noise may be off: one false alarm in 10⁹.
const LIMIT: f64 = 6.0;

/// Refuses pairs that were made on another path or by another kind of network than the stage trains.
///
/// # Errors
/// [`MethodError::Provenance`] naming what differs.
pub fn check_provenance(stage: &Stage, path: &Path, parameterization: Parameterization) -> Result<(), MethodError> {
    let wanted = &stage.objective;
    if *path != wanted.path {
        let (found, expected) = (path.name().into(), wanted.path.name().into());
        return Err(MethodError::Provenance { what: "path", found, expected });
    }
    if parameterization != wanted.parameterization {
        let (found, expected) = (parameterization.name().into(), wanted.parameterization.name().into());
        return Err(MethodError::Provenance { what: "parameterization", found, expected });
    }
    Ok(())
}

/// How far a batch is from standard normal noise: the largest deviation of mean, variance, fourth moment and the
/// correlation of neighbours (along the last axis), in standard errors.
///
/// # Errors
/// [`MethodError::Flow`] if the device cannot be read.
pub fn distance_from_noise<const D: usize>(x: &Tensor<D>) -> Result<f64, MethodError> {
    let width = x.dims()[D - 1].max(1);
    let values = rows::host(x.clone())?;
    let n = values.len() as f64;
    let moment = |f: &dyn Fn(f64) -> f64| values.iter().map(|v| f(*v)).sum::<f64>() / n;
    // Under N(0,1) the means of x, x², x⁴ are 0, 1, 3 with variances 1, 2, 96 over n.
    let mut worst = moment(&|v| v).abs() * n.sqrt();
    worst = worst.max((moment(&|v| v * v) - 1.0).abs() * (n / 2.0).sqrt());
    worst = worst.max((moment(&|v| v.powi(4)) - 3.0).abs() * (n / 96.0).sqrt());
    if width > 1 {
        let products: f64 = values.chunks(width).flat_map(|row| row.windows(2)).map(|p| p[0] * p[1]).sum();
        let count = n / width as f64 * (width - 1) as f64;
        worst = worst.max((products / count).abs() * count.sqrt());
    }
    Ok(if worst.is_finite() { worst } else { f64::INFINITY })
}

/// Refuses pairs whose `x0` is not standard normal noise, saying so if the two ends look swapped.
///
/// Give it a few hundred pairs. Not for transfer between two data sets, where `x0` is data.
///
/// # Errors
/// [`MethodError::Pairs`] with what was seen.
pub fn check_orientation<const D: usize>(x0: &Tensor<D>, x1: &Tensor<D>) -> Result<(), MethodError> {
    let (source, data) = (distance_from_noise(x0)?, distance_from_noise(x1)?);
    if source <= LIMIT {
        return Ok(());
    }
    Err(MethodError::Pairs(if data <= LIMIT {
        format!(
            "x0 and x1 are swapped in these pairs: x1 looks like standard normal noise and x0 does not ({source:.0} \
             standard errors off); x0 must be the noise (t = 0) and x1 the data (t = 1)"
        )
    } else {
        format!(
            "x0 of these pairs is not standard normal noise (a moment is {source:.0} standard errors off): it must be the \
             noise that the teacher started from, unscaled and not quantised; generate the pairs again"
        )
    }))
}

/// Refuses pairs whose ends look independent: shuffled rows, or fresh noise in place of the teacher's.
///
/// Needs at least 256 pairs to say anything; fewer pass.
///
/// # Errors
/// [`MethodError::Pairs`] with what was seen.
pub fn check_coupled<const D: usize>(x0: &Tensor<D>, x1: &Tensor<D>) -> Result<(), MethodError> {
    rows::same_shape("x0", x0, "x1", x1)?;
    let batch = x0.dims()[0];
    if batch < 256 {
        return Ok(());
    }
    // Centred data, so that a mean shared by all x1 adds no variance.
    let centred = x1.clone() - x1.clone().mean_dim(0);
    let products = rows::host(rows::sum(x0.clone() * centred))?;
    let n = batch as f64;
    let mean = products.iter().sum::<f64>() / n;
    let variance = products.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let z = mean / (variance / n).sqrt();
    if z > 3.0 {
        return Ok(());
    }
    Err(MethodError::Pairs(format!(
        "x0 and x1 of these pairs look unrelated (their correlation is {z:.1} standard errors from zero over {batch} pairs; \
         a flow's own pairs are well above 3): the rows were shuffled apart or the noise was drawn afresh; generate the \
         pairs again"
    )))
}
