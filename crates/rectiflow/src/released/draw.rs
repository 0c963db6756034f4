//! From a released model's folder and a prompt to a picture.

use super::{
    Asked, Family, Network, Prompted, Release, ReleasedRequest,
    begin::{Begin, Begins},
    codec::{Codec, Length},
    encode, noise,
    part::Part,
    request::Settled,
    schedule,
    written::{check_output, write},
};
use crate::{
    Error,
    context::{Context, Event},
    memory, sampling, schedules,
};
use base::{Condition, Device, Tensor};
use flow::{Schedule, Solver, Stepper, solve_with};
use media::Images;
use nets::{Autoencoder, ClipCodec, autoencoder::Tiles, weights::Corrections};
use serde::Serialize;
use std::{path::PathBuf, time::Instant};

/// What was drawn.
#[derive(Clone, Debug, Serialize)]
pub struct Sampled {
    /// The file or folder.
    pub output: PathBuf,
    /// Number of pictures.
    pub count: usize,
    /// Pixels, height first.
    pub size: [usize; 2],
    /// Frames of a clip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<usize>,
    /// Steps of the solver.
    pub steps: usize,
    /// Evaluations of the field for each picture.
    pub nfe: usize,
    /// Seconds of reading the prompts, encoders opened and dropped.
    pub text_seconds: f64,
    /// Seconds of drawing, network opened.
    pub seconds: f64,
    /// Seconds of decoding, autoencoder opened.
    pub decode_seconds: f64,
}

impl std::fmt::Display for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { output, count, size: [height, width], nfe, text_seconds, seconds, decode_seconds, .. } = self;
        let what = match self.frames {
            None => "picture(s) of".to_owned(),
            Some(frames) => format!("clip(s) of {frames} frames of"),
        };
        writeln!(
            f,
            "{count} {what} {width}x{height}, {nfe} evaluations each: {text_seconds:.2} s for the prompts, {seconds:.2} s \
             for the flow, {decode_seconds:.2} s for the pixels: {}",
            output.display()
        )
    }
}

/// Draws pictures from a released model and writes them.
///
/// # Errors
/// A folder that is no model this program draws from, files that are missing or do not fit, settings it cannot serve; all before
/// any long work. What the solver says, a place that cannot be written, [`Error::Interrupted`].
pub fn sample(request: &ReleasedRequest, context: &mut Context) -> Result<Sampled, Error> {
    let prepared = prepare(request, &mut |line| context.note(line))?;
    prepared.check_memory()?;
    check_output(&request.output, prepared.length.is_some())?;
    let drawn = draw(request, &prepared, context)?;
    write(request, &drawn.images, &prepared)?;
    let (output, count, size, steps) =
        (request.output.clone(), prepared.settled.count, prepared.size, prepared.times.steps());
    let Drawn { nfe, text_seconds, seconds, decode_seconds, .. } = drawn;
    let frames = prepared.length.map(|length| length.frames);
    Ok(Sampled { frames, output, count, size, steps, nfe, text_seconds, seconds, decode_seconds })
}

/// A request that can be served: its model's configuration is read and goes with it, and no weights are.
pub struct Prepared {
    pub(super) model: Release,
    pub(super) network: Network,
    pub(super) settled: Settled,
    pub(super) vae: Part,
    pub(super) codec: Codec,
    /// Pixels, height first.
    pub size: [usize; 2],
    /// Of clips: how long they are.
    pub length: Option<Length>,
    times: Schedule,
    solver: Solver,
    pub(super) corrections: Vec<Corrections>,
    begin: Option<Begin>,
    pub(super) tiles: Option<Tiles>,
    /// Pixels that are decoded at once.
    pub(super) decoded: [usize; 2],
}

impl Prepared {
    /// Steps of the solver that are taken: of a picture to begin with the last ones.
    pub fn steps(&self) -> usize {
        self.times.steps()
    }

    /// Steps that were asked for, as whoever draws it again must ask.
    pub fn asked_steps(&self) -> usize {
        self.settled.steps
    }

    /// Refuses pictures and clips whose decoding needs more memory than there is, beside those that are decoded before the last.
    ///
    /// # Errors
    /// [`Error::Usage`] with what it would take.
    pub fn check_memory(&self) -> Result<(), Error> {
        let ([h, w], frames) = (self.size, self.length.map(|length| length.frames));
        let one = [h, w, self.codec.out_channels(), 4, frames.unwrap_or(1)]
            .iter()
            .fold(1, |all: u64, n| all.saturating_mul(*n as u64));
        let earlier = one.saturating_mul(self.settled.count.saturating_sub(1) as u64);
        let bytes = super::plan::decoding(&self.codec, self.decoded, frames.unwrap_or(0)).saturating_add(earlier);
        match frames {
            Some(frames) => {
                let asked = format!("--height {h} --width {w} --frames {frames}");
                memory::check_decoding(bytes, &asked, "draw smaller, shorter or fewer clips")
            }
            None => memory::check_decoding(
                bytes,
                &format!("--height {h} --width {w}"),
                "draw smaller pictures, or decode in --decode-tile",
            ),
        }
    }

    /// What it begins with beside noise.
    pub fn begins(&self) -> Option<Begins> {
        self.begin.as_ref().map(Begin::said)
    }

    /// Lets go of the picture that it begins with, if any.
    pub fn forget(&self) {
        self.begin.iter().for_each(Begin::forget);
    }

    /// Its name.
    pub fn solver(&self) -> &'static str {
        self.solver.name()
    }

    /// Rows and columns of the latent; of clips the rows of all its frames, which stand one below another.
    pub(super) fn latent(&self) -> [usize; 2] {
        let [h, w] = self.size.map(|pixels| pixels / self.codec.factor());
        [h * self.length.map_or(1, |length| length.latent), w]
    }

    /// Bytes that live at the widest place of the network's pass, an estimate.
    pub(super) fn network_bytes(&self) -> u64 {
        let latent = self.latent();
        let family = self.model.family();
        let text = self.settled.length + if family == Family::Sd3 { 77 } else { 0 };
        let rows = if self.settled.contrast.is_some() { 2 } else { 1 };
        super::plan::forward(&self.network, family, rows, latent, text)
    }

    /// How far guidance goes: away from the negative prompt, or as the network is told.
    pub fn guidance(&self) -> f64 {
        self.settled.contrast.unwrap_or(self.settled.told)
    }
}

/// Makes every check that [`draw`] makes before its long work.
///
/// # Errors
/// Those of [`sample`], but for places.
pub fn prepare(request: &ReleasedRequest, note: &mut dyn FnMut(String)) -> Result<Prepared, Error> {
    let model = Release::open(&request.folder, request.parts.as_deref())?;
    model.check(note)?;
    let network = Network::of(&model, note)?;
    if model.has("safety_checker") {
        note("the model has a safety checker; this program does not run it".into());
    }
    let solver = request.solver.clone().unwrap_or_else(|| network.solver());
    let settled = request.settle(model.family(), network.told(), network.blocks(), &solver)?;
    let (vae, codec) = Codec::of(&model, note)?;
    if codec.latent_channels() != network.channels() {
        let (has, reads) = (codec.latent_channels(), network.channels());
        let path = model.path().display();
        return Err(Error::Failure(format!(
            "{path}: its autoencoder has latents of {has} channels and its network reads {reads}; the parts are of two models"
        )));
    }
    let begin = Begin::of(request)?;
    let length = codec.length(request.frames, request.rate)?;
    let network = network.drawing(length.map(|length| length.latent), model.family(), &solver);
    let size = size(request, &network, codec.factor(), begin.as_ref().map(|begin| begin.size))?;
    let tiles = match request.tile {
        None => None,
        Some(tile) => Some(Tiles::new(tile / codec.factor()).map_err(|error| {
            Error::Usage(format!("--decode-tile {tile}: {error} ({} pixels of the picture are one)", codec.factor()))
        })?),
    };
    let [h, w] = size.map(|pixels| pixels / codec.factor());
    let frames = length.map_or(1, |length| length.frames);
    memory::check_samples(settled.count as u64, [3, frames.saturating_mul(size[0]), size[1]].into())?;
    let times = match &request.schedule {
        Some(file) => schedules::read(file)?.build(settled.steps)?,
        None => {
            let tokens = (h / network.patch()) * (w / network.patch());
            schedule(&model, settled.steps, tokens, &solver, request.double_shift)?
        }
    };
    let times = begin.as_ref().map_or(Ok(times.clone()), |begin| begin.last_of(&times))?;
    let corrections =
        request.loras.iter().map(|(file, scale)| Corrections::open(&super::adapter::file_of(file), *scale));
    let corrections: Vec<Corrections> = corrections.collect::<Result<_, _>>()?;
    model.check_weights(note)?;
    network.check_corrections(&corrections)?;
    let decoded = request.tile.map_or(size, |tile| size.map(|side| side.min(tile)));
    Ok(Prepared {
        model,
        network,
        settled,
        vae,
        codec,
        size,
        length,
        times,
        solver,
        corrections,
        begin,
        tiles,
        decoded,
    })
}

/// Pictures and what they cost.
pub struct Drawn {
    /// In the order of their numbers; of clips every frame, clip after clip.
    pub images: Images,
    nfe: usize,
    text_seconds: f64,
    seconds: f64,
    decode_seconds: f64,
}

/// Draws what was prepared.
///
/// # Errors
/// Weights that cannot be read or do not fit, what the solver says, [`Error::Interrupted`].
pub fn draw(request: &ReleasedRequest, prepared: &Prepared, context: &mut Context) -> Result<Drawn, Error> {
    let Prepared { model, network, settled, vae, codec, size, times, solver, corrections, begin, tiles, .. } = prepared;
    let begin = &begin.clone(); // what was sent is held here to the end, also where it is let go of meanwhile
    begin.iter().try_for_each(Begin::check_held)?;
    let [h, w] = prepared.latent();
    let device = context.device.device.clone();
    if let Some(reason) = request.precision.fallback(&device) {
        context.note(reason);
    }
    let seeded = (request.generator, request.seed);
    let clips = prepared.length.map(|length| length.latent);
    let shape = [settled.count, network.channels(), h, w];
    let start = noise::start(request.noise.as_deref(), seeded, shape, clips, &device)?;

    let began = Instant::now();
    let negative =
        settled.contrast.map(|_| request.negative.clone().unwrap_or_else(|| model.family().silence().into()));
    let asked = Asked { length: settled.length, clip_skip: request.clip_skip.unwrap_or(0) };
    let conditions = encode(model, &request.prompts, negative.as_ref(), network.text_width(), asked, context)?;
    let text_seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let known = match begin {
        None => None,
        Some(begin) => {
            let net = Decoding::open(vae, codec, &device)?;
            Some(begin.known(|picture| net.latent(picture), codec.factor(), &device))
        }
    };
    let flow = network.open(settled.told, corrections, &device, &mut |line| context.note(line))?;
    let field = Prompted { flow: &flow, contrast: settled.contrast, skip: request.skip(times.times()), taps: None };
    let mut latents = Vec::with_capacity(settled.count);
    let mut nfe = 0;
    let steps = times.steps();
    let total = (settled.count * steps) as u64;
    context.tell(Event::Begin { what: "steps", total });
    for i in 0..settled.count {
        context.go_on()?;
        let condition: &Condition = &conditions[i % request.prompts.len()];
        let paths = sampling::paths(request.seed, &[i as u64]);
        let mut observe = |seen: flow::solver::Observation<4>| {
            context.tell(Event::Advance { done: (i * steps + seen.step + 1) as u64 });
        };
        let noise = start.clone().narrow(0, i, 1);
        let path = flow.path();
        let x = known.as_ref().map_or(noise.clone(), |known| known.at(path, times.ends().0, &noise));
        let stays = known.as_ref().filter(|known| known.stays());
        let draw = || match stays {
            None => solve_with(&field, x, condition, solver, times, &paths, Some(&mut observe)),
            Some(known) => {
                let mut stepper = Stepper::new(&field, x, condition, solver, times, Some(&paths))?;
                while let Some(seen) = stepper.advance()? {
                    let (t, last) = (stepper.time(), stepper.done() == stepper.grid().steps());
                    let back = known.put_back(path, t, &noise, stepper.state().clone(), last);
                    stepper.replace(back)?;
                    observe(seen);
                }
                Ok(stepper.solution())
            }
        };
        let solution = request.precision.scope(draw)?;
        nfe = nfe.max(solution.nfe);
        latents.push(solution.x);
    }
    context.tell(Event::End);
    drop(field);
    drop(flow);
    let seconds = began.elapsed().as_secs_f64();

    let began = Instant::now();
    let net = Decoding::open(vae, codec, &device)?;
    let mut values = Vec::new();
    // A picture is one piece, a clip one for each frame of its latent.
    let (pieces, count) = (clips.unwrap_or(1), latents.len());
    context.tell(Event::Begin { what: "pieces decoded", total: (count * pieces) as u64 });
    for (i, latent) in latents.into_iter().enumerate() {
        context.go_on()?;
        let drawn = match (&net, tiles) {
            (Decoding::Picture(net), None) => net.decode(latent),
            (Decoding::Picture(net), Some(tiles)) => net.decode_in(&latent, *tiles),
            (Decoding::Still(net), _) => net.decode(latent.unsqueeze_dim(2)).squeeze_dim(2),
            (Decoding::Clip(net), _) => {
                let ([_, c, _, _], f) = (latent.dims(), pieces);
                let mut observe = |piece: usize| {
                    context.tell(Event::Advance { done: (i * pieces + piece) as u64 });
                    context.go_on().is_ok()
                };
                let latent = latent.reshape([1, c, f, h / f, w]);
                let clip = net.decode_by(latent, 1, &mut observe).ok_or(Error::Interrupted)?; // [1 3 f' h' w']
                let [_, c, f, h, w] = clip.dims();
                clip.swap_dims(1, 2).reshape([f, c, h, w])
            }
        };
        let mut drawn = sampling::host(drawn)?;
        if let Some(begin) = begin {
            begin.keep(&mut drawn);
        }
        values.extend(drawn);
        context.tell(Event::Advance { done: ((i + 1) * pieces) as u64 });
    }
    context.tell(Event::End);
    let count = settled.count * prepared.length.map_or(1, |length| length.frames);
    let images = Images::new(values, count, [codec.out_channels(), size[0], size[1]])?;
    Ok(Drawn { images, nfe, text_seconds, seconds, decode_seconds: began.elapsed().as_secs_f64() })
}

/// An opened autoencoder.
#[allow(clippy::large_enum_variant)] // one at a time
enum Decoding {
    Picture(Autoencoder),
    Clip(ClipCodec),
    /// Of clips of one frame.
    Still(ClipCodec),
}

impl Decoding {
    fn open(part: &Part, codec: &Codec, device: &Device) -> Result<Self, Error> {
        part.weights("diffusion_pytorch_model", |stored| {
            Ok(match codec {
                Codec::Picture(config) => Self::Picture(config.load(stored, device)?),
                Codec::Clip(config) => Self::Clip(config.load(stored, device)?),
                Codec::Still(config) => Self::Still(config.load(stored, device)?),
            })
        })
    }

    /// The latent of a picture `[1 3 h w]`, the mean that is said of it, as flows see it.
    fn latent(&self, picture: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Picture(net) => net.scaled(net.encode(picture).mean),
            Self::Clip(net) | Self::Still(net) => net.scaled(net.encode(picture.unsqueeze_dim(2)).mean).squeeze_dim(2),
        }
    }
}

/// Pixels of a picture, which the autoencoder and the network must divide.
fn size(
    request: &ReleasedRequest,
    network: &Network,
    factor: usize,
    picture: Option<[usize; 2]>,
) -> Result<[usize; 2], Error> {
    let habit = picture.unwrap_or(network.usual(factor));
    let size = [request.height.unwrap_or(habit[0]), request.width.unwrap_or(habit[1])];
    if let Some([h, w]) = picture.filter(|picture| *picture != size) {
        return Err(Error::Usage(format!(
            "--init-image: it is {h} x {w} pixels and --height and --width say {} x {}; bring it to that size, or leave them out",
            size[0], size[1]
        )));
    }
    let step = factor * network.patch();
    if let Some(bad) = size.iter().find(|n| **n == 0 || !n.is_multiple_of(step)) {
        let (below, above) = (bad / step * step, (bad / step + 1).saturating_mul(step));
        let near = if below == 0 { above.to_string() } else { format!("{below} or {above}") };
        return Err(Error::Usage(format!(
            "--height {} --width {}: both must be multiples of {step}; for {bad} use {near}",
            size[0], size[1]
        )));
    }
    let latent = size.map(|n| n / factor);
    network.check_size(latent[0], latent[1]).map_err(|error| Error::Usage(format!("--height, --width: {error}")))?;
    Ok(size)
}
