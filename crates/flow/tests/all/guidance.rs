//! Guidance: linear in its scale, one batched evaluation, none where it is not needed.

use crate::common;

use base::{Condition, Dense, Device, Shape, Tensor, Times};
use common::{gap, host, line};
use flow::{Field, Guided};
use std::cell::RefCell;

/// A field that depends on its class and records the sizes of the batches it is given.
struct Classy(RefCell<Vec<usize>>);

impl Field<2> for Classy {
    fn velocity(&self, x: Tensor<2>, t: &Times, c: &Condition) -> Tensor<2> {
        self.0.borrow_mut().push(x.dims()[0]);
        let class = c.class.clone().map(|c| c.into_data().iter::<i64>().collect::<Vec<_>>());
        let class = class.unwrap_or(vec![-1; t.len()]);
        let push = class.iter().zip(t.values()).map(|(c, t)| 1.5 * *c as f64 + t).collect();
        let push = flow::rows::column(push, &x);
        x * 2.0 + push
    }
}

impl Field<2> for &Classy {
    fn velocity(&self, x: Tensor<2>, t: &Times, c: &Condition) -> Tensor<2> {
        (*self).velocity(x, t, c)
    }
}

#[test]
fn guidance_is_linear_in_its_scale_and_costs_one_batched_call() {
    let (field, x) = (Classy(RefCell::default()), line(&[0.2, -1.0, 3.0]));
    let (t, c) = (Times::new(vec![0.1, 0.5, 0.9]), Condition::classes(&[4, 0, 2], &Device::flex()));
    let plain = host(field.velocity(x.clone(), &t, &c));
    let null = host(field.velocity(x.clone(), &t, &c.null()));
    for g in [0.5, 1.5, 4.0] {
        field.0.borrow_mut().clear();
        let guided = host(Guided::new(&field, g, None).unwrap().velocity(x.clone(), &t, &c));
        let expected: Vec<f64> = plain.iter().zip(&null).map(|(c, u)| u + g * (c - u)).collect();
        assert!(gap(&guided, &expected) < 1e-12, "g = {g}");
        assert_eq!(*field.0.borrow(), [6], "one call of twice the batch");
    }
}

#[test]
fn scales_one_and_zero_and_no_condition_cost_a_plain_call() {
    let (field, x) = (Classy(RefCell::default()), line(&[0.2, -1.0]));
    let (t, c) = (Times::all(0.3, 2), Condition::classes(&[4, 0], &Device::flex()));
    let run = |g: f64, c: &Condition| {
        field.0.borrow_mut().clear();
        let v = host(Guided::new(&field, g, None).unwrap().velocity(x.clone(), &t, c));
        assert_eq!(*field.0.borrow(), [2], "g = {g}");
        v
    };
    assert_eq!(run(1.0, &c), host(field.velocity(x.clone(), &t, &c)));
    assert_eq!(run(0.0, &c), host(field.velocity(x.clone(), &t, &c.null())));
    assert_eq!(run(3.0, &Condition::none()), host(field.velocity(x.clone(), &t, &Condition::none())));
}

#[test]
fn an_interval_guides_each_row_by_its_own_time() {
    let (field, x) = (Classy(RefCell::default()), line(&[0.2, -1.0, 3.0]));
    let c = Condition::classes(&[4, 1, 2], &Device::flex());
    let guided = Guided::new(&field, 2.0, Some((0.4, 0.6))).unwrap();
    let everywhere = Guided::new(&field, 2.0, None).unwrap();
    let mixed = Times::new(vec![0.1, 0.5, 0.9]);
    let (plain, full) = (host(field.velocity(x.clone(), &mixed, &c)), host(everywhere.velocity(x.clone(), &mixed, &c)));
    // Rows outside are the plain field to the bit, whatever their batch mates do.
    assert_eq!(host(guided.velocity(x.clone(), &mixed, &c)), [plain[0], full[1], plain[2]]);
    field.0.borrow_mut().clear();
    guided.velocity(x, &Times::all(0.9, 3), &c);
    assert_eq!(*field.0.borrow(), [3], "nothing to guide: one plain call");
}

/// Mutants: a null of zeros where one was given; a map or a reach that vanishes on the unconditional side.
#[test]
fn the_given_null_is_contrasted_with_and_side_inputs_stay_on_both_sides() {
    let device = Device::flex();
    let column = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device).reshape([2, 1]);
    let field = |x: Tensor<2>, _: &Times, c: &Condition| {
        let (vector, map) = (c.vector.clone().unwrap(), c.dense.clone().unwrap().rows);
        let reach: Tensor<2> = c.reach.clone().unwrap().unsqueeze_dim(1);
        // Products, so that a side input missing on one side would show.
        x * 2.0 + (vector * map * reach).cast(burn::tensor::DType::F64)
    };
    let empty = Condition { vector: Some(Tensor::from_floats([[5.0]], &device)), ..Condition::none() };
    let condition = Condition {
        vector: Some(column([1.0, 2.0])),
        dense: Some(Dense { rows: column([3.0, 7.0]), shape: Shape::from([1]) }),
        ..Condition::none()
    };
    let condition = condition.reaching(Tensor::from_floats([1.0, 0.5], &device)).contrasted(empty).unwrap();
    let (x, t) = (line(&[0.2, -1.0]), Times::all(0.3, 2));
    let guided = host(Guided::new(field, 3.0, None).unwrap().velocity(x.clone(), &t, &condition));
    // u + 3 (c - u) with c = vector * map * reach and u = 5 * map * reach.
    let expected = [0.4 + 15.0 + 3.0 * (3.0 - 15.0), -2.0 + 17.5 + 3.0 * (7.0 - 17.5)];
    assert!(gap(&guided, &expected) < 1e-6, "{guided:?}");
    let unconditional = host(Guided::new(field, 0.0, None).unwrap().velocity(x, &t, &condition));
    assert!(gap(&unconditional, &[0.4 + 15.0, -2.0 + 17.5]) < 1e-6, "{unconditional:?}");
}

#[test]
fn bad_settings_are_refused() {
    for (g, interval) in [(-1.0, None), (f64::NAN, None), (2.0, Some((0.6, 0.4))), (2.0, Some((-0.1, 0.4)))] {
        assert!(Guided::new(Classy(RefCell::default()), g, interval).is_err(), "{g} {interval:?}");
    }
}
