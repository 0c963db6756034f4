//! Procedures that need more than one pass: generating pairs from a teacher, reflow, distillation.
//!
//! Rectified flow's loop (arXiv 2209.03003, algorithm 1) closes through files, never through calls: [`pairs::generate`]
//! hands chunks of `(x0, x1, label)` to a sink, a later stage reads them back as stored pairs, and [`reflow`] and
//! [`distill`] say, as a [`Stage`], what that later stage trains. What a network is told to say beside its pairs is a
//! [`target`] rule; every few-step method is one. [`steer`] draws samples that answer to a cost, [`align`] moves a flow towards what a judge
//! prefers. Nothing here names a network, a file format or a device.

pub mod align;
pub mod checks;
pub mod distill;
pub mod edit;
pub mod error;
pub mod one_more_step;
pub mod pairs;
pub mod reflow;
pub mod stage;
pub mod steer;
pub mod stepsize;
pub mod tape;
pub mod target;

pub use distill::DistillConfig;
pub use error::{Failure, MethodError};
pub use one_more_step::OneMoreStep;
pub use pairs::{Labels, PairChunk, PairsConfig, Supply};
pub use reflow::ReflowConfig;
pub use stage::{Init, Stage};
pub use stepsize::StepsizeConfig;
pub use target::{GuideConfig, Lesson, Part, Target, TargetRule};

/// Every paper that a method here is from.
pub fn papers() -> Vec<base::Paper> {
    let few_steps = [reflow::RECTIFIED_DIFFUSION, target::PERFLOW, target::MEAN_FLOW, target::SHORTCUT];
    let beside = [stepsize::BOSS, one_more_step::ONE_MORE_STEP];
    let steering = [steer::flowchef::FLOWCHEF, steer::mpgd::MPGD, steer::dps::DPS, steer::freedom::FREEDOM];
    let solving = [steer::ot_ode::OT_ODE, steer::pnp_flow::PNP_FLOW, steer::flow_dps::FLOW_DPS, steer::d_flow::D_FLOW];
    let editing = [edit::flow_edit::FLOW_EDIT, edit::sd_edit::SD_EDIT];
    let aligning = [align::VIDEO_ALIGN, align::dpo::DIFFUSION_DPO, align::FLOW_GRPO];
    few_steps.into_iter().chain(beside).chain(steering).chain(solving).chain(editing).chain(aligning).collect()
}
