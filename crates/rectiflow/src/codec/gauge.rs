//! How the loss of a flow looks at a codec's latents: in the whitened space that the flow moves in, or in that of the original
//! features, where wide channels count for more; and with what weight places around the object count (TriFlow, arXiv:2501.00651).
//!
//! The path and its noise stay in the whitened space whatever is chosen here. Differences are brought to the original space by the
//! symmetric map `E D^(1/2) E^T` and divided by the root of trace(Sigma)/C, so that the size of the loss does not depend on the codec.

use super::Codec;
use crate::{
    Error, Recipe,
    device::Chosen,
    recipe::{LatentsConfig, Space},
};
use base::{Device, Tensor};
use flow::Gauge;
use std::sync::Arc;

/// A codec's latents under a [`LatentsConfig`].
struct Latents {
    codec: Arc<Codec>,
    config: LatentsConfig,
    /// Where the codec's weights are, without a tape.
    device: Device,
}

/// What the loss of `recipe` looks through; `None` where it takes differences as they are.
///
/// # Errors
/// [`Error::Usage`] for a codec that cannot tell an object from what is around it, where that is asked.
pub(crate) fn gauge_of(
    recipe: &Recipe,
    codec: Option<&Arc<Codec>>,
    device: &Chosen,
) -> Result<Option<Box<dyn Gauge<2>>>, Error> {
    let (Some(config), Some(codec)) = (recipe.task.latents(), codec) else { return Ok(None) };
    if config.space == Space::Whitened && config.w_bg == 1.0 {
        return Ok(None);
    }
    let device = device.device.clone();
    if config.w_bg < 1.0 {
        // Asked once here, so that a refusal comes before training.
        codec.object(Tensor::zeros([1, codec.latent.numel()], &device))?;
    }
    Ok(Some(Box::new(Latents { codec: codec.clone(), config: config.clone(), device })))
}

/// Weights of mean 1 in each row: 1 where `object` `[b n]` is 1, `w_bg` of that where it is 0.
fn weights(object: Tensor<2>, w_bg: f64) -> Tensor<2> {
    let weights = object * (1.0 - w_bg) + w_bg;
    weights.clone() / weights.mean_dim(1)
}

impl Gauge<2> for Latents {
    fn seen(&self, read: Tensor<2>, wanted: Tensor<2>, data: Option<&Tensor<2>>) -> (Tensor<2>, Tensor<2>) {
        let (mut read, mut wanted) = (read, wanted);
        if self.config.space == Space::Original {
            let (moments, width) = (&self.codec.moments, self.codec.moments.mean_variance().sqrt());
            (read, wanted) = (moments.stretch(read) / width, moments.stretch(wanted) / width);
        }
        if let Some(data) = data.filter(|_| self.config.w_bg < 1.0) {
            let still = data.clone().without_autodiff().to_device(&self.device.clone().without_autodiff());
            let object =
                self.codec.object(still).expect("`gauge_of` has asked this codec, and its device gives tensors back");
            let like = read.device();
            // The loss squares.
            let root = weights(object, self.config.w_bg).sqrt();
            let root = if like.is_autodiff() { root.autodiff() } else { root };
            (read, wanted) = (read * root.clone(), wanted * root);
        }
        (read, wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CodecRecipe, Coder, Moments, Whitening};
    use super::*;
    use base::TensorData;

    fn values(x: Tensor<2>) -> Vec<f64> {
        x.into_data().iter::<f64>().collect()
    }

    /// Mutants: weights divided by the mean of the batch; the object weighed by w_bg.
    #[test]
    fn weights_have_the_mean_one_in_each_sample() {
        let object = Tensor::<2>::from_floats([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]], &Device::flex());
        let found = values(weights(object, 0.1));
        for row in found.chunks(4) {
            assert!((row.iter().sum::<f64>() - 4.0).abs() < 1e-6, "{row:?}");
            let (low, high) = row.iter().fold((9.0f64, 0.0f64), |(l, h), v| (l.min(*v), h.max(*v)));
            assert!((low / high - 0.1).abs() < 1e-6);
        }
        assert!((found[0] - 2.0 / 1.1).abs() < 1e-6 && (found[7] - 4.0 / 1.3).abs() < 1e-6, "{found:?}");
    }

    /// The squared length of a stretched difference is that under the channels' covariance, and its mean over white differences is
    /// the mean variance. Mutants: the map that whitens in place of its inverse; the mean added to a difference.
    #[test]
    fn a_difference_in_the_original_space_is_measured_by_the_covariance() {
        let rows: Vec<f32> = (0..1200)
            .map(|i| {
                let (at, channel) = (i / 6 * 3 + i % 3, i % 6 / 3);
                let (a, b) = ((at as f32 * 0.7391).sin(), (at as f32 * 1.9173).sin());
                if channel == 0 { 4.0 * a + b + 7.0 } else { 4.0 * a - b }
            })
            .collect();
        let device = Device::flex();
        for whitening in [Whitening::Zca, Whitening::Channels] {
            let moments = Moments::of(&rows, [2, 1, 3].into(), whitening).unwrap();
            let at = |c: usize| {
                move |block: &[f32]| -> Vec<f64> { block[3 * c..3 * c + 3].iter().map(|v| f64::from(*v)).collect() }
            };
            let channel = |c: usize| rows.chunks(6).flat_map(at(c)).collect::<Vec<f64>>();
            let (x, y) = (channel(0), channel(1));
            let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
            let covariance = |a: &[f64], b: &[f64]| {
                let (p, q) = (mean(a), mean(b));
                a.iter().zip(b).map(|(a, b)| (a - p) * (b - q)).sum::<f64>() / a.len() as f64
            };
            let [xx, yy, mut xy] = [covariance(&x, &x), covariance(&y, &y), covariance(&x, &y)];
            if whitening == Whitening::Channels {
                xy = 0.0;
            }
            assert!((moments.mean_variance() / ((xx + yy) / 2.0) - 1.0).abs() < 2e-3);
            let step = [0.6f32, 0.0, 0.0, -1.1, 0.0, 0.0];
            let step = Tensor::<2>::from_data(TensorData::new(step.to_vec(), [1, 6]), &device);
            let length: f64 = values(moments.stretch(step)).iter().map(|v| v * v).sum();
            let wanted = 0.36 * xx + 1.21 * yy - 2.0 * 0.66 * xy;
            assert!((length / wanted - 1.0).abs() < 1e-2, "{length} {wanted}");
        }
    }

    /// A codec of planes `[3 2 1 1]` whose object is the first half of each latent.
    struct Half;

    impl Coder for Half {
        fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
            Ok(rows)
        }

        fn decode(&self, latents: Tensor<2>) -> Tensor<2> {
            latents
        }

        fn drawn(&self) -> base::Shape {
            [3, 2, 1, 1].into()
        }

        fn object(&self, latents: Tensor<2>) -> Option<Result<Tensor<2>, Error>> {
            let row: Vec<f32> = (0..6).map(|i| f32::from(u8::from(i < 3))).collect();
            let row = Tensor::<2>::from_data(TensorData::new(row, [1, 6]), &latents.device());
            Some(Ok(row.repeat_dim(0, latents.dims()[0])))
        }
    }

    /// Each number's squared difference is that by hand, in both spaces and with weights. Mutants: the root of the weights left out, or
    /// that of the width; the space ignored; one side alone weighed.
    #[test]
    fn what_a_loss_sees_is_the_difference_by_hand() {
        let device = Device::flex();
        let row = |values: [f32; 6]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [1, 6]), &device);
        let (read, wanted) = ([1.0, -2.0, 0.5, 3.0, -1.0, 0.25], [0.5, 1.0, -1.5, 2.0, 2.0, -0.75]);
        // Channels stand in turn here: a plane has two numbers, one of each.
        let deviations = [3.0f64, 0.5];
        for space in [Space::Whitened, Space::Original] {
            for w_bg in [1.0, 0.1] {
                let shape = base::Shape::from([3, 2, 1, 1]);
                let moments = Moments { mean: vec![7.0, -4.0], deviation: vec![3.0, 0.5], ..Moments::none(shape) };
                let codec = Codec {
                    coder: Box::new(Half),
                    recipe: CodecRecipe::default(),
                    sample: shape,
                    latent: shape,
                    moments,
                    file: "x".into(),
                    identity: String::new(),
                };
                let config = LatentsConfig { space, w_bg, render: None };
                let gauge = Latents { codec: Arc::new(codec), config, device: device.clone() };
                let (ours, theirs) = gauge.seen(row(read), row(wanted), Some(&row([0.0; 6])));
                let (ours, theirs) = (values(ours), values(theirs));
                for i in 0..6 {
                    // trace(Sigma)/C is 4.625; the mean of three weights of 1 and three of w_bg is (1 + w_bg)/2.
                    let wide = match space {
                        Space::Whitened => 1.0,
                        Space::Original => deviations[i % 2].powi(2) / 4.625,
                    };
                    let weight = if i < 3 { 1.0 } else { w_bg } / ((1.0 + w_bg) / 2.0);
                    let by_hand = f64::from(read[i] - wanted[i]).powi(2) * wide * weight;
                    let found = (ours[i] - theirs[i]).powi(2);
                    assert!((found / by_hand - 1.0).abs() < 1e-5, "{space:?} {w_bg} {i}: {found} {by_hand}");
                }
            }
        }
    }

    #[test]
    fn weights_of_nothing_are_refused() {
        for w_bg in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(
                LatentsConfig { w_bg, ..LatentsConfig::default() }.check().unwrap_err().contains("task.latents.w_bg")
            );
        }
        assert!(LatentsConfig::default().check().is_ok());
    }
}
