//! The exponential without branches or calls, so that loops of it are compiled for the widest vectors.

use std::f64::consts::LOG2_E;

/// The logarithm of two in two parts: the first has so few digits that its products with exponents are exact.
const LN2: [f64; 2] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10];

/// Below this, `e^x` is no normal number any more; it is taken for zero.
const LEAST: f64 = -708.0;

/// `e^x` for `x` in (-inf, 709], to 2e-16 of its size; 0 below -708.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`, where thirteen terms of the series are exact to rounding; `2^n` is put together
/// from its bits.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    // The nearest integer, in the low bits of a sum with 1.5 * 2^52.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let held = if x > LEAST { x } else { LEAST };
    let shifted = held * LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = held - n * LN2[0] - n * LN2[1];
    let mut sum = 1.0 / 6_227_020_800.0;
    for factorial in FACTORIALS {
        sum = sum * r + factorial;
    }
    let scale = f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52);
    if x > LEAST { sum * scale } else { 0.0 }
}

/// `1/12!` down to `1/0!`.
const FACTORIALS: [f64; 13] = [
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5_040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
    1.0,
    1.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_library() {
        for i in 0..200_000 {
            let x = 709.0 - f64::from(i) * 0.007_05;
            let (ours, known) = (exp(x), x.exp());
            assert!(if x > LEAST { (ours / known - 1.0).abs() < 4.5e-16 } else { ours == 0.0 }, "{x}: {ours} {known}");
        }
        assert!(exp(0.0) == 1.0 && exp(f64::NEG_INFINITY) == 0.0);
    }
}
