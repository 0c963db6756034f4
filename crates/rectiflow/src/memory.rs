//! The memory a training run will need, known before its first step: a run that cannot fit is refused at once, with
//! its budget, not killed hours later.

use crate::{Error, Recipe, machine::Machine};
use base::Shape;
use nets::NetConfig;
use train::{
    optim::{MatrixRule, Moments},
    params::declared,
};

/// What a run keeps in memory, in bytes; the data set and the program are not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Numbers in the network.
    pub parameters: u64,
    /// Weights, gradients, two moments (of what Muon moves one) and every average; of corrections of low rank these, and the weights alone of the rest.
    pub state: u64,
    /// What one part of a batch keeps for the backward pass, an estimate.
    pub activations: u64,
    /// What the rendering of its data estimates keeps beside them, an estimate; 0 where nothing is rendered.
    pub rendering: u64,
    /// Whether `train.gradient_checkpointing` would lower them.
    pub lowers: bool,
}

impl Need {
    /// Of `recipe` on samples of `shape`.
    ///
    /// # Errors
    /// A network that does not accept such samples.
    pub fn of(recipe: &Recipe, shape: Shape, classes: usize) -> Result<Self, Error> {
        let cost = recipe.network.cost(shape, recipe.rows(classes))?;
        let copies = 4 + recipe.train.ema.decays.len() as u64; // weights, gradients, two moments, averages
        let parameters = cost.parameters as u64;
        let declare = || recipe.network.declare(shape, recipe.rows(classes), &base::Device::flex());
        let numbers = match &recipe.lora {
            None if recipe.train.optim.matrices == MatrixRule::Adamw {} => parameters.saturating_mul(copies),
            None => {
                let one = Moments::of_one(&recipe.train.optim, &declared(&declare()?)) as u64;
                parameters.saturating_mul(copies).saturating_sub(one)
            }
            Some(lora) => {
                let adapted = match lora.targets.is_empty() {
                    true => cost.adapted,
                    false => nets::lora::numbers(&declare()?, &lora.targets),
                };
                (adapted as u64).saturating_mul(lora.rank as u64).saturating_mul(copies).saturating_add(parameters)
            }
        };
        let lowers = recipe.network.recomputes() && !recipe.train.gradient_checkpointing;
        let kept = match recipe.train.gradient_checkpointing {
            true => cost.checkpointed_bytes_per_sample,
            false => cost.activation_bytes_per_sample,
        };
        let seen = seen(recipe);
        let (state, activations) = (numbers.saturating_mul(4), kept.saturating_mul(seen));
        Ok(Self { parameters, state, activations, rendering: 0, lowers })
    }

    /// The same where what each sample looks like is in the loss, which leaves `bytes` on the tape.
    pub fn rendering(self, recipe: &Recipe, bytes: u64) -> Self {
        Self { rendering: bytes.saturating_mul(seen(recipe)), ..self }
    }

    /// The same where the weights beneath are a released model's, which takes `bytes` as it is stored; of shorter numbers layers keep f32 for
    /// the gradient, all of them unless blocks run again.
    pub fn beneath(self, recipe: &Recipe, bytes: u64) -> Self {
        let f32 = 4 * self.parameters;
        if recipe.lora.is_none() {
            return self;
        }
        let NetConfig::Released(network) = &recipe.network else { return self };
        let blocks = if recipe.train.gradient_checkpointing { network.blocks() as u64 } else { 1 };
        let widened = if bytes < f32 { f32 / blocks.max(1) } else { 0 };
        Self { state: self.state - f32 + bytes, activations: self.activations.saturating_add(widened), ..self }
    }

    /// Refuses what is more than this machine has.
    ///
    /// # Errors
    /// [`Error::Failure`] with the budget and what would lower it.
    pub fn check(&self) -> Result<(), Error> {
        self.check_against(Machine::here("cpu").memory_gb)
    }

    fn check_against(&self, memory_gb: f64) -> Result<(), Error> {
        let gb = |bytes: u64| bytes as f64 / (1u64 << 30) as f64;
        let (state, activations, rendering) = (gb(self.state), gb(self.activations), gb(self.rendering));
        // Zero where the system does not say how much it has.
        if memory_gb == 0.0 || state + activations + rendering <= memory_gb {
            return Ok(());
        }
        let rendered = match self.rendering {
            0 => String::new(),
            _ => format!(" and {rendering:.1} GB of rendered windows (lower `task.latents.render.patch`)"),
        };
        let last = match self.lowers {
            true => "lower `train.batch`, raise `train.accumulation` or set `train.gradient_checkpointing = true`",
            false => "lower `train.batch` or raise `train.accumulation`",
        };
        Err(Error::Failure(format!(
            "training would need about {:.1} GB and this machine has {memory_gb:.1} GB: {state:.1} GB for {} parameters \
             (weights, gradients, moments, averages) and {activations:.1} GB of activations{rendered}; make the network narrower, \
             {last}",
            state + activations + rendering,
            self.parameters
        )))
    }
}

/// Samples that one part of a batch shows the network; reflected latents show each twice.
fn seen(recipe: &Recipe) -> u64 {
    recipe.train.micro_batch() as u64 * if recipe.antithetic { 2 } else { 1 }
}

/// Refuses to draw more samples of `shape` at once than memory holds.
///
/// # Errors
/// [`Error::Usage`] with how many would fit.
pub fn check_samples(count: u64, shape: Shape) -> Result<(), Error> {
    let each = 4 * shape.numel() as u64;
    let memory = Machine::here("cpu").memory_gb * (1u64 << 30) as f64;
    if memory == 0.0 || count as f64 * each as f64 <= memory / 2.0 {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{count} samples of shape {shape} do not fit in memory at once; draw at most {:.0}, and the rest with another seed",
        memory / 2.0 / each as f64
    )))
}

/// How many samples of a network, `most` at most and one at least, may be drawn together when half of the memory is theirs; `each`
/// takes so many bytes.
pub fn together(most: usize, each: u64) -> usize {
    together_in(Machine::here("cpu").memory_gb, most, each)
}

fn together_in(memory_gb: f64, most: usize, each: u64) -> usize {
    let half = memory_gb * (1u64 << 29) as f64;
    // Zero where the system does not say how much it has.
    if memory_gb == 0.0 || each == 0 { most } else { ((half / each as f64) as usize).clamp(1, most.max(1)) }
}

/// Refuses to decode what takes `bytes` where the memory has less; `asked` are the options that say how large it is.
///
/// # Errors
/// [`Error::Usage`] with what it would take and `remedy`.
pub fn check_decoding(bytes: u64, asked: &str, remedy: &str) -> Result<(), Error> {
    let (gb, memory) = (bytes as f64 / (1u64 << 30) as f64, Machine::here("cpu").memory_gb);
    if memory == 0.0 || gb <= memory {
        return Ok(());
    }
    Err(Error::Usage(format!("{asked}: decoding takes about {gb:.0} GB, this machine has {memory:.0}; {remedy}")))
}

/// Refuses to differentiate a decoder that leaves more on the tape than the memory has.
///
/// # Errors
/// [`Error::Usage`] with what it would take.
pub fn check_tape(bytes: u64) -> Result<(), Error> {
    let (gb, memory) = (bytes as f64 / (1u64 << 30) as f64, Machine::here("cpu").memory_gb);
    if memory == 0.0 || gb <= memory {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "--cost decoder: its gradient takes about {gb:.0} GB for one picture, this machine has {memory:.0}; use a smaller picture, or \
         for holes --cost latent"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Mutants: all of the memory in place of half; none where not even one fits.
    #[test]
    fn batches_are_as_large_as_memory_allows() {
        let each = 1 << 28;
        assert_eq!([8.0, 0.5, 100.0, 0.0].map(|gb| together_in(gb, 64, each)), [16, 1, 64, 64]);
        let said = check_decoding(1 << 50, "--frames 9", "draw less").unwrap_err().to_string();
        assert!(said.contains("--frames 9: decoding takes about 1048576 GB") && said.ends_with("draw less"), "{said}");
        assert!(check_decoding(1 << 20, "--frames 9", "draw less").is_ok());
    }

    #[test]
    fn a_run_is_refused_exactly_when_it_does_not_fit() {
        let need = Need { parameters: 1 << 28, state: 5 << 30, activations: 3 << 30, rendering: 0, lowers: true };
        assert!(need.check_against(8.0).is_ok());
        let said = need.check_against(7.9).unwrap_err().to_string();
        assert!(said.contains("8.0 GB") && said.contains("268435456 parameters"), "{said}");
        let advice = |lowers| Need { lowers, ..need }.check_against(1.0).unwrap_err().to_string();
        assert!(advice(true).contains("gradient_checkpointing") && !advice(false).contains("gradient_checkpointing"));
        assert!(need.check_against(0.0).is_ok());
    }

    /// Under Muon a hidden matrix keeps one moment, a table and an end two. Mutants: two for all; one for all; drawn in place of declared weights.
    #[test]
    fn what_muon_moves_has_one_moment() {
        let mut recipe = Recipe::default();
        let shape = Shape::from([1, 28, 28]);
        let state = |recipe: &Recipe| Need::of(recipe, shape, 10).unwrap().state;
        let adamw = state(&recipe);
        recipe.train.optim.matrices = MatrixRule::muon();
        let net = recipe.network.init(0, shape, recipe.rows(10), &base::Device::flex()).unwrap();
        let infos = ::train::params::infos(&net);
        let kept = Moments::second(&recipe.train.optim, &infos);
        let one: usize = infos.iter().zip(kept).map(|(info, second)| if second { 0 } else { info.len() }).sum();
        assert_eq!(adamw - state(&recipe), 4 * one as u64);
        let all: usize = infos.iter().map(|info| info.len()).sum();
        assert!(2 * one > all && one < all, "{one} of {all}");
        assert_eq!(declared(&net), infos);
    }

    /// Mutants: windows left out of the sum; each counted once where reflected latents show it twice; the whole batch where it comes in parts.
    #[test]
    fn rendered_windows_count() {
        let mut recipe = Recipe { antithetic: true, ..Recipe::default() };
        (recipe.train.batch, recipe.train.accumulation) = (32, 2);
        let need = Need { parameters: 1, state: 1 << 30, activations: 1 << 30, rendering: 0, lowers: false };
        let need = need.rendering(&recipe, 1 << 26);
        assert_eq!(need.rendering, 32 << 26);
        let said = need.check_against(3.9).unwrap_err().to_string();
        assert!(said.contains("4.0 GB") && said.contains("render.patch") && said.contains("train.batch"), "{said}");
        assert!(need.check_against(4.0).is_ok() && Need { rendering: 0, ..need }.check_against(2.0).is_ok());
    }
}
