//! AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101, algorithm 2) over the leaves of the classifier.

use super::{ClassifierConfig, Layout, SmallCnn, network::parameters};
use base::Tensor;

/// First and second moments of every leaf.
pub(super) struct AdamW {
    moments: Vec<(Tensor<1>, Tensor<1>)>,
    decay: Vec<f64>,
    tell: f64,
    steps: i32,
}

impl AdamW {
    pub fn new(layout: &Layout, network: &SmallCnn, config: &ClassifierConfig) -> Self {
        let moments = network.leaves.iter().map(|l| (l.zeros_like(), l.zeros_like())).collect();
        // Biases and normalisation weights are not decayed.
        let mut decay: Vec<f64> = parameters(layout)
            .iter()
            .map(|(_, shape)| if shape.len() > 1 { config.weight_decay } else { 0.0 })
            .collect();
        decay.resize(network.leaves.len(), 0.0); // the second head's two
        Self { moments, decay, tell: config.tell, steps: 0 }
    }

    /// One step on a batch with its classes and its spoilings: the new network and the batch's loss before it.
    pub fn step(&mut self, network: &SmallCnn, x: Tensor<4>, targets: [Tensor<2>; 2], rate: f64) -> (SmallCnn, f64) {
        const BETA: (f64, f64) = (0.9, 0.99);
        let leaves: Vec<Tensor<1>> =
            network.leaves.iter().map(|l| Tensor::from_inner(l.clone()).require_grad()).collect();
        let live = network.with_leaves(leaves.clone());
        let (features, logits) = live.forward(x);
        let [target, spoiled] = targets;
        let b = target.dims()[0] as f64;
        let cross = |logits: Tensor<2>, target: Tensor<2>| {
            (burn::tensor::activation::log_softmax(logits, 1) * target).sum() * (-1.0 / b)
        };
        let mut loss = cross(logits, target);
        if let Some(told) = live.second_head(features) {
            loss = loss + cross(told, spoiled) * self.tell;
        }
        let mut gradients = loss.backward();
        self.steps += 1;
        let correction = (1.0 - BETA.0.powi(self.steps), 1.0 - BETA.1.powi(self.steps));
        let mut updated = Vec::with_capacity(leaves.len());
        for (i, (leaf, plain)) in leaves.iter().zip(&network.leaves).enumerate() {
            let gradient = leaf.grad_remove(&mut gradients).unwrap_or_else(|| plain.zeros_like());
            let (m, v) = &mut self.moments[i];
            *m = m.clone() * BETA.0 + gradient.clone() * (1.0 - BETA.0);
            *v = v.clone() * BETA.1 + gradient.square() * (1.0 - BETA.1);
            let direction = (m.clone() / correction.0) / ((v.clone() / correction.1).sqrt() + 1e-8);
            updated.push(plain.clone() * (1.0 - rate * self.decay[i]) - direction * rate);
        }
        (network.with_leaves(updated), loss.into_scalar::<f32>().into())
    }
}
