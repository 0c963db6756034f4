//! Files whose bytes are tensors without having been copied: weights mapped into memory.
//!
//! A page is read when a kernel first touches it, and processes that use the same file share its pages. A tensor made of mapped bytes
//! is copied as soon as somebody writes to it; the file itself never changes.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;

use burn::tensor::{AllocationProperty, Bytes, DType, TensorData};

/// The bytes of a file.
#[derive(Clone, Debug)]
pub struct Mapped(bytes::Bytes);

impl Mapped {
    /// Maps `file`, or reads it where its file system does not map.
    ///
    /// Whoever shortens the file in place while it is mapped ends this program; replacing it by renaming does no harm, which is how
    /// checkpoints are written.
    ///
    /// # Errors
    /// Where it can neither be mapped nor read.
    pub fn open(mut file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is only read. Bytes that another process changes under it would be other bytes of the same file, which
        // is why readers check them once and numbers of any value are valid.
        if let Ok(map) = unsafe { memmap2::Mmap::map(file) } {
            return Ok(Self(bytes::Bytes::from_owner(map)));
        }
        let mut all = Vec::new();
        file.read_to_end(&mut all)?;
        Ok(Self(all.into()))
    }

    /// Bytes that are part of the program.
    pub fn inside(bytes: &'static [u8]) -> Self {
        Self(bytes::Bytes::from_static(bytes))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The little-endian `f32` values in `range` as a tensor of `shape`: in place where they lie as the processor reads them.
    ///
    /// # Panics
    /// If the range is not within the file, or not four bytes for each value.
    pub fn tensor(&self, range: Range<usize>, shape: &[usize]) -> TensorData {
        self.typed(range, shape, DType::F32)
    }

    /// As [`tensor`](Self::tensor) for values stored as `f32`, `bf16` or `f16`, which stay what they are.
    ///
    /// # Panics
    /// For another type, a range that is not within the file, or one that is not a value's bytes for each value.
    pub fn typed(&self, range: Range<usize>, shape: &[usize], dtype: DType) -> TensorData {
        let part = self.0.slice(range);
        let size = match dtype {
            DType::F32 => size_of::<f32>(),
            DType::BF16 | DType::F16 => size_of::<u16>(),
            other => panic!("{other:?} values are not mapped"),
        };
        assert!(
            part.len().is_multiple_of(size) && part.len() / size == shape.iter().product::<usize>(),
            "{} bytes are not {shape:?} values",
            part.len()
        );
        if cfg!(target_endian = "little") && part.as_ptr().addr().is_multiple_of(size) && !part.is_empty() {
            return TensorData::from_bytes(Bytes::from_shared(part, AllocationProperty::File), shape, dtype);
        }
        if dtype == DType::F32 {
            let (words, _) = part.as_chunks::<4>();
            return TensorData::new(words.iter().map(|word| f32::from_le_bytes(*word)).collect::<Vec<_>>(), shape);
        }
        let (words, _) = part.as_chunks::<2>();
        let words: Vec<u16> = words.iter().map(|word| u16::from_le_bytes(*word)).collect();
        TensorData::from_bytes(Bytes::from_elems(words), shape, dtype)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use burn::tensor::{Device, Tensor};

    use super::Mapped;
    use crate::testing::{host, values};

    fn file(bytes: &[u8]) -> std::fs::File {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(bytes).expect("room for it");
        file.rewind().expect("a file can be rewound");
        file
    }

    #[test]
    fn tensors_are_the_bytes_of_the_file_wherever_they_begin() {
        let want = values(1, 60);
        let numbers: Vec<u8> = want.iter().flat_map(|value| value.to_le_bytes()).collect();
        for before in [0, 4, 8, 3] {
            let mut all = vec![7u8; before];
            all.extend(&numbers);
            let mapped = Mapped::open(&file(&all)).expect("it maps");
            assert_eq!(mapped.bytes(), all);
            let data = mapped.tensor(before..before + 240, &[3, 20]);
            let in_place = data.as_bytes().as_ptr() == mapped.bytes()[before..].as_ptr();
            assert_eq!(in_place, before % 4 == 0, "{before} bytes before it");
            assert_eq!(host(Tensor::<2>::from_data(data, &Device::flex())), want);
        }
        let mapped = Mapped::open(&file(&numbers)).expect("it maps");
        assert_eq!(mapped.tensor(8..8, &[0, 3]).shape().to_vec(), [0, 3]);
    }

    /// bf16 is the upper half of an f32, so a widened tensor shows whether its bytes are the file's.
    #[test]
    fn halves_stay_halves_wherever_they_begin() {
        let numbers = [1.0f32, -2.5, 0.0, 3.0e38, 0.15625];
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes()).collect();
        for before in [0, 2, 3] {
            let mut all = vec![7u8; before];
            all.extend(&bytes);
            let mapped = Mapped::open(&file(&all)).expect("it maps");
            let data = mapped.typed(before..before + 10, &[5], burn::tensor::DType::BF16);
            assert_eq!(data.as_bytes().as_ptr() == mapped.bytes()[before..].as_ptr(), before % 2 == 0);
            let tensor = Tensor::<1>::from_data(data, (&Device::flex(), burn::tensor::DType::BF16));
            let want = numbers.map(|x| f32::from_bits(x.to_bits() & 0xffff_0000));
            assert_eq!(host(tensor.cast(burn::tensor::DType::F32)), want);
        }
    }

    /// What is written to a tensor stays in the tensor, and the mapping outlives whoever made it.
    #[test]
    fn writing_to_a_tensor_leaves_the_file_alone() {
        let want = values(2, 4096);
        let numbers: Vec<u8> = want.iter().flat_map(|value| value.to_le_bytes()).collect();
        let tensor =
            |mapped: &Mapped| Tensor::<1>::from_data(mapped.tensor(0..numbers.len(), &[4096]), &Device::flex());
        let mapped = Mapped::open(&file(&numbers)).expect("it maps");
        let changed = crate::silu(tensor(&mapped)); // in place where nobody else holds the tensor
        let scaled = tensor(&mapped) * 2.0;
        let again = tensor(&mapped);
        drop(mapped);
        assert_eq!(host(again), want);
        assert!(host(changed) != want && host(scaled) != want);
    }

    #[test]
    #[should_panic(expected = "10 bytes are not [3] values")]
    fn bytes_that_are_no_values_are_refused() {
        Mapped::open(&file(&[0; 40])).expect("it maps").tensor(0..10, &[3]);
    }
}
