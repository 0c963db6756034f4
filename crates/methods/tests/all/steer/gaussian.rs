//! On one Gaussian everything is linear: FlowChef is a matrix recursion, and its inner steps have a closed form.

use super::oracle::{Pictures, Vector, dense, host, misfit, noise, steer, tensor, uniform};
use base::{Condition, Device, Key, Purpose, Tensor, TensorData, Times};
use flow::{Field, Frame, Parameterization, Path};
use methods::MethodError;
use methods::steer::operator::{Mask, Separable};
use methods::steer::sensor::Rounded;
use methods::steer::{FlowChef, Operator, Problem, Rule, Sensor, Steering};
use std::cell::{Cell, RefCell};

const D: usize = 6;

fn spread() -> Vector {
    (0..D).map(|i| 0.2 + 0.15 * i as f64).collect()
}

fn mean() -> Vector {
    (0..D).map(|i| 0.5 - 0.2 * i as f64).collect()
}

fn gaussian() -> Pictures {
    let covariance = (0..D * D).map(|k| if k / D == k % D { spread()[k / D].powi(2) } else { 0.0 }).collect();
    Pictures::new(vec![1.0], vec![mean()], vec![covariance])
}

/// `v_i = m_i + (t s_i² - (1 - t))/((1 - t)² + t² s_i²) (x_i - t m_i)`, then the paper's two lines.
fn recursion(a: &[Vector], y: &[f64], kappa: f64, bound: f64, steps: usize, x: &[f64]) -> Vector {
    let (m, s, mut x) = (mean(), spread(), x.to_vec());
    for n in 0..steps {
        let (t, h) = (n as f64 / steps as f64, 1.0 / steps as f64);
        let v: Vector = (0..D)
            .map(|i| {
                let s = s[i] * s[i];
                m[i] + (t * s - (1.0 - t)) / ((1.0 - t).powi(2) + t * t * s) * (x[i] - t * m[i])
            })
            .collect();
        let data: Vector = (0..D).map(|i| x[i] + (1.0 - t) * v[i]).collect();
        let misfit: Vector =
            a.iter().zip(y).map(|(row, y)| row.iter().zip(&data).map(|(a, d)| a * d).sum::<f64>() - y).collect();
        let pull = |i: usize| a.iter().zip(&misfit).map(|(row, r)| row[i] * r).sum::<f64>();
        let steered = n + 1 < steps;
        x = (0..D).map(|i| x[i] - if steered { kappa / bound * pull(i) } else { 0.0 } + h * v[i]).collect();
    }
    x
}

/// To 1e-10. A gradient through the velocity, a velocity found anew, another sign, or a steered last step are another recursion.
#[test]
fn flowchef_is_the_matrix_recursion() {
    let field = gaussian().field();
    let y = [vec![0.3, -0.4, 0.2, 0.1, 0.6, -0.2]];
    let operators: Vec<Box<dyn Operator>> = vec![
        Box::new(Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap()),
        Box::new(Separable::blur([1, 2, 3], 3, 0.7).unwrap()),
    ];
    let start = noise(0, 1, D);
    for operator in operators {
        let (a, bound) = (dense(&*operator), operator.bound());
        let y = [host(operator.forward(tensor(&y)))];
        let cost = methods::steer::Measurement::new(operator, tensor(&y), 0.0).unwrap();
        for kappa in [0.0814, 1.0, 1.7] {
            let known = recursion(&a, &y[0], kappa, bound, 20, &host(start.clone()));
            let found = steer(&field, &cost, &Steering::FlowChef(FlowChef::new(kappa)), 20, start.clone());
            let off = host(found.x).iter().zip(&known).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(off < 1e-10, "kappa {kappa}: {off}");
            assert_eq!((found.nfe, found.differentiated), (20, 0));
        }
    }
}

/// `N` steps of `κ` are one of `1 - (1 - κ)^N` where `A Aᵀ` is a multiple of the identity; with a blur they are not.
#[test]
fn inner_steps_are_one_longer_step() {
    let field = gaussian().field();
    let start = noise(0, 4, D);
    let y = vec![vec![0.3, -0.4, 0.2, 0.1, 0.6, -0.2]; 4];
    let (kappa, inner) = (0.3, 5);
    let gap = |cost: &dyn methods::steer::Cost| {
        let many = FlowChef { inner, ..FlowChef::new(kappa) };
        let one = FlowChef::new(1.0 - (1.0f64 - kappa).powi(inner as i32));
        let run = |chef| host(steer(&field, cost, &Steering::FlowChef(chef), 10, start.clone()).x);
        run(many).iter().zip(run(one)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let mask = || Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap();
    let masked = host(mask().forward(tensor(&y)));
    let masked: Vec<Vector> = masked.chunks(D).map(<[f64]>::to_vec).collect();
    assert!(gap(&misfit(mask(), &masked, 0.0)) < 1e-12);
    assert!(gap(&misfit(Separable::blur([1, 2, 3], 3, 0.7).unwrap(), &y, 0.0)) > 1e-3);
}

/// With κ = 1 the known values are exact after one steered step, whatever the flow; Adam's first step is `rate` along the sign.
#[test]
fn the_rules_move_as_they_say() {
    let field = gaussian().field();
    let y = [vec![0.3, 0.0, 0.2, 0.1, 0.0, -0.2]];
    let cost = misfit(Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap(), &y, 0.0);
    let start = noise(0, 1, D);
    let exact = FlowChef { last_step: true, ..FlowChef::new(1.0) };
    let end = host(steer(&field, &cost, &Steering::FlowChef(exact), 7, start.clone()).x);
    assert!([0, 2, 3, 5].into_iter().all(|i| (end[i] - y[0][i]).abs() < 1e-12), "{end:?}");
    let projected = FlowChef { project: true, ..FlowChef::new(0.0814) };
    let end = host(steer(&field, &cost, &Steering::FlowChef(projected), 7, start.clone()).x);
    assert!([0, 2, 3, 5].into_iter().all(|i| (end[i] - y[0][i]).abs() < 1e-12), "{end:?}");
    // One step of the sampler, steered: the known values move by the rate, the others not at all.
    let adam =
        |threshold| FlowChef { rule: Rule::Adam { rate: 0.01, threshold }, last_step: true, ..FlowChef::default() };
    let none = FlowChef { window: Some((1.0, 1.0)), ..FlowChef::new(1.0) };
    let run = |chef| host(steer(&field, &cost, &Steering::FlowChef(chef), 1, start.clone()).x);
    let (still, sign, blunt) = (run(none), run(adam(1e-12)), run(adam(1e3)));
    for i in 0..D {
        let known = [0, 2, 3, 5].contains(&i);
        let toward = if known { (y[0][i] - still[i]).signum() * 0.01 } else { 0.0 };
        assert!((sign[i] - still[i] - toward).abs() < 1e-9, "{i}: {} {}", sign[i], still[i]);
        let blunt = blunt[i] - still[i];
        assert!((blunt - if known { 1e-5 * (y[0][i] - still[i]) } else { 0.0 }).abs() < 1e-7, "{i}: {blunt}");
    }
}

/// Counts what the method asks of the field, and whether it was ever asked on a tape.
struct Watched<F> {
    field: F,
    asked: Cell<usize>,
    taped: Cell<usize>,
}

impl<F: Field<2>> Field<2> for Watched<F> {
    fn velocity(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> Tensor<2> {
        self.asked.set(self.asked.get() + 1);
        self.taped.set(self.taped.get() + usize::from(x.is_autodiff()));
        self.field.velocity(x, t, condition)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        self.field.frame()
    }
}

/// The cost of each method is what it says: FlowChef asks once a step and never on a tape.
#[test]
fn methods_cost_what_they_say() {
    use methods::steer::{Dps, FreeDom, Mpgd, OtOde, PnpFlow};
    let y = vec![vec![0.3, 0.0, 0.2, 0.1, 0.0, -0.2]; 2];
    let cost = misfit(Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap(), &y, 0.0);
    for (steering, asked, taped) in [
        (Steering::FlowChef(FlowChef { inner: 3, ..FlowChef::default() }), 10, 0),
        (Steering::Mpgd(Mpgd::default()), 10, 0),
        (Steering::Dps(Dps::default()), 10, 9),
        (Steering::FreeDom(FreeDom::default()), 19, 9),
        (Steering::OtOde(OtOde::default()), 8, 8),
        (Steering::PnpFlow(PnpFlow { draws: 3, ..PnpFlow::default() }), 30, 0),
    ] {
        let field = Watched { field: gaussian().field(), asked: Cell::new(0), taped: Cell::new(0) };
        let found = steer(&field, &cost, &steering, 10, noise(0, 2, D));
        assert_eq!((field.asked.get(), field.taped.get()), (asked, taped), "{steering:?}");
        assert_eq!((found.nfe, found.differentiated), (asked, taped), "{steering:?}");
        assert_eq!(steering.differentiates(), taped > 0);
    }
}

#[test]
fn settings_and_fields_that_make_no_sense_are_refused() {
    let y = [vec![0.3, 0.0, 0.2, 0.1, 0.0, -0.2]];
    let cost = misfit(Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap(), &y, 0.0);
    let (none, schedule, key) = (Condition::none(), uniform(4), Key::new(0, Purpose::Noise));
    let says = |field: &dyn Field<2>, chef: FlowChef, indices: &[u64]| {
        let problem =
            Problem { field, condition: &none, cost: &cost, schedule: &schedule, key, indices, stop: &|| false };
        Steering::FlowChef(chef).run(&problem, noise(0, 1, D)).unwrap_err().to_string()
    };
    let field = gaussian().field();
    assert!(says(&field, FlowChef::new(2.0), &[0]).contains("force"));
    assert!(says(&field, FlowChef::new(-0.1), &[0]).contains("positive"));
    assert!(says(&field, FlowChef::new(f64::NAN), &[0]).contains("positive"));
    assert!(says(&field, FlowChef { inner: 0, ..FlowChef::default() }, &[0]).contains("inner"));
    assert!(says(&field, FlowChef { window: Some((0.5, 0.2)), ..FlowChef::default() }, &[0]).contains("window"));
    assert!(says(&field, FlowChef::default(), &[0, 1]).contains("sample numbers"));
    let closure = |x: Tensor<2>, _: &Times, _: &Condition| x;
    assert!(says(&closure, FlowChef::default(), &[0]).contains("knows its path"));
    let wild = FlowChef { unstable: true, ..FlowChef::new(2.5) };
    let problem = Problem {
        field: &field,
        condition: &none,
        cost: &cost,
        schedule: &schedule,
        key,
        indices: &[0],
        stop: &|| false,
    };
    assert!(Steering::FlowChef(wild).run(&problem, noise(0, 1, D)).is_ok());
}

/// FlowDPS's three lines, its noise drawn by counter.
///
/// Mutants: the weights of what fits and what does not swapped; this time's noise in place of the next one's; one noise for all steps.
#[test]
fn flow_dps_is_its_recursion() {
    let (field, steps, n) = (gaussian().field(), 12, D);
    let operator = Separable::blur([1, 2, 3], 3, 0.7).unwrap();
    let (a, bound) = (dense(&operator), operator.bound());
    let y = host(operator.forward(tensor(&[vec![0.3, -0.4, 0.2, 0.1, 0.6, -0.2]])));
    let start = noise(0, 1, n);
    let cost = misfit(operator, std::slice::from_ref(&y), 0.0);
    let method = methods::steer::FlowDps { kappa: 0.7, inner: 2, unstable: false };
    let found = steer(&field, &cost, &Steering::FlowDps(method), steps, start.clone());
    let (m, s, mut x) = (mean(), spread(), host(start));
    for k in 0..steps {
        let (t, next) = (k as f64 / steps as f64, (k + 1) as f64 / steps as f64);
        let v = |i: usize| {
            let s = s[i] * s[i];
            m[i] + (t * s - (1.0 - t)) / ((1.0 - t).powi(2) + t * t * s) * (x[i] - t * m[i])
        };
        let (data, source): (Vector, Vector) = (0..n).map(|i| (x[i] + (1.0 - t) * v(i), x[i] - t * v(i))).unzip();
        let mut fitted = data.clone();
        for _ in 0..2 {
            let gap: Vector =
                a.iter().zip(&y).map(|(row, y)| row.iter().zip(&fitted).map(|(a, d)| a * d).sum::<f64>() - y).collect();
            let pull = |i: usize| a.iter().zip(&gap).map(|(row, r)| row[i] * r).sum::<f64>();
            fitted = (0..n).map(|i| fitted[i] - 0.7 / bound * pull(i)).collect();
        }
        let fresh: Vector = Key::new(47, Purpose::Noise).fold(k as u64).normals(0, n).map(f64::from).collect();
        let (now, later) = (1.0 - t, 1.0 - next);
        x = (0..n)
            .map(|i| {
                let noise = later.sqrt() * source[i] + (1.0 - later).sqrt() * fresh[i];
                next * ((1.0 - now) * data[i] + now * fitted[i]) + later * noise
            })
            .collect();
    }
    let off = host(found.x).iter().zip(&x).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(off < 1e-9 && (found.nfe, found.differentiated) == (12, 0), "{off}");
}

/// On one Gaussian six steps are an affine map `M x0 + b`, so that D-Flow's descent ends at `x0 + (A M)⁺ (y - A (M x0 + b))`: the nearest
/// noise that fits, each row by itself.
///
/// Mutants: the pairs of the memory in the wrong order; named and not run: shares of the blend exchanged, velocities of the way back taken at
/// the steps' beginnings, a way back that begins without noise.
/// A derivative left out on the way back does not show: where all is diagonal, any positive
/// multiple of the slope leads to the same end.
#[test]
fn d_flow_finds_the_nearest_noise_that_fits() {
    let (field, rows) = (gaussian().field(), 3);
    let mask = || Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap();
    let taped = methods::steer::Lifted(field);
    let start = noise(0, rows, D);
    let truth: Vec<Vector> = (0..rows).map(|r| (0..D).map(|i| 0.3 * r as f64 - 0.1 * i as f64).collect()).collect();
    let y = host(mask().forward(tensor(&truth)));
    let y: Vec<Vector> = y.chunks(D).map(<[f64]>::to_vec).collect();
    let cost = misfit(mask(), &y, 0.0);
    // Everything is diagonal: a step of a value multiplies its distance from the moving mean.
    let (m, s) = (mean(), spread());
    let rate = |i: usize, k: usize| {
        let (t, s) = (k as f64 / 6.0, s[i] * s[i]);
        (t * s - (1.0 - t)) / ((1.0 - t).powi(2) + t * t * s) / 6.0
    };
    let gain = |i: usize| (0..6).fold(1.0, |gain: f64, k| gain * (1.0 + rate(i, k)));
    // A hidden value looks like nothing, and nothing, with the noise of the last step, comes from this: brought to the noise's length if longer.
    let masked = |row: usize, i: usize| if mask().known()[i] { truth[row][i] } else { 0.0 };
    let back = |row: usize, i: usize, x0: f64| {
        (1..6).rev().fold(5.0 / 6.0 * (masked(row, i) - m[i]) + x0 / 6.0, |away: f64, k| away * (1.0 - rate(i, k)))
    };
    let method = methods::steer::DFlow { rounds: 40, ..Default::default() };
    let mut found = None;
    for blend in [0.3, 0.0] {
        let method = methods::steer::DFlow { blend, ..method.clone() };
        let made = steer(&taped, &cost, &Steering::DFlow(method), 24, start.clone());
        let (x, x0, known) = (host(made.x.clone()), host(start.clone()), mask());
        for k in 0..rows * D {
            let (row, i) = (k / D, k % D);
            let length = |of: &dyn Fn(usize) -> f64| (0..D).map(|i| of(i).powi(2)).sum::<f64>().sqrt();
            let own = |i: usize| x0[row * D + i];
            let shrink = (length(&own) / length(&|i| back(row, i, own(i)))).min(1.0);
            let free = m[i] + gain(i) * (blend * shrink * back(row, i, x0[k]) + (1.0 - blend) * x0[k]);
            let wanted = if known.known()[i] { truth[row][i] } else { free };
            assert!((x[k] - wanted).abs() < 1e-5, "blend {blend}, row {row}, value {i}: {} is not {wanted}", x[k]);
        }
        found = Some(made);
    }
    let found = found.unwrap();
    let most = 40 * 6;
    assert!(found.differentiated < most && found.nfe > found.differentiated, "it stops: {}", found.differentiated);
    let first = misfit(mask(), &y[..1], 0.0);
    for rounds in [3, 40] {
        let method = Steering::DFlow(methods::steer::DFlow { rounds, ..method.clone() });
        let together = host(steer(&taped, &cost, &method, 24, start.clone()).x);
        let alone = host(steer(&taped, &first, &method, 24, start.clone().slice([0..1, 0..D])).x);
        assert!(
            alone.iter().zip(&together).all(|(a, b)| (a - b).abs() < 1e-9),
            "rows do not see one another: {rounds}"
        );
    }
}

/// A network that predicts data, the half of what it sees, and what it was asked; `broken`, it knows no number before it is asked at the source.
struct Halving {
    path: Path,
    broken: bool,
    asked: RefCell<Vec<(f64, Vector)>>,
}

impl Field<2> for Halving {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        let network = Parameterization::Data {};
        let plain = if x.is_autodiff() { x.clone().inner() } else { x.clone() };
        let mut asked = self.asked.borrow_mut();
        asked.push((t.values()[0], host(plain)));
        let lost = self.broken && asked.iter().all(|(t, _)| *t > 0.0);
        let output = x.clone() * if lost { f64::NAN } else { 0.5 };
        network.to_velocity(&self.path, x, output, &network.clamp(&self.path, t))
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.path, independent: true })
    }
}

/// Where a path has no noise left at the data, or a network of data no velocity there, the way back begins before it, at a point as it lies on the
/// path; the start is no farther out than noise is, and noise alone where the way back is no number. On the linear path and on EDM's.
///
/// Mutants: the way back begun at the data (NaN on EDM, hundreds of times the noise on the linear path); rows not brought to the noise's length;
/// the noise not divided by the source's width; no number kept.
#[test]
fn d_flow_begins_its_way_back_before_the_data() {
    let y = [vec![9.0, -7.0, 5.0, 6.0, -8.0, 4.0]];
    let mask = || Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap();
    let seen = host(mask().forward(tensor(&y)));
    let cost = misfit(mask(), &y, 0.0);
    let length = |x: &[f64]| x.iter().map(|v| v * v).sum::<f64>().sqrt();
    for (path, broken) in [Path::Linear {}, Path::Edm { sigma_max: 80.0, rho: 7.0 }]
        .into_iter()
        .flat_map(|path| [(path.clone(), false), (path, true)])
    {
        let (plain, width) = (noise(0, 1, D), path.start_scale());
        let start = plain.clone() * width;
        let field = Halving { path: path.clone(), broken, asked: RefCell::default() };
        let method = Steering::DFlow(methods::steer::DFlow { blend: 1.0, rounds: 2, ..Default::default() });
        let found = steer(&field, &cost, &method, 12, start.clone());
        assert!(host(found.x).iter().all(|v| v.is_finite()), "{path:?}");
        let (asked, c) = (field.asked.borrow(), path.at(5.0 / 6.0));
        assert_eq!(found.nfe, asked.len());
        for ((v, n), known) in asked[0].1.iter().zip(host(plain)).zip(&seen) {
            let wanted = c.alpha * n + c.beta * known;
            assert!((v - wanted).abs() < 1e-6, "{path:?}: {v} is not {wanted}");
        }
        let (begun, noise) = (&asked.iter().find(|(t, _)| *t == 0.0).unwrap().1, host(start));
        if broken {
            assert_eq!(*begun, noise, "{path:?}");
        } else {
            let share = length(begun) / length(&noise);
            assert!((share - 1.0).abs() < 1e-5 && *begun != noise, "{path:?}: {share}");
        }
    }
}

/// Somebody who asks to stop is heard before the next evaluation, whichever method and however many there are to come.
///
/// Mutant, named and not run: a method that asks the field itself.
#[test]
fn every_method_stops_between_two_evaluations() {
    let y = [vec![0.3, 0.0, 0.2, 0.1, 0.0, -0.2]];
    let cost = misfit(Mask::hole([1, 2, 3], [0, 1], [2, 1]).unwrap(), &y, 0.0);
    let (none, schedule, key) = (Condition::none(), uniform(12), Key::new(0, Purpose::Noise));
    for steering in Steering::all() {
        let watched = Watched { field: gaussian().field(), asked: Cell::new(0), taped: Cell::new(0) };
        let stop = || watched.asked.get() >= 5;
        let (condition, cost) = (&none, &cost);
        let problem =
            Problem { field: &watched, condition, cost, schedule: &schedule, key, indices: &[0], stop: &stop };
        let stopped = steering.run(&problem, noise(0, 1, D));
        assert!(matches!(stopped, Err(MethodError::Stopped)), "{}", steering.name());
        // FreeDoM's step asks once more after its gradient.
        assert!((5..=6).contains(&watched.asked.get()), "{}: {}", steering.name(), watched.asked.get());
    }
}

/// Stands still, and is no number below an edge.
struct Edge(Path, f32);

impl Field<2> for Edge {
    fn velocity(&self, x: Tensor<2>, _: &Times, _: &Condition) -> Tensor<2> {
        let below = x.clone().lower_elem(self.1);
        (x * 0.0).mask_fill(below, f32::NAN)
    }

    fn frame(&self) -> Option<Frame<'_>> {
        Some(Frame { path: &self.0, independent: true })
    }
}

/// In single precision, long rows: one that lies inside its box has no slope and stays where it is, one beside it moves, and a step at whose
/// end is no number is halved in its row alone.
///
/// Mutants: a length divided by a slope of nothing; a walk that is no number ends all rows; rounds that go on when no row moves; lengths
/// halved in all rows where one fails.
#[test]
fn d_flow_leaves_rows_that_fit_and_halves_steps_that_run_away() {
    let n = 64;
    let single = |values: &[f32]| Tensor::<2>::from_data(TensorData::new(values.to_vec(), [2, n]), &Device::flex());
    let start: Vec<f32> = (0..2 * n).map(|i| 0.4 * (i as f32).sin() + 1.0).collect();
    let (none, schedule, key) = (Condition::none(), uniform(4), Key::new(0, Purpose::Noise));
    let drawn = |measured: &[f32], edge: f32| -> (Vec<f32>, usize) {
        let sensor = Sensor::Rounded(Rounded::levels([1, 8, 8], 1).unwrap());
        let cost = sensor.cost(single(measured), 0.0).unwrap();
        let field = methods::steer::Lifted(Edge(Path::Linear {}, edge));
        let (condition, indices) = (&none, &[0, 1]);
        let problem =
            Problem { field: &field, condition, cost: &*cost, schedule: &schedule, key, indices, stop: &|| false };
        let found = Steering::DFlow(Default::default()).run(&problem, single(&start)).unwrap();
        (found.x.into_data().iter::<f32>().collect(), found.differentiated)
    };
    // Of two levels the upper one is what lies from 0 to 2, as all of this does: two rounds of four steps see that nothing moves.
    let mut measured = vec![1.0; 2 * n];
    assert_eq!(drawn(&measured, f32::MIN), (start.clone(), 2 * 4));
    // The second row must come down to zero.
    measured[n..].fill(-1.0);
    let (x, _) = drawn(&measured, f32::MIN);
    assert!(x[..n] == start[..n] && x[n..].iter().all(|v| *v < 1e-3), "{:?}", &x[n..]);
    // Or as near as it gets.
    let (x, _) = drawn(&measured, 0.3);
    let sum = |x: &[f32]| x[n..].iter().sum::<f32>();
    assert!(x[..n] == start[..n] && x.iter().all(|v| *v >= 0.3) && sum(&x) < 0.95 * sum(&start), "{:?}", &x[n..]);
}
