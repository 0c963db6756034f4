//! Alignment against closed forms: tests T1 to T3 of VideoAlign's mathematics (arXiv 2501.13918).

use base::{Condition, Device, Key, Network, Pass, Purpose, Tensor, TensorData, Times};
use flow::exact::Gaussian;
use flow::{Objective, Path, ScheduleConfig, Solver, solve};
use methods::align::{
    BetaSchedule, Compared, DpoConfig, Duel, Errors, Reduction, RewardLoss, Rewarded, Verdict, WeightConfig, winners,
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
