//! Matrix products on a device: the library's kernels (`cubek`), on tensor cores where the device has some.

use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;
use cubecl::zspace::{Shape, Strides};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems, MatmulSetupError};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy::{DoubleUnit, Naive, SimpleCyclicMma, SpecializedTmaMma};
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::matmul::strategy::Strategy;
use cubek::std::InputBinding;

use super::buffer::Buffer;
use crate::precision::Precision;

/// A matrix, or one for each sample of a batch, as a product reads it.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    of: &'a Buffer,
    /// From one sample, row and column to the next; one matrix for all samples is 0 apart.
    strides: [usize; 3],
}

impl<'a> Operand<'a> {
    /// Rows of `width` values one after the other, matrices `apart`.
    pub fn rows(of: &'a Buffer, width: usize, apart: usize) -> Self {
        Self { of, strides: [apart, width, 1] }
    }

    /// Columns of `height` values one after the other: the transpose of such rows.
    pub fn columns(of: &'a Buffer, height: usize, apart: usize) -> Self {
        Self { of, strides: [apart, 1, height] }
    }

    fn binding(self, batch: usize, rows: usize, columns: usize) -> InputBinding {
        let [apart, down, across] = self.strides;
        let (batch, apart) = if apart == 0 { (1, rows * columns) } else { (batch, apart) };
        let (strides, shape) = (Strides::from(vec![apart, down, across]), Shape::from(vec![batch, rows, columns]));
        let handle = self.of.clone().into_inner().handle;
        // SAFETY: whoever makes an operand vouches that its strides stay within the array for the sizes of its product.
        InputBinding::new(unsafe { TensorBinding::from_raw_parts(handle, strides, shape) }, self.of.element())
    }
}

const F32: ElemType = ElemType::Float(FloatKind::F32);

/// Multiplications that repay a kernel which takes seconds to compile and is half as fast again.
const MANY: usize = 1 << 32;

/// `a b` for each sample: `a` `[m k]`, `b` `[k n]`, both of one type, the result `[batch m n]` in f32.
pub(crate) fn product(a: Operand, b: Operand, sizes: [usize; 4]) -> Buffer {
    product_in(a, b, sizes, Precision::F32)
}

/// The same, its result rounded on its way into the device's memory where `precision` says so.
pub(crate) fn product_in(a: Operand, b: Operand, [batch, m, n, k]: [usize; 4], precision: Precision) -> Buffer {
    let room = a.of.room_for(&[batch, m, n], precision);
    if room.len() == 0 {
        return room;
    }
    assert!(k > 0, "a product of nothing: the operations refuse such shapes before");
    debug_assert_eq!(a.of.element(), b.of.element());
    let elements =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: a.of.element(), rhs: b.of.element(), out: room.element() });
    let large = a.of.element() != F32 && batch * m * n * k >= MANY;
    let launch = |strategy: Strategy| -> Result<(), MatmulSetupError> {
        let (a, b) = (a.binding(batch, m, k), b.binding(batch, k, n));
        let out = room.clone().into_inner().binding();
        launch_ref(&strategy, room.client(), a, b, out, &mut elements.clone())
    };
    // The first needs Hopper's copy engine, the second tensor cores, the third a tile's worth of rows and columns, the last nothing.
    if large && launch(Strategy::MultiLevel(SpecializedTmaMma(Inferred(Default::default())))).is_ok() {
        return room;
    }
    launch(Strategy::MultiLevel(SimpleCyclicMma(Inferred(Default::default()))))
        .or_else(|_| launch(Strategy::MultiLevel(DoubleUnit(Inferred(Default::default())))))
        .or_else(|_| launch(Strategy::MultiLevel(Naive)))
        .unwrap_or_else(|error| panic!("no product of [{batch} {m} {k}] and [{k} {n}] on this device: {error:?}"));
    room
}
