//! Noise as PyTorch's generator for processors makes it of a seed (`torch.Generator("cpu").manual_seed(seed)`, `torch.randn` in single
//! precision), for those who want the picture that diffusers or ComfyUI drew.
//!
//! A Mersenne Twister gives whole numbers; their lowest 24 bits are a number `u` in [0, 1). Sixteen of these become sixteen normal numbers by
//! Box and Muller's method: number `j` of the first eight is `sqrt(-2 ln(1 - u_j)) cos(2 pi u_{j+8})`, number `j + 8` the same with the sine. Where
//! the count is no multiple of sixteen, the last sixteen are drawn anew. PyTorch computes this in single precision with approximations of its
//! own; the differences are below 1e-6.

use rand_mt::Mt;

/// Numbers made together; PyTorch makes fewer in another way, which no picture needs.
pub(super) const GROUP: usize = 16;

/// `count` standard normal numbers of `seed`, of which PyTorch reads the lower 32 bits.
pub(super) fn normal(seed: u64, count: usize) -> Vec<f32> {
    assert!(count >= GROUP, "the caller refuses fewer");
    let mut twister = Mt::new(seed as u32);
    let mut uniform = || f64::from(twister.next_u32() & 0x00ff_ffff) / f64::from(1 << 24);
    let mut drawn: Vec<f64> = (0..count).map(|_| uniform()).collect();
    drawn.chunks_exact_mut(GROUP).for_each(to_normal);
    if !count.is_multiple_of(GROUP) {
        let last = &mut drawn[count - GROUP..];
        last.fill_with(uniform);
        to_normal(last);
    }
    drawn.into_iter().map(|number| number as f32).collect()
}

fn to_normal(group: &mut [f64]) {
    let (radii, angles) = group.split_at_mut(GROUP / 2);
    for (a, b) in radii.iter_mut().zip(angles) {
        let (radius, angle) = ((-2.0 * (1.0 - *a).ln()).sqrt(), std::f64::consts::TAU * *b);
        (*a, *b) = (radius * angle.cos(), radius * angle.sin());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of PyTorch 1.13 (`torch.randn(n, generator=torch.Generator("cpu").manual_seed(seed))`): the first four, the last four, the sum.
    /// Mutants: sine and cosine exchanged; the last sixteen kept; 32 bits of each number; another seed.
    #[test]
    fn pytorchs_numbers_come_out() {
        let golden: [(u64, usize, [f64; 8], f64); 6] = [
            (
                0,
                24,
                [-1.12583983, -1.15236020, -0.25057858, -0.43387881, 0.61805665, -0.41280222, -0.84106481, -2.31604195],
                0.250378,
            ),
            (
                0,
                6144,
                [-1.12583983, -1.15236020, -0.25057858, -0.43387881, -1.58270860, 0.33327392, -0.27133349, 0.00722915],
                -95.919887,
            ),
            (
                42,
                24,
                [1.92691529, 1.48728406, 0.90071720, -2.10552096, -0.59200054, -0.06307438, -0.82855427, 0.33089843],
                -5.806537,
            ),
            (
                42,
                6144,
                [1.92691529, 1.48728406, 0.90071720, -2.10552096, -1.21163774, 0.17573671, 0.25499454, 0.80700296],
                64.898777,
            ),
            (
                123456789,
                24,
                [0.26425540, -0.41489896, -0.60751379, 0.73192871, 0.90821958, -1.96321547, -0.13534451, -0.54709804],
                -3.719322,
            ),
            (
                123456789,
                6144,
                [0.26425540, -0.41489896, -0.60751379, 0.73192871, 1.53863347, 0.22650507, 0.84818202, 0.02942964],
                -81.576311,
            ),
        ];
        for (seed, count, ends, sum) in golden {
            let drawn = normal(seed, count);
            let seen = drawn[..4].iter().chain(&drawn[count - 4..]);
            assert!(seen.zip(ends).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{seed} {count}: {drawn:?}");
            let apart = drawn.iter().map(|number| f64::from(*number)).sum::<f64>() - sum;
            assert!(apart.abs() < 1e-6 * count as f64, "{seed} {count}: {apart}");
        }
        assert_eq!(normal(7, 16), normal(7 + (1 << 32), 16));
    }
}
