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

/// An embedded pair: the higher-order method, whose last stage stands at its own solution (first same as last), and the
/// difference of the two methods' weights, which estimates the error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Embedded {
    /// The method that carries the solution.
    pub method: Tableau,
    /// Weights of the error estimate: higher minus lower order.
    pub error: &'static [f64],
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

/// Kutta's method of order 3: starts Adams–Bashforth 3.
pub(super) const KUTTA3: Tableau =
    Tableau { a: &[&[], &[0.5], &[-1.0, 2.0]], b: &[1.0 / 6.0, 2.0 / 3.0, 1.0 / 6.0], c: &[0.0, 0.5, 1.0], order: 3 };

/// RF-Solver's third-order Taylor step (Wang et al. 2024, arXiv 2411.04746) with derivatives by differences.
///
/// With `k1 = v(x, t)`, the midpoint velocity `k2` (Euler predictor) and `k3` (predictor with `v' = (k2-k1)/(h/2)`), and
/// the end velocity `k4` at `x + h k1 + h²/2 v' = x + h k3` with `v' = (k3-k1)/(h/2)`, the third-order Taylor sum
/// `x + h k1 + h²/2 v' + h³/6 v''` is Simpson's rule on `k1, k3, k4`: four evaluations, order 3.
pub(super) const RF_SOLVER_3: Tableau = Tableau {
    a: &[&[], &[0.5], &[0.25, 0.25], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 0.0, 2.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 0.5, 0.5, 1.0],
    order: 3,
};

/// Bogacki & Shampine, Appl. Math. Lett. 2(4) (1989): order 3 with an error estimate of order 2.
pub(super) const BOGACKI_SHAMPINE: Embedded = Embedded {
    method: Tableau {
        a: &[&[], &[0.5], &[0.0, 0.75], &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0]],
        b: &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0, 0.0],
        c: &[0.0, 0.5, 0.75, 1.0],
        order: 3,
    },
    error: &[2.0 / 9.0 - 7.0 / 24.0, 1.0 / 3.0 - 0.25, 4.0 / 9.0 - 1.0 / 3.0, -0.125],
};

/// Dormand & Prince, J. Comput. Appl. Math. 6 (1980), RK5(4)7M: order 5 with an error estimate of order 4.
pub(super) const DORMAND_PRINCE: Embedded = Embedded {
    method: Tableau {
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
    },
    error: &[
        35.0 / 384.0 - 5179.0 / 57600.0,
        0.0,
        500.0 / 1113.0 - 7571.0 / 16695.0,
        125.0 / 192.0 - 393.0 / 640.0,
        -2187.0 / 6784.0 + 92097.0 / 339200.0,
        11.0 / 84.0 - 187.0 / 2100.0,
        -1.0 / 40.0,
    ],
};
