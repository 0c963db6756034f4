//! Signed distance to a polygon of the plane: what solids of revolution and prisms are made from. Negative inside.

/// At `p`: exact length to the nearest edge, the sign by crossings (even-odd). With `axis`, edges along x = 0 do not count: they
/// are inside of what turns around that axis.
pub fn distance(polygon: &[[f64; 2]], axis: bool, p: [f64; 2]) -> f64 {
    let mut squared = f64::INFINITY;
    let mut inside = false;
    for (i, &a) in polygon.iter().enumerate() {
        let b = polygon[(i + 1) % polygon.len()];
        if (a[1] > p[1]) != (b[1] > p[1]) && p[0] < a[0] + (p[1] - a[1]) / (b[1] - a[1]) * (b[0] - a[0]) {
            inside = !inside;
        }
        if axis && a[0] == 0.0 && b[0] == 0.0 {
            continue;
        }
        let (edge, off) = ([b[0] - a[0], b[1] - a[1]], [p[0] - a[0], p[1] - a[1]]);
        let along = (off[0] * edge[0] + off[1] * edge[1]) / (edge[0] * edge[0] + edge[1] * edge[1]);
        let along = along.clamp(0.0, 1.0);
        let gap = [off[0] - along * edge[0], off[1] - along * edge[1]];
        squared = squared.min(gap[0] * gap[0] + gap[1] * gap[1]);
    }
    if inside { -squared.sqrt() } else { squared.sqrt() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_angle_has_its_distances() {
        // An L: the notch is the square [1, 2]².
        let corners = [[0.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0], [1.0, 2.0], [0.0, 2.0]];
        for (p, wanted) in [
            ([0.5, 0.5], -0.5),
            ([1.5, 1.5], 0.5),
            ([1.1, 1.8], 0.1),
            ([3.0, 2.0], 2f64.sqrt()),
            ([0.9, 0.9], -(0.02f64.sqrt())), // the notch's corner is nearer than any wall
            ([-0.25, 1.0], 0.25),
        ] {
            assert!((distance(&corners, false, p) - wanted).abs() < 1e-12, "{p:?}");
        }
        // Turned around x = 0 the left wall is inside.
        assert!((distance(&corners, true, [0.25, 1.0]) + 0.75).abs() < 1e-12);
    }
}
