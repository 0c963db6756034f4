//! A released model as something to restore, invert and edit pictures with: its flow over latents, its autoencoder at both ends.
//!
//! Parts are opened when they are needed: the autoencoder for pictures, the text encoders for prompts, then the network, which is dropped
//! before the autoencoder decodes. The way to the noise is plain: no contrast, and FLUX is told a guidance of 1 (RF-Solver-Edit inverts
//! so; arXiv 2411.04746).

use super::{
    Asked, Beside, Change, Family, Flow, Prepared, Prompted, ReleasedRequest, codec::Codec, encode, prepare, schedule,
};
use crate::{
    Context, Error,
    asked::Classes,
    device::Chosen,
    host::host,
    recipe::SampleConfig,
    steerable::{Decoder, Layers, Steerable, Way, tape},
};
use base::{Condition, Device, Shape, Taps, Tensor, TensorData, Times};
use burn::module::Module;
use flow::{Field, Frame, ScheduleConfig, Solver, guidance::GuidanceConfig};
use kernels::Precision;
use nets::AutoencoderConfig;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use train::checkpoint::Which;

/// Steps of an InstaFlow that changes a picture, where nobody says: one step leads nowhere that could be steered.
const INSTAFLOW_STEPS: usize = 25;

/// A released model with pictures of one size.
pub(crate) struct Pictures {
    request: ReleasedRequest,
    prepared: Prepared,
    path: flow::Path,
    /// Open while it is walked.
    flow: Mutex<Option<Arc<Flow>>>,
    /// What was read, under the text and whether guidance leads away from anything.
    heard: Mutex<HashMap<(String, bool), Condition>>,
    codec: AutoencoderConfig,
}

impl Pictures {
    /// Makes every check that needs no weights.
    ///
    /// # Errors
    /// Files that are missing or do not fit; a size or a setting that the model cannot serve.
    pub fn open(change: &Change<'_>, context: &mut Context) -> Result<Self, Error> {
        let Beside { parts, negative, true_guidance, loras, tile, length } = change.beside.clone();
        let [height, width] = change.size.map_or([None; 2], |size| size.map(Some));
        let request = ReleasedRequest {
            parts,
            negative,
            true_guidance,
            loras,
            tile,
            length,
            height,
            width,
            guidance: change.guidance,
            precision: change.precision,
            steps: change.steps,
            ..ReleasedRequest::new(change.model.to_path_buf(), "")
        };
        let prepared =
            prepare(&request, &mut |line| context.note(line)).map_err(|error| match (error, change.size) {
                // The size is what is wrong where the model's own would do.
                (Error::Usage(why), Some([h, w])) if prepare(&request.of_own_size(), &mut |_| ()).is_ok() => {
                    Error::Usage(format!(
                        "--input: its pictures are {h} x {w} pixels. {why}; --resize brings squares to the model's own size"
                    ))
                }
                (error, _) => error,
            })?;
        let Codec::Picture(codec) = prepared.codec.clone() else {
            return Err(Error::Usage(format!(
                "{}: its autoencoder is one of clips; pictures are restored, inverted and edited by models with one of pictures",
                change.model.display()
            )));
        };
        if let Some(reason) = change.precision.fallback(&context.device.device) {
            context.note(reason);
        }
        let path = prepared.network.path();
        Ok(Self { request, prepared, path, flow: Mutex::default(), heard: Mutex::default(), codec })
    }

    /// Refuses what counts beside a prompt alone where nothing is `asked`: the empty prompt is contrasted with nothing.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option.
    pub fn check_asked(&self, asked: &Classes) -> Result<(), Error> {
        let ReleasedRequest { guidance, negative, true_guidance, .. } = &self.request;
        // FLUX and its like are told their number, with a prompt or without.
        let contrasts = !self.tells() && guidance.is_some_and(|scale| scale > 1.0);
        let given = [
            ("--negative-prompt", negative.is_some()),
            ("--true-cfg-scale", true_guidance.is_some()),
            ("--guidance-scale", contrasts),
        ];
        match given.iter().find(|(_, given)| *given && *asked == Classes::None) {
            None => Ok(()),
            Some((option, _)) => Err(Error::Usage(format!(
                "{option}: without --prompt there is nothing to contrast; say what the pictures show, or leave it out"
            ))),
        }
    }

    /// Whether what is asked as guidance is a number for the network.
    fn tells(&self) -> bool {
        self.family() == Family::Flux || self.prepared.network.told()
    }

    fn latent(&self) -> [usize; 3] {
        let [h, w] = self.prepared.latent();
        [self.prepared.network.channels(), h, w]
    }

    fn family(&self) -> Family {
        self.prepared.model.family()
    }

    /// The flow, opened where it is not.
    fn opened(&self, device: &Device, note: &mut dyn FnMut(String)) -> Result<Arc<Flow>, Error> {
        let mut open = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flow) = &*open {
            return Ok(flow.clone());
        }
        let Prepared { network, settled, corrections, .. } = &self.prepared;
        let flow = Arc::new(network.open(settled.told, corrections, device, note)?);
        *open = Some(flow.clone());
        Ok(flow)
    }

    /// What samples are asked for: a text, and whether guidance leads away from another.
    fn text(&self, asked: &Classes, index: u64) -> Result<(String, bool), Error> {
        match (asked, asked.prompt(index)) {
            (_, Some(text)) => Ok((text.to_owned(), self.prepared.settled.contrast.is_some())),
            // Nothing said is the empty prompt, which nothing is contrasted with.
            (Classes::None, None) => Ok((String::new(), false)),
            _ => Err(Error::Usage(format!(
                "--class: {} is a released model and knows no classes; use --prompt",
                self.place()
            ))),
        }
    }

    fn autoencoder(&self, device: &Device) -> Result<nets::Autoencoder, Error> {
        self.prepared.vae.weights("diffusion_pytorch_model", |stored| self.codec.load(stored, device))
    }

    /// Rows of `shape`, one at a time through `change`.
    fn each(
        rows: &[f32],
        [c, h, w]: [usize; 3],
        context: &mut Context,
        change: impl Fn(Tensor<4>) -> Tensor<4>,
    ) -> Result<Vec<f32>, Error> {
        let device = context.device.device.clone();
        let mut changed = Vec::new();
        for row in rows.chunks(c * h * w) {
            context.go_on()?;
            changed.extend(host(change(Tensor::from_data(TensorData::new(row.to_vec(), [1, c, h, w]), &device)))?);
        }
        Ok(changed)
    }
}

impl Steerable for Pictures {
    fn place(&self) -> String {
        self.request.folder.display().to_string()
    }

    fn picture(&self) -> Result<[usize; 3], Error> {
        let [h, w] = self.prepared.size;
        Ok([self.codec.out_channels, h, w])
    }

    fn moved(&self) -> Shape {
        self.latent().into()
    }

    fn moves_latents(&self) -> bool {
        true
    }

    fn path(&self) -> &flow::Path {
        &self.path
    }

    fn usual(&self, steps: Option<usize>) -> Result<SampleConfig, Error> {
        let habit = match self.family() {
            Family::InstaFlow if self.request.steps.is_none() => INSTAFLOW_STEPS,
            _ => self.prepared.settled.steps,
        };
        // What FLUX is told stands apart from its contrast, and the field reads it here.
        let scale = if self.tells() { self.prepared.settled.told } else { self.prepared.guidance() };
        let [_, h, w] = self.latent();
        let patch = self.prepared.network.patch();
        let solver = match self.family() {
            // The curve of a diffusion is followed by its own step, back as well as forth.
            Family::StableDiffusion => Solver::Ddim { eta: 0.0 },
            _ => Solver::RfSolver { order: 2 },
        };
        let tokens = (h / patch) * (w / patch);
        let times = schedule(&self.prepared.model, steps.unwrap_or(habit), tokens, &solver, false)?;
        Ok(SampleConfig {
            steps: times.steps(),
            batch: 1,
            precision: self.request.precision,
            solver,
            schedule: ScheduleConfig::Custom { times: times.times().to_vec() },
            guidance: GuidanceConfig { scale, interval: None },
            path: None,
        })
    }

    fn layers(&self) -> Layers {
        self.prepared.network.layers()
    }

    fn field<'a>(
        &'a self,
        way: Way<'_>,
        precision: Precision,
        taps: Option<Taps>,
    ) -> Result<Box<dyn Field<2> + 'a>, Error> {
        let open = self.flow.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let flow = open.ok_or_else(|| Error::Failure(format!("{}: its network is not open", self.place())))?;
        let (told, contrast) = match way {
            Way::Back => (1.0, None),
            Way::Forth(guidance) if self.tells() => (guidance.scale, self.prepared.settled.contrast),
            Way::Forth(guidance) => (1.0, Some(guidance.scale).filter(|scale| *scale > 1.0)),
        };
        Ok(Box::new(Rows { flow, told, contrast, taps, precision, shape: self.latent() }))
    }

    fn hear(&self, asked: &[&Classes], context: &mut Context) -> Result<(), Error> {
        let mut texts = Vec::new();
        for asked in asked {
            let count = if let Classes::Prompts(prompts) = asked { prompts.len() as u64 } else { 1 };
            for index in 0..count {
                texts.push(self.text(asked, index)?);
            }
        }
        texts.sort();
        texts.dedup();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        texts.retain(|text| !heard.contains_key(text));
        let Prepared { model, network, settled, .. } = &self.prepared;
        let how = Asked { length: settled.length, clip_skip: 0 };
        for contrasted in [true, false] {
            let these: Vec<String> =
                texts.iter().filter(|(_, own)| *own == contrasted).map(|(text, _)| text.clone()).collect();
            if these.is_empty() {
                continue;
            }
            let negative = contrasted.then(|| self.request.negative.clone().unwrap_or_default());
            let read = encode(model, &these, negative.as_ref(), network.text_width(), how, context)?;
            heard.extend(these.into_iter().map(|text| (text, contrasted)).zip(read));
        }
        drop(heard);
        let device = context.device.device.clone();
        self.opened(&device, &mut |line| context.note(line)).map(drop)
    }

    fn condition(&self, asked: &Classes, indices: &[u64], device: &Device) -> Result<Condition, Error> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Option<Condition> = None;
        for index in indices {
            let text = self.text(asked, *index)?;
            let unread = || Error::Failure(format!("{}: {:?} was not read", self.place(), text.0));
            let one = heard.get(&text).ok_or_else(unread)?.clone();
            all = Some(match all {
                None => one,
                Some(before) => before.cat(&one).map_err(|error| Error::Failure(error.to_string()))?,
            });
        }
        Ok(all.unwrap_or_default().on(device))
    }

    fn encode(&self, pictures: &[f32], context: &mut Context) -> Result<Vec<f32>, Error> {
        let net = self.autoencoder(&context.device.device)?;
        Self::each(pictures, self.picture()?, context, |picture| net.scaled(net.encode(picture).mean))
    }

    fn decode(&self, moved: &[f32], context: &mut Context) -> Result<Vec<f32>, Error> {
        // The network has spoken.
        drop(self.flow.lock().unwrap_or_else(PoisonError::into_inner).take());
        let net = self.autoencoder(&context.device.device)?;
        Self::each(moved, self.latent(), context, |latent| match &self.prepared.tiles {
            None => net.decode(latent),
            Some(tiles) => net.decode_in(&latent, *tiles),
        })
    }

    fn decoder(&self, device: &Chosen) -> Result<Option<Decoder>, Error> {
        let net = self.autoencoder(&tape(device).device)?.no_grad();
        let [c, h, w] = self.latent();
        let size = self.picture()?.iter().product();
        let decode = move |rows: Tensor<2>| {
            let b = rows.dims()[0];
            net.decode(rows.reshape([b, c, h, w])).reshape([b, size])
        };
        Ok(Some(Decoder { decode: Box::new(decode), bytes: self.codec.tape_bytes(self.prepared.size) }))
    }

    fn check_taped(&self) -> Result<(), Error> {
        Err(Error::Usage(format!(
            "--method: dps, freedom, ot-ode and d-flow differentiate the network, and {} is a released one, whose tape would be many times its \
             size; use flowchef, mpgd or flow-dps, or for holes pnp-flow",
            self.place()
        )))
    }

    fn taped(&self, _: Which, _: &Chosen) -> Result<(Box<dyn Steerable>, Chosen), Error> {
        self.check_taped()?;
        Err(Error::Failure(format!("{}: it has no tape", self.place())))
    }
}

/// A released flow over rows `[b n]`.
struct Rows {
    flow: Arc<Flow>,
    told: f64,
    contrast: Option<f64>,
    taps: Option<Taps>,
    precision: Precision,
    shape: [usize; 3],
}

impl Field<2> for Rows {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        let (b, [c, h, w]) = (x.dims()[0], self.shape);
        let guidance = Some(Times::all(self.told, b).tensor(&x.device()));
        let condition = Condition { guidance, ..condition.clone() };
        // What was read without a contrast is not contrasted.
        let contrast = self.contrast.filter(|_| condition.null.is_some());
        let field = Prompted { flow: &self.flow, contrast, skip: None, taps: self.taps.clone() };
        let ask = || field.velocity(x.reshape([b, c, h, w]), t, &condition).reshape([b, c * h * w]);
        self.precision.scope(ask)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: self.flow.path(), independent: true })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// FLUX is told its own number, and contrasted beside: the velocity is that of `sample` under the same options.
    ///
    /// Mutant, named and not run: the contrast's scale told to the network.
    #[test]
    fn flux_is_told_its_number_beside_a_contrast() {
        let mut context = Context::silent();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/flux_dev_tiny");
        let beside = Beside { true_guidance: Some(4.0), negative: Some("a dog".into()), ..Beside::default() };
        let (size, precision) = (Some([32, 48]), Precision::default());
        let change = Change { model: &folder, beside: &beside, size, steps: None, guidance: None, precision };
        let model = Pictures::open(&change, &mut context).unwrap();
        let error = model.check_asked(&Classes::None).unwrap_err().to_string();
        assert!(error.contains("--negative-prompt") && error.contains("--prompt"), "{error}");
        let asked = Classes::prompts(vec!["a fox".into()]);
        model.check_asked(&asked).unwrap();
        model.hear(&[&asked], &mut context).unwrap();
        let device = Device::flex();
        let condition = model.condition(&asked, &[0], &device).unwrap();
        let guidance = model.usual(None).unwrap().guidance;
        let x: Tensor<2> =
            base::Key::new(1, base::Purpose::Noise).normal_tensor(&[0], [0, model.moved().numel()], &device);
        let t = Times::all(0.4, 1);
        let field = model.field(Way::Forth(&guidance), precision, None).unwrap();
        let made = host(field.velocity(x.clone(), &t, &condition)).unwrap();
        let flow = model.opened(&device, &mut |_| ()).unwrap();
        let told = |number: f64| {
            let field = Prompted { flow: &flow, contrast: Some(4.0), skip: None, taps: None };
            let guidance = Some(Times::all(number, 1).tensor(&device));
            let rows = x.clone().reshape([1, 16, 8, 12]);
            host(field.velocity(rows, &t, &Condition { guidance, ..condition.clone() }).reshape([1, 16 * 8 * 12]))
                .unwrap()
        };
        assert_eq!(made, told(3.5));
        assert_ne!(made, told(4.0));
        let size = Some([30, 48]);
        let Err(error) = Pictures::open(&Change { size, ..change }, &mut context) else { panic!("30 is no multiple") };
        assert!(error.to_string().contains("--input") && error.to_string().contains("--resize"), "{error}");
    }
}
