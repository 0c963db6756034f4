//! Editing: features that meet themselves change nothing, keys that are off by one are seen, baselines have closed forms.

use base::{Condition, Device, Key, Purpose, Taps, Tensor, TensorData, Times};
use burn::tensor::activation::softmax;
use flow::{Field, Frame, Guided, Path, Schedule, ScheduleConfig, Solver, Stepper, rows, solve};
use methods::MethodError;
use methods::edit::{Bus, FlowEdit, Heard, Parts, RfEdit, SdEdit};
use std::sync::Arc;

const TOKENS: usize = 4;
const WIDTH: usize = 3;
const BLOCKS: usize = 3;

/// A transformer of fixed numbers: blocks of attention over four tokens, whose values know the class.
struct Toy {
    taps: Option<Taps>,
}

impl Field<2> for Toy {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        let (b, device) = (x.dims()[0], x.device());
        let class = condition.class.clone().map_or_else(|| Tensor::zeros([b], &device), |c| c.float());
        let class = class.reshape([b, 1, 1]);
        let time = rows::time_column(t, |t| t, &x).reshape([b, 1, 1]);
        let mut h: Tensor<3> = x.reshape([b, TOKENS, WIDTH]);
        for block in 0..BLOCKS {
            let key = Key::new(4, Purpose::Init).fold(block as u64);
            let weight = key.normal_tensor::<2>(&[0], [0, 3 * WIDTH * WIDTH], &device).reshape([WIDTH, 3 * WIDTH]);
            let told = h.clone() + class.clone() * 0.3 + time.clone() * 0.5;
            let flat = told.reshape([b * TOKENS, WIDTH]).matmul(weight * 0.7);
            let qkv = flat.reshape([b, TOKENS, 3 * WIDTH]);
            let qkv = match &self.taps {
                Some(taps) => taps.through(block, qkv),
                None => qkv,
            };
            let [q, k, v] = [0, 1, 2].map(|i| qkv.clone().narrow(2, i * WIDTH, WIDTH));
            h = h + softmax(q.matmul(k.swap_dims(1, 2)), 2).matmul(v) * 0.4;
        }
        (h * 0.5).reshape([b, TOKENS * WIDTH])
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &Path::Linear {}, independent: true })
    }
}

fn points(n: usize, stream: u64) -> Tensor<2> {
    let indices: Vec<u64> = (0..n as u64).collect();
    Key::new(8, Purpose::Noise).fold(stream).normal_tensor(&indices, [0, TOKENS * WIDTH], &Device::flex())
}

fn class(class: i64, n: usize) -> Condition {
    Condition::classes(&vec![class; n], &Device::flex())
}

fn host(x: &Tensor<2>) -> Vec<f64> {
    rows::host(x.clone()).unwrap()
}

fn gap(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    host(a).iter().zip(host(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn uniform(steps: usize) -> Schedule {
    ScheduleConfig::Uniform {}.build(steps).unwrap()
}

fn heard(bus: &Arc<Bus>) -> Heard<Toy> {
    Heard { field: Toy { taps: Some(bus.taps()) }, bus: bus.clone() }
}

/// A walk from `x` whose features are stored as those of step `number(step)`.
fn recorded(
    bus: &Arc<Bus>,
    x: &Tensor<2>,
    c: &Condition,
    schedule: &Schedule,
    number: impl Fn(usize) -> usize,
) -> Tensor<2> {
    let (field, solver) = (heard(bus), Solver::Midpoint {});
    let mut stepper = Stepper::new(&field, x.clone(), c, &solver, schedule, None).unwrap();
    loop {
        bus.store(number(stepper.done()));
        if stepper.advance().unwrap().is_none() {
            break;
        }
    }
    bus.pass();
    stepper.solution().x
}

/// Every feature of every layer put back at its own time and place, to the bit; shifted by a step or a layer it is another sample.
#[test]
fn features_that_meet_themselves_change_nothing() {
    let (x, c, schedule) = (points(3, 0), class(1, 3), uniform(5));
    let all = RfEdit { inject: 5, solver: Solver::Midpoint {}, ..RfEdit::default() };
    let plain = solve(&Toy { taps: None }, x.clone(), &c, &all.solver, &schedule, None).unwrap().x;
    for parts in [Parts::default(), Parts { query: true, key: true, value: true }] {
        let bus = Bus::new(0..BLOCKS, parts);
        let first = recorded(&bus, &x, &c, &schedule, |step| step);
        assert_eq!(host(&first), host(&plain), "storing changes nothing");
        let (again, nfe) = all.regenerate(&heard(&bus), &bus, x.clone(), &c, &schedule).unwrap();
        assert_eq!((host(&again), nfe), (host(&plain), 10));
        assert_eq!(bus.counts(), (5 * 2 * BLOCKS, 5 * 2 * BLOCKS), "steps, evaluations, layers");
        let width = if parts.query { 3 } else { 1 };
        assert_eq!(bus.bytes(), 5 * 2 * BLOCKS * width * 3 * TOKENS * WIDTH * 4);
        // Keyed one step later: step 0 finds nothing.
        let late = Bus::new(0..BLOCKS, parts);
        recorded(&late, &x, &c, &schedule, |step| step + 1);
        let error = all.regenerate(&heard(&late), &late, x.clone(), &c, &schedule).unwrap_err();
        assert!(error.to_string().contains("step 0, evaluation 0, attention layer 0"), "{error}");
        // Keyed one step earlier, all but the last are another step's.
        let early = Bus::new(0..BLOCKS, parts);
        recorded(&early, &x, &c, &schedule, |step| step.saturating_sub(1));
        let four = RfEdit { inject: 4, ..all.clone() };
        let (other, _) = four.regenerate(&heard(&early), &early, x.clone(), &c, &schedule).unwrap();
        assert!(gap(&other, &plain) > 1e-3);
    }
}

/// `inject = 0` is inversion and generation, nothing else; `inject` intervals of `blocks` layers are counted.
#[test]
fn what_is_shared_is_what_was_asked() {
    let (x, source, target, schedule) = (points(2, 1), class(0, 2), class(2, 2), uniform(6));
    let solver = Solver::RfSolver { order: 2 };
    let toy = Toy { taps: None };
    let back = solve(&toy, x.clone(), &source, &solver, &schedule.reversed(), None).unwrap().x;
    let plain = solve(&toy, back.clone(), &target, &solver, &schedule, None).unwrap().x;
    let mut found = Vec::new();
    for inject in [0, 2, 6] {
        let bus = Bus::new(1..3, Parts::default());
        let field = heard(&bus);
        let edit = RfEdit { inject, solver: solver.clone(), ..RfEdit::default() };
        let edited = edit.run([&field, &field], &bus, x.clone(), [&source, &target], &schedule).unwrap();
        assert_eq!(edited.nfe, 24);
        assert_eq!(bus.counts(), (inject * 2 * 2, inject * 2 * 2), "intervals, evaluations, layers");
        assert_eq!((bus.missed(), edited.bytes == 0), (None, inject == 0));
        found.push(host(&edited.x));
    }
    assert_eq!(found[0], host(&plain), "inversion and generation alone");
    assert!(found[1] != found[0] && found[2] != found[1]);
    let error = RfEdit { inject: 7, solver, ..RfEdit::default() }.run(
        [&toy, &toy],
        &Bus::new(0..1, Parts::default()),
        x,
        [&source, &target],
        &schedule,
    );
    assert!(matches!(error, Err(MethodError::Setting { setting: "inject", .. })));
}

/// The toy hears of its class in its attention alone: with all of that put back everywhere no target is left to be heard.
#[test]
fn everything_shared_is_nothing_edited() {
    let (x, source, schedule) = (points(2, 5), class(0, 2), uniform(4));
    let run = |target: i64, parts: Parts, blocks: usize| {
        let bus = Bus::new(0..blocks, parts);
        let field = heard(&bus);
        let edit = RfEdit { inject: 4, ..RfEdit::default() };
        host(&edit.run([&field, &field], &bus, x.clone(), [&source, &class(target, 2)], &schedule).unwrap().x)
    };
    let all = Parts { query: true, key: true, value: true };
    assert_eq!(run(2, all, BLOCKS), run(5, all, BLOCKS));
    assert_eq!(run(2, all, BLOCKS), run(0, all, BLOCKS));
    // One layer too few, or values alone, and the target is heard.
    assert_ne!(run(2, all, BLOCKS - 1), run(5, all, BLOCKS - 1));
    assert_ne!(run(2, Parts::default(), BLOCKS), run(5, Parts::default(), BLOCKS));
}

/// The last interval of the way back is the first of the way forth, and with the midpoint rule their second evaluations are at one
/// time: with the same condition, sharing those alone hardly moves the sample, and less the more steps there are.
#[test]
fn the_two_ways_meet_in_the_same_interval() {
    let off = |steps: usize| {
        let (x, c, schedule) = (points(2, 2), class(1, 2), uniform(steps));
        let bus = Bus::new(0..BLOCKS, Parts::default());
        let field = heard(&bus);
        let edit = RfEdit { inject: steps / 2, ..RfEdit::default() };
        let found = edit.run([&field, &field], &bus, x.clone(), [&c, &c], &schedule).unwrap();
        gap(&found.x, &x)
    };
    let (few, many) = (off(8), off(64));
    assert!(many < few / 4.0 && many < 5e-3, "{few} {many}");
}

/// A guided evaluation asks for every sample twice, and both get the sample's own values.
#[test]
fn guidance_finds_its_features() {
    let (x, source, target, schedule) = (points(2, 3), class(0, 2), class(2, 2), uniform(4));
    let bus = Bus::new(0..BLOCKS, Parts::default());
    let back = heard(&bus);
    let guided = Guided::new(Toy { taps: Some(bus.taps()) }, 2.0, None).unwrap();
    let forth = Heard { field: guided, bus: bus.clone() };
    let edit = RfEdit { inject: 2, ..RfEdit::default() };
    let found = edit.run([&back, &forth], &bus, x.clone(), [&source, &target], &schedule).unwrap();
    assert_eq!((bus.missed(), bus.counts()), (None, (12, 12)));
    assert!(host(&found.x).iter().all(|v| v.is_finite()));
    // Another number of samples than was stored is refused, not passed by.
    let three = class(2, 3);
    let error = edit.regenerate(&forth, &bus, points(3, 3), &three, &schedule).unwrap_err();
    assert!(error.to_string().contains("another shape"), "{error}");
}

/// Gaussians of one width around the class: every flow is known.
struct Around;

impl Field<2> for Around {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        let (b, device) = (x.dims()[0], x.device());
        let mean = condition.class.clone().map_or_else(|| Tensor::zeros([b], &device), |c| c.float()).reshape([b, 1]);
        let slope = |t: f64| (t * 0.25 - (1.0 - t)) / ((1.0 - t).powi(2) + t * t * 0.25);
        let away = x.clone() - mean.clone() * rows::time_column(t, |t| t, &x);
        mean + away * rows::time_column(t, slope, &x)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &Path::Linear {}, independent: true })
    }
}

/// From mean 0 to mean 2 of one width every method's answer is known: FlowEdit and inversion move by 2, SDEdit by what it keeps.
#[test]
fn baselines_have_their_closed_forms() {
    let values = vec![-0.3f32, 0.1, 0.6, 0.0];
    let x = Tensor::<2>::from_data(TensorData::new(values, [4, 1]), &Device::flex());
    let (source, target, schedule) = (class(0, 4), class(2, 4), uniform(200));
    let (key, indices) = (Key::new(1, Purpose::Noise), [0, 1, 2, 3]);
    let moved = x.clone() + 2.0;
    let edit = FlowEdit { start: 0.0, draws: 1 };
    let run = |edit: &FlowEdit, target| {
        edit.run([&Around, &Around], x.clone(), [&source, target], &schedule, (key, &indices)).unwrap()
    };
    let found = run(&edit, &target);
    assert!(gap(&found.x, &moved) < 1e-4, "{:?}", host(&found.x));
    assert_eq!(found.nfe, 400);
    assert_eq!(host(&run(&edit, &source).x), host(&x), "nothing to edit");
    // Begun later it moves by less.
    let late = run(&FlowEdit { start: 0.5, draws: 2 }, &target);
    let shift = gap(&late.x, &x);
    assert!(shift < 1.9 && shift > 0.2 && late.nfe == 400, "{shift}");
    // After the last step's beginning there is nothing to do. Mutant: the source handed back as an edit.
    let none = FlowEdit { start: 0.6, draws: 1 };
    let refused = none.run([&Around, &Around], x.clone(), [&source, &target], &uniform(2), (key, &indices));
    assert!(matches!(refused, Err(MethodError::Setting { setting: "start", .. })));

    let bus = Bus::new(0..0, Parts::default());
    let inversion = RfEdit { inject: 0, ..RfEdit::default() };
    let found = inversion.run([&Around, &Around], &bus, x.clone(), [&source, &target], &schedule).unwrap();
    assert!(gap(&found.x, &moved) < 1e-3, "{:?}", host(&found.x));

    // From t = 1/2: z = (noise + x)/2, whose flow to the end is affine: m + s (z - t m)/√((1 - t)² + t² s²).
    let noise = key.normal_tensor::<2>(&indices, [0, 1], &Device::flex());
    let sd = SdEdit { start: 0.5, ..SdEdit::default() };
    let found = sd.run(&Around, x.clone(), noise.clone(), &target, &schedule).unwrap();
    let known = ((noise + x.clone()) * 0.5 - 1.0) * (0.5 / (0.25f64 + 0.25 * 0.25).sqrt()) + 2.0;
    assert!(gap(&found.x, &known) < 1e-3, "{:?} {:?}", host(&found.x), host(&known));
    let refused = SdEdit { start: 1.0, ..sd }.run(&Around, x.clone(), x.clone(), &target, &schedule);
    assert!(matches!(refused, Err(MethodError::Setting { setting: "start", .. })));
}
