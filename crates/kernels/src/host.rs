//! Arrays in the processor's memory: the form in which a kernel sees a tensor of the CPU backend.
//!
//! A kernel reads and writes plain `f32` slices in row-major order; everything about layouts, sharing and allocation
//! is settled here.

use std::cell::RefCell;

use burn::tensor::{DType, Device, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

/// A contiguous row-major `f32` tensor of the CPU backend. Cloning shares the storage.
#[derive(Clone, Debug)]
pub(crate) struct Array(FlexTensor);

impl Array {
    /// Takes a tensor over, copying only if its layout is not row-major.
    pub fn new(tensor: FlexTensor) -> Self {
        debug_assert_eq!(tensor.dtype(), DType::F32);
        Self(if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() })
    }

    /// Wraps `data` as a tensor of shape `dims`.
    pub fn from_vec(data: Vec<f32>, dims: &[usize]) -> Self {
        Self(FlexTensor::from_data(TensorData::new(data, Shape::from(dims.to_vec()))))
    }

    /// Size of every axis.
    pub fn dims(&self) -> &[usize] {
        self.0.layout().shape()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data().len()
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[f32] {
        self.0.as_slice().expect("an Array is contiguous f32 by construction")
    }

    /// The elements for writing, if nobody else shares them.
    pub fn data_mut(&mut self) -> Option<&mut [f32]> {
        let (start, end) = self.0.layout().contiguous_offsets()?;
        self.0.try_storage_mut::<f32>().map(|all| &mut all[start..end])
    }

    /// The elements for writing, copied first if somebody shares them.
    pub fn make_mut(&mut self) -> &mut [f32] {
        if self.data_mut().is_none() {
            *self = Self::from_vec(self.data().to_vec(), self.dims());
        }
        self.data_mut().expect("either it was unshared or it has just been copied")
    }

    /// The backend's tensor.
    pub fn into_inner(self) -> FlexTensor {
        self.0
    }
}

/// A vector of `len` elements whose values are arbitrary, for a kernel that writes every one of them before any is
/// read. Zeroing first would cost as much as a memory-bound kernel itself.
#[allow(clippy::uninit_vec)]
pub(crate) fn scratch(len: usize) -> Vec<f32> {
    let mut v = Vec::with_capacity(len);
    // SAFETY: the capacity is `len`; every bit pattern is a valid `f32`, `f32` has no drop glue, and each caller
    // writes every element before reading it (the contract stated above).
    unsafe { v.set_len(len) };
    v
}

thread_local! {
    static SPARE: RefCell<Vec<Vec<f32>>> = const { RefCell::new(Vec::new()) };
}

/// A work area of this thread, given back when dropped. Its values are whatever the last user left there.
pub(crate) struct Scratch(Vec<f32>);

impl Scratch {
    /// An area of `len` values.
    pub fn take(len: usize) -> Self {
        let mut area = SPARE.with_borrow_mut(Vec::pop).unwrap_or_default();
        if area.len() < len {
            area.resize(len, 0.0);
        }
        Self(area)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let area = std::mem::take(&mut self.0);
        // During a thread's last moments the list may be gone; then the area is simply freed.
        let _ = SPARE.try_with(|spare| spare.borrow_mut().push(area));
    }
}

impl std::ops::Deref for Scratch {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl std::ops::DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// A pointer through which tasks write disjoint elements of one array.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: `Shared` only hands out writes, and whoever calls them vouches that no two tasks touch the same element.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// Shares `all` for the length of the caller's borrow.
    pub fn new(all: &mut [f32]) -> Self {
        Self { start: all.as_mut_ptr(), len: all.len() }
    }

    /// The `n` elements from `at` on.
    ///
    /// # Safety
    /// The array must still be borrowed by the caller of [`Shared::new`], and nobody else may use these elements
    /// while the slice lives.
    #[allow(clippy::mut_from_ref)] // that is its purpose
    #[inline(always)]
    pub unsafe fn slice(&self, at: usize, n: usize) -> &mut [f32] {
        assert!(at <= self.len && n <= self.len - at, "writes stay within the array");
        // SAFETY: in bounds by the assertion, exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), n) }
    }

    /// The address of element `at`, from which `n` elements lie within the array. Which of them a task may use is its
    /// own promise, as for [`slice`](Self::slice), which would claim them all.
    pub fn within(&self, at: usize, n: usize) -> *mut f32 {
        assert!(at <= self.len && n <= self.len - at, "writes stay within the array");
        self.start.wrapping_add(at)
    }
}

/// Whether the device is the CPU backend, with or without automatic differentiation.
pub(crate) fn is_cpu(device: &Device) -> bool {
    use burn::backend::DispatchDevice;
    #[allow(unreachable_patterns)] // the last arm is for builds with further backends
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
        _ => false,
    }
}

/// Whether a tensor can take the CPU kernels: `f32` on the CPU backend.
pub(crate) fn is_fast<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_cpu(&x.device())
}

/// Whether a tensor can take kernels that exist for every device this build has kernels for.
pub(crate) fn has_kernels<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && (is_cpu(&x.device()) || is_cube(&x.device()))
}

/// Whether the device is one that CubeCL compiles for, with or without automatic differentiation.
#[cfg(feature = "gpu")]
fn is_cube(device: &Device) -> bool {
    use burn::backend::DispatchDevice;
    match device.as_dispatch() {
        DispatchDevice::Cube(_) => true,
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Cube(_)),
        _ => false,
    }
}

#[cfg(not(feature = "gpu"))]
fn is_cube(_: &Device) -> bool {
    false
}
