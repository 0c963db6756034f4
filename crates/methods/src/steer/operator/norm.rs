//! The largest eigenvalue of a symmetric matrix of which only the products are known.
//!
//! Lanczos, "An iteration method for the solution of the eigenvalue problem of linear differential and integral operators", J. Res. NBS 45,
//! 1950, every new direction cleared of all before it. Measurements that look at edges of pictures have many eigenvalues close to their
//! largest; power iteration comes near such a one as `1/(2 rounds)`, this as `1/rounds²` and faster.

/// Rounds at most.
const ROUNDS: usize = 300;
/// Numbers of all directions together at most.
const MEMORY: usize = 1 << 23;
/// Change of the eigenvalue in a round, of itself, at which it has settled.
const SETTLED: f64 = 1e-13;

/// Rounds that vectors of `n` numbers leave memory for. Fewer than `n` may end short of the eigenvalue.
pub(super) fn rounds(n: usize) -> usize {
    ROUNDS.min(MEMORY / n.max(1)).max(2)
}

/// Of `apply`, of vectors of `n` numbers, no eigenvalue below zero. It is approached from below.
pub(super) fn largest(n: usize, rounds: usize, apply: impl Fn(&[f64]) -> Vec<f64>) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let rounds = rounds.min(n).min(self::rounds(n));
    // No eigenvector is perpendicular to both a constant and a rough wave.
    let mut next: Vec<f64> = (0..n).map(|i| 1.0 + 0.3 * (0.7 * (i * i) as f64).sin()).collect();
    let (mut basis, mut diagonal, mut beside): (Vec<Vec<f64>>, Vec<f64>, Vec<f64>) = Default::default();
    let (mut found, mut still) = (0.0, 0);
    for _ in 0..rounds {
        let length = dot(&next, &next).sqrt();
        if !basis.is_empty() {
            // Nothing new: what was seen holds the eigenvector.
            if length <= 1e-12 * found {
                break;
            }
            beside.push(length);
        }
        let direction: Vec<f64> = next.iter().map(|v| v / length).collect();
        next = apply(&direction);
        diagonal.push(dot(&next, &direction));
        basis.push(direction);
        // Twice, or rounding leaves a trace of them.
        for _ in 0..2 {
            for old in &basis {
                let share = dot(&next, old);
                next.iter_mut().zip(old).for_each(|(v, o)| *v -= share * o);
            }
        }
        let (before, now) = (found, top(&diagonal, &beside));
        found = now;
        still = if now - before <= SETTLED * now { still + 1 } else { 0 };
        if still == 3 {
            break;
        }
    }
    found
}

/// The largest eigenvalue of the symmetric matrix of three diagonals, by halving: how many lie above a number is how often the pivots of the
/// matrix less that number are above zero.
fn top(diagonal: &[f64], beside: &[f64]) -> f64 {
    let next = |i: usize| beside.get(i).copied().unwrap_or(0.0);
    let reach = |i: usize| diagonal[i] + next(i) + if i > 0 { next(i - 1) } else { 0.0 };
    let lies_above = |number: f64| {
        let mut pivot = 1.0;
        (0..diagonal.len()).any(|i| {
            let before = if i > 0 { next(i - 1) } else { 0.0 };
            pivot = diagonal[i] - number - before * before / pivot;
            // A pivot of nothing stands for one a little below.
            if pivot == 0.0 {
                pivot = -f64::MIN_POSITIVE.sqrt();
            }
            pivot > 0.0
        })
    };
    let (mut low, mut high) = (0.0, (0..diagonal.len()).map(reach).fold(0.0, f64::max));
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if lies_above(middle) { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second difference of a long row with fixed ends, `2 - 2 cos(πk/(n + 1))`: its largest eigenvalues crowd, and power iteration is
    /// 1e-3 short after as many rounds. A matrix of one direction is found at once, and of nothing there is nothing.
    ///
    /// Mutants, named and not run: the pivots' sign turned; the off-diagonal not squared; power iteration in place of this.
    #[test]
    fn crowded_eigenvalues_are_told_apart() {
        let n = 200;
        let apply = |x: &[f64]| {
            let at = |i: isize| if i < 0 { 0.0 } else { x.get(i as usize).copied().unwrap_or(0.0) };
            (0..n as isize).map(|i| 2.0 * at(i) - at(i - 1) - at(i + 1)).collect::<Vec<f64>>()
        };
        let known = 2.0 - 2.0 * (std::f64::consts::PI * n as f64 / (n as f64 + 1.0)).cos();
        let found = largest(n, ROUNDS, apply);
        assert!((found / known - 1.0).abs() < 1e-10, "{found} is not {known}");
        let few = largest(n, 40, apply);
        assert!(few < known && few > 0.995 * known, "{few}");
        let one = largest(5, ROUNDS, |x| x.iter().map(|_| x.iter().sum::<f64>()).collect());
        assert!((one - 5.0).abs() < 1e-12, "{one}");
        assert_eq!(largest(3, ROUNDS, |x| vec![0.0; x.len()]), 0.0);
    }
}
