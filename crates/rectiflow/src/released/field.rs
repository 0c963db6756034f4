//! A released network as a velocity field: times, signs and scales of its authors turned into this project's, guidance around it.

use base::{Condition, Pass, Taps, Tensor, Times};
use flow::{Field, Frame, Parameterization, Path, path::diffusion::Discrete};
use nets::{Flux, Flux2, Mmdit, Released, TextUnet, Wan, ZImage};

/// A released network with its path.
#[derive(Debug)]
pub struct Flow {
    net: Released,
    path: Path,
    /// What it says where it is a diffusion; else a velocity towards the data.
    output: Option<Parameterization>,
    /// Whether it is told whole training steps, rounded down.
    whole: bool,
    /// Whether guidance keeps the length of what is said of each token.
    kept: bool,
}

/// Guidance away from the network without some of its blocks (SD3.5-medium), at the steps of an interval of times.
#[derive(Clone, Debug, PartialEq)]
pub struct SkipLayers {
    /// Blocks that are passed over.
    pub layers: Vec<usize>,
    /// How far.
    pub scale: f64,
    /// Times, inclusive, at which it acts.
    pub interval: (f64, f64),
}

impl Flow {
    /// Stable Diffusion 3.
    pub fn mmdit(net: Mmdit) -> Self {
        Self { net: Released::mmdit(net), path: Path::Linear {}, output: None, whole: false, kept: false }
    }

    /// FLUX, told the guidance scale that its training distilled, where it has an ear for it.
    pub fn flux(net: Flux, guidance: f64) -> Self {
        Self { net: Released::flux(net, guidance), path: Path::Linear {}, output: None, whole: false, kept: false }
    }

    /// InstaFlow, whose U-Net counts like a diffusion and points to the data like this project; `guidance` as for [`Flow::diffusion`].
    pub fn instaflow(net: TextUnet, guidance: f64) -> Self {
        Self {
            net: Released::unet(net, None, guidance),
            path: Path::Linear {},
            output: None,
            whole: false,
            kept: false,
        }
    }

    /// Stable Diffusion, whose network says `output` on its path, told the guidance scale that its training distilled, where it has an ear for it.
    pub fn diffusion(net: TextUnet, path: Discrete, output: Parameterization, guidance: f64) -> Self {
        let net = Released::unet(net, Some(path.steps), guidance);
        Self { net, path: Path::Ddpm(path), output: Some(output), whole: false, kept: false }
    }

    /// Wan, for latents of so many frames, told `whole` training steps as UniPC's scheduler counts them, or every moment.
    pub fn wan(net: Wan, frames: usize, whole: bool) -> Self {
        Self { net: Released::wan(net, frames), path: Path::Linear {}, output: None, whole, kept: false }
    }

    /// Z-Image, which counts and points like this project.
    pub fn z_image(net: ZImage) -> Self {
        Self { net: Released::z_image(net), path: Path::Linear {}, output: None, whole: false, kept: false }
    }

    /// Qwen-Image, whose guidance turns what is said of a token and keeps its length.
    pub fn qwen_image(net: Flux) -> Self {
        Self { net: Released::qwen_image(net), path: Path::Linear {}, output: None, whole: false, kept: true }
    }

    /// FLUX.2.
    pub fn flux2(net: Flux2) -> Self {
        Self { net: Released::flux2(net), path: Path::Linear {}, output: None, whole: false, kept: false }
    }

    /// The path it walks.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The velocity towards the data, blocks in `skip` passed over, attention layers shown to `taps`. The condition has a vector and
    /// tokens, and its guidance stands before what FLUX was opened with.
    fn ask(&self, x: Tensor<4>, t: &Times, condition: &Condition, skip: &[usize], taps: Option<&Taps>) -> Tensor<4> {
        let device = x.device();
        // In f64 until here: near the data little is left of the noise.
        let noise = |scale: f64, offset: f64| {
            let noise = |t: &f64| {
                let noise = (scale * (1.0 - t) + offset).max(0.0);
                // A level that became a time and came back may have lost a bit.
                if self.whole { (noise + 1e-9).floor() } else { noise }
            };
            Times::new(t.values().iter().map(noise).collect()).tensor(&device)
        };
        let pass = taps.map_or(Pass::Infer, |taps| Pass::Tapped(taps.clone()));
        let said = self.net.ask(x.clone(), noise, condition, skip, &pass);
        match &self.output {
            Some(output) => output.to_velocity(&self.path, x, said, t),
            None => said,
        }
    }
}

impl Field<4> for Flow {
    fn velocity(&self, x: Tensor<4>, t: &Times, condition: &Condition) -> Tensor<4> {
        self.ask(x, t, condition, &[], None)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: true })
    }
}

/// A flow under guidance: away from a condition's null (the negative prompt's, see [`Condition::contrasted`]), and from itself
/// with blocks passed over.
#[derive(Debug)]
pub struct Prompted<'a> {
    /// The flow.
    pub flow: &'a Flow,
    /// How far from the null: `n + g (c - n)`; none asks for the condition alone.
    pub contrast: Option<f64>,
    /// Skip-layer guidance.
    pub skip: Option<SkipLayers>,
    /// Who is shown the attention layers.
    pub taps: Option<Taps>,
}

impl Field<4> for Prompted<'_> {
    fn velocity(&self, x: Tensor<4>, t: &Times, condition: &Condition) -> Tensor<4> {
        let taps = self.taps.as_ref();
        let asked = match self.contrast {
            None => {
                let asked = self.flow.ask(x.clone(), t, condition, &[], taps);
                (asked.clone(), asked)
            }
            Some(scale) => {
                let b = x.dims()[0];
                let both = Tensor::cat(vec![x.clone(), x.clone()], 0);
                let both = self.flow.ask(both, &t.cat(t), &condition.doubled(), &[], taps);
                let (positive, negative) = (both.clone().narrow(0, 0, b), both.narrow(0, b, b));
                let guided = negative.clone() + (positive.clone() - negative) * scale;
                let guided = if self.flow.kept { of_length(guided, &positive) } else { guided };
                (positive, guided)
            }
        };
        let (conditional, guided) = asked;
        let Some(skip) = &self.skip else { return guided };
        let (from, to) = skip.interval;
        // Solvers of fixed steps ask all rows at one time.
        if !t.values().iter().all(|t| (from..=to).contains(t)) {
            return guided;
        }
        let without = self.flow.ask(x, t, condition, &skip.layers, None);
        guided + (conditional - without) * skip.scale
    }

    // Guidance is linear with factors that sum to one (see `flow::guidance`), but for Qwen-Image's, which nothing that asks this walks.
    fn frame(&self) -> Option<Frame<'_>> {
        self.flow.frame()
    }
}

/// `x` `[b c h w]` with each token, the 2x2 pixels of all channels, as long as it is in `other`.
fn of_length(x: Tensor<4>, other: &Tensor<4>) -> Tensor<4> {
    let [_, _, h, w] = x.dims();
    let length = |x: Tensor<3>| x.square().sum_dim(2).sqrt(); // [b n 1]
    let x = nets::flux::pack(x);
    let wanted = length(nets::flux::pack(other.clone()));
    let own = length(x.clone()).clamp_min(f32::MIN_POSITIVE);
    nets::flux::unpack(x * (wanted / own), h, w)
}

/// The times at which step `i` of a schedule begins, for the steps with `from < i / steps < to`, ends included; nothing where
/// there is none.
pub(super) fn steps_between(times: &[f64], from: f64, to: f64) -> Option<(f64, f64)> {
    let steps = times.len() - 1;
    let inside = |i: &usize| *i as f64 > steps as f64 * from && (*i as f64) < steps as f64 * to;
    let mut within = (0..steps).filter(inside);
    let first = within.next()?;
    let last = within.next_back().unwrap_or(first);
    // A time may have been a noise level and come back.
    let slack = 1e-9;
    Some((times[first] - slack, times[last] + slack))
}

#[cfg(test)]
mod tests {
    use super::steps_between;

    /// The reference's rule, strict on both sides, counted from 0.
    #[test]
    fn steps_are_counted_as_by_the_reference() {
        let times: Vec<f64> = (0..=4).map(|i| f64::from(i) / 4.0).collect();
        let (from, to) = steps_between(&times, 0.01, 0.6).unwrap(); // steps 1 and 2
        assert!((from - 0.25).abs() < 1e-8 && (to - 0.5).abs() < 1e-8);
        assert_eq!(steps_between(&times, 0.0, 0.25), None); // 0 < i < 1
        let (from, to) = steps_between(&times, 0.25, 0.75).unwrap(); // step 2 alone
        assert!(from < 0.5 && to > 0.5 && to - from < 1e-8);
    }
}
