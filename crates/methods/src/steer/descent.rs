//! L-BFGS for many problems at once, a row each: directions from the last steps and gradients (Nocedal, Mathematics of Computation 35,
//! 1980, the two-loop recursion). No row sees another.

use base::Tensor;
use std::collections::VecDeque;

/// A step, how it changed the gradient, and one over their product (zero where a row's pair says nothing).
struct Pair {
    s: Tensor<2>,
    y: Tensor<2>,
    one: Tensor<2>,
}

/// What the last steps say of the curvature.
pub struct Memory {
    /// Newest last.
    pairs: VecDeque<Pair>,
    most: usize,
}

/// `[b 1]`.
pub fn dot(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    (a.clone() * b.clone()).sum_dim(1)
}

/// `a/b` where `b` is more than nothing beside `size`, zero elsewhere.
fn share(a: Tensor<2>, b: Tensor<2>, size: Tensor<2>) -> Tensor<2> {
    let sound = b.clone().greater(size * 1e-10 + 1e-30);
    let safe = b.clone().mask_fill(sound.clone().bool_not(), 1.0);
    (a / safe).mask_fill(sound.bool_not(), 0.0)
}

impl Memory {
    /// Of `most` steps.
    pub fn new(most: usize) -> Self {
        Self { pairs: VecDeque::new(), most }
    }

    /// Remembers a step `s` that changed the gradient by `y`, both `[b n]`.
    pub fn add(&mut self, s: Tensor<2>, y: Tensor<2>) {
        let product = dot(&s, &y);
        let one = share(product.ones_like(), product, dot(&y, &y).sqrt() * dot(&s, &s).sqrt());
        if self.pairs.len() == self.most {
            self.pairs.pop_front();
        }
        self.pairs.push_back(Pair { s, y, one });
    }

    /// Where to go from gradient `g` `[b n]`: downhill, by the whole length where the memory is right; by `first` of the gradient where
    /// a row remembers nothing.
    pub fn direction(&self, g: &Tensor<2>, first: Tensor<2>) -> Tensor<2> {
        let (mut q, mut taken) = (g.clone(), Vec::new());
        for Pair { s, y, one } in self.pairs.iter().rev() {
            let a = one.clone() * dot(s, &q);
            q = q - y.clone() * a.clone();
            taken.push(a);
        }
        let scale = match self.pairs.back() {
            None => first,
            Some(Pair { s, y, one }) => {
                let nothing = one.clone().lower_equal_elem(0.0);
                let own = share(dot(s, y), dot(y, y), dot(s, s) * 0.0);
                own.clone().mask_where(nothing, first)
            }
        };
        q = q * scale;
        for (Pair { s, y, one }, a) in self.pairs.iter().zip(taken.into_iter().rev()) {
            let b = one.clone() * dot(y, &q);
            q = q + s.clone() * (a - b);
        }
        q.neg()
    }
}
