//! Restorations held to exact posteriors: smooth 8x8 pictures of a Gaussian mixture, hidden, shrunk and blurred.

use super::oracle::{Pictures, Vector, dense, host, measure, misfit, noise, psnr, steer};
use methods::steer::operator::{Mask, Separable};
use methods::steer::{Dps, FlowChef, Operator, Steering};

const N: usize = 64;
const COUNT: usize = 256;

struct Row {
    mean: f64,
    sample: f64,
    official: f64,
    chef: f64,
    through: f64,
    none: f64,
    residual: [f64; 2],
}

/// One row of the table: PSNR over the values that `used` selects.
fn row(operator: impl Operator + Clone + 'static, used: impl Fn(usize) -> bool + Copy, through: bool) -> Row {
    let pictures = Pictures::smooth();
    let field = pictures.field();
    let truth = pictures.draw(0, COUNT);
    let measured = measure(&operator, &truth, 0.0);
    let (mean, sample) = pictures.posterior(&operator, &measured, 0.0);
    let cost = misfit(operator.clone(), &measured, 0.0);
    let score = |x: &[f64]| psnr(x, &truth, used);
    let run = |steering: &Steering, steps| host(steer(&field, &cost, steering, steps, noise(0, COUNT, N)).x);
    let residual = |x: &[f64]| {
        let rows: Vec<Vector> = x.chunks(N).map(<[f64]>::to_vec).collect();
        let again = measure(&operator, &rows, 0.0).concat();
        let known = dense(&operator).iter().filter(|row| row.iter().any(|v| *v != 0.0)).count();
        let squares: f64 = again.iter().zip(measured.concat()).map(|(a, b)| (a - b).powi(2)).sum();
        (squares / (known * COUNT) as f64).sqrt()
    };
    let official = run(&Steering::FlowChef(FlowChef::new(0.0814)), 200);
    let chef = run(&Steering::FlowChef(FlowChef::new(1.0)), 100);
    let through =
        if through { score(&run(&Steering::Dps(Dps { kappa: 1.0, ..Dps::default() }), 100)) } else { f64::NAN };
    let idle = FlowChef { window: Some((1.0, 1.0)), ..FlowChef::default() };
    let row = Row {
        mean: score(&mean.concat()),
        sample: score(&sample.concat()),
        official: score(&official),
        chef: score(&chef),
        through,
        none: score(&run(&Steering::FlowChef(idle), 20)),
        residual: [residual(&official), residual(&chef)],
    };
    println!(
        "mean {:.2} sample {:.2} official {:.2} chef {:.2} through {:.2} none {:.2} residual {:.1e} {:.1e}",
        row.mean, row.sample, row.official, row.chef, row.through, row.none, row.residual[0], row.residual[1]
    );
    row
}

#[test]
fn a_hole_is_filled_as_the_posterior_fills_it() {
    let hole = |i: usize| (2..6).contains(&(i / 8)) && (2..6).contains(&(i % 8));
    let row = row(Mask::hole([1, 8, 8], [2, 2], [4, 4]).unwrap(), hole, true);
    // One exact sample is 3 dB below the mean: its variance is twice as large.
    assert!((row.mean - row.sample - 3.0).abs() < 0.3);
    assert!((row.chef - row.sample).abs() < 1.4 && (row.official - row.sample).abs() < 2.3);
    assert!(row.chef > row.through - 1.5);
    assert!(row.none < row.chef - 8.0);
    assert!(row.residual[1] < 4e-3 && row.residual[0] < 3.5e-2 && row.residual[0] > 1e-2);
}

#[test]
fn small_pictures_are_enlarged_as_the_posterior_enlarges_them() {
    let row = row(Separable::pooling([1, 8, 8], 2).unwrap(), |_| true, true);
    assert!((row.chef - row.sample).abs() < 0.6 && row.mean - row.chef < 3.2);
    assert!(row.chef > row.through - 0.5 && row.none < row.chef - 8.0);
}

/// A blur keeps little of the finest waves; gradient steps of one length do not bring them back, and the table says so.
#[test]
fn an_ill_conditioned_blur_stays_short_of_the_posterior() {
    let row = row(Separable::blur([1, 8, 8], 7, 1.0).unwrap(), |_| true, true);
    assert!(row.sample - row.chef > 2.0 && row.chef > row.official && row.chef > row.through - 0.5);
    assert!(row.none < row.chef - 8.0);
}

/// Averages of sixteen seeds reach the posterior mean, and their spread is the posterior's.
#[test]
fn seeds_spread_as_the_posterior_does() {
    let pictures = Pictures::smooth();
    let (field, operator) = (pictures.field(), Mask::hole([1, 8, 8], [2, 2], [4, 4]).unwrap());
    let (count, seeds) = (32, 16);
    let truth: Vec<Vector> = pictures.draw(0, count).into_iter().flat_map(|x| vec![x; seeds]).collect();
    let measured = measure(&operator, &truth, 0.0);
    let (mean, sample) = pictures.posterior(&operator, &measured, 0.0);
    let cost = misfit(operator, &measured, 0.0);
    let chef = Steering::FlowChef(FlowChef::new(1.0));
    let found = host(steer(&field, &cost, &chef, 100, noise(0, count * seeds, N)).x);
    let hole = |i: usize| (2..6).contains(&(i / 8)) && (2..6).contains(&(i % 8));
    // Mean over the seeds of each picture, and the deviation from it inside the hole.
    let gather = |x: &[f64]| {
        let (mut means, mut spread) = (Vec::new(), 0.0);
        for group in x.chunks(N * seeds) {
            let mean: Vector = (0..N).map(|i| group.chunks(N).map(|x| x[i]).sum::<f64>() / seeds as f64).collect();
            let squares = |x: &[f64]| (0..N).filter(|i| hole(*i)).map(|i| (x[i] - mean[i]).powi(2)).sum::<f64>();
            spread += group.chunks(N).map(squares).sum::<f64>();
            means.extend(mean);
        }
        (means, (spread / ((seeds - 1) * count * 16) as f64).sqrt())
    };
    let one: Vec<Vector> = truth.iter().step_by(seeds).cloned().collect();
    let exact: Vec<Vector> = mean.iter().step_by(seeds).cloned().collect();
    let ((chef, wide), (exact_seeds, known)) = (gather(&found), gather(&sample.concat()));
    let (averaged, best) = (psnr(&chef, &one, hole), psnr(&exact.concat(), &one, hole));
    println!(
        "average {averaged:.2} mean {best:.2}; spread {wide:.4} of {known:.4}; to the mean {:.1} {:.1}",
        psnr(&chef, &exact, hole),
        psnr(&exact_seeds, &exact, hole)
    );
    assert!((averaged - best).abs() < 0.5);
    assert!((wide / known - 1.0).abs() < 0.25);
}

/// Two kinds of filling, seven to three, that the known value says nothing about: so are the samples.
#[test]
fn two_fillings_come_in_their_shares() {
    let part = |at: f64| (vec![0.2, 0.1, at, at], (0..16).map(|k| if k / 4 == k % 4 { 0.01 } else { 0.0 }).collect());
    let ((m0, c0), (m1, c1)) = (part(-0.6), part(0.6));
    let pictures = Pictures::new(vec![0.7, 0.3], vec![m0, m1], vec![c0, c1]);
    let mask = Mask::new(vec![true, true, false, false]).unwrap();
    let count = 4000;
    let measured = vec![vec![0.25, 0.05, 0.0, 0.0]; count];
    let cost = misfit(mask, &measured, 0.0);
    for kappa in [0.0814, 1.0] {
        let chef = Steering::FlowChef(FlowChef::new(kappa));
        let found = host(steer(&pictures.field(), &cost, &chef, 100, noise(0, count, 4)).x);
        let first = found.chunks(4).filter(|x| x[2] < 0.0).count() as f64 / count as f64;
        assert!((first - 0.7).abs() < 0.025, "kappa {kappa}: {first}");
    }
}
