//! The normal distribution function and its inverse.
//!
//! The distribution function sums the series `Φ(x) = 1/2 + φ(x)(x + x³/3 + x⁵/15 + ...)` (Abramowitz & Stegun 26.2.11)
//! near the centre and the continued fraction 26.2.14 in the tails; the inverse starts from A&S 26.2.23 and takes Newton
//! steps, so it is as accurate as the function it inverts.

use std::f64::consts::PI;

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

/// Upper tail `P(Z > x)` for `x >= 0`.
fn upper(x: f64) -> f64 {
    if x < 3.0 {
        let (mut term, mut sum, mut n) = (x, x, 1.0);
        while term.abs() > 1e-18 * sum.abs() && n < 200.0 {
            term *= x * x / (2.0 * n + 1.0);
            sum += term;
            n += 1.0;
        }
        return 0.5 - density(x) * sum;
    }
    // 1/(x + 1/(x + 2/(x + 3/(x + ...)))), from the inside out.
    density(x) / (1..=120).rev().fold(x, |tail, n| x + n as f64 / tail)
}

/// `P(Z <= x)` of a standard normal variable; absolute error below 1e-14.
pub fn normal_cdf(x: f64) -> f64 {
    if x >= 0.0 { 1.0 - upper(x) } else { upper(-x) }
}

/// The `x` with `P(Z <= x) = u`, for `u` in [0, 1]; infinite at the ends.
pub fn normal_quantile(u: f64) -> f64 {
    if u <= 0.0 {
        return f64::NEG_INFINITY;
    }
    if u >= 1.0 {
        return f64::INFINITY;
    }
    let tail = u.min(1.0 - u);
    let w = (-2.0 * tail.ln()).sqrt();
    let start = w - (2.515517 + w * (0.802853 + w * 0.010328)) / (1.0 + w * (1.432788 + w * (0.189269 + w * 0.001308)));
    let mut x = start.max(0.0);
    for _ in 0..3 {
        // Newton with Halley's correction (the second derivative of Φ is -xφ).
        let step = (upper(x) - tail) / density(x);
        x += step / (1.0 + 0.5 * x * step);
    }
    if u < 0.5 { -x } else { x }
}
