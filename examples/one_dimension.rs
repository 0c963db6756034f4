//! Two Gaussian modes carried to three on the real line, without noise and with more and more: figures 6 and 7 of stochastic
//! interpolants (Albergo et al. 2023, arXiv:2303.08797). `cargo run --release --example one_dimension [-- OUT.png PARTICLES]`
//!
//! Every row is the density over time (to the right) and place (upwards): the exact one, then particles at ε = 0, ½, 1, 2½, 5.

use rectiflow::base::{Condition, Device, Key, Purpose, Tensor, TensorData};
use rectiflow::flow::exact::{Mixture, MixtureField};
use rectiflow::flow::{Brownian, Diffusion, LastStep, Observation, Path, ScheduleConfig, Sde, Solver};
use rectiflow::media::{Canvas, canvas};
use rectiflow::{flow, media};

type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Columns of time and bins of place; half of what is shown of the line.
const COLUMNS: usize = 300;
const BINS: usize = 90;
const REACH: f32 = 9.0;
const STEPS: usize = 1200;

/// Density by column, then bin from the top.
type Density = Vec<[f32; BINS]>;

fn bin(x: f32) -> Option<usize> {
    let at = (REACH - x) / (2.0 * REACH) * BINS as f32;
    (0.0..BINS as f32).contains(&at).then_some(at as usize)
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let count: u64 = args.get(1).map_or(Ok(3000), |n| n.parse())?;
    let column = |v: &[f64]| v.iter().map(|v| vec![*v]).collect::<Vec<_>>();
    let source = Mixture::new(vec![1.0; 2], column(&[-3.0, 3.0]), column(&[0.25; 2]))?;
    let target = Mixture::new(vec![1.0; 3], column(&[-6.0, 0.0, 6.0]), column(&[0.5, 0.33, 0.5]))?;
    let (key, samples) = (Key::new(0, Purpose::Noise), (0..count).collect::<Vec<u64>>());
    let start: Vec<f32> = samples.iter().map(|&i| source.sample(key, i)[0] as f32).collect();
    let field = MixtureField::between(Path::brownian(1.0), source, target)?;

    let place = |at: usize| f64::from(REACH) * (1.0 - 2.0 * (at as f64 + 0.5) / BINS as f64);
    let at_time = |i: usize| {
        let t = (i as f64 + 0.5) / COLUMNS as f64;
        std::array::from_fn(|at| field.posterior(&[place(at)], t).log_density.exp() as f32)
    };
    let mut rows: Vec<Density> = vec![(0..COLUMNS).map(at_time).collect()];
    let schedule = ScheduleConfig::Uniform {}.build(STEPS)?;
    for value in [0.0, 0.5, 1.0, 2.5, 5.0] {
        let sde = Sde { diffusion: Diffusion::Constant { value }, last_step: LastStep::Same, last_step_size: None };
        let solver = if value == 0.0 { Solver::Euler {} } else { Solver::EulerMaruyama(sde) };
        let mut density: Density = vec![[0.0; BINS]; COLUMNS];
        let mut look = |seen: Observation<2>| {
            // The middle of the step: its start may round to the column before.
            let column = (((seen.step as f64 + 0.5) / STEPS as f64) * COLUMNS as f64) as usize;
            let each = 1.0 / count as f32 / (2.0 * REACH / BINS as f32) / (STEPS / COLUMNS) as f32;
            seen.x.into_data().iter::<f32>().filter_map(bin).for_each(|at| density[column][at] += each);
        };
        let x = Tensor::from_data(TensorData::new(start.clone(), [start.len(), 1]), &Device::flex());
        let paths = Brownian::new(Key::new(0, Purpose::Latent), &samples);
        let end = flow::solve_with(&field, x, &Condition::none(), &solver, &schedule, &paths, Some(&mut look))?.x;
        let square = end.square().mean().into_scalar::<f32>();
        println!("ε = {value:3}: E x² = {square:.2} at the end, exactly 24.44");
        rows.push(density);
    }

    let stops = [[10, 11, 22], [60, 40, 120], [220, 90, 80], [255, 220, 150]].map(canvas::screen);
    let mut picture = Canvas::new(2 * COLUMNS, rows.len() * (BINS + 4), canvas::screen([255; 3]));
    for (row, density) in rows.iter().enumerate() {
        let mut part = Canvas::new(2 * COLUMNS, BINS, stops[0]);
        let shade = |x: f32, y: f32| density[x as usize / 2][y as usize];
        part.fill(|x, y| canvas::ramp(&stops, (shade(x, y) / 0.4).sqrt()));
        picture.place(&part, [0, row * (BINS + 4)]);
    }
    let out = args.first().map_or_else(|| std::env::temp_dir().join("one_dimension.png"), Into::into);
    media::png::save(&out, &picture.bitmap(), &[("Software", "rectiflow")])?;
    println!("{}", out.display());
    Ok(())
}
