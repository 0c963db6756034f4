//! The settings of the published programs, in the units of this one.
//!
//! The official code states step sizes that depend on resolution and on the number of measured values (the mean squared
//! error's gradient is divided by it). Derived here for data in [-1, 1], with `numel` measured values: pixel models use
//! `x - 500 ∇ mean(r²)` on 64x64x3, which is `κ = 1000 λ/numel` with `λ` the operator's bound: 0.0814 for boxes and blurs, and
//! for average pooling too. FLUX uses plain descent on `mean(1000 r²)` with rate `lr`: `κ = 2000 lr/numel`. InstaFlow begins an
//! Adam anew at every step on `m · mean(r²)` over 4x64x64 values: `ε = 1e-8` against `2 m/numel · e` is a threshold of
//! `1e-8 numel/(2 m)` in units of `e`.

use super::{FlowChef, Rule};

/// A published setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Inverse problems of pixel models (2-rectified flow++, 64x64): κ = 0.081, 200 steps.
    Pixel,
    /// FLUX at 1024x1024, the command line's defaults: rate 0.6, 4 inner steps, 30 steps.
    Flux,
    /// InstaFlow inpainting in its latents: Adam, rate 0.5, 200 steps.
    InstaFlowInpaint,
    /// InstaFlow super-resolution and deblurring through the decoder: Adam's sign steps of 0.02, 100 steps.
    InstaFlowRestore,
    /// InstaFlow editing: Adam so blunt that it is descent, rate 0.5, 5 inner steps, 50 steps.
    InstaFlowEdit,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Pixel, Self::Flux, Self::InstaFlowInpaint, Self::InstaFlowRestore, Self::InstaFlowEdit];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pixel => "pixel",
            Self::Flux => "flux",
            Self::InstaFlowInpaint => "instaflow-inpaint",
            Self::InstaFlowRestore => "instaflow-restore",
            Self::InstaFlowEdit => "instaflow-edit",
        }
    }

    /// Its settings and its number of steps.
    pub fn settings(self) -> (FlowChef, usize) {
        let adam =
            |rate, multiplier: f64| Rule::Adam { rate, threshold: 1e-8 * (4.0 * 64.0 * 64.0) / (2.0 * multiplier) };
        let with = |rule, inner| FlowChef { rule, inner, noise_aware: false, ..FlowChef::default() };
        match self {
            Self::Pixel => (FlowChef { noise_aware: false, ..FlowChef::new(1000.0 / (3.0 * 64.0 * 64.0)) }, 200),
            Self::Flux => (with(Rule::Descent { kappa: 2000.0 * 0.6 / (16.0 * 128.0 * 128.0) }, 4), 30),
            Self::InstaFlowInpaint => (with(adam(0.5, 1e-3), 1), 200),
            Self::InstaFlowRestore => (with(adam(0.02, 1e3), 1), 100),
            Self::InstaFlowEdit => (with(adam(0.5, 1e-5), 5), 50),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The derived values of the method's page.
    #[test]
    fn presets_are_the_published_settings() {
        let kappa = |preset: Preset| match preset.settings().0.rule {
            Rule::Descent { kappa } => kappa,
            Rule::Adam { threshold, .. } => threshold,
        };
        assert!((kappa(Preset::Pixel) - 0.0814).abs() < 1e-4);
        assert!((kappa(Preset::Flux) - 0.00763 * 0.6).abs() < 1e-5);
        assert!((kappa(Preset::InstaFlowInpaint) - 0.082).abs() < 1e-3);
        assert!((kappa(Preset::InstaFlowEdit) - 8.2).abs() < 0.1);
        assert!(kappa(Preset::InstaFlowRestore) < 1e-6, "sign steps");
        assert!(Preset::ALL.iter().all(|preset| preset.settings().0.check().is_ok()));
    }
}
