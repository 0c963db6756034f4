//! Alignment against closed forms: tests T1 to T3 of VideoAlign's mathematics (arXiv 2501.13918).

use base::{Condition, Device, Key, Network, Pass, Purpose, Tensor, TensorData, Times};
use flow::exact::Gaussian;
use flow::{Objective, Path, ScheduleConfig, Solver, solve};
use methods::align::{
    BetaSchedule, Compared, DpoConfig, Duel, Errors, GrpoConfig, Moments, Reduction, RewardLoss, Rewarded, Verdict,
    WeightConfig, winners,
};

fn row(values: &[f32]) -> Tensor<1> {
    Tensor::from_floats(values, &Device::flex())
}

fn column(values: &[f32]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), &Device::flex())
}

fn host<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    flow::rows::host(x.inner()).unwrap()
}

fn said(verdicts: &[Verdict]) -> Compared {
    Compared { verdicts: verdicts.to_vec(), scores: Default::default() }
}

use Verdict::{First, Invalid, Second, Tie};

// T1: Bradley–Terry with ties.

#[test]
fn verdicts_have_the_probabilities_of_the_paper() {
    let loss = RewardLoss::default();
    for (difference, wanted) in
        [(0.0, [1.0 / 6.0, 1.0 / 6.0, 2.0 / 3.0]), (2.0, [0.5964, 0.0264, 0.3772]), (0.5, [0.2480, 0.1082, 0.6438])]
    {
        let found = loss.probabilities(difference);
        assert!((found.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        // The loss of a verdict is the logarithm of its probability: the tensors say what the formula says.
        let pairs = said(&[First, Second, Tie]);
        let rewards = [difference as f32 + 0.3; 3];
        let losses = host(loss.loss(column(&rewards), column(&[0.3; 3]), &pairs).unwrap());
        for i in 0..3 {
            assert!((found[i] - wanted[i]).abs() < 6e-5, "{difference}: {found:?}");
            assert!((losses[i] + found[i].ln()).abs() < 1e-5, "{difference}: {losses:?}");
        }
    }
}

#[test]
fn its_gradient_is_that_of_the_formula() {
    let device = Device::flex().autodiff();
    for loss in [RewardLoss::default(), RewardLoss::BradleyTerry {}, RewardLoss::ConstantMargin { margin: 0.57 }] {
        for verdict in [First, Second, Tie] {
            let at = |d: f64| -> f64 {
                let rewards = column(&[d as f32]);
                host(loss.loss(rewards, column(&[0.0]), &said(&[verdict])).unwrap())[0]
            };
            let leaf = Tensor::<2>::from_floats([[0.8]], &device).require_grad();
            let zero = Tensor::<2>::zeros([1, 1], &device);
            let value = loss.loss(leaf.clone(), zero, &said(&[verdict])).unwrap().sum();
            let gradient = host(leaf.grad(&value.backward()).unwrap())[0];
            let numeric = (at(0.82) - at(0.78)) / 0.04;
            assert!((gradient - numeric).abs() < 1e-3, "{loss:?} {verdict:?}: {gradient} {numeric}");
        }
    }
}

#[test]
fn invalid_verdicts_do_not_dilute() {
    let (a, b) = (column(&[1.0, 0.2, -3.0, 9.0]), column(&[0.5, 0.9, 1.0, 0.0]));
    let mean = |loss: &RewardLoss, a: &Tensor<2>, b: &Tensor<2>, verdicts: &[Verdict]| {
        host(loss.loss(a.clone(), b.clone(), &said(verdicts)).unwrap().mean())[0]
    };
    for loss in [RewardLoss::default(), RewardLoss::BradleyTerry {}] {
        let whole = mean(&loss, &a, &b, &[First, Second, Invalid, Invalid]);
        let part = mean(&loss, &a.clone().narrow(0, 0, 2), &b.clone().narrow(0, 0, 2), &[First, Second]);
        assert!((whole - part).abs() < 1e-6, "{loss:?}: {whole} {part}");
        assert_eq!(mean(&loss, &a, &b, &[Invalid; 4]), 0.0);
    }
    // A tie teaches Bradley–Terry nothing and is not counted; with ties it is.
    let plain = RewardLoss::BradleyTerry {};
    assert_eq!(
        mean(&plain, &a, &b, &[First, Tie, Tie, Tie]),
        mean(&plain, &a, &b, &[First, Invalid, Invalid, Invalid])
    );
    let ties = RewardLoss::default();
    assert_ne!(mean(&ties, &a, &b, &[First, Tie, Tie, Tie]), mean(&ties, &a, &b, &[First, Invalid, Invalid, Invalid]));
}

#[test]
fn scores_teach_by_their_distance() {
    let scores = Compared { verdicts: vec![First, Second], scores: [vec![2.0, 1.0], vec![1.0, 3.0]] };
    let (a, b) = (column(&[2.0, 0.0]), column(&[1.0, 2.0]));
    let margin = host(RewardLoss::Margin {}.loss(a.clone(), b.clone(), &scores).unwrap());
    // The rewards are as far apart as the scores: -ln σ(0).
    assert!(margin.iter().all(|l| (l - 2f64.ln()).abs() < 1e-6), "{margin:?}");
    let squared = host(RewardLoss::Regression {}.loss(a.clone(), b.clone(), &scores).unwrap());
    assert!(squared[0].abs() < 1e-6 && (squared[1] - 1.0).abs() < 1e-6, "{squared:?}");
    let missing = RewardLoss::Regression {}.loss(a, b, &said(&[First, Second])).unwrap_err().to_string();
    assert!(missing.contains("use `ties`"), "{missing}");
    assert!(RewardLoss::Ties { theta: 1.0 }.check().is_err());
}

// T2: Flow-DPO.

#[test]
fn at_the_reference_the_loss_is_ln_2_and_the_gradient_a_quarter_of_beta() {
    let times = Times::new(vec![0.25, 0.8]);
    let device = Device::flex().autodiff();
    for beta_schedule in [BetaSchedule::Constant, BetaSchedule::Derived] {
        for (reduction, beta) in [(Reduction::Sum, 3.0), (Reduction::Sum, 700.0), (Reduction::Mean, 900.0)] {
            let config = DpoConfig { beta, beta_schedule, reduction, ..DpoConfig::default() };
            let leaf = |values: [f32; 2]| Tensor::<1>::from_floats(values, &device).require_grad();
            let policy = [leaf([2.0, 5.0]), leaf([4.0, 1.0])];
            let same = [[2.0, 5.0], [4.0, 1.0]].map(|values| Tensor::<1>::from_floats(values, &device));
            let errors = Errors { policy: policy.clone(), reference: same, numbers: 30 };
            let losses = config.loss(&errors, &times);
            assert!(host(losses.clone()).iter().all(|l| (l - std::f64::consts::LN_2).abs() < 1e-6));
            let gradients = losses.sum().backward();
            let [winner, loser] = policy.map(|leaf| host(leaf.grad(&gradients).unwrap()));
            for (i, t) in [0.25f64, 0.8].into_iter().enumerate() {
                let at_t = if beta_schedule == BetaSchedule::Derived { t * t } else { 1.0 };
                let per_number = if reduction == Reduction::Mean { 30.0 } else { 1.0 };
                let wanted = beta * at_t / per_number / 4.0;
                assert!((winner[i] / wanted - 1.0).abs() < 1e-5 && (loser[i] / wanted + 1.0).abs() < 1e-5);
            }
        }
    }
}

#[test]
fn figures_tell_the_four_errors_and_whether_the_winner_is_preferred() {
    let errors = Errors {
        policy: [row(&[10.0, 12.0]), row(&[30.0, 20.0])],
        reference: [row(&[12.0, 11.0]), row(&[28.0, 20.0])],
        numbers: 10,
    };
    let config = DpoConfig { beta: 1.0, reduction: Reduction::Sum, ..DpoConfig::default() };
    let figures = config.figures(&errors, &Times::all(0.5, 2)).unwrap();
    for (found, wanted) in figures.errors.iter().zip([1.1, 2.5, 1.15, 2.4]) {
        assert!((found - wanted).abs() < 1e-6, "{figures:?}");
    }
    // First: -(1/2)(-2 - 2) = 2, preferred; second: -(1/2)(1 - 0), not.
    assert!(figures.accuracy == 0.5 && (figures.margin - 0.75).abs() < 1e-6, "{figures:?}");
    assert!(!config.has_gone_too_far(&figures));
    let lost = methods::align::dpo::DpoFigures { errors: [1.3, 9.0, 1.15, 2.4], ..figures };
    assert!(config.has_gone_too_far(&lost) && !DpoConfig { stop_ratio: 0.0, ..config }.has_gone_too_far(&lost));
}

/// A linear map of point and time: enough to have errors.
struct Affine(f64);

impl Network<2> for Affine {
    fn predict(&self, x: Tensor<2>, t: Tensor<1>, _: &Condition, _: &Pass) -> Tensor<2> {
        x * self.0 + t.reshape([-1, 1]) * 0.3
    }
}

fn draws(stream: u64, pairs: u64, numbers: usize) -> Tensor<2> {
    let rows: Vec<u64> = (0..pairs).collect();
    Key::new(3, Purpose::Probe).fold(stream).normal_tensor(&rows, [0, numbers], &Device::flex())
}

fn duel(pairs: u64) -> Duel<2> {
    Duel {
        winner: draws(0, pairs, 6),
        loser: draws(1, pairs, 6),
        noise: draws(2, pairs, 6),
        times: Times::new((0..pairs).map(|i| 0.05 + 0.9 * i as f64 / pairs as f64).collect()),
        condition: Condition::none(),
    }
}

#[test]
fn a_pair_shares_its_time_and_its_noise() {
    let (policy, reference) = (Affine(0.8), Affine(1.0));
    let objective = Objective::default();
    let errors =
        |duel: &Duel<2>| duel.errors(&objective, (&policy, &Pass::Infer, &Device::flex()), &reference).unwrap();
    let duel = duel(8);
    let found = errors(&duel);
    // Written out for each end: one point from the pair's own noise and time.
    for (end, sample) in [&duel.winner, &duel.loser].into_iter().enumerate() {
        let t = duel.times.column::<2>(|t| t, &Device::flex());
        let point = duel.noise.clone() * (t.clone().neg() + 1.0) + sample.clone() * t;
        for (of, by) in [(&found.policy, 0.8), (&found.reference, 1.0)] {
            let said =
                Affine(by).predict(point.clone(), duel.times.tensor(&Device::flex()), &duel.condition, &Pass::Infer);
            let wanted = (said - (sample.clone() - duel.noise.clone())).square().sum_dim(1);
            for (a, b) in host(of[end].clone()).iter().zip(host(wanted)) {
                assert!((a - b).abs() < 1e-4 * b, "{a} {b}");
            }
        }
    }
    // A pair of equals says nothing at any strength, whatever the two flows are: only with shared time and noise.
    let equals = Duel { loser: duel.winner.clone(), ..duel };
    let config = DpoConfig { beta: 1e4, reduction: Reduction::Sum, ..DpoConfig::default() };
    let losses = host(config.loss(&errors(&equals), &equals.times));
    assert!(losses.iter().all(|l| (l - 2f64.ln()).abs() < 1e-6), "{losses:?}");
}

#[test]
fn an_error_of_the_noise_is_that_of_the_velocity_times_t() {
    // eps = x_t - t v, so that |eps - eps_θ|² = t² |v - v_θ|²: where β t² comes from.
    let duel = duel(16);
    let t = duel.times.column::<2>(|t| t, &Device::flex());
    let point = duel.noise.clone() * (t.clone().neg() + 1.0) + duel.winner.clone() * t.clone();
    let said = draws(7, 16, 6);
    let noise = point - said.clone() * t.clone();
    let of_noise = host((noise - duel.noise.clone()).square().sum_dim(1));
    let of_velocity = host((said - (duel.winner - duel.noise)).square().sum_dim(1) * t.square());
    for (a, b) in of_noise.iter().zip(of_velocity) {
        assert!((a - b).abs() < 1e-5 * (1.0 + b), "{a} {b}");
    }
}

#[test]
fn errors_are_of_the_velocity_whatever_the_network_says() {
    // A noise network that stands for the same velocity has the same errors.
    struct AsNoise(f64);
    impl Network<2> for AsNoise {
        fn predict(&self, x: Tensor<2>, t: Tensor<1>, condition: &Condition, pass: &Pass) -> Tensor<2> {
            let column = t.clone().reshape([-1, 1]);
            x.clone() - Affine(self.0).predict(x, t, condition, pass) * column
        }
    }
    let duel = duel(8);
    let noise = Objective { parameterization: flow::Parameterization::Noise {}, ..Objective::default() };
    let device = Device::flex();
    let of_velocity = duel.errors(&Objective::default(), (&Affine(0.8), &Pass::Infer, &device), &Affine(1.0)).unwrap();
    let of_noise = duel.errors(&noise, (&AsNoise(0.8), &Pass::Infer, &device), &AsNoise(1.0)).unwrap();
    for (a, b) in host(of_velocity.policy[0].clone()).iter().zip(host(of_noise.policy[0].clone())) {
        assert!((a - b).abs() < 1e-3 * (1.0 + a), "{a} {b}");
    }
    let latent = Objective { path: Path::brownian(1.0), ..Objective::default() };
    let refused = duel.errors(&latent, (&Affine(0.8), &Pass::Infer, &device), &Affine(1.0)).unwrap_err().to_string();
    assert!(refused.contains("mixes in a latent"), "{refused}");
}

// T3: a reward guides the flow to N(m, s²) of one dimension, r = 0.7 x.

const SLOPE: f64 = 0.7;

/// Mean and variance of what 100 Euler steps make of 20 000 points of noise.
fn guided(gradient: impl Fn(f64) -> f64, weight: f64, steps: usize) -> (f64, f64) {
    let flow = Gaussian::new(Path::Linear {}, vec![0.5], vec![0.8]).unwrap();
    let reward = |x: Tensor<2>, t: &Times, _: &Condition| {
        let values: Vec<f32> = t.values().iter().map(|t| gradient(*t) as f32).collect();
        x.zeros_like() + Tensor::<2>::from_data(TensorData::new(values, [t.len(), 1]), &x.device())
    };
    let field = Rewarded::new::<2>(flow, reward, weight).unwrap();
    let grid = ScheduleConfig::Uniform {}.build(steps).unwrap();
    let noise = draws(9, 20_000, 1);
    let end = solve(&field, noise, &Condition::none(), &Solver::Euler {}, &grid, None).unwrap().x;
    let values = host(end);
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
}

/// The exact gradient of `ln E[exp(r(x1)) | x_t]` on the straight line to N(0.5, 0.64).
fn noisy(t: f64) -> f64 {
    SLOPE * t * 0.64 / (t * t * 0.64 + (1.0 - t).powi(2))
}

#[test]
fn a_noisy_reward_tilts_the_flow_and_a_clean_one_destroys_it() {
    let near = |(mean, variance): (f64, f64)| (mean - 0.948).abs() < 0.03 && (variance - 0.63).abs() < 0.04;
    // exp(0.7 x) N(0.5, 0.64) is N(0.5 + 0.7 · 0.64, 0.64); Euler's steps leave a little.
    let found = guided(noisy, 1.0, 100);
    assert!(near(found), "{found:?}");
    let coarse = guided(noisy, 1.0, 25);
    assert!((coarse.0 - 0.939).abs() < 0.03 && (coarse.1 - 0.582).abs() < 0.04, "{coarse:?}");
    // The same check fails for a reward of clean data asked at every time, as it must.
    let clean = guided(|_| SLOPE, 1.0, 100);
    assert!(!near(clean) && (clean.0 - 3.13).abs() < 0.15, "{clean:?}");
    // The sign: against the reward, and without it.
    let (against, without) = (guided(noisy, -1.0, 100), guided(noisy, 0.0, 100));
    assert!((against.0 - 0.05).abs() < 0.04, "{against:?}");
    assert!((without.0 - 0.505).abs() < 0.02, "{without:?}");
}

#[test]
fn a_reward_needs_independent_noise() {
    let closure = |x: Tensor<2>, _: &Times, _: &Condition| x;
    let reward = |x: Tensor<2>, _: &Times, _: &Condition| x;
    let refused = Rewarded::new::<2>(closure, reward, 1.0).err().unwrap().to_string();
    assert!(refused.contains("take the base model"), "{refused}");
    let flow = Gaussian::new(Path::Linear {}, vec![0.5], vec![0.8]).unwrap();
    assert!(Rewarded::new::<2>(flow, reward, f64::NAN).is_err());
}

// Weighted flow matching.

#[test]
fn weights_follow_the_reward_and_no_sample_is_the_batch() {
    let rewards: Vec<f64> = (0..100).map(|i| i as f64 * 3.0 - 1000.0).collect();
    let weights = WeightConfig::default().weights(&rewards).unwrap();
    assert!(weights.windows(2).all(|pair| pair[0] < pair[1]));
    assert!((weights.iter().sum::<f64>() / 100.0 - 1.0).abs() < 1e-9);
    // One standard deviation is a factor of e, whatever the units.
    let deviation = (rewards.iter().map(|r| (r + 851.5).powi(2)).sum::<f64>() / 100.0).sqrt();
    let ratio = weights[60] / weights[40];
    assert!((ratio - (60.0f64 / deviation).exp()).abs() < 1e-9, "{ratio}");
    let mut outlier = vec![0.0; 99];
    outlier.push(1e6);
    assert!(WeightConfig { temperature: 0.1, cap: 10.0 }.weights(&outlier).unwrap()[99] <= 10.0);
    assert_eq!(WeightConfig::default().weights(&[2.0; 4]).unwrap(), [1.0; 4]);
    let said = WeightConfig::default().weights(&[0.0, f64::NAN]).unwrap_err().to_string();
    assert!(said.contains("sample 1"), "{said}");
}

#[test]
fn winners_are_kept_once() {
    let pairs = [[4, 2], [2, 7], [7, 4], [1, 0], [0, 9]];
    assert_eq!(winners(&pairs, &[First, Second, Second, Tie, Invalid]), [4, 7]);
}

// Flow-GRPO against closed forms.

/// The flow of `N(mean, 1)` from standard normal noise along the straight line, moved by `shift` (which may learn): its velocity and score.
struct Shifted {
    mean: f64,
    shift: Tensor<1>,
}

impl flow::Field<2> for Shifted {
    fn velocity(&self, x: Tensor<2>, t: &Times, _: &Condition) -> Tensor<2> {
        let t = t.values()[0];
        let (a, b) = (1.0 - t, t);
        let variance = a * a + b * b;
        // E[x1 - x0 | x] of two independent Gaussians.
        let exact = (x - b * self.mean) * ((b - a) / variance) + self.mean;
        exact + self.shift.clone().unsqueeze::<2>()
    }
}

impl flow::ScoreField<2> for Shifted {
    fn velocity_and_score(&self, x: Tensor<2>, t: &Times, condition: &Condition) -> (Tensor<2>, Tensor<2>) {
        let velocity = flow::Field::velocity(self, x.clone(), t, condition);
        let time = t.values()[0];
        // -E[x0|x]/alpha, and x0 = x - t v.
        let score = (x - velocity.clone() * time) * (-1.0 / (1.0 - time));
        (velocity, score)
    }
}

/// The SDE ends where the flow does, whatever its noise: mean and variance of `N(1.5, 1)`.
/// Mutants: the sign of the score; `σ` in place of `σ²`; a step's deviation without the root of its length.
#[test]
fn noise_on_the_way_leaves_the_samples_distribution_alone() {
    let (path, device) = (Path::default(), Device::flex());
    let field = Shifted { mean: 1.5, shift: row(&[0.0]) };
    for noise in [0.3, 0.7, 1.2] {
        let config = GrpoConfig { steps: 100, noise, ..GrpoConfig::default() };
        config.check().unwrap();
        let key = Key::new(3, Purpose::Noise);
        let indices: Vec<u64> = (0..8_000).collect();
        let start = key.normal_tensor(&indices, [indices.len(), 1], &device);
        let drawn = |step: usize| key.fold(step as u64 + 9).normal_tensor(&indices, [indices.len(), 1], &device);
        let (points, densities) = config.trajectory(&field, &path, start, drawn, &Condition::none());
        let last = host(points.last().unwrap().clone());
        let mean = last.iter().sum::<f64>() / last.len() as f64;
        let variance = last.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / last.len() as f64;
        assert!((mean - 1.5).abs() < 0.05 && (variance - 1.0).abs() < 0.06, "{noise}: {mean} {variance}");
        // The density of a step at what was drawn is that of the noise.
        let of = host(densities[7].clone());
        let noise = host(drawn(7));
        assert!(of.iter().zip(&noise).all(|(d, e)| (d + 0.5 * e * e).abs() < 2e-3));
    }
}

/// A flow whose velocity may be shifted by a constant learns on rewards `r(x) = x`. The mean of its samples grows by `S` for a unit of shift,
/// and the divergence of its steps by `K` times the shift squared, both by recursion; with advantages in standard deviations `s` of the
/// samples the optimum is about `shift = S / (2 s β K)`, and each gradient on the way the closed one.
/// Mutants: the ratio's sign; advantages over the batch and not the group; the divergence without its half; the reference that learns too.
#[test]
fn rewards_move_a_gaussian_to_its_optimum() {
    let (path, device) = (Path::default(), Device::flex().autodiff());
    let (count, group) = (16_000, 16);
    let config = GrpoConfig { group, steps: 8, noise: 0.7, clip: 10.0, kl: 2.0, updates: 1, trained: 8 };
    let times = config.times();
    let strength = |step: usize| {
        let (t, next) = (times[step], times[step + 1]);
        config.noise * ((1.0 - t) / if t > 0.0 { t } else { next }).sqrt()
    };
    // The mean of the end and its variance without a shift, and what a shift of one adds.
    let (mut grown, mut variance, mut held) = (0.0, 1.0, 0.0);
    for step in 0..config.steps {
        let (t, span) = (times[step], times[step + 1] - times[step]);
        let half = 0.5 * strength(step).powi(2);
        let slope = (2.0 * t - 1.0) / ((1.0 - t).powi(2) + t * t); // of the exact velocity
        let score = -(1.0 - t * slope) / (1.0 - t);
        let factor = 1.0 + (slope + half * score) * span;
        let moved = (1.0 + half * t / (1.0 - t)) * span; // what a unit of shift adds to a step's mean
        grown = factor * grown + moved;
        variance = factor * factor * variance + strength(step).powi(2) * span;
        held += 0.5 * moved * moved / (strength(step).powi(2) * span);
    }
    // A group measures its own deviation, which of 16 is on the mean so much of the true one: √(15/16) c₄(16).
    let gain = 0.9523 * grown / variance.sqrt();
    let optimum = gain / (2.0 * config.kl * held);
    let gradient_at = |shift: f64| config.kl * 2.0 * held * shift - gain;

    let still = |shift: f64| Shifted { mean: 0.0, shift: row(&[shift as f32]) };
    let mut shift = 0.0;
    for round in 0..12u64 {
        let indices: Vec<u64> = (0..count as u64).map(|i| i + round * count as u64).collect();
        let key = Key::new(5, Purpose::Noise);
        let draw = |fold: u64| key.fold(fold).normal_tensor(&indices, [count, 1], &Device::flex());
        let start = draw(0);
        let (points, then) =
            config.trajectory(&still(shift), &path, start, |step| draw(step as u64 + 1), &Condition::none());
        // Another level in each group, which must not matter.
        let last = host(points.last().unwrap().clone());
        let rewards: Vec<f64> = last.iter().enumerate().map(|(i, x)| x + 100.0 * (i / group) as f64).collect();
        let advantages: Vec<f32> = config.advantages(&rewards).iter().map(|a| *a as f32).collect();
        let place = |x: Tensor<2>| Tensor::<2>::from_data(x.into_data(), &device);
        let leaf = Tensor::<1>::from_floats([shift as f32], &device).require_grad();
        let learning = Shifted { mean: 0.0, shift: leaf.clone() };
        let mut total = Tensor::<1>::zeros([1], &device);
        for step in 0..config.steps {
            let span = (times[step], times[step + 1]);
            let now: Moments<2> =
                config.moments(&learning, &path, place(points[step].clone()), span, &Condition::none());
            let reference = config.moments(&still(0.0), &path, points[step].clone(), span, &Condition::none());
            let density = now.log_density(place(points[step + 1].clone()));
            let before = Tensor::<1>::from_data(then[step].clone().into_data(), &device);
            let worth = Tensor::<1>::from_floats(advantages.as_slice(), &device);
            let loss = config.loss([density, before], worth, now.divergence(place(reference.mean)));
            total = total + loss.mean();
        }
        let gradients = total.backward();
        let found = host(leaf.grad(&gradients).unwrap())[0];
        let wanted = gradient_at(shift);
        assert!((found - wanted).abs() < 0.05 * grown, "round {round}: {found} for {wanted} at {shift}");
        shift -= 0.5 * found / (2.0 * config.kl * held);
    }
    assert!((shift - optimum).abs() < 0.03 * optimum && optimum > 0.1, "{shift} for {optimum}");
}

/// Mutants: the larger of the two gains; a clip that also keeps what must be undone.
#[test]
fn the_clip_takes_what_is_gained_too_far_alone() {
    let config = GrpoConfig { clip: 0.2, kl: 0.5, group: 4, ..GrpoConfig::default() };
    let ratios = [1.5f32, 0.5, 1.5, 0.5, 1.1];
    let now = row(&ratios.map(f32::ln));
    let worth = row(&[1.0, 1.0, -1.0, -1.0, 2.0]);
    let found = host(config.loss([now, row(&[0.0; 5])], worth, row(&[0.0, 0.0, 0.0, 0.0, 3.0])));
    for (found, wanted) in found.iter().zip([-1.2, -0.5, 1.5, 0.8, -2.2 + 1.5]) {
        assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
    }
    // Groups of their own, and one that is all alike.
    let found =
        config.advantages(&[0.0, 2.0, 0.0, 2.0, /**/ 7.0, 7.0, 7.0, 7.0, /**/ 100.0, 102.0, 100.0, 102.0]);
    assert_eq!(found, [-1.0, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 1.0, -1.0, 1.0]);
    for wrong in [
        GrpoConfig { group: 1, ..GrpoConfig::default() },
        GrpoConfig { trained: 11, ..GrpoConfig::default() },
        GrpoConfig { noise: 0.0, ..GrpoConfig::default() },
        GrpoConfig { kl: f64::NAN, ..GrpoConfig::default() },
    ] {
        assert!(wrong.check().unwrap_err().to_string().contains("grpo."));
    }
}
