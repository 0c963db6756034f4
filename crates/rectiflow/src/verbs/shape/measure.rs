//! `shape measure`: how near drawn shapes are to shapes that training has not seen, and whether they are of the class asked for.

use crate::{
    Context, Error, Model,
    codec::Codec,
    context::Event,
    error,
    model::which,
    overrides::SampleOverrides,
    round_trip::DEPTH,
    sampling::{Classes, Pictures, draw_latents, host, noise},
    shapes,
    sight::Views,
    start::Start,
};
use base::Device;
use data::{Dataset, Split, Values};
use media::shape::{
    Point,
    record::{Counts, Record},
    sample,
};
use metrics::shape::{SetNearness, chamfer_l2, sets};
use serde::Serialize;
use std::{path::PathBuf, sync::Arc};

/// What is measured.
#[derive(Clone, Debug)]
pub struct MeasureRequest {
    /// A run of a flow over shapes.
    pub checkpoint: PathBuf,
    /// A decay, or `raw`.
    pub ema: Option<String>,
    /// How samples are drawn.
    pub overrides: SampleOverrides,
    /// Seed of the noise.
    pub seed: u64,
    /// Samples, and held-out shapes at most.
    pub num: usize,
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// Samples drawn.
    pub samples: usize,
    /// Of them those without a surface: in no figure below but the accuracy, where they count as wrong.
    pub without_surface: usize,
    /// Held-out shapes.
    pub references: usize,
    /// Samples beside held-out shapes.
    pub sets: SetNearness,
    /// Share of samples whose nearest training shape is of the class asked for; `None` without classes.
    pub right_class: Option<f64>,
    /// The same of held-out shapes: what that judge is worth.
    pub judge: Option<f64>,
    /// Share of samples whose nearest held-out shape is one that was asked for, where these are (by caption, or by picture).
    pub right_shape: Option<f64>,
    /// The same figures of shapes decoded from noise alone, `None` where hardly any has a surface.
    pub noise: Option<SetNearness>,
    /// Evaluations of the network for each sample.
    pub nfe: usize,
    /// Seconds of drawing, and of taking surfaces.
    pub seconds: [f64; 2],
}

/// Points of a surface that sets are compared by, and those that the judge looks at.
const POINTS: usize = 512;
const LOOKS: usize = 256;
/// Training shapes that the judge knows.
const KNOWN: usize = 200;

type Cloud = Vec<Point>;

/// Draws samples of a flow over shapes, takes their surfaces and measures them.
///
/// # Errors
/// A run of something else, or of shapes none of which is held out.
pub fn measure(request: &MeasureRequest, context: &mut Context) -> Result<Measured, Error> {
    error::within("--num", request.num, 2..=10_000)?;
    let model = Model::open(&request.checkpoint, which(request.ema.as_deref())?, &context.device)?;
    let file = request.checkpoint.display();
    let of_shapes =
        || Error::Usage(format!("{file}: no flow over shapes; give a run whose `task.codec` is one of shapes"));
    let codec = model.codec.clone().filter(|codec| codec.has_surface()).ok_or_else(of_shapes)?;
    // Whatever the codec itself reads of a shape, surfaces are compared by their points.
    let counts = codec.recipe.codec.kind().points().unwrap_or_default();
    let apart = shapes::open_test(&model.recipe.data, counts, context)?;
    let none =
        || Error::Usage(format!("{file}: no shape is held out to compare with; train with data.holdout above 0"));
    let apart = apart.ok_or_else(none)?.set;
    let known = shapes::open(&model.recipe.data, counts, context)?;
    let sample_config = request.overrides.apply(&model.recipe.sample)?;
    let places = spread(&*apart, request.num);
    let Asked { classes, wanted, same } = asked(&model, &*apart, &places, request, context)?;
    let start = Start::held_out(&model.recipe, model.subject.shape)?;
    let (of, range) = ((&model, &*codec), 0..request.num as u64);
    let drawn = draw_latents(of, &start, &sample_config, &classes, request.seed, range, context)?;
    let device = context.device.device.clone();
    let began = std::time::Instant::now();
    let ours = surfaces(&codec, &drawn.rows, "surfaces", &device, context)?;
    let seconds = [drawn.seconds, began.elapsed().as_secs_f64()];
    let theirs = clouds(&*apart, counts, &places)?;
    let full: Vec<Cloud> = ours.iter().filter(|cloud| !cloud.is_empty()).cloned().collect();
    let references: Vec<Cloud> = theirs.iter().map(|(cloud, _)| cloud.clone()).collect();
    let has_classes = wanted.iter().all(|class| *class >= 0);
    let judge = Judge { known: if has_classes { clouds(&*known, counts, &spread(&*known, KNOWN))? } else { vec![] } };
    let right = |all: Vec<(&Cloud, i64)>| {
        let hits = all.iter().filter(|(cloud, class)| judge.says(cloud) == Some(*class)).count();
        has_classes.then(|| hits as f64 / all.len().max(1) as f64)
    };
    let right_class = right(ours.iter().zip(wanted).collect());
    let own = right(theirs.iter().map(|(cloud, class)| (cloud, *class)).collect());
    let right_shape = (!same.is_empty()).then(|| {
        let held = Judge { known: (0..).zip(&theirs).map(|(i, (cloud, _))| (cloud.clone(), i)).collect() };
        let hit = |(i, cloud): (usize, &Cloud)| {
            held.says(cloud).is_some_and(|found| same[i % same.len()].contains(&(found as usize)))
        };
        ours.iter().enumerate().filter(|ours| hit(*ours)).count() as f64 / ours.len().max(1) as f64
    });
    let indices: Vec<u64> = (0..request.num as u64).collect();
    let pure = noise(request.seed).normal_tensor(&indices, [0, codec.latent.numel()], &device);
    let pure = surfaces(&codec, &host(codec.raw(pure))?, "surfaces from noise", &device, context)?;
    let pure: Vec<Cloud> = pure.into_iter().filter(|cloud| !cloud.is_empty()).collect();
    Ok(Measured {
        samples: ours.len(),
        without_surface: ours.len() - full.len(),
        references: references.len(),
        sets: sets(&full, &references)?,
        right_class,
        judge: own,
        right_shape,
        noise: if pure.len() * 2 > references.len() { Some(sets(&pure, &references)?) } else { None },
        nfe: drawn.nfe,
        seconds,
    })
}

/// Points of the surfaces that `rows` of tokens have; none where there is no surface.
fn surfaces(
    codec: &Codec,
    rows: &[f32],
    what: &str,
    device: &Device,
    context: &mut Context,
) -> Result<Vec<Cloud>, Error> {
    let size = codec.latent.numel();
    let mut found = Vec::new();
    context.tell(Event::Begin { what, total: (rows.len() / size) as u64 });
    for tokens in rows.chunks_exact(size) {
        context.go_on()?;
        let mesh = codec.surface(tokens, DEPTH, device)?.mesh;
        found.push(sample::surface(&mesh, POINTS, 0).points);
        context.tell(Event::Advance { done: found.len() as u64 });
    }
    context.tell(Event::End);
    Ok(found)
}

/// What samples are asked for.
struct Asked {
    classes: Classes,
    /// The class that sample `i` should be of; -1 for none.
    wanted: Vec<i64>,
    /// Of sample `i`, in turn, the held-out shapes that fit what was asked; empty where they are not what is asked for.
    same: Vec<Vec<usize>>,
}

/// The classes of `model` in turn, or the captions or a picture each of the held-out shapes at `places`, where it reads these.
fn asked(
    model: &Model,
    apart: &dyn Dataset,
    places: &[usize],
    request: &MeasureRequest,
    context: &mut Context,
) -> Result<Asked, Error> {
    let num = request.num;
    let class = |i: usize| apart.label(places[i % places.len()]).map_or(-1, i64::from);
    if let Some(sight) = model.sight(context)? {
        let data = model.recipe.data.with_split(Split::Test);
        let views = Views::of((&data, apart), &sight, request.seed, context)?;
        let rows = pictures(&views, places, num)?;
        let classes = Classes::Pictures(Arc::new(Pictures { rows, sight }));
        let same = (0..places.len()).map(|i| vec![i]).collect();
        return Ok(Asked { classes, wanted: (0..num).map(class).collect(), same });
    }
    if model.words.is_none() {
        let classes = Classes::all(model)?;
        let wanted = (0..num as u64).map(|i| classes.of(i)).collect();
        return Ok(Asked { classes, wanted, same: Vec::new() });
    }
    let caption = |place: &usize| apart.caption(*place).map(str::to_string);
    let captions: Vec<String> = places.iter().filter_map(caption).collect();
    if captions.len() < places.len() {
        return Err(Error::Usage(format!("{}: a held-out shape has no caption to ask for", apart.name())));
    }
    let same = alike(&captions);
    let wanted = (0..num).map(class).collect();
    Ok(Asked { classes: Classes::prompts(captions), wanted, same })
}

/// A picture each of the shapes at `places` in turn, for `num` samples: whenever a shape comes again, it is seen from another side.
fn pictures(views: &Views, places: &[usize], num: usize) -> Result<Vec<f32>, Error> {
    let all: Result<Vec<_>, Error> = (0..num).map(|i| views.one(places[i % places.len()], i as u64)).collect();
    Ok(all?.concat())
}

/// Of each caption the places of all that say the same.
fn alike(captions: &[String]) -> Vec<Vec<usize>> {
    let fits = |asked: &String| (0..captions.len()).filter(|&i| captions[i] == *asked).collect();
    captions.iter().map(fits).collect()
}

/// At most `most` places of `set`, spread evenly over it.
fn spread(set: &dyn Dataset, most: usize) -> Vec<usize> {
    let count = set.len().min(most);
    // Of a set whose classes come in turn, the first so many have them all; of one sorted by class, only a spread has.
    let sorted = (1..set.len()).all(|i| set.label(i) >= set.label(i - 1));
    (0..count).map(|k| if sorted { k * set.len() / count } else { k }).collect()
}

/// Points and classes of the shapes of `set` at `places`.
fn clouds(set: &dyn Dataset, counts: Counts, places: &[usize]) -> Result<Vec<(Cloud, i64)>, Error> {
    let one = |&i: &usize| {
        let wrong = || Error::Failure(format!("{}: sample {i} is no row of points", set.name()));
        let Values::Numbers(row) = set.get(i)?.values else { return Err(wrong()) };
        let mut points = Record::of(&row, counts).ok_or_else(wrong)?.cloud().points;
        points.truncate(POINTS);
        Ok((points, set.label(i).map_or(-1, i64::from)))
    };
    places.iter().map(one).collect()
}

/// Says of a shape the class of the nearest it knows.
struct Judge {
    known: Vec<(Cloud, i64)>,
}

impl Judge {
    fn says(&self, cloud: &Cloud) -> Option<i64> {
        let few = |cloud: &Cloud| cloud[..cloud.len().min(LOOKS)].to_vec();
        let cloud = few(cloud);
        if cloud.is_empty() {
            return None;
        }
        let gap = |known: &Cloud| chamfer_l2(&cloud, &few(known)).unwrap_or(f64::INFINITY);
        let gaps = self.known.iter().map(|(known, class)| (gap(known), *class));
        gaps.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, class)| class)
    }
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let line = |sets: &SetNearness| {
            format!("MMD {:.4}, coverage {:.2}, 1-NNA {:.2}", sets.mmd, sets.coverage, sets.one_nearest)
        };
        let Self { samples, references, nfe, seconds: [draw, extract], .. } = self;
        writeln!(
            f,
            "{samples} samples ({nfe} evaluations each, {draw:.1} s; surfaces {extract:.1} s), {references} held-out shapes"
        )?;
        writeln!(f, "samples    {}", line(&self.sets))?;
        if let Some(noise) = &self.noise {
            writeln!(f, "noise      {}", line(noise))?;
        }
        if let (Some(right), Some(judge)) = (self.right_class, self.judge) {
            writeln!(
                f,
                "right class {:.1} %; the same judge of held-out shapes {:.1} %",
                right * 100.0,
                judge * 100.0
            )?;
        }
        if let Some(right) = self.right_shape {
            let right = right * 100.0;
            writeln!(
                f,
                "right shape {right:.1} %: the nearest of {references} held-out shapes is one that was asked for"
            )?;
        }
        match self.without_surface {
            0 => Ok(()),
            none => writeln!(f, "{none} samples have no surface"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::PictureConfig;
    use crate::sight::Sight;
    use data::DataConfig;

    /// Sample `i` is asked for by a picture of the shape that it is held against. Mutants: places shifted by one; the number of the
    /// sample in place of its shape's.
    #[test]
    fn samples_are_asked_for_by_the_shapes_they_are_held_against() {
        let data = DataConfig { limit: Some(6), ..DataConfig::named(shapes::SOLIDS) };
        let config = PictureConfig { size: 16, patch: 8, views: 1, ..PictureConfig::default() };
        let context = &mut Context::silent();
        let set = shapes::open(&data, Counts { surface: 16, near: 16, volume: 16 }, context).unwrap();
        let sight = Arc::new(Sight::open(&config, 64, &mut |_| ()).unwrap());
        let views = Views::of((&data, &*set), &sight, 3, context).unwrap();
        let one = |place: usize| views.one(place, 0).unwrap();
        let asked = pictures(&views, &[4, 1, 3], 5).unwrap();
        assert_eq!(asked, [one(4), one(1), one(3), one(4), one(1)].concat());
        assert!(one(4) != one(1) && one(1) != one(3));
        let captions = ["brick", "plate", "brick"].map(String::from);
        assert_eq!(alike(&captions), [vec![0, 2], vec![1], vec![0, 2]]);
    }
}
