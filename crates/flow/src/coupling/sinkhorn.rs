//! Entropic optimal transport between two small sets of points, balanced or with relaxed marginals.
//!
//! `min_P <C, P> + ε KL(P | a⊗b)`, and for relaxed marginals `+ τ KL(P1 | a) + τ KL(Pᵀ1 | b)`: Cuturi, arXiv 1306.0895;
//! Chizat, Peyré, Schmitzer, Vialard, arXiv 1607.05816. Potentials are kept in the log domain; between two returns to it the
//! iterations are plain products with a kernel matrix (Schmitzer, arXiv 1610.06519), and `ε` comes down in steps, so nothing
//! underflows however small it is.

use crate::{FlowError, error::require};
use base::{Key, Paper};

/// Sinkhorn Distances: Lightspeed Computation of Optimal Transport.
pub const SINKHORN: Paper = Paper::arxiv(
    "cuturi2013sinkhorn",
    "Cuturi, Marco",
    "Sinkhorn Distances: Lightspeed Computation of Optimal Transport",
    (2013, "1306.0895"),
    "NeurIPS 2013",
);
/// Scaling Algorithms for Unbalanced Transport Problems.
pub const UNBALANCED: Paper = Paper::arxiv(
    "chizat2016scaling",
    "Chizat, Lenaic and Peyr{\\'e}, Gabriel and Schmitzer, Bernhard and Vialard, Fran{\\c{c}}ois-Xavier",
    "Scaling Algorithms for Unbalanced Transport Problems",
    (2016, "1607.05816"),
    "Mathematics of Computation 2018",
);

/// Settings of the iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinkhorn {
    /// Entropy `ε`, in units of the cost; positive.
    pub epsilon: f64,
    /// Price `τ` of a unit of missing or surplus mass (Kullback–Leibler), in units of the cost; `None` holds the marginals.
    pub relaxation: Option<f64>,
    /// Iterations at most, at the final `ε`.
    pub iterations: usize,
    /// Sum of the marginals' absolute errors at which it stops.
    pub tolerance: f64,
}

impl Sinkhorn {
    /// Balanced transport with entropy `epsilon`: at most 1000 iterations, to a marginal error of 1e-6.
    pub fn new(epsilon: f64) -> Self {
        Self { epsilon, relaxation: None, iterations: 1000, tolerance: 1e-6 }
    }

    /// Refuses settings out of range.
    ///
    /// # Errors
    /// [`FlowError::Setting`] naming the setting.
    pub fn check(&self) -> Result<(), FlowError> {
        let positive = |v: f64| v.is_finite() && v > 0.0;
        require(positive(self.epsilon), "coupling.epsilon", self.epsilon, "it must be positive; 0.05 is customary")?;
        let tau = self.relaxation.unwrap_or(1.0);
        require(positive(tau), "coupling.relaxation", tau, "it must be positive; 1 is customary")?;
        require(self.iterations > 0, "coupling.iterations", self.iterations, "it must be at least 1; 100 is customary")
    }

    /// The plan between uniform weights for a cost matrix `[rows columns]` in row-major order.
    ///
    /// # Errors
    /// [`FlowError`] if a setting is out of range, the matrix has another size, or a cost is not finite.
    pub fn solve(&self, rows: usize, columns: usize, costs: &[f64]) -> Result<Plan, FlowError> {
        self.check()?;
        if costs.len() != rows * columns || costs.is_empty() {
            let (left_shape, right_shape) = (vec![rows, columns], vec![costs.len()]);
            return Err(FlowError::Shape { left: "rows and columns", left_shape, right: "costs", right_shape });
        }
        if let Some(bad) = costs.iter().position(|c| !c.is_finite()) {
            return Err(FlowError::NotFinite { what: "a transport cost", t: f64::NAN, sample: bad / columns });
        }
        let (low, high) = costs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (l.min(*c), h.max(*c)));
        let mut state = State { rows, columns, costs, f: vec![low; rows], g: vec![0.0; columns] };
        let mut epsilon = (high - low).max(self.epsilon);
        while epsilon > self.epsilon {
            state.run(self, epsilon, 10)?;
            epsilon = (epsilon / 4.0).max(self.epsilon);
        }
        state.run(self, self.epsilon, self.iterations)
    }
}

/// A transport plan between `rows` and `columns` points.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub columns: usize,
    /// Mass moved between each pair, `[rows columns]`.
    pub mass: Vec<f64>,
    /// Iterations spent at the final entropy.
    pub iterations: usize,
    /// Sum of absolute errors of the row marginal (balanced), or largest change of a potential over `ε` (relaxed).
    pub error: f64,
}

impl Plan {
    /// Mass that leaves each row.
    pub fn row_sums(&self) -> Vec<f64> {
        self.mass.chunks(self.columns).map(|row| row.iter().sum()).collect()
    }

    /// Mass that reaches each column.
    pub fn column_sums(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.columns];
        for row in self.mass.chunks(self.columns) {
            sums.iter_mut().zip(row).for_each(|(sum, mass)| *sum += mass);
        }
        sums
    }

    /// `<costs, plan>`.
    pub fn cost(&self, costs: &[f64]) -> f64 {
        self.mass.iter().zip(costs).map(|(mass, cost)| mass * cost).sum()
    }

    /// A column drawn in proportion to the mass of `row`, by `u` in [0, 1).
    pub fn draw_column(&self, row: usize, u: f64) -> usize {
        draw(&self.mass[row * self.columns..(row + 1) * self.columns], u)
    }

    /// `count` rows in proportion to their mass; row `k` of the answer depends on `indices[k]` alone.
    pub fn draw_rows(&self, key: Key, indices: &[u64]) -> Vec<usize> {
        let sums = self.row_sums();
        indices.iter().map(|&index| draw(&sums, key.uniform(index))).collect()
    }
}

/// The first place at which the running sum of `weights` exceeds `u` times the whole.
fn draw(weights: &[f64], u: f64) -> usize {
    let mut left = u * weights.iter().sum::<f64>();
    let last = weights.iter().rposition(|w| *w > 0.0).unwrap_or(0);
    for (i, weight) in weights[..last].iter().enumerate() {
        if left < *weight {
            return i;
        }
        left -= weight;
    }
    last
}

/// Potentials of rows and columns: the plan is `exp((f + g - C)/ε) a b`.
struct State<'a> {
    rows: usize,
    columns: usize,
    costs: &'a [f64],
    f: Vec<f64>,
    g: Vec<f64>,
}

/// A scaling beyond e^±LARGE is moved into the potentials.
const LARGE: f64 = 40.0;

impl State<'_> {
    fn run(&mut self, settings: &Sinkhorn, epsilon: f64, iterations: usize) -> Result<Plan, FlowError> {
        // With relaxed marginals a potential is damped: φ = τ/(τ+ε).
        let damping = settings.relaxation.map_or(1.0, |tau| tau / (tau + epsilon));
        let (a, b) = (1.0 / self.rows as f64, 1.0 / self.columns as f64);
        let mut done = 0;
        loop {
            self.exact_step(epsilon, damping);
            let mut kernel = self.kernel(epsilon);
            let (mut u, mut v) = (vec![1.0; self.rows], vec![1.0; self.columns]);
            let (mut sums, mut back) = (vec![0.0; self.rows], vec![0.0; self.columns]);
            let (mut large, mut error) = (false, f64::INFINITY);
            while done < iterations && !large {
                done += 1;
                product(&kernel, &v, &mut sums);
                if damping == 1.0 {
                    error = sums.iter().zip(&u).map(|(sum, u)| (sum * u - a).abs()).sum();
                }
                let rows = rescale(&mut u, &sums, &self.f, a, epsilon, damping);
                transposed_product(&kernel, &u, &mut back);
                let columns = rescale(&mut v, &back, &self.g, b, epsilon, damping);
                let (change, extent) = (rows.0.max(columns.0), rows.1.max(columns.1));
                if !change.is_finite() {
                    let remedy = "the plan lost a point to rounding; raise it";
                    return Err(FlowError::Setting { setting: "coupling.epsilon", value: epsilon.to_string(), remedy });
                }
                if damping != 1.0 {
                    error = change;
                }
                if error < settings.tolerance {
                    break;
                }
                large = extent > LARGE;
            }
            let absorb = |potential: &mut Vec<f64>, scaling: &[f64]| {
                potential.iter_mut().zip(scaling).for_each(|(p, s)| *p += epsilon * s.ln());
            };
            absorb(&mut self.f, &u);
            absorb(&mut self.g, &v);
            if done >= iterations || error < settings.tolerance {
                for (row, u) in kernel.chunks_mut(self.columns).zip(&u) {
                    row.iter_mut().zip(&v).for_each(|(k, v)| *k *= u * v);
                }
                return Ok(Plan { rows: self.rows, columns: self.columns, mass: kernel, iterations: done, error });
            }
        }
    }

    /// One iteration by log-sum-exp, after which no row and no column of the kernel is empty.
    fn exact_step(&mut self, epsilon: f64, damping: f64) {
        let mut terms = vec![0.0; self.columns];
        for (f, costs) in self.f.iter_mut().zip(self.costs.chunks(self.columns)) {
            for (term, (g, cost)) in terms.iter_mut().zip(self.g.iter().zip(costs)) {
                *term = (g - cost) / epsilon;
            }
            *f = -damping * epsilon * (log_sum_exp(&terms) - (self.columns as f64).ln());
        }
        // Columns in one sweep over the rows: the largest term first, then the sums below it.
        let mut top = vec![f64::NEG_INFINITY; self.columns];
        let rows = || self.f.iter().zip(self.costs.chunks(self.columns));
        for (f, costs) in rows() {
            top.iter_mut().zip(costs).for_each(|(top, cost)| *top = top.max((f - cost) / epsilon));
        }
        let mut sums = vec![0.0; self.columns];
        for (f, costs) in rows() {
            for (sum, (top, cost)) in sums.iter_mut().zip(top.iter().zip(costs)) {
                *sum += ((f - cost) / epsilon - top).exp();
            }
        }
        for (g, (top, sum)) in self.g.iter_mut().zip(top.iter().zip(sums)) {
            *g = -damping * epsilon * (top + sum.ln() - (self.rows as f64).ln());
        }
    }

    fn kernel(&self, epsilon: f64) -> Vec<f64> {
        let weight = 1.0 / (self.rows * self.columns) as f64;
        let row = |(f, costs): (&f64, &[f64])| {
            let of = |(g, cost): (&f64, &f64)| weight * ((f + g - cost) / epsilon).exp();
            self.g.iter().zip(costs).map(of).collect::<Vec<_>>()
        };
        self.f.iter().zip(self.costs.chunks(self.columns)).flat_map(row).collect()
    }
}

/// New scalings of one side from the kernel's sums; the largest change and the largest extent of their logarithms.
fn rescale(
    scaling: &mut [f64],
    sums: &[f64],
    potential: &[f64],
    weight: f64,
    epsilon: f64,
    damping: f64,
) -> (f64, f64) {
    let (mut change, mut extent) = (0.0f64, 0.0f64);
    for ((scaling, sum), potential) in scaling.iter_mut().zip(sums).zip(potential) {
        if *sum == 0.0 && damping < 1.0 {
            continue; // relaxed: the mass of this point is below what numbers hold, and its potential is already right
        }
        let old = scaling.ln();
        // log Σ exp((g - C)/ε) b, recovered from a kernel that already holds the potential.
        let log = -damping * ((sum / weight).ln() - potential / epsilon) - potential / epsilon;
        // Not `max`, which would pass over a NaN.
        change = if (log - old).abs() <= change { change } else { (log - old).abs() };
        extent = extent.max(log.abs());
        *scaling = log.exp();
    }
    (change, extent)
}

fn product(kernel: &[f64], v: &[f64], out: &mut [f64]) {
    for (out, row) in out.iter_mut().zip(kernel.chunks(v.len())) {
        *out = row.iter().zip(v).map(|(k, v)| k * v).sum();
    }
}

fn transposed_product(kernel: &[f64], u: &[f64], out: &mut [f64]) {
    out.fill(0.0);
    for (u, row) in u.iter().zip(kernel.chunks(out.len())) {
        out.iter_mut().zip(row).for_each(|(out, k)| *out += k * u);
    }
}

fn log_sum_exp(terms: &[f64]) -> f64 {
    let top = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + terms.iter().map(|t| (t - top).exp()).sum::<f64>().ln()
}
