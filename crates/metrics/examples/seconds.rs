//! Seconds that the set figures take on two random sets: `... --example seconds -- [ROWS] [DIMENSION]`.

use base::{Key, Purpose};
use metrics::{
    Gaussian, KidConfig, Matrix, MetricsError, SlicedConfig, frechet_distance, kid, precision_recall,
    sliced_wasserstein,
};
use std::time::Instant;

fn timed<T>(what: &str, f: impl FnOnce() -> Result<T, MetricsError>) -> Result<T, MetricsError> {
    let start = Instant::now();
    let out = f()?;
    println!("{what:24} {:8.3} s", start.elapsed().as_secs_f64());
    Ok(out)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let n: usize = arguments.next().map_or(Ok(10_000), |a| a.parse())?;
    let d: usize = arguments.next().map_or(Ok(2048), |a| a.parse())?;
    let set = |seed| Matrix::new(Key::new(seed, Purpose::Probe).normals(0, n * d).collect(), n, d);
    let (a, b) = (set(1)?, set(2)?);
    println!("two sets of {n} x {d}");
    let (ga, gb) = (timed("mean and covariance", || Gaussian::of(&a))?, Gaussian::of(&b)?);
    let distance = timed("Fréchet distance", || frechet_distance(&ga, &gb))?;
    timed("kernel distance", || kid(&a, &b, &KidConfig::default()))?;
    timed("precision and recall", || precision_recall(&a, &b, 3))?;
    timed("sliced Wasserstein", || sliced_wasserstein(&a, &b, &SlicedConfig::default()))?;
    println!("Fréchet distance {distance:.4}");
    Ok(())
}
