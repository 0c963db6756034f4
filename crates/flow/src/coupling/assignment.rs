//! Exact assignment by shortest augmenting paths.
//!
//! Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems", Computing
//! 38 (1987): column reduction, reduction transfer, two rounds of row reduction, then a Dijkstra search for each row still
//! free. Where many are, an auction with falling surcharges finds prices first, under which searches are short (Bertsekas,
//! 1992); the searches make the assignment exact. O(n³) at worst; on point clouds most rows are placed before they begin.

use crate::FlowError;

/// For each of `n` rows the column it is assigned, so that the sum of `cost(row, column)` is least.
///
/// # Errors
/// [`FlowError::NotFinite`] if a cost is NaN or infinite.
pub fn assign(n: usize, cost: impl Fn(usize, usize) -> f64) -> Result<Vec<usize>, FlowError> {
    let costs: Vec<f64> = (0..n * n).map(|i| cost(i / n, i % n)).collect();
    assign_matrix(n, &costs)
}

/// [`assign`] for a cost matrix `[n n]` in row-major order.
///
/// # Errors
/// [`FlowError::NotFinite`] if a cost is NaN or infinite, [`FlowError::Shape`] if there are not `n²` costs.
pub fn assign_matrix(n: usize, costs: &[f64]) -> Result<Vec<usize>, FlowError> {
    if costs.len() != n * n {
        let (left_shape, right_shape) = (vec![n, n], vec![costs.len()]);
        return Err(FlowError::Shape { left: "rows and columns", left_shape, right: "costs", right_shape });
    }
    if let Some(bad) = costs.iter().position(|c| !c.is_finite()) {
        return Err(FlowError::NotFinite { what: "a transport cost", t: f64::NAN, sample: bad / n });
    }
    if n < 2 {
        return Ok((0..n).collect());
    }
    Ok(pulp::Arch::new().dispatch(Least { n, costs }))
}

/// The whole search as one type, so that all its loops are compiled for the widest vectors.
struct Least<'a> {
    n: usize,
    costs: &'a [f64],
}

impl pulp::NullaryFnOnce for Least<'_> {
    type Output = Vec<usize>;

    #[inline(always)]
    fn call(self) -> Vec<usize> {
        let mut state = State::reduce_columns(self.n, self.costs);
        let mut free = state.transfer_reductions();
        for _ in 0..2 {
            free = state.reduce_rows(free);
        }
        // Where prices differ over the whole cloud, such as in few dimensions, searches would each go through all of it.
        if free.len() > self.n / 8 {
            state.auction();
            free = state.claim();
            for _ in 0..2 {
                free = state.reduce_rows(free);
            }
        }
        let mut search = Search::new(self.n);
        for row in free {
            state.augment(row, &mut search);
        }
        state.column_of
    }
}

const NONE: usize = usize::MAX;

/// A partial assignment and column prices under which every assigned row sits on its cheapest column.
struct State<'a> {
    n: usize,
    costs: &'a [f64],
    price: Vec<f64>,
    column_of: Vec<usize>,
    row_of: Vec<usize>,
}

impl<'a> State<'a> {
    /// Prices every column at its least cost and gives it to the row that has it, if that row has none yet. Costs are
    /// counted from the least of their row: otherwise a few rows that are near everything would win every column.
    #[inline(always)]
    fn reduce_columns(n: usize, costs: &'a [f64]) -> Self {
        let (mut price, mut cheapest) = (vec![f64::INFINITY; n], vec![0; n]);
        for (row, costs) in costs.chunks(n).enumerate() {
            let own = costs.iter().copied().fold(f64::INFINITY, f64::min);
            for j in 0..n {
                if costs[j] - own < price[j] {
                    (price[j], cheapest[j]) = (costs[j] - own, row);
                }
            }
        }
        let (mut column_of, mut row_of) = (vec![NONE; n], vec![NONE; n]);
        for (j, row) in cheapest.into_iter().enumerate().rev() {
            if column_of[row] == NONE {
                (column_of[row], row_of[j]) = (j, row);
            }
        }
        Self { n, costs, price, column_of, row_of }
    }

    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f64] {
        &self.costs[row * self.n..(row + 1) * self.n]
    }

    /// The two least reduced costs of a row and their columns, in lanes: a single running minimum would wait for itself.
    #[inline(always)]
    fn two_best(&self, row: usize) -> ([f64; 2], [usize; 2]) {
        const LANES: usize = 16;
        let (mut best, mut second) = ([f64::INFINITY; LANES], [f64::INFINITY; LANES]);
        let (costs, prices) = (self.row(row).as_chunks::<LANES>(), self.price.as_chunks::<LANES>());
        for (costs, prices) in costs.0.iter().zip(prices.0) {
            for lane in 0..LANES {
                let reduced = costs[lane] - prices[lane];
                let greater = if reduced > best[lane] { reduced } else { best[lane] };
                second[lane] = if greater < second[lane] { greater } else { second[lane] };
                best[lane] = if reduced < best[lane] { reduced } else { best[lane] };
            }
        }
        let rest = costs.1.iter().zip(prices.1).map(|(cost, price)| cost - price);
        let mut least = [f64::INFINITY; 2];
        for reduced in best.into_iter().chain(second).chain(rest) {
            if reduced < least[0] {
                least = [reduced, least[0]];
            } else if reduced < least[1] {
                least[1] = reduced;
            }
        }
        let find = |wanted: f64, not: usize| {
            let is = |(j, (cost, price)): (usize, (&f64, &f64))| j != not && cost - price == wanted;
            self.row(row).iter().zip(&self.price).enumerate().position(is).unwrap_or(0)
        };
        let at = find(least[0], NONE);
        // The runner-up's place matters where the two tie alone.
        (least, [at, if least[0] < least[1] { at } else { find(least[1], at) }])
    }

    /// Prices near the right ones: rows bid with smaller and smaller surcharges (Bertsekas, "Auction algorithms", 1992). A
    /// bid's surcharge keeps rows that want the same few columns from raising each other by nothing for ever.
    #[inline(always)]
    fn auction(&mut self) {
        let (least, most) =
            self.costs.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), c| (a.min(*c), b.max(*c)));
        let n = self.n;
        let mut surcharge = (most - least) / 8.0;
        // Smaller surcharges cost more bids than the searches that they would save.
        while surcharge > (most - least) / (8 * n) as f64 {
            self.column_of.fill(NONE);
            self.row_of.fill(NONE);
            let mut waiting: Vec<usize> = (0..n).rev().collect();
            // Prices need not be right, so a long war over them is left to the searches.
            for _ in 0..64 * n {
                let Some(row) = waiting.pop() else { break };
                let ([best, second], [column, _]) = self.two_best(row);
                self.price[column] -= second - best + surcharge;
                let displaced = std::mem::replace(&mut self.row_of[column], row);
                self.column_of[row] = column;
                if displaced != NONE {
                    self.column_of[displaced] = NONE;
                    waiting.push(displaced);
                }
            }
            surcharge /= 4.0;
        }
    }

    /// Gives every row its cheapest column under the prices, unless another row has it already; returns the free rows.
    #[inline(always)]
    fn claim(&mut self) -> Vec<usize> {
        self.column_of.fill(NONE);
        self.row_of.fill(NONE);
        let mut free = Vec::new();
        for row in 0..self.n {
            let (_, [column, _]) = self.two_best(row);
            if self.row_of[column] == NONE {
                (self.row_of[column], self.column_of[row]) = (row, column);
            } else {
                free.push(row);
            }
        }
        free
    }

    /// Lowers the price of each assigned column as far as its row would still choose it; returns the free rows.
    #[inline(always)]
    fn transfer_reductions(&mut self) -> Vec<usize> {
        let mut free = Vec::new();
        for row in 0..self.n {
            match self.column_of[row] {
                NONE => free.push(row),
                own => {
                    let others = self.row(row).iter().zip(&self.price).enumerate().filter(|(j, _)| *j != own);
                    let next = others.map(|(_, (cost, price))| cost - price).fold(f64::INFINITY, f64::min);
                    self.price[own] -= next - (self.row(row)[own] - self.price[own]);
                }
            }
        }
        free
    }

    /// Lets each free row bid for its best column; who is displaced bids next. Returns the rows still free.
    #[inline(always)]
    fn reduce_rows(&mut self, mut waiting: Vec<usize>) -> Vec<usize> {
        let mut free = Vec::new();
        waiting.reverse();
        // Bids that rounding makes too small to change a price could go round for ever.
        let mut bids = 8 * self.n;
        while let Some(row) = waiting.pop() {
            let ([best, second], [mut column, other]) = self.two_best(row);
            let raises = best < second && self.price[column] - (second - best) < self.price[column];
            if raises {
                self.price[column] -= second - best;
            } else if self.row_of[column] != NONE {
                column = other;
            }
            let displaced = std::mem::replace(&mut self.row_of[column], row);
            self.column_of[row] = column;
            if displaced == NONE {
                continue;
            }
            self.column_of[displaced] = NONE;
            bids = bids.saturating_sub(1);
            if raises && bids > 0 {
                waiting.push(displaced);
            } else {
                free.push(displaced);
            }
        }
        free
    }

    /// Places `row` along the cheapest alternating path to a free column and mends the prices.
    #[inline(always)]
    fn augment(&mut self, row: usize, search: &mut Search) {
        let Search { distance, from, open, closed } = search;
        distance.fill(f64::INFINITY);
        open.fill(0.0);
        closed.clear();
        let (mut at, mut reached) = (row, 0.0);
        let (end, length) = loop {
            // Reduced costs along the tree are zero, so `reached` is the distance of this row.
            let offset = match closed.last() {
                None => 0.0,
                Some(&column) => reached - (self.row(at)[column] - self.price[column]),
            };
            let costs = self.row(at).iter().zip(&self.price).zip(open.iter());
            for (((cost, price), open), (distance, from)) in costs.zip(distance.iter_mut().zip(from.iter_mut())) {
                let through = cost - price + offset + open; // infinite for closed columns
                let better = through < *distance;
                *distance = if better { through } else { *distance };
                *from = if better { at as u32 } else { *from };
            }
            let nearest = least(distance, open);
            let column = distance.iter().zip(open.iter()).position(|(d, open)| d + open == nearest).unwrap_or(0);
            if self.row_of[column] == NONE {
                break (column, nearest);
            }
            (open[column], reached, at) = (f64::INFINITY, nearest, self.row_of[column]);
            closed.push(column);
        };
        for &column in closed.iter() {
            self.price[column] += distance[column] - length;
        }
        let mut column = end;
        loop {
            let owner = from[column] as usize;
            self.row_of[column] = owner;
            std::mem::swap(&mut self.column_of[owner], &mut column);
            if owner == row {
                break;
            }
        }
    }
}

/// The least `a[j] + b[j]`, in eight lanes: a single running minimum would wait for itself at every element.
#[inline(always)]
fn least(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [f64::INFINITY; LANES];
    let (a, b) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.0.iter().zip(b.0) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            let sum = a + b;
            *lane = if sum < *lane { sum } else { *lane };
        }
    }
    let rest = a.1.iter().zip(b.1).map(|(a, b)| a + b);
    lanes.into_iter().chain(rest).fold(f64::INFINITY, f64::min)
}

/// Working memory of a search, kept from one to the next.
struct Search {
    distance: Vec<f64>,
    from: Vec<u32>,
    /// Zero for an open column, infinity for a closed one: adding it is cheaper than asking.
    open: Vec<f64>,
    closed: Vec<usize>,
}

impl Search {
    fn new(n: usize) -> Self {
        Self { distance: vec![0.0; n], from: vec![0; n], open: vec![0.0; n], closed: Vec::with_capacity(n) }
    }
}
