//! What is known of pictures, and the cost that holds a flow to it: of what it moves, or through a decoder.

use crate::{
    Context, Error,
    device::Chosen,
    host::host,
    restoring::{
        Pull, Task,
        space::{Space, masked, space_of},
    },
    steerable::{Decoder, Steerable},
};
use base::{Shape, Tensor, TensorData};
use methods::{
    MethodError,
    steer::{Cost, Decoded, Measurement, Sensor, Steering, Weighed, decoded},
};
use std::ops::Range;

/// What is known of pictures.
pub(crate) struct Goal {
    sensor: Sensor,
    /// One after another, as the sensor measures.
    measured: Vec<f32>,
    /// Noise in what is measured.
    noise: f64,
    space: Option<Space>,
    /// What stands between the flow and the pictures, and the curvature of the cost through it.
    decoder: Option<(Decoder, f64)>,
    /// What pictures are pulled towards beside, and their shape.
    pulls: Vec<Pull>,
    picture: [usize; 3],
}

impl Goal {
    /// Holds `model` to `measured`, what `sensor` keeps of pictures; `space` is where a flow of latents is held, by habit on the
    /// latents for holes that leave them known, and through the decoder else.
    ///
    /// # Errors
    /// [`Error::Usage`] for a space that this model or task does not have; what encoding says.
    pub fn new(
        model: &dyn Steerable,
        task: &Task,
        sensor: &Sensor,
        (measured, noise): (&[f32], f64),
        (space, pulls): (Option<Space>, Vec<Pull>),
        context: &mut Context,
    ) -> Result<Self, Error> {
        let space = space_of(model, (task, sensor), noise, (space, !pulls.is_empty()))?;
        let picture = model.picture()?;
        let made = |(sensor, pulls): (Sensor, Vec<Pull>), measured, decoder| Self {
            sensor,
            measured,
            noise,
            space,
            decoder,
            pulls,
            picture,
        };
        match space {
            None => Ok(made((sensor.clone(), pulls), measured.to_vec(), None)),
            Some(Space::Latent) => {
                let mask = masked(sensor, model)?;
                let latents = model.encode(measured, context)?;
                let size = model.moved().numel();
                let rows = Tensor::<2>::from_data(
                    TensorData::new(latents, [measured.len() / sensor.sizes().1, size]),
                    &base::Device::flex(),
                );
                let mask = Sensor::linear(mask);
                let measured = host(mask.forward(rows))?;
                Ok(made((mask, pulls), measured, None))
            }
            Some(Space::Decoder) => {
                let wanted = || Error::Failure(format!("{}: it has no decoder", model.place()));
                let decoder = model.decoder(&context.device)?.ok_or_else(wanted)?;
                crate::memory::check_tape(decoder.bytes)?;
                let curvature = stretched(&decoder, (sensor, &pulls, picture), model.moved(), &context.device)?;
                Ok(made((sensor.clone(), pulls), measured.to_vec(), Some((decoder, curvature))))
            }
        }
    }

    /// How many pictures there are.
    pub fn count(&self) -> usize {
        self.measured.len() / self.sensor.sizes().1
    }

    /// Refuses, before anything is opened, a method that cannot be asked for this.
    ///
    /// # Errors
    /// [`Error::Usage`] for a space that there is not, a method of linear measurements beside a decoder, and one that differentiates a
    /// network that is not differentiated.
    pub fn check<'m>(
        model: &dyn Steerable,
        (task, sensor, noise): (&Task, &Sensor, f64),
        (space, pulled): (Option<Space>, bool),
        methods: impl Iterator<Item = &'m Steering> + Clone,
    ) -> Result<(), Error> {
        if noise > 0.0 && task.is_rounding() {
            return Err(Error::Usage(format!(
                "--noise with --task {}: rounding is what is unknown there, and noise beside it is not modelled; leave it out",
                task.name()
            )));
        }
        let held = space_of(model, (task, sensor), noise, (space, pulled))?;
        if held == Some(Space::Latent) {
            masked(sensor, model)?;
        }
        let decoded = held == Some(Space::Decoder);
        let linear = !decoded && !pulled && task.is_linear();
        if methods.clone().any(Steering::differentiates) {
            model.check_taped()?;
        }
        match methods.filter(|method| !linear && method.needs_linear()).last() {
            None => Ok(()),
            Some(method) if pulled => Err(Error::Usage(format!(
                "--method {}: it solves a linear measurement and cannot be asked for --toward; use flowchef, mpgd, flow-dps, dps, freedom or d-flow",
                method.name()
            ))),
            Some(method) if !task.is_linear() => Err(Error::Usage(format!(
                "--method {}: it solves linear measurements, and --task {} is none; use flowchef, mpgd, flow-dps, dps, freedom or d-flow",
                method.name(),
                task.name()
            ))),
            Some(method) => Err(Error::Usage(format!(
                "--method {}: it solves linear measurements, and through a decoder nothing is linear; use flowchef, mpgd, \
                 flow-dps, dps, freedom or d-flow, or for holes --cost latent",
                method.name()
            ))),
        }
    }

    /// Where the flow is held, where it moves latents.
    pub fn space(&self) -> Option<Space> {
        self.space
    }

    /// Pictures at a time that memory holds, `most` at most.
    pub fn together(&self, most: usize) -> usize {
        self.decoder.as_ref().map_or(most, |(decoder, _)| crate::memory::together(most, decoder.bytes))
    }

    /// The misfit of the pictures `rows`.
    ///
    /// # Errors
    /// Settings out of range.
    pub fn cost(&self, rows: Range<usize>, device: &base::Device) -> Result<Box<dyn Cost + '_>, Error> {
        let m = self.sensor.sizes().1;
        let known = self.measured[rows.start * m..rows.end * m].to_vec();
        let known = Tensor::<2>::from_data(TensorData::new(known, [rows.len(), m]), device);
        let misfit: Box<dyn Cost + '_> = self.sensor.cost(known, self.noise)?;
        let cost = match self.pulls.is_empty() {
            true => misfit,
            false => {
                let mut all = vec![(1.0, misfit)];
                for pull in &self.pulls {
                    all.push(pull.cost(rows.len(), self.picture, device)?);
                }
                Box::new(Weighed(all))
            }
        };
        Ok(match &self.decoder {
            None => cost,
            Some((decoder, curvature)) => Box::new(Decoded::new(&*decoder.decode, cost, *curvature)),
        })
    }
}

/// The curvature of the misfit and of the pulls that have one, through the decoder, at a latent such as the flow makes: one for all
/// pictures, so that none depends on those beside it.
fn stretched(
    decoder: &Decoder,
    (sensor, pulls, picture): (&Sensor, &[Pull], [usize; 3]),
    latent: Shape,
    device: &Chosen,
) -> Result<f64, Error> {
    // A chirp: as rough as noise and as large, and the same for everybody.
    let chirp = |rate: f64| {
        let wave = |i: usize| (std::f64::consts::SQRT_2 * (rate * (i * i) as f64).sin()) as f32;
        let values: Vec<f32> = (0..latent.numel()).map(wave).collect();
        Tensor::<2>::from_data(TensorData::new(values, [1, latent.numel()]), &device.device)
    };
    // What is rounded bends nowhere more than what is not.
    let (weight, operator) = sensor.steepest();
    let nothing = Tensor::<2>::zeros([1, operator.sizes().1], &device.device);
    let misfit: Box<dyn Cost + '_> = Box::new(Measurement::new(operator, nothing, 0.0)?);
    let mut all = vec![(weight, misfit)];
    for pull in pulls {
        // A class is flat beside the misfit here as on pictures.
        all.extend(Some(pull.cost(1, picture, &device.device)?).filter(|(_, cost)| cost.curvature() > 0.0));
    }
    let cost = Weighed(all);
    let found = decoded::curvature(&*decoder.decode, &cost, &chirp(0.7), chirp(1.3));
    found.map_err(|error: MethodError| Error::Failure(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        asked::Classes,
        released::{Beside, Change, Pictures},
        restoring::{Blur, Hole, Picture, Toward},
        steerable::Way,
    };
    use base::RandomStream;
    use flow::{Schedule, guidance::GuidanceConfig};
    use methods::steer::{FlowChef, Problem, Rule};
    use std::path::Path;

    /// Pictures of 32 x 48 pixels by a model of random weights, in four steps.
    fn flux(context: &mut Context) -> Pictures {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flux_schnell_tiny");
        let (beside, size, precision) = (Beside::default(), Some([32, 48]), Default::default());
        let change = Change { model: &model, beside: &beside, size, steps: Some(4), guidance: None, precision };
        Pictures::open(&change, context).unwrap()
    }

    /// A hole in a picture for FLUX's fixture: steered all the way, latents whose pixels are known come out as the picture's, and those
    /// that the hole touches do not.
    ///
    /// Mutants: a mask turned round; a latent known where any of its pixels is; latents not scaled as the flow sees them.
    #[test]
    fn latents_are_held_where_their_pixels_are_known() {
        let mut context = Context::silent();
        let (model, precision) = (flux(&mut context), Default::default());
        // A latent is four pixels wide: the hole touches rows 2 to 4 and columns 4 to 8 of 8 x 12.
        let task = Task::Inpaint(Hole::Box([10, 17, 9, 16]));
        let operator = task.sensor([3, 32, 48]).unwrap();
        let picture: Vec<f32> = (0..3 * 32 * 48).map(|i| (0.01 * i as f32).sin() * 0.8).collect();
        let picture = Tensor::<2>::from_data(TensorData::new(picture, [1, 3 * 32 * 48]), &base::Device::flex());
        let measured = host(operator.forward(picture)).unwrap();
        let goal = Goal::new(&model, &task, &operator, (&measured, 0.0), (None, vec![]), &mut context).unwrap();
        assert_eq!((goal.space(), goal.count()), (Some(Space::Latent), 1));
        model.hear(&[&Classes::None], &mut context).unwrap();
        let config = model.usual(Some(4)).unwrap();
        let field = model.field(Way::Forth(&GuidanceConfig::default()), precision, None).unwrap();
        let condition = model.condition(&Classes::None, &[0], &base::Device::flex()).unwrap();
        let schedule: Schedule = config.schedule.build(4).unwrap();
        let method = FlowChef { rule: Rule::Descent { kappa: 1.0 }, last_step: true, ..FlowChef::default() };
        let key = base::Key::of(0, RandomStream::RestoreNoise);
        let cost = goal.cost(0..1, &base::Device::flex()).unwrap();
        let problem = Problem {
            field: &*field,
            condition: &condition,
            cost: &*cost,
            schedule: &schedule,
            key,
            indices: &[0],
            stop: &|| false,
        };
        let x = key.normal_tensor(&[0], [0, 16 * 8 * 12], &base::Device::flex());
        let made = host(Steering::FlowChef(method).run(&problem, x).unwrap().x).unwrap();
        let wanted = model.encode(&measured, &mut context).unwrap();
        let inside = |i: usize| (2..5).contains(&(i / 12 % 8)) && (4..9).contains(&(i % 12));
        let gap = |hole: bool| -> f32 {
            let far = made.iter().zip(&wanted).enumerate().filter(|(i, _)| inside(*i) == hole);
            far.map(|(_, (a, b))| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(gap(false) < 1e-4 && gap(true) > 0.1, "{} {}", gap(false), gap(true));
        let kept: f32 = wanted.iter().map(|v| v * v).sum::<f32>() / wanted.len() as f32;
        assert!(kept > 1e-4, "the picture says something: {kept}");
    }

    /// By habit a square hole is held on the latents; a tenth of the pixels scattered, which leaves almost no latent known, through the
    /// decoder, and a method that solves is refused then before anything is opened, as it is where latents are insisted on and none is left.
    ///
    /// Mutants, named and not run: holes on latents whatever they leave; a check that does not look at the mask.
    #[test]
    fn holes_that_touch_all_latents_are_held_through_the_decoder() {
        let mut context = Context::silent();
        let (model, shape) = (flux(&mut context), [3, 32, 48]);
        let square = Task::Inpaint(Hole::Box([10, 17, 9, 16]));
        let dots = Task::Inpaint(Hole::Scattered { share: 0.3, seed: 0 });
        for (task, space) in [(&square, Space::Latent), (&dots, Space::Decoder)] {
            let sensor = task.sensor(shape).unwrap();
            let measured = vec![0.0; sensor.sizes().1];
            let goal = Goal::new(&model, task, &sensor, (&measured, 0.0), (None, vec![]), &mut context).unwrap();
            assert_eq!(goal.space(), Some(space), "{}", task.words());
        }
        let solving = Steering::PnpFlow(Default::default());
        let check = |task: &Task, space| {
            let sensor = task.sensor(shape).unwrap();
            Goal::check(&model, (task, &sensor, 0.0), (space, false), std::iter::once(&solving))
                .map_err(|e| e.to_string())
        };
        assert!(check(&square, None).is_ok());
        assert!(check(&dots, None).unwrap_err().contains("--cost latent"));
        let most = Task::Inpaint(Hole::Scattered { share: 0.9, seed: 0 });
        assert!(check(&most, Some(Space::Latent)).unwrap_err().contains("one latent is 4 pixels wide"));
    }

    /// Through a decoder the step is measured by misfit and pull together: beside a pull that outweighs it a thousandfold the task hardly
    /// counts, whatever it leaves of the picture.
    ///
    /// Mutant: the stretch of the misfit alone for both.
    #[test]
    fn pulls_count_in_the_curvature_through_a_decoder() {
        let mut context = Context::silent();
        let (model, shape) = (flux(&mut context), [3, 32, 48]);
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("grey.png");
        let grey = media::Images::new(vec![0.0; 3 * 32 * 48], 1, shape).unwrap();
        media::png::save(&file, &grey.bitmap(0), &[]).unwrap();
        let set = data::open(&data::DataConfig { limit: Some(1), ..Default::default() }).unwrap();
        let mut curvature = |task: &Task, weight: Option<f64>| {
            let toward = |weight| Toward::Picture(Picture { file: file.clone(), mask: None, weight });
            let open = |weight| Pull::open(&toward(weight), shape, Some(&set), &context.device).unwrap();
            let pulls: Vec<Pull> = weight.map(open).into_iter().collect();
            let operator = task.sensor(shape).unwrap();
            let measured = vec![0.0; operator.sizes().1];
            let space = (Some(Space::Decoder), pulls);
            let goal = Goal::new(&model, task, &operator, (&measured, 0.0), space, &mut context).unwrap();
            goal.cost(0..1, &base::Device::flex()).unwrap().curvature()
        };
        let (blur, fewer) =
            (Task::Deblur(Blur::Gaussian { taps: 7, sigma: 2.0 }), Task::Super { scale: 4, bicubic: false });
        let plain = curvature(&blur, None) / curvature(&fewer, None);
        let pulled = curvature(&blur, Some(1e3)) / curvature(&fewer, Some(1e3));
        assert!((pulled - 1.0).abs() < 1e-2 && (plain - 1.0).abs() > 0.1, "{pulled} {plain}");
    }
}
