//! A loss on what latents look like: the data estimate, brought back to the codec's own space, rendered by its frozen decoder, and compared with the
//! pictures that the data's latents were made of, in one window of one view for each sample (TriFlow, arXiv:2501.00651, the rendering loss of its
//! figure 2). What is compared with are the pictures themselves and not what the codec makes of them.
//!
//! The paper's weights, windows and times are not known here. Ours: the error of the colours and `lpips` times LPIPS, times `weight`, times `t` from
//! `from` on; before, the estimate is a blur and gradients lead to grey.

use super::{Codec, Window};
use crate::{
    Error, Recipe,
    device::Chosen,
    perceptual,
    recipe::{Pixels, RenderConfig},
};
use base::{Int, Key, RandomStream, Shape, Tensor, TensorData, Times};
use data::{Dataset, Values};
use flow::{Onlooker, Premetric};
use std::sync::Arc;

/// What renders.
pub(crate) struct Renderer {
    /// Where a tape is.
    codec: Codec,
    config: RenderConfig,
    /// Between pictures `[3 patch patch]`.
    lpips: Option<Box<dyn Premetric<2>>>,
    seed: u64,
}

/// What renders, and what it is compared with.
pub(crate) struct Rendering {
    renderer: Renderer,
    /// The samples that the latents were made of.
    samples: Arc<dyn Dataset>,
}

/// Bytes for a pixel that VGG16 leaves on the tape: its features before and after each activation, each level with a quarter of the places.
const COMPARED: u64 = 2200;

impl Renderer {
    /// What `recipe` adds to the loss of latents of `codec`, before there are any; `None` where it adds nothing.
    ///
    /// # Errors
    /// A codec that renders nothing; windows larger than its views, or too small for LPIPS; LPIPS' weights that are not here.
    pub fn of(recipe: &Recipe, codec: Option<&Arc<Codec>>, device: &Chosen) -> Result<Option<Self>, Error> {
        let (Some(config), Some(codec)) = (recipe.task.latents().and_then(|latents| latents.render.as_ref()), codec)
        else {
            return Ok(None);
        };
        let ([_, size], patch) = (codec.views()?.sizes(), config.patch);
        if patch > size {
            return Err(Error::Usage(format!(
                "task.latents.render.patch = {patch}; the codec's views are {size} pixels to a side: give at most these"
            )));
        }
        let lpips = match config.lpips > 0.0 {
            true => {
                let seen = |error| match error {
                    Error::Usage(what) => Error::Usage(format!("task.latents.render.lpips: {what}")),
                    other => other,
                };
                Some(perceptual::lpips([3, patch, patch].into(), device).map_err(seen)?)
            }
            false => None,
        };
        let taped = Chosen { device: device.device.clone().autodiff(), name: device.name.clone() };
        let codec = Codec::open(codec.run(), &taped)?;
        Ok(Some(Self { codec, config: config.clone(), lpips, seed: recipe.seed }))
    }

    /// Latents that were made of `samples`.
    pub fn beside(self, samples: Arc<dyn Dataset>) -> Rendering {
        Rendering { renderer: self, samples }
    }

    /// Bytes that the loss of one sample leaves on the tape, an estimate.
    pub fn tape_bytes(&self) -> u64 {
        let patch = self.config.patch;
        let compared = if self.lpips.is_some() { COMPARED * (patch * patch) as u64 } else { 0 };
        self.codec.views().map_or(0, |views| views.tape_bytes(patch)).saturating_add(compared)
    }
}

impl Rendering {
    /// As [`Renderer::tape_bytes`].
    pub fn tape_bytes(&self) -> u64 {
        self.renderer.tape_bytes()
    }

    /// The windows that samples of these counters are looked at through, and what the samples at `places` show in them.
    ///
    /// # Errors
    /// A sample that cannot be read.
    pub fn glimpse(&self, indices: &[u64], places: &[u64]) -> Result<Glimpse<'_>, Error> {
        let Renderer { codec, config, seed, .. } = &self.renderer;
        let ([views, size], patch) = (codec.views()?.sizes(), config.patch);
        let key = Key::of(*seed, RandomStream::SeenWindows);
        let (mut windows, mut shown) = (Vec::with_capacity(indices.len()), Vec::with_capacity(indices.len()));
        for (&index, &place) in indices.iter().zip(places) {
            let drawn: Vec<f64> = key.uniforms(index, 4).map(f64::from).collect();
            let one_of = |i: usize, count: usize| ((drawn[i] * count as f64) as usize).min(count - 1);
            let corner = [one_of(1, size - patch + 1), one_of(2, size - patch + 1)];
            let window = Window { view: one_of(0, views), corner, shift: drawn[3] };
            let none = || Error::Failure(format!("{}: there is no sample {place}", self.samples.name()));
            if place >= self.samples.len() as u64 {
                return Err(none());
            }
            let Values::Numbers(row) = self.samples.get(place as usize)?.values else { return Err(none()) };
            shown.push(codec.views()?.shown(&row, &window, patch));
            windows.push(window);
        }
        Ok(Glimpse { of: &self.renderer, windows, shown })
    }
}

/// A [`Rendering`] for the samples of one batch.
pub(crate) struct Glimpse<'a> {
    of: &'a Renderer,
    windows: Vec<Window>,
    shown: Vec<Vec<f32>>,
}

impl Onlooker<2> for Glimpse<'_> {
    fn losses(&self, estimate: Tensor<2>, times: &Times) -> Tensor<1> {
        let (RenderConfig { weight, pixels, lpips, patch, from }, device) = (self.of.config.clone(), estimate.device());
        let b = times.len();
        // Others are not rendered.
        let chosen: Vec<usize> = (0..b).filter(|row| times.values()[*row] >= from).collect();
        let k = chosen.len();
        if k == 0 {
            return Tensor::zeros([b], &device);
        }
        let list = |numbers: Vec<i64>| {
            let count = numbers.len();
            Tensor::<1, Int>::from_data(TensorData::new(numbers, [count]), &device)
        };
        // A batch that is looked at twice has one window for both.
        let samples: Vec<usize> = chosen.iter().map(|row| row % self.windows.len()).collect();
        let windows: Vec<Window> = samples.iter().map(|sample| self.windows[*sample]).collect();
        let wanted: Vec<f32> = samples.iter().flat_map(|sample| self.shown[*sample].iter().copied()).collect();
        let n = Shape::from([3, patch, patch]).numel();
        let wanted = Tensor::<2>::from_data(TensorData::new(wanted, [k, n]), &device);
        let rows = estimate.select(0, list(chosen.iter().map(|row| *row as i64).collect()));
        let views = self.of.codec.views().expect("`Rendering::of` has asked this codec");
        let seen = views.rendered(self.of.codec.raw(rows), &windows, patch).reshape([k, n]);
        // Colours are in [0, 1].
        let gap = (seen.clone() - wanted.clone()) * 0.5;
        let error = match pixels {
            Pixels::L2 => gap.square(),
            Pixels::L1 => gap.abs(),
        };
        let mut losses = error.mean_dim(1).squeeze_dim::<1>(1);
        if let Some(distance) = &self.of.lpips {
            losses = losses + distance.distance(wanted, seen) * lpips;
        }
        let weights: Vec<f32> = chosen.iter().map(|row| (weight * times.values()[*row]) as f32).collect();
        losses = losses * Tensor::<1>::from_data(TensorData::new(weights, [k]), &device);
        // Back to their rows; the others read the zero behind the last.
        let mut place = vec![k as i64; b];
        chosen.iter().enumerate().for_each(|(i, row)| place[*row] = i as i64);
        Tensor::cat(vec![losses, Tensor::zeros([1], &device)], 0).select(0, list(place))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CodecRecipe, Coder, Moments, Views};
    use super::*;
    use base::Device;
    use data::{InMemory, Sample};

    /// Latents `[3 2 1 1]` whose one view is four pixels, each of the colour of the latent's first three numbers plus the window's column / 10.
    struct Flat;

    impl Coder for Flat {
        fn encode(&self, rows: Tensor<2>) -> Result<Tensor<2>, Error> {
            Ok(rows)
        }

        fn decode(&self, latents: Tensor<2>) -> Tensor<2> {
            latents
        }

        fn drawn(&self) -> Shape {
            [3, 2, 1, 1].into()
        }

        fn views(&self) -> Option<&dyn Views> {
            Some(self)
        }
    }

    impl Views for Flat {
        fn sizes(&self) -> [usize; 2] {
            [1, 4]
        }

        fn rendered(&self, latents: Tensor<2>, windows: &[Window], side: usize) -> Tensor<4> {
            let moved: Vec<f32> = windows.iter().map(|window| window.corner[1] as f32 / 10.0).collect();
            let moved = Tensor::<2>::from_data(TensorData::new(moved, [windows.len(), 1]), &latents.device());
            let colour = latents.narrow(1, 0, 3) + moved;
            colour.reshape([windows.len(), 3, 1, 1]).repeat(&[1, 1, side, side])
        }

        fn tape_bytes(&self, side: usize) -> u64 {
            100 * (side * side) as u64
        }

        fn shown(&self, row: &[f32], window: &Window, side: usize) -> Vec<f32> {
            vec![row[0] + window.corner[1] as f32 / 10.0; 3 * side * side]
        }
    }

    /// The root of the squared distance of the first numbers.
    struct First;

    impl Premetric<2> for First {
        fn distance(&self, data: Tensor<2>, estimate: Tensor<2>) -> Tensor<1> {
            (data - estimate).narrow(1, 0, 1).abs().squeeze_dim::<1>(1)
        }
    }

    fn rendering(config: RenderConfig, lpips: bool) -> Rendering {
        let shape = Shape::from([3, 2, 1, 1]);
        // Latents of the flow are these, divided by 2 and moved by 0.1.
        let moments = Moments { mean: vec![0.1; 2], deviation: vec![2.0; 2], ..Moments::none(shape) };
        let recipe = CodecRecipe::default();
        let (file, identity) = ("x".into(), String::new());
        let codec = Codec { coder: Box::new(Flat), recipe, sample: [6].into(), latent: shape, moments, file, identity };
        let sample = |i: usize| {
            let values = Values::Numbers(vec![i as f32 / 4.0; 6]);
            Sample { values, shape: [6].into(), label: None, caption: None }
        };
        let samples: Arc<dyn Dataset> =
            Arc::new(InMemory::new("rows", [6], vec![], (0..5).map(sample).collect()).unwrap());
        let lpips = lpips.then(|| Box::new(First) as Box<dyn Premetric<2>>);
        Renderer { codec, config, lpips, seed: 4 }.beside(samples)
    }

    fn values(x: Tensor<1>) -> Vec<f64> {
        x.into_data().iter::<f64>().collect()
    }

    /// The slope of the loss by the estimate, by hand: of `w t / 3 sum ((2 e + ...)/2 - ...)²` it is `w t / 3` times the gap, nothing where nothing
    /// is looked at. Mutants: the estimate cut from the tape; the rendering; its weight.
    #[test]
    fn a_loss_leads_back_to_the_estimate() {
        let (device, tape) = (Device::flex(), Device::flex().autodiff());
        let config = RenderConfig { weight: 3.0, lpips: 0.0, patch: 2, from: 0.4, ..RenderConfig::default() };
        let rendering = rendering(config, false);
        let glimpse = rendering.glimpse(&[7, 8], &[3, 1]).unwrap();
        let times = [0.5, 0.3];
        let estimate: Vec<f32> = (0..12).map(|i| (i as f32 * 0.37).sin()).collect();
        let leaf = Tensor::<2>::from_data(TensorData::new(estimate.clone(), [2, 6]), &tape).require_grad();
        let losses = glimpse.losses(leaf.clone(), &Times::new(times.to_vec()));
        let slopes = leaf.grad(&losses.sum().backward()).expect("the estimate is on the tape");
        let slopes: Vec<f64> = slopes.to_device(&device).into_data().iter::<f64>().collect();
        for (i, slope) in slopes.iter().enumerate() {
            let (row, place) = (i / 6, i % 6);
            let gap = f64::from(2.0 * estimate[i] + 0.1) - 0.75;
            let wanted = if row == 0 && place < 3 { 3.0 * times[row] / 3.0 * gap } else { 0.0 };
            assert!((slope - wanted).abs() < 1e-5, "{i}: {slope} {wanted}");
        }
    }

    /// Mutants: LPIPS left out; counted where it is not asked.
    #[test]
    fn what_a_window_leaves_grows_with_its_pixels() {
        let bytes = |patch, lpips| rendering(RenderConfig { patch, ..RenderConfig::default() }, lpips).tape_bytes();
        assert_eq!([bytes(2, false), bytes(4, false), bytes(4, true)], [400, 1600, 1600 + 16 * COMPARED]);
    }

    /// By hand, for every row: the estimate in the codec's own space against the picture of its own sample, weighed by the time.
    ///
    /// Mutants: whitened latents rendered; pictures of the batch's places in place of the samples'; 1 - t for t; the weight left out; rows
    /// before `from` counted; the second copy of a batch given other windows; LPIPS without its weight.
    #[test]
    fn a_loss_is_that_of_what_is_seen_by_hand() {
        let device = Device::flex();
        for (pixels, lpips) in [(Pixels::L2, 0.0), (Pixels::L1, 0.0), (Pixels::L2, 0.25)] {
            let config = RenderConfig { weight: 3.0, pixels, lpips, patch: 2, from: 0.4 };
            let rendering = rendering(config, lpips > 0.0);
            let glimpse = rendering.glimpse(&[7, 8], &[3, 1]).unwrap();
            let times = [0.5, 0.9, 0.3, 0.4];
            let estimate: Vec<f32> = (0..24).map(|i| (i as f32 * 0.37).sin()).collect();
            let tensor = Tensor::<2>::from_data(TensorData::new(estimate.clone(), [4, 6]), &device);
            let found = values(glimpse.losses(tensor, &Times::new(times.to_vec())));
            for row in 0..4 {
                let picture = [0.75, 0.25][row % 2];
                let gap = |i: usize| f64::from(2.0 * estimate[row * 6 + i] + 0.1) - picture;
                let error = (0..3).map(|i| match pixels {
                    Pixels::L2 => (gap(i) / 2.0).powi(2),
                    Pixels::L1 => (gap(i) / 2.0).abs(),
                });
                let one = error.sum::<f64>() / 3.0 + lpips * gap(0).abs();
                let wanted = if times[row] < 0.4 { 0.0 } else { 3.0 * times[row] * one };
                assert!((found[row] - wanted).abs() < 1e-5, "{pixels:?} {row}: {} {wanted}", found[row]);
            }
        }
        let rendering = rendering(RenderConfig { patch: 2, lpips: 0.0, ..RenderConfig::default() }, false);
        let corners: Vec<[usize; 2]> = rendering
            .glimpse(&(0..64).collect::<Vec<_>>(), &[0; 64])
            .unwrap()
            .windows
            .iter()
            .map(|w| w.corner)
            .collect();
        assert!([0, 1, 2].iter().all(|at| corners.iter().any(|corner| corner[0] == *at)), "{corners:?}");
        assert!(corners.iter().flatten().all(|at| *at <= 2));
        assert!(rendering.glimpse(&[0], &[5]).is_err());
    }
}
