//! The codec: any number of tokens, no order among them, each point for itself, gradients by differences.

use super::*;
use base::{Key, Purpose};

fn codec(device: &Device) -> ShapeCodec {
    let config = ShapeCodecConfig {
        encoder_width: 32,
        encoder_depth: 1,
        decoder_width: 24,
        decoder_depth: 2,
        heads: 4,
        channels: 5,
        truncation: 0.25,
    };
    config.init(3, device).unwrap()
}

fn noise(fold: u64, shape: [usize; 3], device: &Device) -> Tensor<3> {
    let rows: Vec<u64> = (0..shape[0] as u64).collect();
    Key::new(1, Purpose::Noise).fold(fold).normal_tensor(&rows, shape, device) * 0.5
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    x.into_data().try_to_vec().unwrap()
}

fn close(a: &[f32], b: &[f32], tolerance: f32) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() < tolerance, "{a} {b}");
    }
}

#[test]
fn any_number_of_tokens_in_any_order() {
    let device = Device::flex();
    let codec = codec(&device);
    let (cloud, points) = (noise(0, [2, 40, 6], &device), noise(1, [2, 9, 3], &device));
    for tokens in [3, 8] {
        let moments = codec.encoder.forward(cloud.clone(), cloud.clone().narrow(1, 0, tokens));
        assert_eq!((moments.mean.dims(), moments.log_variance.dims()), ([2, tokens, 5], [2, tokens, 5]));
        let prepared = codec.decoder.prepare(moments.mean.clone());
        let field = values(codec.decoder.field(&prepared, points.clone()));
        assert_eq!(field.len(), 18);
        // Anchors and cloud the other way round: the same tokens the other way round, and the same field.
        let turned = codec.encoder.forward(cloud.clone().flip([1]), cloud.clone().narrow(1, 0, tokens).flip([1]));
        close(&values(turned.mean.clone().flip([1])), &values(moments.mean), 1e-5);
        let prepared = codec.decoder.prepare(turned.mean);
        close(&values(codec.decoder.field(&prepared, points.clone())), &field, 1e-5);
    }
}

#[test]
fn tokens_tell_clouds_and_normals_apart() {
    let device = Device::flex();
    let codec = codec(&device);
    let cloud = noise(0, [1, 40, 6], &device);
    let mean = |cloud: Tensor<3>| values(codec.encoder.forward(cloud.clone(), cloud.narrow(1, 0, 4)).mean);
    let plain = mean(cloud.clone());
    let (points, normals) = (cloud.clone().narrow(2, 0, 3), cloud.narrow(2, 3, 3));
    let changed = |points: Tensor<3>, normals: Tensor<3>| {
        let other = mean(Tensor::cat(vec![points, normals], 2));
        plain.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(changed(points.clone(), normals.clone().neg()) > 1e-2);
    assert!(changed(points.neg(), normals) > 1e-2);
}

#[test]
fn each_point_is_answered_for_itself_and_gradients_are_differences() {
    let device = Device::flex();
    let codec = codec(&device);
    let prepared = codec.decoder.prepare(noise(2, [2, 6, 5], &device));
    let points = noise(3, [2, 7, 3], &device);
    let (field, gradient) = codec.decoder.field_and_gradient(&prepared, points.clone(), 1e-3);
    close(&values(field), &values(codec.decoder.field(&prepared, points.clone())), 1e-5);
    // The derivative along an axis as the slope of the field itself, over a step of another width. Both are short beside the
    // fastest wave of a point, of angular frequency 128: a step of 1e-2 would take a quarter off its slope.
    for axis in 0..3 {
        let mut offset = [0.0f32; 3];
        offset[axis] = 2e-3;
        let offset = Tensor::<1>::from_floats(offset, &device).reshape([1, 1, 3]);
        let up = codec.decoder.field(&prepared, points.clone() + offset.clone());
        let down = codec.decoder.field(&prepared, points.clone() - offset);
        let slope = values((up - down) / 4e-3);
        let found = values(gradient.clone().narrow(2, axis, 1));
        for (a, b) in slope.iter().zip(&found) {
            assert!((a - b).abs() < 0.05 * (1.0 + a.abs()), "axis {axis}: {a} {b}");
        }
    }
}

#[test]
fn variances_are_kept_in_range_and_draws_follow_them() {
    let device = Device::flex();
    let shape = [1, 2, 2];
    let moments =
        Moments { mean: Tensor::ones(shape, &device) * 3.0, log_variance: Tensor::ones(shape, &device) * 4f32.ln() };
    close(&values(moments.draw(Tensor::ones(shape, &device))), &[5.0; 4], 1e-5);
    let mut codec = codec(&device);
    let bias = Tensor::ones([10], &device) * 1e3;
    codec.encoder.moments.bias = Some(burn::module::Param::from_tensor(bias));
    let cloud = noise(0, [1, 10, 6], &device);
    let wide = codec.encoder.forward(cloud.clone(), cloud.narrow(1, 0, 2));
    assert_eq!(values(wide.log_variance), [20.0; 10]);
}

#[test]
fn the_losses_reach_every_weight() {
    let device = Device::flex().autodiff();
    let codec = codec(&device);
    let cloud = noise(0, [1, 20, 6], &device);
    let moments = codec.encoder.forward(cloud.clone(), cloud.clone().narrow(1, 0, 4));
    let prepared = codec.decoder.prepare(moments.draw(noise(4, [1, 4, 5], &device)));
    let (field, gradient) = codec.decoder.field_and_gradient(&prepared, cloud.clone().narrow(2, 0, 3), 1e-2);
    let loss = losses::distance(field.clone(), field.zeros_like())
        + losses::normal(gradient.clone(), cloud.narrow(2, 3, 3))
        + losses::eikonal(gradient, field.zeros_like(), 0.25)
        + losses::kl(&moments);
    let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &codec);
    struct Reached<'a>(&'a burn::optim::GradientsParams, usize, usize);
    impl burn::module::ModuleVisitor for Reached<'_> {
        fn visit_float<const D: usize>(&mut self, param: &burn::module::Param<Tensor<D>>) {
            let found = self.0.get::<D>(param.id);
            let moved = found.is_some_and(|g| g.abs().max().into_scalar::<f32>() > 0.0);
            self.1 += usize::from(moved);
            self.2 += 1;
        }
    }
    let mut reached = Reached(&gradients, 0, 0);
    codec.visit(&mut reached);
    // The last bias moves nothing but the distance; all the others move everything.
    assert_eq!(reached.1, reached.2);
}

#[test]
fn nonsense_is_refused_by_name() {
    for (config, key) in [
        (ShapeCodecConfig { heads: 5, ..ShapeCodecConfig::default() }, "encoder_width"),
        (ShapeCodecConfig { channels: 0, ..ShapeCodecConfig::default() }, "channels"),
        (ShapeCodecConfig { truncation: f64::NAN, ..ShapeCodecConfig::default() }, "truncation"),
    ] {
        let message = config.init(0, &Device::flex()).unwrap_err().to_string();
        assert!(message.contains(key), "{message}");
    }
}
