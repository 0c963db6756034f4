//! The snake of BigVGAN (Lee et al., 2023, arXiv:2206.04658): `x + sin(a x)^2 / b`, a frequency and a height for each
//! channel, on a signal of twice the rate, so that the harmonics it makes are not mirrored into the band.
//!
//! Up and down go through one low-pass of 12 taps at a quarter of the doubled rate, a sinc under a Kaiser window.

use crate::init::Init;
use base::{Tensor, TensorData};
use burn::module::{Module, Param};
use burn::tensor::module::{conv_transpose1d, conv1d};
use burn::tensor::ops::{ConvOptions, ConvTransposeOptions};
use std::f64::consts::PI;

/// Taps of the low-pass.
const TAPS: usize = 12;

/// Kept from zero below the fraction, as in the published code.
const SMALL: f64 = 1e-9;

/// The activation of one place.
#[derive(Module, Debug)]
pub(super) struct Snake {
    /// Frequency of each channel, or its logarithm, `[c]`.
    alpha: Param<Tensor<1>>,
    /// One over the height, likewise; the frequency where there is none ("snake").
    beta: Option<Param<Tensor<1>>>,
    logarithms: bool,
}

impl Snake {
    pub(super) fn new(init: &Init, channels: usize, beta: bool, logarithms: bool) -> Self {
        let value = if logarithms { 0.0 } else { 1.0 };
        let one = |name: &str| init.child(name).constant([channels], value);
        Self { alpha: one("alpha"), beta: beta.then(|| one("beta")), logarithms }
    }

    /// Same shape as `x` `[b c l]`.
    pub(super) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let value = |p: &Param<Tensor<1>>| {
            let value = p.val().reshape([1, p.dims()[0], 1]);
            if self.logarithms { value.exp() } else { value }
        };
        let alpha = value(&self.alpha);
        let beta = self.beta.as_ref().map_or_else(|| alpha.clone(), value);
        let y = doubled(x);
        let waves = (y.clone() * alpha).sin().powi_scalar(2);
        halved(y + waves / (beta + SMALL))
    }
}

/// The low-pass `[12]`, its sum 1.
pub(super) fn low_pass() -> [f64; TAPS] {
    let (cutoff, half_width) = (0.25, 0.3);
    let attenuation = 2.285 * (TAPS / 2 - 1) as f64 * PI * 4.0 * half_width + 7.95;
    let beta = 0.1102 * (attenuation - 8.7); // Kaiser's for more than 50 dB, which this is
    let last = (TAPS - 1) as f64;
    let tap = |i: usize| {
        let side = 2.0 * i as f64 / last - 1.0;
        let at = 2.0 * cutoff * (i as f64 - last / 2.0) * PI; // never 0: there is no tap in the middle
        bessel(beta * (1.0 - side * side).sqrt()) * at.sin() / at
    };
    let taps: [f64; TAPS] = std::array::from_fn(tap);
    let sum: f64 = taps.iter().sum();
    taps.map(|tap| tap / sum)
}

/// The modified Bessel function of order 0, by its series.
fn bessel(x: f64) -> f64 {
    let term = |state: &mut f64, k: i32| {
        *state *= (x / 2.0 / f64::from(k)).powi(2);
        Some(*state)
    };
    1.0 + (1..40).scan(1.0, term).sum::<f64>()
}

fn filter(like: &Tensor<3>, gain: f64) -> Tensor<3> {
    let taps: Vec<f32> = low_pass().iter().map(|tap| (tap * gain) as f32).collect();
    Tensor::from_data(TensorData::new(taps, [1, 1, TAPS]), &like.device())
}

/// `x` `[n 1 l]` with `before` copies of its first and `after` of its last sample.
fn lengthened(x: Tensor<3>, before: usize, after: usize) -> Tensor<3> {
    let l = x.dims()[2];
    let (first, last) = (x.clone().narrow(2, 0, 1), x.clone().narrow(2, l - 1, 1));
    Tensor::cat(vec![first.repeat_dim(2, before), x, last.repeat_dim(2, after)], 2)
}

/// `[b c l]` to `[b c 2l]`.
fn doubled(x: Tensor<3>) -> Tensor<3> {
    let [b, c, l] = x.dims();
    let x = x.reshape([b * c, 1, l]);
    let pad = TAPS / 2 - 1;
    let taps = filter(&x, 2.0);
    let y = conv_transpose1d(lengthened(x, pad, pad), taps, None, ConvTransposeOptions::new([2], [0], [0], [1], 1));
    y.narrow(2, 2 * pad + pad, 2 * l).reshape([b, c, 2 * l])
}

/// `[b c 2l]` to `[b c l]`.
fn halved(x: Tensor<3>) -> Tensor<3> {
    let [b, c, l] = x.dims();
    let x = x.reshape([b * c, 1, l]);
    let taps = filter(&x, 1.0);
    let y = conv1d(lengthened(x, TAPS / 2 - 1, TAPS / 2), taps, None, ConvOptions::new([2], [0], [1], 1));
    y.reshape([b, c, l / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    fn wave(length: usize, step: f64) -> Tensor<3> {
        let values: Vec<f32> = (0..length).map(|i| (i as f64 * step).sin() as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, 1, length]), &Device::flex())
    }

    fn values(x: Tensor<3>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    /// A slow wave goes up and down unharmed; a constant stays one to its ends. Mutants: half the gain; zeros at the ends; a shift of
    /// one sample; the order of the window's taps.
    #[test]
    fn twice_the_rate_and_back_is_nothing_for_slow_waves() {
        let x = wave(200, 0.2);
        let back = values(halved(doubled(x.clone())));
        let apart = back.iter().zip(values(x)).skip(12).take(176).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 2e-3, "{apart}");
        let even = values(doubled(Tensor::full([1, 2, 9], 0.7, &Device::flex())));
        assert!(even.len() == 36 && even.iter().all(|v| (v - 0.7).abs() < 1e-5), "{even:?}");
    }

    /// `x + sin(a x)^2 / b` of a signal that hardly moves. Mutants: alpha for beta; exponents left out; the square.
    #[test]
    fn a_still_signal_is_bent_as_the_formula_says() {
        let device = Device::flex();
        for (logarithms, beta) in [(true, true), (false, true), (true, false), (false, false)] {
            let mut snake = Snake::new(&Init::new(1, &device), 2, beta, logarithms);
            let param = |values: [f32; 2]| Param::from_tensor(Tensor::<1>::from_floats(values, &device));
            (snake.alpha, snake.beta) = (param([0.4, 1.3]), beta.then(|| param([0.9, 0.2])));
            let got = values(snake.forward(Tensor::full([1, 2, 20], 0.8, &device)));
            for (channel, (a, b)) in [(0.4f64, 0.9f64), (1.3, 0.2)].into_iter().enumerate() {
                let b = if beta { b } else { a };
                let (a, b) = if logarithms { (a.exp(), b.exp()) } else { (a, b) };
                let wanted = 0.8 + (a * 0.8).sin().powi(2) / b;
                let at = f64::from(got[channel * 20 + 10]);
                assert!((at - wanted).abs() < 1e-5, "{at} {wanted}");
            }
        }
    }
}
