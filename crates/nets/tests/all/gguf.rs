//! Blocks of every type that is read, against the `gguf` package's own widening (`fixtures/gguf/make.py`).

use nets::weights::{Stored, TensorSource};
use std::path::Path;

/// To the bit: both multiply in f32, in the same order; but for Q4_0 and Q5_0, whose middle is taken off before the product there and after it here.
///
/// Mutants: runs of two bits in the other order, leasts of Q2_K added; the third bit of Q3_K taken off where it is set, its scales' upper bits from
/// the neighbouring quarter; IQ4's steps even, upper halves first; IQ4_XS's scales' upper bits of the neighbouring eighth, not around zero.
#[test]
fn blocks_are_what_their_own_library_widens_them_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/gguf");
    let (blocks, widened) = (
        Stored::open(&folder.join("blocks.gguf")).unwrap(),
        Stored::open(&folder.join("widened.safetensors")).unwrap(),
    );
    let names = widened.names();
    assert_eq!(names.len(), 12);
    assert_eq!(blocks.names(), names);
    for name in names {
        assert_eq!(blocks.shape(&name), widened.shape(&name), "{name}");
        let (got, want) = (blocks.read(&name).unwrap(), widened.read(&name).unwrap());
        let slack = if ["Q4_0", "Q5_0"].contains(&name.as_str()) { 1e-6 } else { 0.0 };
        let wrong = got.iter().zip(&want).filter(|(got, want)| (*got - *want).abs() > slack).count();
        assert_eq!(wrong, 0, "{name}");
        // Its second row alone.
        assert_eq!(blocks.blocks(&name).unwrap().rows(1..2).widened(), got[512..], "{name}");
    }
}
