//! Alignment: moving a flow towards what a judge prefers, along several axes at once.
//!
//! Liu et al., *Improving Video Generation with Human Feedback*, arXiv 2501.13918 (VideoAlign). Four parts, none of which knows a
//! network or a medium:
//!
//! | file | what |
//! |---|---|
//! | [`verdict`] | what a judge said of two samples; accuracy of a reward, with ties and without |
//! | [`reward_loss`] | how a reward learns from verdicts: Bradley–Terry, with ties, regression, margins |
//! | [`dpo`] | Flow-DPO: the flow learns from verdicts directly |
//! | [`paired`] | the points and errors of a pair, time and noise shared |
//! | [`grpo`] | Flow-GRPO: the flow learns from the rewards of samples it draws meanwhile |
//! | [`weighted`] | Flow-RWR and supervised fine-tuning: flow matching, weighted by the reward |
//! | [`reward_field`] | Flow-NRG: a reward's gradient added to the field while it is sampled |
//!
//! The paper counts time from the data to the noise. Here `t = 0` is the noise: its `1 - t` is our `t`, its velocity is ours with
//! the other sign, and its `t/(1-t)` is our `(1-t)/t`.

pub mod dpo;
pub mod grpo;
pub mod paired;
pub mod reward_field;
pub mod reward_loss;
pub mod verdict;
pub mod weighted;

pub use dpo::{BetaSchedule, DpoConfig, Errors, Reduction};
pub use grpo::{FLOW_GRPO, GrpoConfig, Moments};
pub use paired::Duel;
pub use reward_field::{RewardGradient, Rewarded};
pub use reward_loss::{Compared, RewardLoss};
pub use verdict::{Accuracy, Verdict, accuracy};
pub use weighted::{WeightConfig, winners};

use base::Tensor;

/// Improving Video Generation with Human Feedback.
pub const VIDEO_ALIGN: base::Paper = base::Paper::arxiv(
    "liu2025improving",
    "Liu, Jie and Liu, Gongye and Liang, Jiajun and others",
    "Improving Video Generation with Human Feedback",
    (2025, "2501.13918"),
    "NeurIPS 2025",
);

/// `log σ(x)`, finite wherever `x` is. Written so that its slope at 0, where Flow-DPO begins, is a half: `min(x, 0)` in place of the
/// first two terms has a kink there.
pub(crate) fn log_sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let size = x.clone().abs();
    (x - size.clone()) * 0.5 - size.neg().exp().log1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    #[test]
    fn the_logarithm_of_a_sigmoid_does_not_overflow() {
        let x = Tensor::<1>::from_floats([-200.0, -1.0, 0.0, 2.0, 200.0], &Device::flex());
        let found: Vec<f32> = log_sigmoid(x).into_data().try_to_vec().unwrap();
        let exact = |x: f64| -(1.0 + (-x).exp()).ln();
        for (found, wanted) in found.iter().zip([-200.0, exact(-1.0), exact(0.0), exact(2.0), 0.0]) {
            assert!((f64::from(*found) - wanted).abs() < 1e-6, "{found} {wanted}");
        }
    }
}
