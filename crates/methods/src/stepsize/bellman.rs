//! The cheapest way through the anchors in exactly `k` edges, by dynamic programming.
//!
//! Bellman optimal stepsize straightening, arXiv 2312.16414, §3.1: `V(j, 1) = c(j, n)` and
//! `V(j, k) = min over h of c(j, h) + V(h, k-1)`. The arg-min is stored, so ties (edges of one cell cost nothing) cannot
//! send the path to the sink early.

use super::cost::Costs;
use crate::MethodError;

/// A strictly rising path over anchors, from the first to the last.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Indices of the anchors visited, first and last included.
    pub anchors: Vec<usize>,
    /// Sum of the edges' costs.
    pub cost: f64,
}

/// The cheapest route of exactly `steps` edges.
///
/// # Errors
/// [`MethodError::Setting`] if `steps` is zero or above the number of cells between anchors.
pub fn cheapest(costs: &Costs, steps: usize) -> Result<Route, MethodError> {
    let cells = costs.cells();
    if steps == 0 || steps > cells {
        return Err(MethodError::Setting {
            setting: "steps",
            value: steps.to_string(),
            remedy: "a route needs at least one step and at most one per cell between anchors; ten anchors per step are \
                     customary",
        });
    }
    // best[j] with the current number of edges; next[k][j] the anchor after j on that route.
    let mut best: Vec<f64> = (0..cells).map(|j| costs.edge(j, cells)).collect();
    let mut next = vec![vec![cells; cells]];
    for edges in 2..=steps {
        let mut longer = vec![f64::INFINITY; cells];
        let mut choice = vec![cells; cells];
        for j in 0..=cells - edges {
            // `edges - 1` more edges must still fit behind h.
            for (h, rest) in best.iter().enumerate().take(cells - edges + 2).skip(j + 1) {
                let total = costs.edge(j, h) + rest;
                if total < longer[j] {
                    (longer[j], choice[j]) = (total, h);
                }
            }
        }
        best = longer;
        next.push(choice);
    }
    let mut anchors = vec![0];
    for choice in next.iter().rev() {
        anchors.push(choice[anchors[anchors.len() - 1]]);
    }
    Ok(Route { anchors, cost: best[0] })
}
