//! Recordings with a gap: the flow draws the picture of sound that fits around it, and the picture becomes sound there.
//!
//! Beside the methods stand two rows that need no flow: `bridge`, a straight line from the last known column of the picture to the next, and,
//! where originals are known, `own_picture`, the original's own picture there. What that loses is lost by the search for a phase, and no
//! method can keep it. Both become sound as the methods' pictures do.

use super::{
    Lost, RestoreReport, RestoreRequest, by,
    write::{self, BRIDGE, DEGRADED, OWN_PICTURE},
};
use crate::{
    Context, Error,
    restoring::{
        Figures, Gap, Goal, Task, Window,
        figures::{heard, residual},
        inputs::{Source, kept},
        recordings::{self, Recording},
        voices::{self, Voice},
    },
    sampling::Classes,
    sound::{Analysis, Hearing},
    steerable::Steerable,
};
use media::audio::{self, Depth, LogMel, Sound, picture};
use methods::steer::Sensor;

/// Pixels to a cell of the sheet.
const SCALE: usize = 2;

/// Everything that recordings, windows and rows are measured and written by.
struct Scene {
    recordings: Vec<Recording>,
    voices: Vec<Voice>,
    window: Window,
    sensor: Sensor,
    /// What is known of each voice's picture, zero where nothing is.
    measured: Vec<f32>,
}

/// What one row of the report made: every voice's excerpt.
type Excerpts = Vec<Vec<f32>>;

pub(super) fn restored(
    request: &RestoreRequest,
    model: &dyn Steerable,
    classes: &Classes,
    (gap, hearing): (&Gap, &Hearing),
    context: &mut Context,
) -> Result<RestoreReport, Error> {
    check(request)?;
    let source = Source {
        input: &request.input,
        degrade: request.degrade,
        originals: request.originals.as_deref(),
        count: request.count,
        resize: false,
        noise: 0.0,
        seed: request.seed,
    };
    let (data, recordings) = recordings::read(&source, gap, hearing)?;
    let (window, voices) = voices::voices(&recordings, gap, Analysis::new(&hearing.task)?)?;
    let shape = model.picture()?;
    let task = Task::Inpaint(window.hole());
    let sensor = task.sensor(shape)?;
    let methods = request.methods.iter().map(|(method, _)| method);
    Goal::check(model, (&task, &sensor, 0.0), (request.space, false), methods.clone())?;
    super::curved(model, methods, context);
    let rows = rows(&window, voices.iter().map(|voice| &voice.torn))?;
    let measured = kept(rows, &sensor, &base::Device::flex())?;
    let scene = Scene { recordings, voices, window, sensor, measured };
    let goal = Goal::new(model, &task, &scene.sensor, (&scene.measured, 0.0), (request.space, Vec::new()), context)?;
    let mut made: Vec<Excerpts> = vec![scene.voices.iter().map(|voice| voice.torn.clone()).collect()];
    let mut figures = vec![scene.figures(DEGRADED, &scene.measured, &made[0])?];
    let mut add = |name: &str, pictures: &[f32], settings, (nfe, differentiated, seconds)| -> Result<(), Error> {
        let excerpts = scene.filled(pictures)?;
        let row = scene.figures(name, pictures, &excerpts)?;
        figures.push(Figures { settings, nfe, differentiated, seconds, ..row });
        made.push(excerpts);
        Ok(())
    };
    let free = (0, 0, 0.0);
    let bridge: Vec<f32> =
        scene.measured.chunks(scene.sensor.sizes().0).flat_map(|row| scene.window.bridged(row)).collect();
    add(BRIDGE, &bridge, serde_json::Value::Null, free)?;
    // Channels of one recording are filled by the same noise, so that those that are alike stay so.
    let numbers: Vec<u64> = scene.voices.iter().map(|voice| voice.recording as u64).collect();
    for method in &request.methods {
        let (pictures, cost) = by(method, request, (model, &goal, &numbers), classes, context)?;
        add(method.0.name(), &pictures, serde_json::to_value(&method.0).unwrap_or_default(), cost)?;
    }
    let originals: Option<Vec<&Vec<f32>>> = scene.voices.iter().map(|voice| voice.original.as_ref()).collect();
    if let Some(originals) = originals {
        add(OWN_PICTURE, &self::rows(&scene.window, originals.into_iter())?, serde_json::Value::Null, free)?;
    }
    let lost = |one: &Recording| {
        let rate = f64::from(one.torn.rate);
        Lost { name: one.name.clone(), start: one.gap.start as f64 / rate, length: one.gap.len() as f64 / rate }
    };
    let report = RestoreReport {
        task: request.task.words(),
        data,
        pictures: scene.recordings.len(),
        gaps: scene.recordings.iter().map(lost).collect(),
        noise: 0.0,
        checkpoint: model.place(),
        toward: Vec::new(),
        space: goal.space(),
        distance: None,
        rows: figures,
        output: request.output.clone(),
        command: request.command.clone(),
    };
    scene.write(request, &report, &made)?;
    Ok(report)
}

/// What has no meaning for recordings.
fn check(request: &RestoreRequest) -> Result<(), Error> {
    for (option, given, why) in [
        (
            "--noise",
            request.noise > 0.0,
            "around the gap every sample is kept as it is, so that noise there is no matter",
        ),
        ("--toward", !request.toward.is_empty(), "what it names are pictures of light"),
        ("--resize", request.resize, "recordings of every length and rate are taken as they are"),
    ] {
        if given {
            return Err(Error::Usage(format!("{option} with --task gap: {why}; leave it out")));
        }
    }
    Ok(())
}

/// What the network sees of excerpts, one after another.
fn rows<'a>(window: &Window, excerpts: impl Iterator<Item = &'a Vec<f32>>) -> Result<Vec<f32>, Error> {
    let rows: Vec<Vec<f32>> = excerpts.map(|excerpt| window.row(excerpt)).collect::<Result<_, _>>()?;
    Ok(rows.concat())
}

impl Scene {
    /// Excerpts whose gaps have the sound of `pictures`, rows one after another.
    fn filled(&self, pictures: &[f32]) -> Result<Excerpts, Error> {
        let each = self.voices.iter().zip(pictures.chunks(self.sensor.sizes().0));
        each.map(|(voice, row)| self.window.filled(&voice.torn, row)).collect()
    }

    fn figures(&self, method: &str, pictures: &[f32], excerpts: &Excerpts) -> Result<Figures, Error> {
        let each = || self.voices.iter().zip(excerpts);
        let pairs: Option<Vec<(&Vec<f32>, &Vec<f32>)>> =
            each().map(|(voice, made)| voice.original.as_ref().map(|original| (made, original))).collect();
        Ok(Figures {
            method: method.into(),
            heard: pairs.map(|pairs| heard(&self.window, &pairs)).transpose()?,
            residual: residual(&self.sensor, pictures, &self.measured)?,
            ..Figures::default()
        })
    }

    /// Recordings in a folder per row, a sheet of spectrograms, the figures.
    fn write(&self, request: &RestoreRequest, report: &RestoreReport, made: &[Excerpts]) -> Result<(), Error> {
        let (out, names) = (&request.output, write::folders(request));
        write::clear(request)?;
        for (name, excerpts) in names.iter().zip(made) {
            let mut sounds: Vec<Sound> = self.recordings.iter().map(|one| one.torn.clone()).collect();
            for (voice, excerpt) in self.voices.iter().zip(excerpts) {
                // What came in stays silent.
                if name != DEGRADED {
                    let one = &self.recordings[voice.recording];
                    voice.put(excerpt, &self.window, one, &mut sounds[voice.recording])?;
                }
            }
            for (one, sound) in self.recordings.iter().zip(&sounds) {
                // Floats hold every sample around the gap as it was read.
                audio::write(&out.join(name).join(format!("{}.wav", one.name)), sound, Depth::Float)?;
            }
        }
        let mut sheet: Vec<LogMel> = Vec::new();
        for (i, voice) in self.voices.iter().enumerate().take(request.rows) {
            for excerpts in made {
                sheet.push(self.window.picture(&excerpts[i])?);
            }
            sheet.extend(voice.original.as_ref().map(|original| self.window.picture(original)).transpose()?);
        }
        let originals = usize::from(self.voices.iter().all(|voice| voice.original.is_some()));
        let (frames, columns) = (sheet.first().map_or(1, |one| one.frames), made.len() + originals);
        let about = format!("{}, {}: {}", report.task, report.checkpoint, names.join(", "));
        let bitmap = picture::sheet(&sheet, frames, columns, SCALE);
        media::png::save(&out.join("sheet.png"), &bitmap, &[("parameters", &about)])?;
        write::figures(report)
    }
}
