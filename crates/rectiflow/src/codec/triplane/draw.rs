//! What trained planes give: views, a field in space with its surface, and which of their pixels an object takes up.

use super::{
    super::Window,
    TriplaneConfig,
    task::{Hit, hits, seen},
};
use crate::{Error, host::host};
use base::{Tensor, TensorData};
use media::shape::{
    Extracted, Lattice, Point, extract,
    views::{CHANNELS, Ray},
};
use nets::{
    Lrm,
    triplane::{PLANES, Places, Rendered, sample},
};

/// Rays rendered at once, and points asked at once.
const RAYS: usize = 1 << 10;
const ASKED: usize = 1 << 15;

/// The views of `planes` `[b 3 c h w]` from all cameras, rows `[b n]`.
pub(super) fn drawn(net: &Lrm, config: &TriplaneConfig, planes: Tensor<5>) -> Tensor<2> {
    let ([b, ..], device) = (planes.dims(), planes.device());
    let ([views, _, size, _], hits) = (config.cameras.shape(), hits(config));
    let (pixels, all) = (size * size, views * size * size);
    // The place of each ray among those that meet the cube; the others read a white one behind the last.
    let mut place = vec![hits.len() as i64; all];
    for (i, hit) in hits.iter().enumerate() {
        place[hit.view * pixels + hit.pixel] = i as i64;
    }
    let place = Tensor::<1, base::Int>::from_data(TensorData::new(place, [all]), &device);
    let one = |object: usize| {
        let planes = planes.clone().narrow(0, object, 1);
        let mut parts: Vec<Tensor<2>> = Vec::new();
        for hits in hits.chunks(RAYS) {
            let Rendered { colour, opacity } = seen(net, planes.clone(), hits, &vec![0.5; hits.len()], config.samples);
            parts.push(Tensor::cat(vec![colour, opacity.unsqueeze_dim::<3>(2)], 2).squeeze_dim::<2>(0)); // [r 4]
        }
        parts.push(Tensor::from_floats([[1.0, 1.0, 1.0, 0.0]], &device));
        let four = Tensor::cat(parts, 0).select(0, place.clone()); // [views*pixels 4]
        (four * 2.0 - 1.0).reshape([views, pixels, CHANNELS]).swap_dims(1, 2).reshape([1, all * CHANNELS])
    };
    Tensor::cat((0..b).map(one).collect(), 0)
}

/// What each of `planes` `[b 3 c h w]` shows in its window of `side` pixels, `[b 3 side side]` in [-1, 1], with a gradient; `rays` are the cameras'.
pub(super) fn through(
    net: &Lrm,
    (config, rays): (&TriplaneConfig, &[Ray]),
    planes: Tensor<5>,
    windows: &[Window],
    side: usize,
) -> Tensor<4> {
    let (size, b) = (config.cameras.size, windows.len());
    let hit = |window: &Window, at: usize| {
        let [top, left] = window.corner;
        let pixel = (top + at / side) * size + left + at % side;
        let ray = rays[window.view * size * size + pixel];
        // What misses the cube looks through a piece of no length, and sees white.
        let [near, far] = ray.within().unwrap_or([0.0; 2]);
        Hit { view: window.view, pixel, ray, near, far }
    };
    let hits: Vec<Hit> = windows
        .iter()
        .flat_map(|window| (0..side * side).map(move |at| (window, at)))
        .map(|(w, at)| hit(w, at))
        .collect();
    let shifts: Vec<f64> = windows.iter().flat_map(|window| vec![window.shift; side * side]).collect();
    let Rendered { colour, .. } = seen(net, planes, &hits, &shifts, config.samples); // [b side*side 3]
    (colour * 2.0 - 1.0).swap_dims(1, 2).reshape([b, 3, side, side])
}

/// The density that `planes` of one object say at `points`.
fn density(net: &Lrm, planes: &Tensor<5>, points: &[[f32; 3]]) -> Result<Vec<f32>, Error> {
    let [_, _, _, rows, columns] = planes.dims();
    let mut all = Vec::with_capacity(points.len());
    for points in points.chunks(ASKED) {
        let features = sample(planes.clone(), &Places::of(points, 1, [rows, columns]));
        all.extend(host(net.field.forward(features).density)?);
    }
    Ok(all)
}

/// Densities below this are none, so that their logarithm is a number. No surface lies there: levels are above it.
pub(super) const NOTHING: f64 = 1e-6;

/// How much smaller than the level the density is at `points`, as a logarithm: negative inside.
pub(super) fn field(
    net: &Lrm,
    config: &TriplaneConfig,
    planes: &Tensor<5>,
    points: &[Point],
) -> Result<Vec<f64>, Error> {
    let points: Vec<[f32; 3]> = points.iter().map(|p| p.map(|v| v as f32)).collect();
    let said = density(net, planes, &points)?;
    // Not a clamp, which would make a density that is no number look like emptiness.
    let small = |v: f32| if f64::from(v) < NOTHING { NOTHING } else { f64::from(v) };
    let level = config.level.unwrap_or(1.0);
    Ok(said.into_iter().map(|v| level.ln() - small(v).ln()).collect())
}

/// Where the field passes `offset`, at `2^depth` cells to a side of the cube. All cells are asked: a density says nothing about
/// how far the surface is.
pub(super) fn surface(
    net: &Lrm,
    config: &TriplaneConfig,
    planes: &Tensor<5>,
    offset: f64,
    depth: u32,
) -> Result<Extracted, Error> {
    let mut asked = |points: &[Point]| -> Result<Vec<f64>, Error> {
        Ok(field(net, config, planes, points)?.into_iter().map(|said| said - offset).collect())
    };
    extract::dense(Lattice::cube(1.0, 1 << depth), &mut asked).map_err(|error| match error {
        extract::ExtractError::Field(error) => error,
        other => Error::Failure(format!("{other}: the network that decodes is broken; train it anew")),
    })
}

/// Light kept away in one pixel's width from which on there is something.
const SOMETHING: f32 = 0.1;

/// Which numbers of `planes` `[b 3 c h w]` belong to the object: those of pixels behind which the density, along the axis that the
/// plane has not got, keeps light away, and of their neighbours. Rows `[b n]` of 0 and 1.
pub(super) fn object(net: &Lrm, planes: Tensor<5>) -> Result<Tensor<2>, Error> {
    let ([b, _, channels, side, _], device) = (planes.dims(), planes.device());
    let middle = |i: usize| (2 * i + 1) as f32 / side as f32 - 1.0;
    let places = (0..side.pow(3)).map(|i| [middle(i % side), middle(i / side % side), middle(i / side / side)]);
    let (places, step) = (places.collect::<Vec<[f32; 3]>>(), 2.0 / side as f32);
    let mut mask = Vec::with_capacity(b * PLANES * channels * side * side);
    for one in 0..b {
        let said = density(net, &planes.clone().narrow(0, one, 1), &places)?;
        let full = |x: usize, y: usize, z: usize| 1.0 - (-said[(z * side + y) * side + x] * step).exp() > SOMETHING;
        for plane in 0..PLANES {
            // Rows and columns are y and x, z and x, y and z.
            let some = |row: usize, column: usize| match plane {
                0 => (0..side).any(|z| full(column, row, z)),
                1 => (0..side).any(|y| full(column, y, row)),
                _ => (0..side).any(|x| full(x, row, column)),
            };
            let own: Vec<bool> = (0..side * side).map(|i| some(i / side, i % side)).collect();
            let near = |i: usize| {
                let (row, column) = (i / side, i % side);
                let around = |at: usize| at.saturating_sub(1)..=(at + 1).min(side - 1);
                around(row).any(|r| around(column).any(|c| own[r * side + c]))
            };
            let wide: Vec<f32> = (0..side * side).map(|i| f32::from(near(i))).collect();
            (0..channels).for_each(|_| mask.extend_from_slice(&wide));
        }
    }
    Ok(Tensor::from_data(TensorData::new(mask, [b, PLANES * channels * side * side]), &device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;
    use burn::module::Param;
    use nets::{LrmConfig, layers::Linear};

    /// One number of a layer is `value`, the others are 0.
    fn alone(layer: &mut Linear, value: f32) {
        let [rows, columns] = layer.weight.val().dims();
        let mut weight = vec![0.0; rows * columns];
        weight[0] = value;
        let device = layer.weight.val().device();
        layer.weight = Param::from_tensor(Tensor::from_data(TensorData::new(weight, [rows, columns]), &device));
    }

    /// A field that is dense where the XY plane's first feature is, at y of row 2 and x of column 5: a rod along z, whose shadow on
    /// each plane is known. Mutants: rows and columns of a plane exchanged; the neighbours left out.
    #[test]
    fn a_rod_has_its_shadow_on_each_plane() {
        let (side, device) = (8, Device::flex());
        let network = LrmConfig { width: 16, heads: 2, depth: 1, channels: 2, side, hidden: 4, ..LrmConfig::default() };
        let config = TriplaneConfig { network, ..TriplaneConfig::default() };
        let mut net = config.build(Some(1), &device).unwrap();
        alone(&mut net.field.fc1, 1.0);
        alone(&mut net.field.fc2, 1.0);
        alone(&mut net.field.fc3, 10.0);
        let mut planes = vec![-10.0; PLANES * 2 * side * side];
        planes[2 * side + 5] = 10.0;
        let planes = Tensor::<5>::from_data(TensorData::new(planes, [1, PLANES, 2, side, side]), &device);
        let mask = host(object(&net, planes.clone()).unwrap()).unwrap();
        for (i, found) in mask.iter().enumerate() {
            let (plane, row, column) = (i / 128, i / 8 % 8, i % 8);
            let (y, x) = (row.abs_diff(2) <= 1, column.abs_diff(5) <= 1);
            // Rows and columns: y and x, z and x, y and z.
            let wanted = [y && x, x, y][plane];
            assert_eq!(*found == 1.0, wanted, "plane {plane}, row {row}, column {column}");
        }
        // The same rod in the field: inside at its middle, for any z, and outside beside it.
        let (x, y) = (0.375, -0.375);
        let said = field(&net, &config, &planes, &[[x, y, -0.7], [x, y, 0.6], [-x, y, 0.0], [x, -y, 0.0]]).unwrap();
        assert!(said[0] < 0.0 && said[1] < 0.0 && said[2] > 0.0 && said[3] > 0.0, "{said:?}");
        // At a level where nothing begins, all of the empty cube would be inside.
        for level in [0.0, NOTHING / 2.0, NOTHING, f64::NAN] {
            assert!(
                TriplaneConfig { level: Some(level), ..config.clone() }.check().unwrap_err().contains("codec.level"),
                "{level}"
            );
        }
        assert!(TriplaneConfig { level: Some(2.0 * NOTHING), ..config }.check().is_ok());
    }
}
