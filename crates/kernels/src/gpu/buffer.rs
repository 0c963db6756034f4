//! Arrays in a device's memory: the form in which a kernel sees a tensor there.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::{DType, Shape, bf16};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::precision::Precision;

/// Units of a cube that work on one row: the lanes of a warp.
pub(crate) const LANES: u32 = 32;
/// Rows that a cube of row kernels works on.
pub(crate) const ROWS: u32 = 4;

/// A contiguous row-major tensor on a device: of `f32`, but for [operands](Buffer::operand). Cloning shares the storage.
#[derive(Clone, Debug)]
pub(crate) struct Buffer(CubeTensor);

impl Buffer {
    /// Takes a tensor over, copying only if its layout is not row-major.
    pub fn new(tensor: CubeTensor) -> Self {
        debug_assert_eq!(tensor.dtype, DType::F32);
        Self(into_contiguous(tensor))
    }

    /// Room for an array of shape `dims` on the same device; every value is to be written before any is read.
    pub fn room(&self, dims: &[usize]) -> Self {
        self.room_for(dims, Precision::F32)
    }

    /// Room for operands of products.
    pub fn room_for(&self, dims: &[usize], precision: Precision) -> Self {
        let (client, device) = (self.0.client.clone(), self.0.device.clone());
        let dtype = if precision.is_paired() { DType::BF16 } else { DType::F32 };
        Self(empty_device_contiguous_dtype(client, device, Shape::from(dims.to_vec()), dtype))
    }

    /// The array as an operand of products: rounded if that is asked for, and it is not so already.
    pub fn operand(&self, precision: Precision) -> Self {
        if !precision.is_paired() || self.0.dtype == DType::BF16 {
            return self.clone();
        }
        let rounded = self.room_for(self.dims(), precision);
        let vector = if self.len().is_multiple_of(4) { 4 } else { 1 };
        let n = self.len() / vector;
        if let Some(count) = grid_over(n) {
            // SAFETY: the kernel stays below `n` vectors, which both arrays have.
            unsafe {
                round_kernel::launch_unchecked(
                    self.client(),
                    count,
                    CubeDim::new_1d(UNITS),
                    vector,
                    self.arg(),
                    rounded.arg(),
                    n,
                );
            }
        }
        rounded
    }

    /// The type of the elements, as kernels know it.
    pub fn element(&self) -> ElemType {
        dtype_to_elem_type(self.0.dtype)
    }

    /// Size of every axis.
    pub fn dims(&self) -> &[usize] {
        self.0.meta.shape()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.0.meta.num_elements()
    }

    /// The same elements seen as `dims`.
    pub fn seen_as(&self, dims: &[usize]) -> Self {
        debug_assert_eq!(self.len(), dims.iter().product::<usize>());
        let (client, device, handle) = (self.0.client.clone(), self.0.device.clone(), self.0.handle.clone());
        Self(CubeTensor::new_contiguous(client, device, Shape::from(dims.to_vec()), handle, self.0.dtype))
    }

    /// The array if nobody else holds its storage, otherwise a copy (times one: the library has no plain one).
    pub fn unshared(self) -> Self {
        if self.0.can_mut() {
            return self;
        }
        Self(burn_cubecl::ops::numeric::mul_scalar(self.0, InputScalar::new(1.0f32, f32::elem_type_native())))
    }

    /// The backend's tensor.
    pub fn into_inner(self) -> CubeTensor {
        self.0
    }

    /// What queues kernels on the device.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The array as an argument of a kernel.
    pub fn arg(&self) -> TensorArg {
        self.0.clone().into_tensor_arg()
    }

    /// Whether a row of [`LANES`] units is a plane of the device's, which sums without shared memory.
    pub fn has_planes(&self) -> bool {
        let properties = self.0.client.properties();
        let hardware = &properties.hardware;
        hardware.plane_size_min == LANES
            && hardware.plane_size_max == LANES
            && properties.features.plane.contains(cubecl::features::Plane::Ops)
    }
}

#[cube(launch_unchecked)]
fn round_kernel<N: Size>(x: &Tensor<Vector<f32, N>>, rounded: &mut Tensor<Vector<bf16, N>>, vectors: usize) {
    #[unroll]
    for i in 0..EACH {
        let at = place(i);
        if at < vectors {
            rounded[at] = Vector::cast_from(x[at]);
        }
    }
}

/// A grid of `cubes` cubes or a few more, which have nothing to do; `None` for an empty one.
pub(crate) fn grid(cubes: usize) -> Option<CubeCount> {
    let wide = cubes.min(1 << 15); // a grid's first axis ends at 65 535 on some devices
    (cubes > 0).then(|| CubeCount::Static(wide as u32, cubes.div_ceil(wide) as u32, 1))
}

/// The grid of a kernel that gives a row to [`LANES`] units, and the units of its cubes.
pub(crate) fn grid_of_rows(rows: usize) -> Option<(CubeCount, CubeDim)> {
    grid(rows.div_ceil(ROWS as usize)).map(|count| (count, CubeDim::new_2d(LANES, ROWS)))
}

/// Units of a cube of element-wise kernels.
pub(crate) const UNITS: u32 = 256;

/// Elements that a unit of such kernels works on.
pub(crate) const EACH: u32 = 4;

/// The `i`-th element of a unit: neighbouring units have neighbouring elements.
#[cube]
pub(crate) fn place(i: u32) -> usize {
    (CUBE_POS * EACH as usize + i as usize) * UNITS as usize + UNIT_POS as usize
}

/// The grid of an element-wise kernel over `n` elements.
pub(crate) fn grid_over(n: usize) -> Option<CubeCount> {
    grid(n.div_ceil((UNITS * EACH) as usize))
}
