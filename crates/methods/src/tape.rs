//! On the gradient tape and off it: the same numbers, shared and not copied.

use base::{Device, Tensor};

/// `x` on the tape if `device` has one, off it otherwise. Gradients do not cross.
pub fn place<const D: usize>(x: Tensor<D>, device: &Device) -> Tensor<D> {
    if device.is_autodiff() { x.without_autodiff().autodiff() } else { x.without_autodiff() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Condition;

    #[test]
    fn what_is_placed_holds_the_same_numbers_and_no_gradient() {
        let (plain, taped) = (Device::flex(), Device::flex().autodiff());
        let leaf = Tensor::<2>::ones([2, 3], &taped).require_grad();
        let moved = place(place(leaf.clone() * 2.0, &plain), &taped);
        assert!(moved.is_autodiff() && !place(moved.clone(), &plain).is_autodiff());
        let gradients = (moved * leaf.clone()).sum().backward();
        // The product's other factor alone: 2, not 4.
        let gradient: Vec<f32> = leaf.grad(&gradients).unwrap().into_data().try_to_vec().unwrap();
        assert_eq!(gradient, [2.0; 6]);
        let condition = Condition::classes(&[1, -1], &plain).on(&taped).on(&plain);
        let back: Vec<i64> = condition.class.unwrap().into_data().iter::<i64>().collect();
        assert_eq!(back, [1, -1]);
    }
}
