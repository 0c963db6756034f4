//! A mixture of experts in the place of a perceptron: TripoSG (arXiv:2502.06608, sec. 3.1).
//!
//! A router says how much each expert is worth to a token; the `active` best ones hear it, and what they say is added up by their
//! shares of the softmax over those chosen. One more expert is heard by all. A token is heard by its experts alone: rows are gathered
//! expert by expert and put back, so that work grows with `active` and not with `count`. None is turned away, however many come to
//! one expert, so that a sample does not depend on those drawn beside it.
//!
//! That experts are asked about equally often is a loss of its own: `N sum_i f_i P_i` with the share `f_i` of all choices that fell on
//! expert `i` and the mean `P_i` of the softmax over all (Fedus, Zoph, Shazeer, arXiv:2101.03961, eq. 4 to 6). It is 1 where both are
//! even, and `N / active` where the same experts are chosen always. The paper names no formula, no weight and no gate; these are ours.

use super::blocks::perceptron;
use crate::NetsError;
use crate::cost::Tally;
use crate::init::{Init, Weights};
use crate::layers::{FeedForward, Linear};
use base::{Int, Tensor, TensorData};
use burn::module::Module;
use burn::tensor::activation::softmax;
use kernels::Precision;
use serde::{Deserialize, Serialize};

/// Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient Sparsity.
pub const SWITCH: base::Paper = base::Paper::arxiv(
    "fedus2021switch",
    "Fedus, William and Zoph, Barret and Shazeer, Noam",
    "Switch Transformers: Scaling to Trillion Parameter Models with Simple and Efficient Sparsity",
    (2021, "2101.03961"),
    "JMLR 2022",
);

/// Experts in the last blocks of a [`SetTransformer`](super::SetTransformer). The defaults are the paper's, the balance apart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpertsConfig {
    /// Experts of a block, of which a token is heard by some.
    pub count: usize,
    /// By how many, at least 2: of one alone the share is 1, and its router would have nothing to learn.
    pub active: usize,
    /// Whether there is one more that hears every token.
    pub shared: bool,
    /// Blocks that have them, counted from the last; at most those after the middle one.
    pub blocks: usize,
    /// Weight of the loss that keeps them equally busy, summed over blocks; 0 for none.
    pub balance: f64,
}

impl Default for ExpertsConfig {
    fn default() -> Self {
        Self { count: 8, active: 2, shared: true, blocks: 6, balance: 0.01 }
    }
}

impl ExpertsConfig {
    /// Ranges, in a network with `after` blocks after the middle one.
    pub(super) fn check(&self, after: usize) -> Result<(), NetsError> {
        let wrong = |key: &str, value: String, remedy: String| {
            Err(NetsError::config(format!("set_transformer.experts.{key} is {value}; {remedy}")))
        };
        let Self { count, active, blocks, balance, .. } = *self;
        if !(2..=256).contains(&count) {
            return wrong("count", count.to_string(), "give 2 to 256".into());
        }
        if !(2..=count).contains(&active) {
            return wrong("active", active.to_string(), format!("give 2 to {count}, how many there are"));
        }
        if blocks == 0 || blocks > after {
            let remedy = format!("experts stand in blocks after the middle one, of which this depth has {after}");
            return wrong("blocks", blocks.to_string(), format!("{remedy}: give 1 to {after}, or raise the depth"));
        }
        if !(balance.is_finite() && balance >= 0.0) {
            return wrong("balance", balance.to_string(), "give a number from 0 on, 0.01 is customary".into());
        }
        Ok(())
    }

    /// What they cost in one block, for `n` tokens of `d` features.
    pub(super) fn tally(&self, tally: &mut Tally, n: usize, d: usize) {
        tally.linear(n, d, self.count, false);
        tally.copies(self.count, self.active, |tally| {
            tally.kept(n * d); // the rows that it hears
            dense(tally, n, d);
        });
        tally.kept(self.active * n * d); // what they said, back at its places
        if self.shared {
            dense(tally, n, d);
        }
    }
}

/// What a perceptron costs for `n` tokens of `d` features.
pub(super) fn dense(tally: &mut Tally, n: usize, d: usize) {
    tally.linear(n, d, 4 * d, true);
    tally.kept(n * 4 * d);
    tally.linear(n, 4 * d, d, true);
}

/// A router and its experts.
#[derive(Module, Debug)]
pub struct Experts {
    /// What each is worth to a token, `[count d]`.
    pub router: Linear,
    /// Heard by every token.
    pub shared: Option<FeedForward>,
    /// Heard by those that are sent to it.
    pub each: Vec<FeedForward>,
    active: usize,
}

/// Of a network with experts, the dense parameter that its parameter `name` begins as, and the factor. Every expert begins as the dense
/// perceptron of its block, the shared one too, so that there are two voices for one and each says half; as shares of the gates sum to 1, the
/// answer is the dense network's at once.
pub(super) fn begins_as(config: &ExpertsConfig, name: &str) -> (String, f32) {
    let same = || (name.to_owned(), 1.0);
    let Some((block, rest)) = name.split_once(".ff.") else { return same() };
    let own = match rest.split_once('.') {
        Some(("shared", own)) => own,
        Some(("each", rest)) => rest.split_once('.').map_or(rest, |(_, own)| own),
        _ => return same(),
    };
    let factor = if config.shared && own.starts_with("fc2.") { 0.5 } else { 1.0 };
    (format!("{block}.ff.{own}"), factor)
}

impl Experts {
    pub(super) fn new(init: &Init, config: &ExpertsConfig, d: usize) -> Self {
        let each = init.child("each");
        Self {
            router: Linear::without_bias(&init.child("router"), d, config.count, Weights::Normal(0.02)),
            shared: config.shared.then(|| perceptron(&init.child("shared"), d)),
            each: (0..config.count).map(|i| perceptron(&each.child(i), d)).collect(),
            active: config.active,
        }
    }

    /// `[b n d]` to `[b n d]`, and how uneven the choice was, `[1]`, where that is asked.
    pub(super) fn forward(&self, x: Tensor<3>, balance: bool) -> (Tensor<3>, Option<Tensor<1>>) {
        let ([b, n, d], count) = (x.dims(), self.each.len());
        let rows = x.clone().reshape([b * n, d]);
        // A choice that flips with the rounding of a product is no choice.
        let logits = Precision::F32.scope(|| self.router.forward(rows.clone())); // [t count]
        let chosen = self.choose(&logits); // [t active], row by row
        let balance = balance.then(|| uneven(logits.clone(), &chosen));
        let said = self.answers(&rows, &chosen); // [t active d]
        let at: Vec<i64> = chosen.iter().map(|expert| *expert as i64).collect();
        let at = Tensor::<2, Int>::from_data(TensorData::new(at, [b * n, self.active]), &x.device());
        debug_assert_eq!(logits.dims(), [b * n, count]);
        let gates = softmax(logits.gather(1, at), 1).unsqueeze_dim::<3>(2); // [t active 1]
        let mut y = (said * gates).sum_dim(1).reshape([b, n, d]);
        if let Some(shared) = &self.shared {
            y = y + shared.forward(x);
        }
        (y, balance)
    }

    /// For each row the experts that are worth most to it, best first; of equals the first.
    fn choose(&self, logits: &Tensor<2>) -> Vec<usize> {
        let worth: Vec<f32> = logits.clone().into_data().iter::<f32>().collect();
        let (count, active) = (self.each.len(), self.active);
        let mut chosen = Vec::with_capacity(worth.len() / count * active);
        let mut order: Vec<usize> = Vec::with_capacity(count);
        for row in worth.chunks(count) {
            order.clear();
            order.extend(0..count);
            let better = |a: &usize, b: &usize| row[*b].total_cmp(&row[*a]).then(a.cmp(b));
            order.select_nth_unstable_by(active - 1, better);
            order[..active].sort_unstable_by(better);
            chosen.extend(&order[..active]);
        }
        chosen
    }

    /// What each of the `chosen` experts says of its row, `[t active d]`: each expert is asked once, about its rows alone.
    fn answers(&self, rows: &Tensor<2>, chosen: &[usize]) -> Tensor<3> {
        let ([t, d], device) = (rows.dims(), rows.device());
        let list = |numbers: Vec<i64>| {
            let count = numbers.len();
            Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &device)
        };
        let counts = counted(chosen, self.each.len());
        // Where the rows of each expert begin among those sorted by expert.
        let mut next: Vec<usize> =
            counts.iter().scan(0, |sum, count| Some(std::mem::replace(sum, *sum + count))).collect();
        let (mut places, mut sorted) = (vec![0i64; chosen.len()], vec![0i64; chosen.len()]);
        for (at, expert) in chosen.iter().enumerate() {
            let place = next[*expert];
            next[*expert] += 1;
            (places[at], sorted[place]) = (place as i64, (at / self.active) as i64);
        }
        let (mut said, mut rest) = (Vec::new(), sorted.as_slice());
        for (ff, count) in self.each.iter().zip(&counts).filter(|(_, count)| **count > 0) {
            let (own, others) = rest.split_at(*count);
            said.push(ff.forward(rows.clone().select(0, list(own.to_vec()))));
            rest = others;
        }
        Tensor::cat(said, 0).select(0, list(places)).reshape([t, self.active, d])
    }
}

/// How often each of `count` experts was chosen.
fn counted(chosen: &[usize], count: usize) -> Vec<usize> {
    let mut counts = vec![0; count];
    chosen.iter().for_each(|expert| counts[*expert] += 1);
    counts
}

/// `N sum_i f_i P_i` of a choice; only `P` has a gradient.
fn uneven(logits: Tensor<2>, chosen: &[usize]) -> Tensor<1> {
    let (count, device) = (logits.dims()[1], logits.device());
    let shares: Vec<f32> =
        counted(chosen, count).iter().map(|own| (*own as f64 / chosen.len() as f64) as f32).collect();
    let shares = Tensor::<2>::from_data(TensorData::new(shares, [1, count]), &device);
    (softmax(logits, 1).mean_dim(0) * shares).sum() * count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::{ParamVisit, visit_named};
    use base::{Device, Key, Purpose};

    const D: usize = 8;

    fn experts(config: &ExpertsConfig, device: &Device) -> Experts {
        let fresh = Experts::new(&Init::new(4, device).child("ff"), config, D);
        // A router that is sure of itself, so that shares differ.
        Experts { router: Linear::without_bias(&Init::new(8, device), D, config.count, Weights::Normal(1.0)), ..fresh }
    }

    fn tokens(shape: [usize; 3], device: &Device) -> Tensor<3> {
        let rows: Vec<u64> = (0..shape[0] as u64).collect();
        Key::new(3, Purpose::Noise).normal_tensor(&rows, shape, device)
    }

    /// Every expert about every token, those not chosen weighed by zero: eq. by eq., and slow.
    fn reference(net: &Experts, x: Tensor<3>) -> Tensor<3> {
        let ([b, n, d], count) = (x.dims(), net.each.len());
        let rows = x.clone().reshape([b * n, d]);
        let worth = softmax(net.router.forward(rows.clone()), 1);
        let mut mask = vec![0.0f32; b * n * count];
        let values: Vec<f32> = worth.clone().into_data().try_to_vec().unwrap();
        for (row, mask) in values.chunks(count).zip(mask.chunks_mut(count)) {
            for _ in 0..net.active {
                let free = |i: &usize| mask[*i] == 0.0;
                let best = (0..count).filter(free).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
                mask[best] = 1.0;
            }
        }
        let kept = worth * Tensor::from_data(TensorData::new(mask, [b * n, count]), &x.device());
        let gates = kept.clone() / kept.sum_dim(1);
        let said = |i: usize| net.each[i].forward(rows.clone()) * gates.clone().narrow(1, i, 1);
        let sum = (0..count).map(said).reduce(|sum, said| sum + said).unwrap();
        let shared = net.shared.as_ref().map(|shared| shared.forward(rows.clone()));
        shared.map_or(sum.clone(), |shared| sum + shared).reshape([b, n, d])
    }

    fn values<const N: usize>(x: Tensor<N>) -> Vec<f32> {
        x.into_data().iter::<f32>().collect()
    }

    /// Gradients of every parameter by name, and of the input.
    fn gradients(net: &Experts, answer: impl Fn(&Experts, Tensor<3>) -> Tensor<3>) -> Vec<(String, Vec<f32>)> {
        struct Found<'a>(&'a burn::tensor::Gradients, Vec<(String, Vec<f32>)>);
        impl ParamVisit for Found<'_> {
            fn visit<const N: usize>(&mut self, name: &str, tensor: &Tensor<N>) {
                let gradient = tensor.grad(self.0).map(values).unwrap_or(vec![0.0; tensor.shape().num_elements()]);
                self.1.push((name.to_owned(), gradient));
            }
        }
        let net = net.clone().train();
        let x = tokens([2, 7, D], &Device::flex().autodiff()).require_grad();
        let weights = tokens([2, 7, D], &Device::flex().autodiff()).sin();
        let gradients = (answer(&net, x.clone()) * weights).sum().backward();
        let mut found = Found(&gradients, vec![("x".into(), values(x.grad(&gradients).unwrap()))]);
        visit_named(&net, &mut found);
        found.1
    }

    /// Mutants: the best expert alone; gates that are shares of all and not of those chosen; answers left in the order of
    /// experts; the shared one left out.
    #[test]
    fn only_the_chosen_are_asked_and_the_answer_is_that_of_asking_all() {
        let device = Device::flex();
        for config in [
            ExpertsConfig { count: 5, ..ExpertsConfig::default() },
            ExpertsConfig { count: 4, active: 3, shared: false, ..ExpertsConfig::default() },
        ] {
            let net = experts(&config, &device);
            let x = tokens([2, 7, D], &device);
            let (ours, theirs) = (values(net.forward(x.clone(), false).0), values(reference(&net, x)));
            for (i, (a, b)) in ours.iter().zip(&theirs).enumerate() {
                assert!((a - b).abs() < 1e-5 * (1.0 + b.abs()), "{i}: {a} {b}");
            }
            let (ours, theirs) = (gradients(&net, |net, x| net.forward(x, false).0), gradients(&net, reference));
            for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
                let most = theirs.iter().fold(0.0f32, |most, v| most.max(v.abs()));
                assert!(most > 1e-4, "{name} has no gradient to compare");
                for (a, b) in ours.iter().zip(theirs) {
                    assert!((a - b).abs() < 2e-5 * (1.0 + most), "{name}: {a} {b}");
                }
            }
        }
    }

    /// Best first, of equals the first, whatever is beside them. Mutants: an order of equals that selection leaves; the worst.
    #[test]
    fn of_equals_the_first_are_chosen() {
        let device = Device::flex();
        let net = experts(&ExpertsConfig { count: 6, active: 3, ..ExpertsConfig::default() }, &device);
        let logits =
            [[1.0, 2.0, 2.0, 1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0], [-1.0, 3.0, 5.0, 3.0, -2.0, 4.0f32]];
        assert_eq!(net.choose(&Tensor::from_floats(logits, &device)), [1, 2, 4, 0, 1, 2, 2, 5, 1]);
    }

    /// Shares of many tokens are counted, not added up. Mutant: `1 / tokens` added in f32, which ends 3 % off.
    #[test]
    fn balance_of_many_tokens_is_exact() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[0.0, 0.0]], &device);
        let chosen: Vec<usize> = (0..6_000_000).map(|i| usize::from(i % 3 == 0)).collect();
        // Both are worth the same: `2 (2/3 1/2 + 1/3 1/2) = 1`.
        let found = uneven(logits, &chosen).into_scalar::<f32>();
        assert!((found - 1.0).abs() < 1e-6, "{found}");
    }

    /// A token's answer is its own: no expert is full. Mutant: rows of one sample read from another.
    #[test]
    fn a_sample_does_not_depend_on_those_beside_it() {
        let device = Device::flex();
        let net = experts(&ExpertsConfig { count: 4, ..ExpertsConfig::default() }, &device);
        let x = tokens([3, 5, D], &device);
        let together = values(net.forward(x.clone(), false).0.narrow(0, 1, 1));
        assert_eq!(together, values(net.forward(x.narrow(0, 1, 1), false).0));
    }

    /// Of a router that finds all equal the balance is `N sum_i f_i / N = 1` whoever is chosen; of one that is sure of the first it is
    /// `N (1/active) 1`, as many are chosen. Mutants: without the count it is 1/8 and 1/2; with `f` of the best alone the second
    /// is 8.
    #[test]
    fn balance_is_one_where_all_are_equal_and_more_where_few_are_busy() {
        let device = Device::flex();
        let logits =
            |row: [f32; 8]| Tensor::<2>::from_data(TensorData::new(row.to_vec(), [1, 8]), &device).repeat_dim(0, 6);
        let net = experts(&ExpertsConfig::default(), &device);
        let of = |row: [f32; 8]| {
            let logits = logits(row);
            let chosen = net.choose(&logits);
            uneven(logits, &chosen).into_scalar::<f32>()
        };
        assert!((of([0.0; 8]) - 1.0).abs() < 1e-6);
        let mut sure = [0.0; 8];
        sure[3] = 60.0;
        assert!((of(sure) - 4.0).abs() < 1e-5, "{}", of(sure));
        sure[5] = 60.0;
        assert!((of(sure) - 4.0).abs() < 1e-5, "{}", of(sure));
        // By hand: softmax of (ln 2, 0 x 7) is 2/9 and 1/9 each; the first two are chosen.
        let mut some = [0.0; 8];
        some[0] = 2f32.ln();
        assert!((of(some) - 8.0 * (0.5 * 2.0 / 9.0 + 0.5 / 9.0)).abs() < 1e-5);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let usual = ExpertsConfig::default;
        usual().check(10).unwrap();
        for (config, key) in [
            (ExpertsConfig { count: 1, ..usual() }, "count"),
            (ExpertsConfig { active: 1, ..usual() }, "active"),
            (ExpertsConfig { active: 9, ..usual() }, "active"),
            (ExpertsConfig { blocks: 11, ..usual() }, "blocks"),
            (ExpertsConfig { blocks: 0, ..usual() }, "blocks"),
            (ExpertsConfig { balance: f64::NAN, ..usual() }, "balance"),
            (ExpertsConfig { balance: -1.0, ..usual() }, "balance"),
        ] {
            let said = config.check(10).unwrap_err().to_string();
            assert!(said.contains(&format!("experts.{key} is")), "{said}");
        }
    }
}
