//! The thesis of Rectified Diffusion (arXiv 2410.07303): matched pairs make few steps enough, whatever the path they are learned
//! along. On the eight-mode ring, with kernel regression in place of a network.

use crate::common;

use base::Condition;
use common::{Kernel, fresh, ring, stored};
use flow::exact::MixtureField;
use flow::path::diffusion::Discrete;
use flow::{Field, Path, ScheduleConfig, Solver, rows, solve};
use methods::PairsConfig;

#[test]
fn the_same_pairs_rectify_every_path_alike() {
    let none = Condition::none();
    let teacher = MixtureField::new(Path::Linear {}, ring()).unwrap();
    let config = PairsConfig { solver: Solver::Heun {}, steps: 50, batch: 1000, ..PairsConfig::default() };
    let pairs = stored(&teacher, &config, 3000);
    let z = fresh(300);
    let grid = |steps| ScheduleConfig::Uniform {}.build(steps).unwrap();
    let ends = rows::host(solve(&teacher, z.clone(), &none, &Solver::Heun {}, &grid(50), None).unwrap().x).unwrap();
    // Mean squared distance to where the teacher goes.
    let error = |field: &dyn Field<2>, scale: f64, solver: &Solver, steps: usize| {
        let found = rows::host(solve(field, z.clone() * scale, &none, solver, &grid(steps), None).unwrap().x).unwrap();
        found.iter().zip(&ends).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / 300.0
    };
    let ddim = Solver::Ddim { eta: 0.0 };
    let paths = [
        Path::Linear {},
        Path::Trigonometric {},
        Path::vp(),
        Path::SubVp { beta_min: 0.1, beta_max: 20.0 },
        Path::Edm { sigma_max: 80.0, rho: 7.0 },
        // Stable Diffusion's, which leaves 0.068 of the data at the noisy end.
        Path::Ddpm(Discrete::default()),
    ];
    let mut once = Vec::new();
    for path in paths {
        let scale = path.start_scale();
        let before = error(&MixtureField::new(path.clone(), ring()).unwrap(), scale, &ddim, 1);
        let rectified = Kernel::new(path.clone(), &pairs, 0.1).of_data();
        let (one, four) = (error(&rectified, scale, &ddim, 1), error(&rectified, scale, &ddim, 4));
        assert!(before / one > 20.0, "{path:?}: one step {before} -> {one}");
        assert!(four < 2.0 * one, "{path:?}: four steps {four}, one {one}");
        once.push(one);
    }
    // The first step asks at the same noise on every path.
    assert!(once.iter().all(|one| (one / once[0] - 1.0).abs() < 0.01), "{once:?}");
    // The curve must be followed: a plain step along the velocity of a curved path goes elsewhere.
    let curved = Kernel::new(Path::Trigonometric {}, &pairs, 0.1).of_data();
    assert!(error(&curved, 1.0, &Solver::Euler {}, 1) > 20.0 * once[0]);
}
