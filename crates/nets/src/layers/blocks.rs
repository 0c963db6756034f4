//! A weight that stays in the blocks it is stored in (GGUF), and is widened when it is asked for.
//!
//! The blocks hang on the parameter as a Burn reparameterization, like corrections of low rank: visits find the parameter under its
//! name and shape, and no network knows of them. A [`Linear`](super::Linear) widens some rows at a time; a layer that does not ask for
//! blocks reads all of them widened.

use base::{Tensor, TensorData};
use burn::module::{Module, Param, Reparameterization, Reparameterizer};
use kernels::Blocks;

/// The blocks beside a parameter without numbers of its own.
#[derive(Module, Debug)]
pub struct InBlocks {
    /// The rows.
    #[module(skip)]
    pub blocks: Blocks,
}

impl Reparameterization for InBlocks {
    const NAME: &'static str = "blocks";

    fn apply<const D: usize>(&self, base: Tensor<D>) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.blocks.widened(), base.dims()), &base.device())
    }
}

/// `module` with each parameter that has blocks in its place in the order of visits read from them. Those are frozen.
pub(crate) fn in_blocks<M: Module>(module: M, blocks: Vec<Option<Blocks>>) -> M {
    module.apply_reparameterization(Attach { blocks: blocks.into_iter() })
}

struct Attach {
    blocks: std::vec::IntoIter<Option<Blocks>>,
}

impl Reparameterizer for Attach {
    type Reparam = InBlocks;

    fn reparameterize<const D: usize>(
        &mut self,
        _: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<InBlocks>) {
        let Some(blocks) = self.blocks.next().flatten() else { return (param, None) };
        // A number that stands for all: it has the shape and takes no room.
        let one = Tensor::<D>::zeros([1; D], &param.lazy_device()).expand(param.lazy_shape());
        (Param::initialized(param.id, one).set_require_grad(false), Some(InBlocks { blocks }))
    }
}
