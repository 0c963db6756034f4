//! What conditions have to say about an exchange of partners.

use super::Draw;
use crate::{FlowError, rows};
use std::collections::BTreeMap;

/// Rows that may exchange partners: one group per class, or a single one.
pub(super) fn groups(classes: Option<&[i64]>, batch: usize) -> Vec<Vec<usize>> {
    let Some(classes) = classes else { return vec![(0..batch).collect()] };
    let mut groups = BTreeMap::<i64, Vec<usize>>::new();
    for (row, &class) in classes.iter().enumerate() {
        groups.entry(class).or_default().push(row);
    }
    groups.into_values().collect()
}

/// Adds `price` times the distance of conditions to each cost `[b b]`: one between unlike classes, and the squared distance
/// of vectors in units of its mean.
pub(super) fn penalty(costs: &mut [f64], price: f64, draw: &Draw, batch: usize) -> Result<(), FlowError> {
    if let Some(classes) = draw.classes {
        for (row, costs) in costs.chunks_mut(batch).enumerate() {
            let unlike = costs.iter_mut().zip(classes).filter(|(_, class)| **class != classes[row]);
            unlike.for_each(|(cost, _)| *cost += price);
        }
    }
    let Some(vectors) = &draw.vectors else { return Ok(()) };
    let dims = vectors.dims();
    if dims[0] != batch {
        let (left_shape, right_shape) = (vec![batch], dims.to_vec());
        return Err(FlowError::Shape { left: "x1", left_shape, right: "condition vectors", right_shape });
    }
    let vectors = rows::host(vectors.clone())?;
    let of = |row: usize| &vectors[row * dims[1]..(row + 1) * dims[1]];
    let distance = |i: usize, j: usize| of(i).iter().zip(of(j)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>();
    let distances: Vec<f64> = (0..batch * batch).map(|at| distance(at / batch, at % batch)).collect();
    let mean = distances.iter().sum::<f64>() / distances.len().max(1) as f64;
    if mean > 0.0 {
        costs.iter_mut().zip(distances).for_each(|(cost, distance)| *cost += price * distance / mean);
    }
    Ok(())
}
