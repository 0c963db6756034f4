//! Pairs of standard normals by counter, fast enough for one pair per value and step.
//!
//! A sample's stream starts at a 64-bit number from its [`Key`](base::Key) (ChaCha, once per solve); pair `j` of node
//! `node` is SplitMix64's output (Steele, Lea & Flood 2014) at that place of the stream, turned by Box and Muller. The
//! loop is free of branches and calls, so that `pulp` compiles it for the widest vectors.

use std::f32::consts::TAU;

/// SplitMix64's increment: odd, so that all counters of a stream differ.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// Two standard normals for each of `values` values of each sample, as two row-major batches.
pub(super) fn pairs(streams: &[u64], values: usize, node: u32) -> (Vec<f32>, Vec<f32>) {
    let mut first = vec![0.0_f32; streams.len() * values];
    let mut second = vec![0.0_f32; streams.len() * values];
    pulp::Arch::new().dispatch(Fill { streams, values, node, first: &mut first, second: &mut second });
    (first, second)
}

/// The loop as a type: a closure's own call is sometimes compiled apart, without the wide instructions.
struct Fill<'a> {
    streams: &'a [u64],
    values: usize,
    node: u32,
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl pulp::NullaryFnOnce for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        fill(self.streams, self.values, self.node, self.first, self.second);
    }
}

#[inline(always)]
fn fill(streams: &[u64], values: usize, node: u32, first: &mut [f32], second: &mut [f32]) {
    let place = u64::from(node) << 32;
    if values == 1 {
        for ((stream, a), b) in streams.iter().zip(first).zip(second) {
            (*a, *b) = pair(stream.wrapping_add((place + 1).wrapping_mul(STEP)));
        }
        return;
    }
    let rows = first.chunks_exact_mut(values.max(1)).zip(second.chunks_exact_mut(values.max(1)));
    for (stream, (first, second)) in streams.iter().zip(rows) {
        for (j, (a, b)) in first.iter_mut().zip(second).enumerate() {
            (*a, *b) = pair(stream.wrapping_add((place + j as u64 + 1).wrapping_mul(STEP)));
        }
    }
}

/// Box–Muller on the two halves of a mixed counter.
#[inline(always)]
fn pair(counter: u64) -> (f32, f32) {
    let mut m = counter;
    m = (m ^ (m >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    m = (m ^ (m >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    m ^= m >> 31;
    // Twenty-four bits of angle, and thirty-one of radius shifted off zero: the largest normal is about 6.6.
    let angle = ((m & 0x00FF_FFFF) as i32) as f32 * (1.0 / 16_777_216.0);
    let uniform = (((m >> 33) as i32) as f32 + 0.5) * (1.0 / 2_147_483_648.0);
    let radius = (-2.0 * ln(uniform)).max(0.0).sqrt();
    let (sin, cos) = turn(angle);
    (radius * cos, radius * sin)
}

/// Natural logarithm of a positive normal number (Cephes' polynomial), to about 1e-7 of its size.
#[inline(always)]
fn ln(x: f32) -> f32 {
    let bits = x.to_bits() as i32;
    // Exponent and mantissa of x/√½, so that the mantissa lies in [√½, √2).
    let shifted = bits.wrapping_sub(0x3F35_04F3);
    let exponent = shifted >> 23;
    let m = f32::from_bits(bits.wrapping_sub(exponent << 23) as u32) - 1.0;
    let e = exponent as f32;
    let p = 7.037_683_6e-2_f32;
    let p = p.mul_add(m, -1.151_461e-1);
    let p = p.mul_add(m, 1.167_699_9e-1);
    let p = p.mul_add(m, -1.242_014_1e-1);
    let p = p.mul_add(m, 1.424_932_3e-1);
    let p = p.mul_add(m, -1.666_805_8e-1);
    let p = p.mul_add(m, 2.000_071_5e-1);
    let p = p.mul_add(m, -2.499_999_4e-1);
    let p = p.mul_add(m, 3.333_333e-1);
    let z = m * m;
    let y = p * m * z - 0.5 * z;
    e.mul_add(std::f32::consts::LN_2, m + y)
}

/// Sine and cosine of `x` turns, `x` in [0, 1), to about 1e-6.
#[inline(always)]
fn turn(x: f32) -> (f32, f32) {
    // Nearest quarter turn and the rest, in [-1/8, 1/8] turns.
    let t = x.mul_add(4.0, 12_582_912.0);
    let quarter = t.to_bits() as i32;
    let r = (x - (t - 12_582_912.0) * 0.25) * TAU;
    let z = r * r;
    let s = (-1.951_529_6e-4_f32).mul_add(z, 8.332_161e-3).mul_add(z, -1.666_665_5e-1);
    let s = (s * z).mul_add(r, r);
    let c = 2.443_315_7e-5_f32.mul_add(z, -1.388_731_6e-3).mul_add(z, 4.166_664_6e-2);
    let c = (c * z).mul_add(z, (-0.5_f32).mul_add(z, 1.0));
    let odd = quarter & 1 == 1;
    let (sin, cos) = if odd { (c, s) } else { (s, c) };
    let sin = f32::from_bits(sin.to_bits() ^ (((quarter & 2) as u32) << 30));
    let cos = f32::from_bits(cos.to_bits() ^ ((((quarter + 1) & 2) as u32) << 30));
    (sin, cos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_turn_agree_with_the_library() {
        for i in 1..20_000 {
            let x = i as f32 / 20_000.0;
            assert!((ln(x) - x.ln()).abs() < 1e-6 * (1.0 + x.ln().abs()), "ln {x}");
            let (sin, cos) = turn(x);
            let (known_sin, known_cos) = (TAU as f64 * f64::from(x)).sin_cos();
            assert!((f64::from(sin) - known_sin).abs() < 2e-6 && (f64::from(cos) - known_cos).abs() < 2e-6, "turn {x}");
        }
        assert!((ln(2.3e-10) - 2.3e-10_f32.ln()).abs() < 1e-5);
    }

    #[test]
    fn pairs_are_standard_normal_and_uncorrelated() {
        let streams: Vec<u64> = (0..400_u64).map(|i| i.wrapping_mul(0xD134_2543_DE82_EF95)).collect();
        let (mut sums, mut n) = ([0.0_f64; 6], 0.0);
        for node in 0..50 {
            let (a, b) = pairs(&streams, 10, node);
            for (a, b) in a.iter().zip(&b).map(|(a, b)| (f64::from(*a), f64::from(*b))) {
                for (sum, value) in sums.iter_mut().zip([a, b, a * a, b * b, a * b, a.powi(4)]) {
                    *sum += value;
                }
                n += 1.0;
            }
        }
        // 200 000 pairs: five standard errors are 0.011 for means, 0.016 for squares, 0.11 for the fourth moment.
        let mean = sums.map(|s| s / n);
        assert!(mean[0].abs() < 0.012 && mean[1].abs() < 0.012, "{mean:?}");
        assert!((mean[2] - 1.0).abs() < 0.016 && (mean[3] - 1.0).abs() < 0.016 && mean[4].abs() < 0.012, "{mean:?}");
        assert!((mean[5] - 3.0).abs() < 0.11, "{mean:?}");
    }
}
