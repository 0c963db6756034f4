//! How a codec of planes learns: squared error of the colours on random rays through random views, and of what is covered
//! (InstantMesh, arXiv:2404.07191, eq. 1, without its perceptual term).

use super::{super::Loses, TriplaneConfig};
use base::{Device, Key, Purpose, Tensor, TensorData};
use media::shape::views::{CHANNELS, Ray};
use nets::{
    Lrm,
    triplane::{Places, Rendered, render, sample},
};
use train::{Batch, TrainError};

/// A ray that meets the cube, its pixel in a row's channels, and the piece of it inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    /// View times pixels and pixel.
    pub view: usize,
    pub pixel: usize,
    pub ray: Ray,
    pub near: f64,
    pub far: f64,
}

impl Hit {
    /// Its places, the nearest to the viewer first: the middle of each of `samples` equal pieces, moved by `shift` in [0, 1).
    fn points(&self, samples: usize, shift: f64) -> impl Iterator<Item = [f32; 3]> {
        let (hit, step) = (*self, self.step(samples));
        (0..samples).map(move |i| hit.ray.at(hit.near + (i as f64 + shift) * step).map(|v| v as f32))
    }

    fn step(&self, samples: usize) -> f64 {
        (self.far - self.near) / samples as f64
    }
}

/// All rays of the views that meet the cube; the others see white.
pub(super) fn hits(config: &TriplaneConfig) -> Vec<Hit> {
    let pixels = config.cameras.size * config.cameras.size;
    let all = config.cameras.rays().into_iter().enumerate();
    let hit = |(i, ray): (usize, Ray)| {
        let [near, far] = ray.within()?;
        Some(Hit { view: i / pixels, pixel: i % pixels, ray, near, far })
    };
    all.filter_map(hit).collect()
}

/// What `planes` `[b 3 c h w]` look like along `hits`, as many for each object, each ray's places moved by its shift.
pub(super) fn seen(net: &Lrm, planes: Tensor<5>, hits: &[Hit], shifts: &[f64], samples: usize) -> Rendered {
    let [b, _, _, rows, columns] = planes.dims();
    let (device, each) = (planes.device(), hits.len() / b);
    let points: Vec<[f32; 3]> = hits.iter().zip(shifts).flat_map(|(hit, shift)| hit.points(samples, *shift)).collect();
    let steps: Vec<f32> = hits.iter().map(|hit| hit.step(samples) as f32).collect();
    let said = net.field.forward(sample(planes, &Places::of(&points, b, [rows, columns])));
    let steps = Tensor::<2>::from_data(TensorData::new(steps, [b, each]), &device);
    render(said.density.reshape([b, each, samples]), said.colour.reshape([b, each, samples, 3]), steps)
}

/// The losses of [`TriplaneConfig`] over rows of views.
pub struct TriplaneTask {
    config: TriplaneConfig,
    seed: u64,
    hits: Vec<Hit>,
}

impl TriplaneTask {
    /// With `seed` for the choice of rays and of the places along them.
    pub fn new(config: TriplaneConfig, seed: u64) -> Self {
        let hits = hits(&config);
        Self { config, seed, hits }
    }
}

impl Loses<Lrm> for TriplaneTask {
    type Config = TriplaneConfig;

    fn config(&self) -> &TriplaneConfig {
        &self.config
    }

    /// The loss of each row: with rays by its counter, or evenly chosen ones for validation.
    fn lost(&self, net: &Lrm, batch: &Batch, device: &Device, draws: bool) -> Result<Tensor<1>, TrainError> {
        let TriplaneConfig { rays, samples, mask, .. } = self.config;
        let (b, n, all) = (batch.len(), batch.shape.numel(), self.hits.len());
        if batch.shape != self.config.sample() || all == 0 {
            let (found, wanted) = (batch.shape, self.config.sample());
            return Err(TrainError::Objective(format!("rows of shape {found} are not views of shape {wanted}")));
        }
        let (mut hits, mut shifts) = (Vec::with_capacity(b * rays), Vec::with_capacity(b * rays));
        let key = Key::new(self.seed, Purpose::Augment);
        for &index in &batch.indices {
            let drawn: Vec<f32> = if draws { key.uniforms(index, 2 * rays).collect() } else { Vec::new() };
            for ray in 0..rays {
                let (place, shift) = match drawn.get(2 * ray..2 * ray + 2) {
                    Some(two) => ((f64::from(two[0]) * all as f64) as usize, f64::from(two[1])),
                    None => (ray * all / rays, 0.5),
                };
                hits.push(self.hits[place.min(all - 1)]);
                shifts.push(shift);
            }
        }
        let pixels = self.config.cameras.size * self.config.cameras.size;
        let truth = |channel: usize| {
            let of = |(i, hit): (usize, &Hit)| {
                let at = i / rays * n + (hit.view * CHANNELS + channel) * pixels + hit.pixel;
                batch.x1[at] / 2.0 + 0.5
            };
            Tensor::<2>::from_data(
                TensorData::new(hits.iter().enumerate().map(of).collect::<Vec<f32>>(), [b, rays]),
                device,
            )
        };
        let planes = self.config.planes(net, batch.rows(&batch.x1, device));
        let Rendered { colour, opacity } = seen(net, planes, &hits, &shifts, samples);
        let wanted = Tensor::stack::<3>(vec![truth(0), truth(1), truth(2)], 2); // [b rays 3]
        let gap = (colour - wanted).reshape([b, 3 * rays]);
        let bare = opacity - truth(3);
        let mean = |x: Tensor<2>| (x.clone() * x).mean_dim(1).squeeze_dim::<1>(1);
        Ok(mean(gap) + mean(bare) * mask)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        crop,
        draw::{drawn, field, surface, through},
    };
    use super::{
        super::super::{Learned, Window},
        *,
    };
    use burn::module::Module;
    use media::shape::{Cameras, View, colour::PLAIN, mesh::cuboid};
    use nets::LrmConfig;
    use train::{Live, OptimConfig, Rows, Setup, Task, TrainConfig};

    fn config() -> TriplaneConfig {
        let view = |azimuth, elevation| View { azimuth, elevation };
        let views = vec![view(0.0, 0.0), view(90.0, 0.0), view(45.0, 60.0)];
        let network = LrmConfig { patch: 8, width: 32, depth: 1, heads: 2, channels: 4, side: 8, hidden: 16 };
        let cameras = Cameras { size: 16, half: 1.0, views };
        TriplaneConfig {
            network,
            cameras,
            rays: 64,
            samples: 12,
            inputs: 2,
            level: Some(2.0),
            ..TriplaneConfig::default()
        }
    }

    fn row(config: &TriplaneConfig, half: f64) -> Vec<f32> {
        config.cameras.see(&cuboid([-half; 3], [half; 3]), &[PLAIN; 12])
    }

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec().unwrap()
    }

    /// Mutants: one choice of rays for the whole batch; truth read from the first row for all.
    #[test]
    fn a_samples_loss_does_not_depend_on_its_batch() {
        let (config, device) = (config(), Device::flex());
        let net = config.build(Some(3), &device).unwrap();
        let task = Learned(TriplaneTask::new(config.clone(), 5));
        let losses = |rows: &[f64], indices: Vec<u64>| {
            let x1 = rows.iter().flat_map(|half| row(&config, *half)).collect();
            let batch = Batch::new(x1, config.sample(), indices);
            values(task.loss(&Live::plain(&net), &batch, &device).unwrap())
        };
        let both = losses(&[0.3, 0.7], vec![3, 4]);
        let apart = [losses(&[0.3], vec![3]), losses(&[0.7], vec![4])].concat();
        assert!(both.iter().zip(&apart).all(|(a, b)| (a - b).abs() < 1e-5), "{both:?} {apart:?}");
        let twice = losses(&[0.3, 0.3], vec![3, 4]);
        assert!((twice[0] - twice[1]).abs() > 1e-6, "{twice:?}");
        let short = Batch::new(vec![0.0; 5], [5].into(), vec![0]);
        assert!(task.loss(&Live::plain(&net), &short, &device).is_err());
    }

    /// A box is learned from its views: they come back, its field has its inside and its surface its place. Mutants: rays from the back;
    /// a surface turned inside out.
    #[test]
    fn a_box_is_learned_and_comes_back_as_views_and_surface() {
        let (config, device) = (config(), Device::flex().autodiff());
        let low = [-0.8, -0.8, -0.2];
        let high = [0.0, -0.2, 0.6];
        let row = config.cameras.see(&cuboid(low, high), &[PLAIN; 12]);
        let task = Learned(TriplaneTask::new(config.clone(), 5));
        let optim = OptimConfig { lr: 5e-3, warmup: 160, ..OptimConfig::default() };
        let training = TrainConfig { images: 1600, batch: 8, validate_every: 0, optim, ..TrainConfig::default() };
        let mut source = Rows::data(row.clone(), config.sample(), 8, 1);
        let net = config.build(Some(3), &device).unwrap();
        let outcome = train::train(net, Setup::new(&training, &task, &mut source), &mut ()).unwrap();
        let (net, device) = (outcome.state.sampler(), Device::flex());
        let rows = Tensor::<2>::from_data(TensorData::new(row.clone(), [1, row.len()]), &device);
        let planes = config.planes(&net, rows);
        let back = values(drawn(&net, &config, planes.clone()));
        let error = back.iter().zip(&row).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / row.len() as f64;
        let psnr = 10.0 * (4.0 / error).log10();
        assert!(psnr > 18.0, "{psnr}");
        let said = field(&net, &config, &planes, &[[-0.4, -0.5, 0.2], [0.6, -0.5, 0.2], [-0.4, 0.5, 0.2]]).unwrap();
        assert!(said[0] < 0.0 && said[1] > 0.0 && said[2] > 0.0, "{said:?}");
        let mesh = surface(&net, &config, &planes, 0.0, 5).unwrap().mesh;
        // At a fifth of the density it is larger. Mutant: an offset that is forgotten.
        assert!(surface(&net, &config, &planes, 5f64.ln(), 5).unwrap().mesh.volume() > 1.02 * mesh.volume());
        assert!(mesh.volume() > 0.2 && mesh.volume() < 1.0, "{}", mesh.volume());
        let centre = mesh.centroid();
        assert!(centre.iter().zip([-0.4, -0.5, 0.2]).all(|(a, b)| (a - b).abs() < 0.2), "{centre:?}");
    }

    /// A window shows what the whole view shows there, its corners in rows before columns, white beside the cube; its gradient is that of its
    /// numbers; and a sample's row is cut where its latent is rendered. Mutants: rows and columns of the corner exchanged; the first view for
    /// all; rays that miss sent through the cube.
    #[test]
    fn a_window_is_a_piece_of_a_view() {
        let (mut config, device) = (config(), Device::flex());
        config.cameras.half = 1.5; // so that some rays pass the cube by
        let net = config.build(Some(3), &device).unwrap();
        let planes = config.planes(&net, Tensor::<2>::ones([2, config.sample().numel()], &device) * 0.3);
        let whole = values(drawn(&net, &config, planes.clone()));
        let rays = config.cameras.rays();
        let passes = |at: usize| rays[2 * 16 * 16 + (9 + at / 4) * 16 + 12 + at % 4].within().is_none();
        let passing = (0..16).filter(|at| passes(*at)).count();
        assert!(passing > 0 && passing < 16, "{passing}");
        let windows = [(1, [3, 0]), (2, [9, 12])].map(|(view, corner)| Window { view, corner, shift: 0.5 });
        let pieces = values(through(&net, (&config, &rays), planes.clone(), &windows, 4));
        for (i, window) in windows.iter().enumerate() {
            let row = &whole[i * whole.len() / 2..(i + 1) * whole.len() / 2];
            let cut = crop(&config, row, window, 4);
            let gap = cut.iter().zip(&pieces[i * 48..]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(gap < 1e-5, "{i}: {gap}");
        }
        let tape = device.clone().autodiff();
        let net = config.build(Some(3), &tape).unwrap().no_grad();
        let start = values(planes);
        let dims = [2, 3, 4, 8, 8];
        let at = |start: &[f32]| Tensor::<5>::from_data(TensorData::new(start.to_vec(), dims), &tape);
        let loss = |planes: Tensor<5>| through(&net, (&config, &rays), planes, &windows, 4).sin().sum();
        let leaf = at(&start).require_grad();
        let slopes = values(leaf.grad(&loss(leaf.clone()).backward()).unwrap());
        let steepest = (0..slopes.len()).max_by(|a, b| slopes[*a].abs().total_cmp(&slopes[*b].abs())).unwrap();
        let moved = |by: f32| {
            let mut moved = start.clone();
            moved[steepest] += by;
            f64::from(loss(at(&moved)).into_scalar::<f32>())
        };
        let slope = (moved(2e-2) - moved(-2e-2)) / 4e-2;
        let found = f64::from(slopes[steepest]);
        assert!(found.abs() > 1e-3 && (slope / found - 1.0).abs() < 0.05, "{slope} {found}");
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (wrong, key) in [
            (TriplaneConfig { inputs: 4, ..config() }, "codec.inputs"),
            (TriplaneConfig { rays: 0, ..config() }, "codec.rays"),
            (TriplaneConfig { samples: 1, ..config() }, "codec.samples"),
            (TriplaneConfig { level: Some(0.0), ..config() }, "codec.level"),
            (TriplaneConfig { mask: f64::NAN, ..config() }, "codec.mask"),
            (TriplaneConfig { cameras: Cameras { size: 20, ..config().cameras }, ..config() }, "codec.cameras.size"),
        ] {
            assert!(wrong.check().unwrap_err().contains(key));
        }
        assert!(config().check().is_ok() && TriplaneConfig::default().check().is_ok());
    }
}
