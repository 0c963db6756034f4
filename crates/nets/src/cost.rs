//! Parameters, work and memory of a network, computed from its configuration before anything is allocated.

use serde::Serialize;

/// What a network costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// Numbers that corrections of low rank have for each rank: inputs and outputs of every linear map and convolution.
    pub adapted: usize,
    /// Numbers to learn; equals `Module::num_params` of the initialised network.
    pub parameters: usize,
    /// Floating-point operations of one forward pass of one sample: two for each multiply-add of linear layers,
    /// convolutions and attention products. Normalisations, activations and sums are left out (a few per cent).
    /// A training step costs about three times this.
    pub forward_flops_per_sample: u64,
    /// Bytes one sample keeps for the backward pass: the f32 output of every layer, normalisation, concatenation and
    /// attention, and the attention weights. An estimate: a backend may keep less (recomputation) or, for a while, more
    /// (convolution work space).
    pub activation_bytes_per_sample: u64,
    /// The same with gradient checkpointing: what lies outside of blocks, the inputs of blocks, and the largest block, which
    /// the backward pass holds while it is in it.
    pub checkpointed_bytes_per_sample: u64,
}

/// Adds up a cost layer by layer.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    cost: Cost,
    /// Bytes kept inside of blocks, and by the largest.
    inside: u64,
    largest: u64,
}

impl Tally {
    /// What was added up.
    pub fn cost(self) -> Cost {
        let outside = self.cost.activation_bytes_per_sample - self.inside;
        Cost { checkpointed_bytes_per_sample: outside.saturating_add(self.largest), ..self.cost }
    }

    /// A block that may run again for the gradient: its input is some earlier output, so nothing more is kept for it.
    pub fn block(&mut self, output: usize, add: impl FnOnce(&mut Self)) {
        let before = self.cost.activation_bytes_per_sample;
        add(self);
        let kept = self.cost.activation_bytes_per_sample - before;
        self.largest = self.largest.max(kept);
        // Its output is the next block's input.
        self.inside = self.inside.saturating_add(kept.saturating_sub((output as u64).saturating_mul(4)));
    }

    /// A linear layer applied to `rows` vectors.
    pub fn linear(&mut self, rows: usize, input: usize, output: usize, bias: bool) {
        self.parameters(product(&[input, output]).saturating_add(if bias { output } else { 0 }));
        self.cost.adapted = self.cost.adapted.saturating_add(input).saturating_add(output);
        self.work(2, &[rows, input, output]);
        self.kept(product(&[rows, output]));
    }

    /// `count` copies of what `add` adds, of which each input goes through `active`.
    pub fn copies(&mut self, count: usize, active: usize, add: impl FnOnce(&mut Self)) {
        let mut one = Self::default();
        add(&mut one);
        let (one, times) = (one.cost, active as u64);
        self.parameters(one.parameters.saturating_mul(count));
        self.cost.adapted = self.cost.adapted.saturating_add(one.adapted.saturating_mul(count));
        let (flops, bytes) = (&mut self.cost.forward_flops_per_sample, &mut self.cost.activation_bytes_per_sample);
        *flops = flops.saturating_add(one.forward_flops_per_sample.saturating_mul(times));
        *bytes = bytes.saturating_add(one.activation_bytes_per_sample.saturating_mul(times));
    }

    /// A convolution with bias and a `kernel` x `kernel` window that yields `positions` pixels.
    pub fn conv(&mut self, positions: usize, input: usize, output: usize, kernel: usize) {
        self.linear(positions, product(&[input, kernel, kernel]), output, true);
    }

    /// A group normalisation over `channels` x `positions`, with weight and bias.
    pub fn group_norm(&mut self, channels: usize, positions: usize) {
        self.parameters(product(&[2, channels]));
        self.kept(product(&[channels, positions]));
    }

    /// A table of parameters that costs no arithmetic.
    pub fn table(&mut self, rows: usize, columns: usize) {
        self.parameters(product(&[rows, columns]));
    }

    /// Attention of `n` queries over `m` keys of `width` numbers in all heads together.
    pub fn attention(&mut self, heads: usize, n: usize, m: usize, width: usize) {
        self.work(4, &[n, m, width]);
        self.kept(product(&[heads, n, m]).saturating_add(product(&[n, width])));
    }

    /// `elements` numbers kept for the backward pass.
    pub fn kept(&mut self, elements: usize) {
        let bytes = &mut self.cost.activation_bytes_per_sample;
        *bytes = bytes.saturating_add((elements as u64).saturating_mul(4));
    }

    fn parameters(&mut self, more: usize) {
        self.cost.parameters = self.cost.parameters.saturating_add(more);
    }

    fn work(&mut self, each: u64, sizes: &[usize]) {
        let flops = &mut self.cost.forward_flops_per_sample;
        *flops = flops.saturating_add((product(sizes) as u64).saturating_mul(each));
    }
}

// Saturating, like every sum here: a cost too large to count is still too large, and a user can ask for one.
fn product(sizes: &[usize]) -> usize {
    sizes.iter().fold(1, |product, size| product.saturating_mul(*size))
}
