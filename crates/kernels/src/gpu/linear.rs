//! Linear maps on a device: one product forward, and two back. Formulas: `crate::linear`.

use super::buffer::Buffer;
use super::pointwise::{Bias, finish, start_back};
use super::product::{Operand, product, product_in};
use super::sums::{Term, column_sums};
use crate::fused::Kernel;
use crate::linear::Linear;
use crate::precision::Precision;

/// Values of a product's tile on a side, about.
const TILE: usize = 128;
/// Tiles that fill a large device.
const MANY: usize = 256;
/// Terms that make a part of a sum worth a tile of its own.
const FEW: usize = 512;

/// Into how many parts a sum of `terms` is split that makes a matrix of `rows` by `columns`: a weight's gradient is a small matrix
/// and a long sum, which would keep a few processors of the device busy and leave the others idle.
fn parts(terms: usize, rows: usize, columns: usize) -> usize {
    let tiles = rows.div_ceil(TILE) * columns.div_ceil(TILE);
    let wanted = (MANY / tiles.max(1)).clamp(1, (terms / FEW).max(1));
    (1..=wanted).rev().find(|parts| terms.is_multiple_of(*parts)).unwrap_or(1)
}

impl Kernel<Buffer> for Linear {
    fn forward(&self, inputs: Vec<Buffer>, save: bool) -> (Buffer, Vec<Buffer>) {
        let (x, weight, bias) = (&inputs[0], &inputs[1], inputs.get(2));
        let [o, i] = *weight.dims() else { unreachable!("a weight has two axes") };
        let rows = x.len() / i.max(1);
        let mut dims = x.dims().to_vec();
        *dims.last_mut().expect("a tensor has an axis") = o;
        let operands = [x.operand(self.precision), weight.operand(self.precision)];
        let plain = bias.is_none() && self.activation.is_none();
        // Sums that another kernel reads next may as well be rounded on the way, as the operands were.
        let kept = if plain { Precision::F32 } else { self.precision };
        let (rows_of_x, columns) = (Operand::rows(&operands[0], i, 0), Operand::columns(&operands[1], i, 0));
        let sums = product_in(rows_of_x, columns, [1, rows, o, i], kept).seen_as(&dims);
        let y = if plain { sums.clone() } else { finish(&sums, bias.map(|of| Bias { of, share: 1 }), self.activation) };
        let mut saved = Vec::new();
        if save {
            saved.extend(operands);
            saved.extend(bias.cloned());
            saved.extend(self.activation.is_some().then_some(sums));
        }
        (y, saved)
    }

    fn backward(&self, mut saved: Vec<Buffer>, grad: Buffer, wanted: &[bool]) -> Vec<Option<Buffer>> {
        let sums = self.activation.map(|activation| (activation, saved.pop().expect("what the activation was of")));
        let (x, weight, bias) = (&saved[0], &saved[1], saved.get(2));
        let [o, i] = *weight.dims() else { unreachable!("a weight has two axes") };
        let rows = x.len() / i.max(1);
        let g = match sums {
            Some((activation, sums)) => {
                start_back(&grad, &sums, bias.map(|of| Bias { of, share: 1 }), activation, self.precision)
            }
            None => grad.operand(self.precision),
        };
        let dx = || {
            let (g, weight) = (Operand::rows(&g, o, 0), Operand::rows(weight, i, 0));
            product(g, weight, [1, rows, i, o]).seen_as(x.dims())
        };
        let d_weight = || {
            let parts = parts(rows, o, i);
            let terms = rows / parts;
            let (g, x) = (Operand::columns(&g, o, terms * o), Operand::rows(x, i, terms * i));
            let each = product(g, x, [parts, o, i, terms]);
            let whole = if parts == 1 { each } else { column_sums(&each, Term::Plain, [1, parts, o * i]) };
            whole.seen_as(&[o, i])
        };
        let mut gradients = vec![wanted[0].then(dx), wanted[1].then(d_weight)];
        if bias.is_some() {
            gradients.push(wanted[2].then(|| column_sums(&g, Term::Plain, [1, rows, o]).seen_as(&[o])));
        }
        gradients
    }
}
