//! From pictures to meshes.

use super::{ShapeRequest, open::Opened, picture::Preparation};
use crate::{
    Error, Start,
    context::{Context, Event},
    host::host,
    output::Output,
    pipeline::Pipeline,
    recipe::SampleConfig,
    schedules,
    shapes::files,
};
use base::{Condition, Device, Shape, Tensor, TensorData, Times, Tokens};
use flow::{Field, Frame, Solver, guidance::Guided};
use media::shape::{Octree, Point, extract, extract::Extracted};
use nets::{Dinov2Config, TripoSg, TripoSgConfig, TripoSgDecoder, TripoSgVaeConfig};
use serde::Serialize;
use std::{collections::HashMap, path::PathBuf, time::Instant};

/// Half a side of the cube in which the released field is asked.
pub(super) const HALF: f64 = 1.005;
/// Cells to a side, as a power of two, of which all are asked.
const DENSE: u32 = 6;
/// What of the field, which is cut off at 1, counts as near the surface.
pub(super) const BAND: f64 = 0.95;
/// Points asked of the decoder at once.
const ASKED: usize = 1 << 13;

/// What was drawn.
#[derive(Clone, Debug, Serialize)]
pub struct ShapesDrawn {
    /// The file or folder.
    pub output: PathBuf,
    /// Number of shapes.
    pub count: usize,
    /// Latent vectors of each.
    pub tokens: usize,
    /// Evaluations of the flow for each, with the picture and without it counted as one.
    pub nfe: usize,
    /// Faces of each.
    pub faces: Vec<usize>,
    /// Seconds of reading pictures, encoder opened and dropped.
    pub sight_seconds: f64,
    /// Seconds of drawing, network opened and dropped.
    pub seconds: f64,
    /// Seconds of asking the field for surfaces, decoder opened.
    pub surface_seconds: f64,
}

impl std::fmt::Display for ShapesDrawn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { output, count, tokens, nfe, sight_seconds, seconds, surface_seconds, .. } = self;
        writeln!(
            f,
            "{count} shape(s) of {tokens} latent vectors, {nfe} evaluations each: {sight_seconds:.2} s for the pictures, {seconds:.2} s for the \
             flow, {surface_seconds:.2} s for the surfaces: {}",
            output.display()
        )
    }
}

/// Draws shapes from a released model and writes them.
///
/// # Errors
/// A folder that is no model this program draws from, files that are missing or do not fit, settings it cannot serve, before any long work;
/// what the solver says; shapes without a surface; a place that cannot be written; [`Error::Interrupted`].
pub fn draw(request: &ShapeRequest, context: &mut Context) -> Result<ShapesDrawn, Error> {
    let output = Output::parse(&request.output)?;
    let (tokens, scale, depth) = (request.tokens()?, request.scale()?, files::depth(request.resolution)?);
    if request.images.is_empty() {
        return Err(Error::Usage("--image is missing: say by a picture what to draw".into()));
    }
    let count = request.count.unwrap_or(request.images.len());
    crate::error::within("--num", count, 1..=10_000)?;
    let opened = Opened::of(&request.folder)?;
    let config = SampleConfig {
        steps: request.steps.unwrap_or(super::STEPS),
        batch: 1,
        precision: request.precision,
        solver: request.solver.clone().unwrap_or(Solver::Euler {}),
        schedule: request.schedule.as_deref().map_or_else(|| opened.schedule(), schedules::read)?,
        ..SampleConfig::default()
    };
    config.check().map_err(Error::Usage)?;
    let eye: Dinov2Config = opened.eye.config(&mut |line| context.note(line))?;
    let flow: TripoSgConfig = opened.transformer.config(&mut |line| context.note(line))?;
    let vae: TripoSgVaeConfig = opened.vae.config(&mut |line| context.note(line))?;
    for (_, part, called) in opened.parts() {
        part.open(called)?.check(&mut |line| context.note(line))?;
    }
    let preparation = Preparation::of(&opened)?;
    let meshes_asked = !matches!(output, Output::Npy(_) | Output::Safetensors(_));
    if request.columns > 0 && (!meshes_asked || matches!(output, Output::Mesh(_)) && count == 1) {
        return Err(Error::Usage(format!("--columns: {} is no sheet of pictures", request.output.display())));
    }
    let channels = fit(&opened, (&eye, preparation.side()), &flow, meshes_asked.then_some(&vae))?;
    let shape = Shape::from([tokens, channels]);
    let start = match &request.noise {
        None => Start::Noise { shape },
        Some(file) => Start::given(file, shape)?.0,
    };
    if let Some(most) = start.count().filter(|most| *most < count as u64) {
        return Err(Error::Usage(format!("--noise holds {most} start(s), and {count} shape(s) are to be drawn")));
    }
    let device = context.device.device.clone();
    if let Some(reason) = request.precision.fallback(&device) {
        context.note(reason);
    }

    let began = Instant::now();
    let pictures: Vec<Vec<f32>> =
        request.images.iter().map(|file| preparation.picture(file, context)).collect::<Result<_, _>>()?;
    let net = opened.eye.weights("model", |source| eye.load(source, &device))?;
    let mut heard = Vec::with_capacity(pictures.len());
    for picture in pictures {
        context.go_on()?;
        let picture = TensorData::new(picture, [1, 3, preparation.side(), preparation.side()]);
        heard.push(request.precision.scope(|| net.forward(Tensor::from_data(picture, &device))));
    }
    drop(net);
    let sight_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let net = opened.transformer.weights("diffusion_pytorch_model", |source| flow.load(source, &device))?;
    let (latents, nfe) = along(&net, (&heard, scale), (request, &config, count), (&start, shape), context)?;
    drop(net);
    let seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let mut meshes = Vec::new();
    match &output {
        Output::Npy(path) => media::arrays::save_npy(path, &shape.batch(count), &latents.concat())?,
        Output::Safetensors(path) => {
            media::arrays::save_safetensors(path, &shape.batch(count), &latents.concat(), None, HashMap::new())?;
        }
        Output::Png(_) | Output::Mesh(_) | Output::Folder(_) => {
            let net = opened.vae.weights("diffusion_pytorch_model", |source| vae.decoder(source, &device))?;
            context.tell(Event::Begin { what: "surfaces", total: count as u64 });
            for (i, latents) in latents.into_iter().enumerate() {
                let latents = Tensor::from_data(TensorData::new(latents, [1, tokens, channels]), &device);
                // Each file when its shape is there: what stops the next one does not take this one away.
                let made = surface(&net, latents, octree(depth), (request, &device), context)
                    .and_then(|found| files::one(&output, (i, count), &found.mesh).map(|()| found.mesh));
                match made {
                    Ok(mesh) => meshes.push(mesh),
                    Err(error) => {
                        if i > 0 && matches!(output, Output::Mesh(_) | Output::Folder(_)) {
                            context.note(format!(
                                "stopped at shape {i}; files of those before it that have a surface are written"
                            ));
                        }
                        return Err(error);
                    }
                }
                context.tell(Event::Advance { done: meshes.len() as u64 });
            }
            context.tell(Event::End);
            files::finish(&output, &meshes, request.columns, context)?;
        }
    }
    let faces = meshes.iter().map(|mesh| mesh.faces.len()).collect();
    let (output, surface_seconds) = (request.output.clone(), began.elapsed().as_secs_f64());
    Ok(ShapesDrawn { output, count, tokens, nfe, faces, sight_seconds, seconds, surface_seconds })
}

/// Whether the parts go together, before any of them works, and the numbers of a latent vector. Weights are mapped, so that opening a network
/// costs little; what it lacks or means otherwise is said now and not after the flow.
fn fit(
    opened: &Opened,
    (eye, side): (&Dinov2Config, usize),
    flow: &TripoSgConfig,
    vae: Option<&TripoSgVaeConfig>,
) -> Result<usize, Error> {
    let folder = opened.folder.path().display().to_string();
    let refused = |what: String| Err(Error::Failure(format!("{folder}: {what}")));
    if side < eye.patch_size || eye.num_channels != 3 {
        return refused(format!(
            "crop_size is {side} and the picture's encoder has patch_size {} and num_channels {}; pictures of at least a patch and of three \
             colours are read",
            eye.patch_size, eye.num_channels
        ));
    }
    let device = Device::flex();
    let (channels, heard) = opened.transformer.weights("diffusion_pytorch_model", |source| {
        flow.load(source, &device).map(|net| (net.channels(), net.heard()))
    })?;
    if heard != eye.hidden_size {
        return refused(format!(
            "its picture's encoder says {} numbers a token and its transformer reads {heard}; the parts are of two models",
            eye.hidden_size
        ));
    }
    let Some(vae) = vae else { return Ok(channels) };
    let net = opened.vae.weights("diffusion_pytorch_model", |source| vae.decoder(source, &device))?;
    if net.channels() != channels {
        return refused(format!(
            "its autoencoder has latent vectors of {} numbers and its transformer of {channels}; the parts are of two models",
            net.channels()
        ));
    }
    if net.blocks.is_empty() {
        return refused("its decoder has no blocks".into());
    }
    Ok(channels)
}

/// Latent vectors of `count` shapes, `[tokens channels]` each, one after another along the flow, and evaluations of each.
fn along(
    net: &TripoSg,
    (heard, scale): (&[Tensor<3>], f64),
    (request, config, count): (&ShapeRequest, &SampleConfig, usize),
    (start, shape): (&Start, Shape),
    context: &mut Context,
) -> Result<(Vec<Vec<f32>>, usize), Error> {
    let (path, device) = (flow::Path::Linear {}, context.device.device.clone());
    let field = Seen { net, shape: shape.lengths().try_into().unwrap_or([0; 2]), path: path.clone() };
    let field: Box<dyn Field<2> + '_> = match scale > 1.0 {
        true => Box::new(Guided::new(field, scale, None)?),
        false => Box::new(field),
    };
    let pipeline = Pipeline::new(field, &path, config, start, shape, &device)?;
    let (mut all, mut nfe, steps) = (Vec::with_capacity(count), 0, config.steps as u64);
    context.tell(Event::Begin { what: "steps", total: count as u64 * steps });
    for i in 0..count as u64 {
        let condition = condition(&heard[i as usize % heard.len()])?;
        let mut watch = |done: usize, _: usize, _: crate::pipeline::Peek<'_>| {
            context.go_on()?;
            context.tell(Event::Advance { done: i * steps + done as u64 });
            Ok(())
        };
        let piece =
            request.precision.scope(|| pipeline.draw_each(&[(request.seed, i)], &condition, Some(&mut watch)))?;
        nfe = nfe.max(piece.nfe);
        all.push(piece.rows);
    }
    context.tell(Event::End);
    Ok((all, nfe))
}

/// What a picture's tokens ask for, contrasted with as many zeros, which take part in the attention and say nothing.
fn condition(heard: &Tensor<3>) -> Result<Condition, Error> {
    let [_, n, _] = heard.dims();
    let told = |embedding: Tensor<3>| {
        let mask = Tensor::<2>::ones([1, n], &embedding.device()).greater_elem(0.5);
        Condition { tokens: Some(Tokens { embedding, mask }), ..Condition::none() }
    };
    let null = told(heard.zeros_like());
    told(heard.clone()).contrasted(null).map_err(|error| Error::Failure(error.to_string()))
}

/// The released flow over rows `[b tokens*channels]`.
struct Seen<'a> {
    net: &'a TripoSg,
    shape: [usize; 2],
    path: flow::Path,
}

impl Field<2> for Seen<'_> {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        let ([b, size], [m, c]) = (x.dims(), self.shape);
        let x = x.reshape([b, m, c]);
        let heard = match &condition.tokens {
            Some(tokens) => tokens.embedding.clone(),
            None => Tensor::zeros([b, 1, self.net.heard()], &x.device()),
        };
        self.net.velocity(x, t, heard).reshape([b, size])
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: true })
    }
}

/// How the surface is looked for at `2^depth` cells to a side.
pub(super) fn octree(depth: u32) -> Octree {
    Octree { band: BAND, ..Octree::new(DENSE, depth) }
}

/// Where the field of `latents` `[1 tokens channels]` is zero, along `plan`.
pub(super) fn surface(
    net: &TripoSgDecoder,
    latents: Tensor<3>,
    plan: Octree,
    (request, device): (&ShapeRequest, &Device),
    context: &mut Context,
) -> Result<Extracted, Error> {
    let empty = || Error::Failure(format!("{}: its decoder has no blocks", request.folder.display()));
    let said = request.precision.scope(|| net.prepare(latents)).ok_or_else(empty)?;
    let mut field = |points: &[Point]| -> Result<Vec<f64>, Error> {
        let mut all = Vec::with_capacity(points.len());
        for points in points.chunks(ASKED) {
            context.go_on()?;
            let values: Vec<f32> = points.iter().flatten().map(|value| *value as f32).collect();
            let asked = Tensor::from_data(TensorData::new(values, [1, points.len(), 3]), device);
            let answer = host(request.precision.scope(|| net.field(&said, asked)))?;
            all.extend(answer.into_iter().map(f64::from));
        }
        Ok(all)
    };
    extract::octree([[-HALF; 3], [HALF; 3]], plan, &mut field).map_err(|error| match error {
        extract::ExtractError::Field(error) => error,
        other => Error::Failure(format!("{}: {other}; its weights are damaged", request.folder.display())),
    })
}
