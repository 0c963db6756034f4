//! Butcher tableaus: a Runge–Kutta method as data (Hairer, Nørsett & Wanner, *Solving Ordinary Differential Equations I*, II.1).

/// An explicit Runge–Kutta method: stage `i` is `v(x + h Σ_j a[i][j] k_j, t + c[i] h)`, the step `x + h Σ_i b[i] k_i`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tableau {
    /// Strictly lower triangular weights of earlier stages; row 0 is empty.
    pub a: &'static [&'static [f64]],
    /// Weights of the stages.
    pub b: &'static [f64],
    /// Times of the stages.
    pub c: &'static [f64],
    /// The error of a solution falls as the step to this power.
    pub order: u32,
}

/// Explicit Euler.
pub(super) const EULER: Tableau = Tableau { a: &[&[]], b: &[1.0], c: &[0.0], order: 1 };

/// Explicit midpoint.
pub(super) const MIDPOINT: Tableau = Tableau { a: &[&[], &[0.5]], b: &[0.0, 1.0], c: &[0.0, 0.5], order: 2 };

/// Heun's method of order 2 (explicit trapezoid).
pub(super) const HEUN: Tableau = Tableau { a: &[&[], &[1.0]], b: &[0.5, 0.5], c: &[0.0, 1.0], order: 2 };

/// The classical Runge–Kutta method.
pub(super) const RK4: Tableau = Tableau {
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 0.5, 0.5, 1.0],
    order: 4,
};

/// Dormand & Prince 1980, RK5(4)7M. The last stage is the first of the next step (FSAL).
pub(super) const DORMAND_PRINCE: Tableau = Tableau {
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
        &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
    c: &[0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0, 1.0],
    order: 5,
};

/// Fifth- minus fourth-order weights of Dormand–Prince: the error estimate.
pub(super) const DORMAND_PRINCE_ERROR: [f64; 7] = [
    35.0 / 384.0 - 5179.0 / 57600.0,
    0.0,
    500.0 / 1113.0 - 7571.0 / 16695.0,
    125.0 / 192.0 - 393.0 / 640.0,
    -2187.0 / 6784.0 + 92097.0 / 339200.0,
    11.0 / 84.0 - 187.0 / 2100.0,
    -1.0 / 40.0,
];
