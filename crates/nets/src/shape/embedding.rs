//! A point in space as sinusoids of rising frequency: `[x, sin(2^i x), cos(2^i x)]`, i = 0..7, without pi (Zhang et al. 2023,
//! "3DShape2VecSet", arXiv:2301.11445, sec. 4.1; frequencies as TripoSG's).

use base::{Tensor, TensorData};

/// Frequencies of each coordinate.
const OCTAVES: usize = 8;
/// Numbers that a point becomes.
pub const FEATURES: usize = 3 + 2 * 3 * OCTAVES;

/// `[b n 3]` to `[b n 51]`: the coordinates, the sines of x at all frequencies, those of y and z, then the cosines.
pub fn embed(points: Tensor<3>) -> Tensor<3> {
    let [b, n, _] = points.dims();
    let octaves: Vec<f32> = (0..OCTAVES).map(|i| (1u32 << i) as f32).collect();
    let octaves = Tensor::<4>::from_data(TensorData::new(octaves, [1, 1, 1, OCTAVES]), &points.device());
    let angles: Tensor<3> = (points.clone().unsqueeze_dim::<4>(3) * octaves).reshape([b, n, 3 * OCTAVES]);
    Tensor::cat(vec![points, angles.clone().sin(), angles.cos()], 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Device;

    #[test]
    fn features_are_those_of_the_formula() {
        let point = [0.3f32, -0.7, 0.05];
        let got: Vec<f32> =
            embed(Tensor::<3>::from_floats([[point]], &Device::flex())).into_data().try_to_vec().unwrap();
        assert_eq!(got.len(), 51);
        assert_eq!(got[..3], point);
        for axis in 0..3 {
            for i in 0..8 {
                let angle = point[axis] * (1 << i) as f32;
                assert!((got[3 + axis * 8 + i] - angle.sin()).abs() < 1e-5, "axis {axis}, octave {i}");
                assert!((got[27 + axis * 8 + i] - angle.cos()).abs() < 1e-5);
            }
        }
    }
}
