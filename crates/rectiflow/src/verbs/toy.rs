//! `toy`: any path, coupling, time law and solver on a point set in the plane, trained in half a minute and drawn.

use super::student::{Method, student};
use crate::{
    Error, Model, Recipe,
    context::Context,
    model::Subject,
    recipe::{Layers, TaskConfig},
    report::{
        panels::{self, Panel, page},
        plot::{self, Labels, Series, Style},
    },
    stage::{Beginning, Job, Resume, TrainReport},
    toy::{Tracks, density, diffused, follow, held_out, noise, on_path, pairs, pictures},
};
use data::Points;
use flow::{Coupling, Field, JointField, Parameterization, diagnostics};
use plotters::style::RGBColor;
use serde::Serialize;
use std::path::{Path, PathBuf};
use train::{PointSource, checkpoint::Which};

/// What a toy says that the house defaults do not.
const DEFAULTS: &str = include_str!("../../../../recipes/toy/base.toml");

/// The layers of a toy: house defaults, then what suits the plane.
///
/// # Errors
/// None that a user can cause.
pub fn layers() -> Result<Layers, Error> {
    Layers::new().text(DEFAULTS, "recipes/toy/base.toml")
}

/// What came out.
#[derive(Clone, Debug, Serialize)]
pub struct ToyReport {
    /// The training.
    pub train: TrainReport,
    /// The point set.
    pub points: &'static str,
    /// Path, coupling and solver by name.
    pub path: &'static str,
    /// What the network outputs, and the second one beside it.
    pub outputs: Vec<&'static str>,
    /// The coupling.
    pub coupling: &'static str,
    /// The solver.
    pub solver: &'static str,
    /// Steps of the solver; an adaptive one chooses its own.
    pub steps: usize,
    /// `KL(data | samples)` by kernel estimates.
    pub kl: f64,
    /// The same between two sets of data: what the estimate cannot go below.
    pub kl_floor: f64,
    /// `[epsilon, KL]` with noise of strength `epsilon` mixed in while sampling; empty where the score is not known.
    pub kl_by_epsilon: Vec<[f64; 2]>,
    /// Straightness of the trajectories.
    pub straightness: f64,
    /// `E|z1 - z0|²`.
    pub transport_cost: f64,
    /// The page with everything on it.
    pub page: PathBuf,
    /// The film.
    pub animation: PathBuf,
}

/// Particles that figures and marginals are taken from.
const PARTICLES: usize = 8000;
/// Particles of the film.
const SHOWN: usize = 1500;
const SIDE: usize = 560;
/// Particles that KL is taken from at each strength of noise.
const DIFFUSED: usize = 3000;
/// Strengths of the noise that KL is shown over.
const EPSILONS: [f64; 6] = [0.0, 0.25, 0.5, 1.0, 1.5, 2.5];

/// Trains on `recipe.data.name`, a point set, into `folder`, and draws.
///
/// # Errors
/// A set that does not exist, a recipe that makes no sense in the plane, and what training may say.
pub fn toy(recipe: &Recipe, folder: &Path, resume: Option<Resume>, context: &mut Context) -> Result<ToyReport, Error> {
    let points = points(recipe)?;
    recipe.check()?;
    let second = match &recipe.task {
        TaskConfig::Joint(joint) => Some(joint.second),
        task if *task == TaskConfig::default() => None,
        task => {
            return Err(Error::Usage(format!(
                "a toy trains task `generate` or `joint` on points, which have no captions, codec or source; this recipe says \
                 `task.type = \"{}\"` and more: leave it out",
                task.name()
            )));
        }
    };
    if second.is_none() {
        recipe.parameterization.check_reads(Parameterization::Velocity {}, &recipe.path)?;
    }
    if let flow::Path::Mirror { .. } = recipe.path {
        let remedy = "take another path: a mirror leads from data to data, so no sample of it starts at noise";
        return Err(Error::Usage(format!("`path.type = \"mirror\"` cannot be drawn by `toy`; {remedy}")));
    }
    if recipe.perceptual.is_some() {
        return Err(Error::Usage(
            "`perceptual` looks at images, and the points of a toy are none: leave it out".into(),
        ));
    }
    let again = resume.is_some().then_some(Resume::Latest);
    let train = learn(recipe, points, folder, resume, context)?;
    let model = Model::open(folder, Which::Best, &context.device)?;
    let Some(output) = second else {
        context.note(format!("drawing {}", points.name()));
        let field = model.field(&recipe.sample.guidance, recipe.sample.precision)?;
        return draw(recipe, points, folder, train, &field, context);
    };
    let other = beside(recipe, output, points, folder, again, context)?;
    context.note(format!("drawing {}", points.name()));
    let field = JointField::new(recipe.path.clone(), (&model.net, recipe.parameterization), (&other.net, output))?;
    draw(recipe, points, folder, train, &field, context)
}

/// The second network, trained on the same stream of points into `second` in the run's folder.
fn beside(
    recipe: &Recipe,
    output: Parameterization,
    points: Points,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<Model, Error> {
    let mut other = recipe.clone();
    other.name = format!("{}-second", recipe.name);
    (other.parameterization, other.task) = (output, TaskConfig::default());
    // A direct score diverges without reflection (2303.08797, appendix on antithetic sampling).
    other.antithetic |= output == Parameterization::Score {};
    let folder = folder.join("second");
    learn(&other, points, &folder, resume, context)?;
    Model::open(&folder, Which::Best, &context.device)
}

/// The point set of a recipe.
///
/// # Errors
/// [`Error::Usage`] with the sets there are.
pub fn points(recipe: &Recipe) -> Result<Points, Error> {
    let known = Points::ALL.map(Points::name).join(", ");
    let name = recipe.data.name.as_deref().filter(|_| recipe.data.path.is_none());
    let name = name.ok_or_else(|| Error::Usage(format!("a toy needs `data.name` to be a point set: {known}")))?;
    let nearest = || {
        let near = Points::ALL.map(|set| (strsim::damerau_levenshtein(name, set.name()), set.name())).into_iter().min();
        near.filter(|(distance, _)| *distance < 5)
            .map(|(_, set)| format!("; did you mean `{set}`?"))
            .unwrap_or_default()
    };
    Points::named(name).ok_or_else(|| Error::Usage(format!("`{name}` is no point set{} (known: {known})", nearest())))
}

/// Trains as any recipe is trained; stored pairs are made by a first flow of half the time.
fn learn(
    recipe: &Recipe,
    points: Points,
    folder: &Path,
    resume: Option<Resume>,
    context: &mut Context,
) -> Result<TrainReport, Error> {
    let subject = Subject {
        stage: "base".into(),
        shape: [2].into(),
        classes: Vec::new(),
        data: points.name().to_string(),
        codec: None,
        encoder: None,
    };
    let mut source = PointSource::new(points, recipe.train.micro_batch(), recipe.seed);
    let mut learned = |recipe: &Recipe, folder: &Path, resume: Option<Resume>, context: &mut Context| {
        let begin = Beginning::of(recipe, folder, resume.as_ref(), context)?;
        Job { begin, ..Job::new(recipe, subject.clone(), &mut source, folder, resume) }.run(context)
    };
    if !recipe.needs_pairs() {
        return learned(recipe, folder, resume, context);
    }
    let mut teacher = recipe.clone();
    teacher.name = format!("{}-teacher", recipe.name);
    teacher.coupling = Coupling::Independent {};
    teacher.train.seconds *= 0.5;
    teacher.train.images /= 2;
    let first = folder.join("teacher");
    if crate::model::find(&first).is_err() {
        learned(&teacher, &first, None, context)?;
    }
    let teacher = Model::open(&first, Which::Best, &context.device)?;
    Ok(student(Method::Reflow, recipe, teacher, None, folder, resume, context)?.train)
}

fn draw(
    recipe: &Recipe,
    points: Points,
    folder: &Path,
    train: TrainReport,
    field: &dyn Field<2>,
    context: &mut Context,
) -> Result<ToyReport, Error> {
    let device = context.device.device.clone();
    let start = noise(recipe.seed, PARTICLES);
    let tracks = follow(field, recipe, &start, 12, &device)?;
    let data = held_out(points, recipe.seed, 2 * PARTICLES);
    let (data, other) = data.split_at(PARTICLES);
    let (data, other) = (data.to_vec(), other.to_vec());
    let at = &other[..1500].to_vec();
    let kl = density::divergence(&data, tracks.end(), at);
    let kl_floor = density::divergence(&data, &held_out(points, recipe.seed ^ 0xabc, PARTICLES), at);
    context.go_on()?;

    let mut kl_by_epsilon = Vec::new();
    for epsilon in EPSILONS {
        context.go_on()?;
        let Some(end) = diffused(field, recipe, &start[..DIFFUSED].to_vec(), epsilon, 100, &device)? else { break };
        kl_by_epsilon.push([epsilon, density::divergence(&data[..DIFFUSED].to_vec(), &end, at)]);
    }
    if kl_by_epsilon.len() == 1 {
        kl_by_epsilon.clear(); // no score: the deterministic end alone makes no curve
    }

    let fine = flow::ScheduleConfig::Uniform {}.build(100)?;
    let few = crate::toy::tensor(&start[..1000].to_vec(), &device);
    let none = base::Condition::none();
    let solved = diagnostics::straightness(field, few.clone(), &none, &flow::Solver::Euler {}, &fine)?;
    let cost = diagnostics::transport_cost(&few, &solved.x, 2.0)?;
    context.go_on()?;

    // The law on the path is that of the training pairs; for stored pairs these are the flow's own ends.
    let ends = match recipe.needs_pairs() {
        true => (start.clone(), tracks.end().clone()),
        false => pairs(recipe, &noise(recipe.seed ^ 0x77, PARTICLES), &data, &device)?,
    };
    let times = [0.0, 0.25, 0.5, 0.75, 1.0];
    let flown: Vec<_> = times.iter().map(|t| tracks.at(*t)).collect();
    let wanted: Vec<_> = times.iter().map(|t| on_path(recipe, (&ends.0, &ends.1), *t)).collect();

    let write = |name: &str, bytes: &[u8]| media::atomic::write(&folder.join(name), bytes);
    let lines = media::png::encode(&pictures::trajectories(&tracks, &data, 260, SIDE), &[])?;
    let maps = media::png::encode(&pictures::marginals(&flown, &wanted, 240), &[])?;
    let shown = |cloud: &Vec<[f32; 2]>| cloud[..SHOWN].to_vec();
    let shown = Tracks { times: tracks.times.clone(), clouds: tracks.clouds.iter().map(shown).collect() };
    let film = media::animation::encode(&pictures::film(&shown, 48, 400), 50, 1500)?;
    write("trajectories.png", &lines)?;
    write("marginals.png", &maps)?;
    write("animation.png", &film)?;
    let report = ToyReport {
        train,
        points: points.name(),
        path: recipe.path.name(),
        outputs: [Some(recipe.parameterization), recipe.task.second()]
            .iter()
            .flatten()
            .map(Parameterization::name)
            .collect(),
        coupling: recipe.coupling.name(),
        solver: recipe.sample.solver.name(),
        steps: recipe.sample.steps,
        kl,
        kl_floor,
        kl_by_epsilon,
        straightness: diagnostics::mean(&solved.per_sample),
        transport_cost: diagnostics::mean(&cost),
        page: folder.join("toy.html"),
        animation: folder.join("animation.png"),
    };
    let title = format!("{}: {} path, {} coupling", report.points, report.path, report.coupling);
    let wide = |picture: String| picture.replacen("<img ", "<img data-wide ", 1);
    let panels = [
        ("The flow", "Noise at t = 0, data at t = 1.", panels::image(&film, "particles on their way")),
        ("Trajectories", "Blue where they start, orange where they end.", panels::image(&lines, "trajectories")),
        (
            "Marginals at t = 0, ¼, ½, ¾, 1",
            "Above the flow's particles, below the law of the training pairs on their path: they should agree.",
            wide(panels::image(&maps, "heat maps")),
        ),
    ]
    .map(|(heading, text, body)| Panel { heading: heading.into(), text: text.into(), body });
    let panels: Vec<Panel> = panels.into_iter().chain(report.curve()).collect();
    let json = serde_json::to_string_pretty(&report)
        // A folder whose name is no text is one reason.
        .map_err(|error| Error::Failure(format!("{}: cannot be written as JSON: {error}", folder.display())))?;
    write("toy.json", json.as_bytes())?;
    media::atomic::write(&report.page, page(&title, &report.text(), &panels).as_bytes())?;
    Ok(report)
}

impl ToyReport {
    /// KL over the noise mixed in while sampling, with the floor of the estimate.
    fn curve(&self) -> Option<Panel> {
        let points = self.kl_by_epsilon.iter().map(|[epsilon, kl]| (*epsilon, *kl)).collect();
        let series = [Series { label: String::new(), color: RGBColor(91, 108, 240), points, style: Style::Dotted }];
        let x = match self.outputs.len() {
            1 => "ε (diffusion ε · alpha(t); 0 is the ODE)",
            _ => "ε (constant; 0 is the ODE)",
        };
        let body = plot::linear(&series, Labels { x, y: "KL" }, false)?;
        let text = format!(
            "KL(data | samples) with noise mixed in while sampling, 100 steps of SDE-Heun, {DIFFUSED} particles. A minimum \
             right of zero means that noise repairs what the network got wrong; differences small against {:.4}, the KL \
             between two sets of data, mean nothing.",
            self.kl_floor
        );
        Some(Panel { heading: "KL over ε".into(), text, body })
    }

    /// The figures as lines of text.
    pub fn text(&self) -> String {
        format!(
            "points              {}\npath, coupling      {}, {}\nnetwork says        {}\nsampled by          {}, {} steps\n\
             trained on          {} points in {:.1} s\nKL(data | samples)  {:.4} (between two sets of data: {:.4})\n\
             straightness S      {:.4}\ntransport cost      {:.4}\n",
            self.points,
            self.path,
            self.coupling,
            self.outputs.join(" and "),
            self.solver,
            self.steps,
            self.train.images,
            self.train.seconds,
            self.kl,
            self.kl_floor,
            self.straightness,
            self.transport_cost
        ) + &self.by_epsilon()
    }

    /// KL at each strength of the noise, in one line; empty where the score is not known.
    fn by_epsilon(&self) -> String {
        let entries: Vec<String> =
            self.kl_by_epsilon.iter().map(|[epsilon, kl]| format!("{epsilon}: {kl:.4}")).collect();
        if entries.is_empty() { String::new() } else { format!("KL over ε            {}\n", entries.join("  ")) }
    }
}
