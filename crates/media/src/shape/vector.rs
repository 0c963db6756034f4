//! Arithmetic on points and directions of space.

/// A point or direction, `[x y z]`; y is up.
pub type Point = [f64; 3];

/// `a + b`.
pub fn add(a: Point, b: Point) -> Point {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

/// `a - b`.
pub fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
}

/// `s a`.
pub fn scale(a: Point, s: f64) -> Point {
    [a[0] * s, a[1] * s, a[2] * s]
}

/// The scalar product.
pub fn dot(a: Point, b: Point) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

/// The vector product: it stands on both, right-handed.
pub fn cross(a: Point, b: Point) -> Point {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

/// The length.
pub fn norm(a: Point) -> f64 {
    dot(a, a).sqrt()
}

/// The direction of `a`; zero stays zero.
pub fn unit(a: Point) -> Point {
    let length = norm(a);
    if length > 0.0 { scale(a, 1.0 / length) } else { a }
}

/// An affine map: rows of the linear part, then the shift.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Affine {
    /// Rows of the matrix.
    pub rows: [Point; 3],
    /// Where the origin goes.
    pub shift: Point,
}

impl Affine {
    /// Leaves everything where it is.
    pub const IDENTITY: Self = Self { rows: [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], shift: [0.0; 3] };

    /// Where `p` goes.
    pub fn apply(&self, p: Point) -> Point {
        add([dot(self.rows[0], p), dot(self.rows[1], p), dot(self.rows[2], p)], self.shift)
    }

    /// First `inner`, then `self`.
    pub fn after(&self, inner: &Self) -> Self {
        let column = |j: usize| [inner.rows[0][j], inner.rows[1][j], inner.rows[2][j]];
        let row = |r: Point| [dot(r, column(0)), dot(r, column(1)), dot(r, column(2))];
        Self { rows: self.rows.map(row), shift: self.apply(inner.shift) }
    }

    /// The determinant; a negative one mirrors.
    pub fn determinant(&self) -> f64 {
        dot(self.rows[0], cross(self.rows[1], self.rows[2]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_compose_in_order() {
        let turn = Affine { rows: [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], shift: [1.0, 0.0, 0.0] };
        let mirror = Affine { rows: [[-1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]], shift: [0.0, 3.0, 0.0] };
        let p = [0.3, -0.7, 2.0];
        let (one, two) = (turn.after(&mirror).apply(p), turn.apply(mirror.apply(p)));
        assert!(norm(sub(one, two)) < 1e-12);
        assert_eq!((turn.determinant(), mirror.determinant()), (1.0, -2.0));
    }
}
