//! Geometry of a convolution as sums over shifted copies of its input.
//!
//! `out[o, r, c] = sum_{plane, tap} weight[plane, tap, o] in[plane, r s + dy(tap), c s + dx(tap)]`, zero outside the
//! input. Forward passes and input gradients are both of this form; weight gradients are its correlation.

/// One such sum: taps and grid, in the input's coordinates.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Input planes and their height and width.
    pub planes: usize,
    pub height: usize,
    pub width: usize,
    /// Shift `(dy, dx)` of every tap.
    pub taps: Vec<(isize, isize)>,
    /// Input rows and columns from one output to the next.
    pub stride: usize,
    /// Rows and columns of the output grid.
    pub rows: usize,
    pub columns: usize,
}

impl Plan {
    /// Terms of each sum.
    pub fn depth(&self) -> usize {
        self.planes * self.taps.len()
    }

    fn range(&self, f: impl Fn(&(isize, isize)) -> isize) -> (isize, isize) {
        let values = || self.taps.iter().map(&f);
        (values().min().unwrap_or(0), values().max().unwrap_or(0))
    }

    /// The layout of a band of `rows` output rows.
    pub fn band(&self, rows: usize) -> Band {
        let (s, (top, bottom), (left, right)) = (self.stride, self.range(|t| t.0), self.range(|t| t.1));
        let band_rows = (rows - 1) * s + (bottom - top) as usize + 1;
        // Columns of one phase: those from which outputs read with a fixed remainder modulo the stride.
        let phase = self.columns + (right - left) as usize / s;
        let row = s * phase;
        let plane = band_rows * row;
        let tap = |&(dy, dx): &(isize, isize)| {
            let dx = (dx - left) as usize;
            (dy - top) as usize * row + dx % s * phase + dx / s
        };
        let taps: Vec<usize> = self.taps.iter().map(tap).collect();
        let offsets = (0..self.planes).flat_map(|p| taps.iter().map(move |t| p * plane + t)).collect();
        Band { top, left, phase, row, plane, size: self.planes * plane, step: s * row, offsets }
    }

    /// Whether the input can be read where it lies: a single unshifted tap on every input pixel.
    pub fn is_pointwise(&self) -> bool {
        self.taps == [(0, 0)] && self.stride == 1 && self.rows == self.height && self.columns == self.width
    }
}

/// A padded copy of the input rows under a band of output rows, laid out so that consecutive outputs of a row read
/// consecutive values for every tap: `[planes, rows, stride, phase]`.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// Input row and column of the first element, for output row 0.
    pub top: isize,
    pub left: isize,
    pub phase: usize,
    pub row: usize,
    pub plane: usize,
    pub size: usize,
    /// Distance of the elements under consecutive output rows.
    pub step: usize,
    /// Where the first output's operand lies, for every term `plane * taps + tap`.
    pub offsets: Vec<usize>,
}

impl Band {
    /// Fills `dst` with the input under the output rows from `first` on.
    #[inline(always)]
    pub fn fill(&self, plan: &Plan, src: &[f32], first: usize, dst: &mut [f32]) {
        let (h, w, s) = (plan.height, plan.width, plan.stride);
        for (plane, dst) in dst[..self.size].chunks_exact_mut(self.plane).enumerate() {
            let src = &src[plane * h * w..][..h * w];
            for (y, dst) in dst.chunks_exact_mut(self.row).enumerate() {
                let y = (first * s + y) as isize + self.top;
                if y < 0 || y >= h as isize {
                    dst.fill(0.0);
                    continue;
                }
                let src = &src[y as usize * w..][..w];
                for (f, dst) in dst.chunks_exact_mut(self.phase).enumerate() {
                    copy_row(src, self.left + f as isize, s, dst);
                }
            }
        }
    }
}

/// `dst[j] = src[start + j s]`, zero outside.
#[inline(always)]
fn copy_row(src: &[f32], start: isize, s: usize, dst: &mut [f32]) {
    // The first and the end of the j that fall inside.
    let low = (usize::try_from(-start).unwrap_or(0)).div_ceil(s).min(dst.len());
    let inside = src.len() as isize - start;
    let high = usize::try_from(inside).unwrap_or(0).div_ceil(s).clamp(low, dst.len());
    dst[..low].fill(0.0);
    dst[high..].fill(0.0);
    let dst = &mut dst[low..high];
    if dst.is_empty() {
        return;
    }
    let src = &src[(start + (low * s) as isize) as usize..];
    if s == 1 {
        // Rows are short: an inlined loop of vectors beats a call to memcpy.
        let src = &src[..dst.len()];
        for (d, s) in dst.iter_mut().zip(src) {
            *d = *s;
        }
    } else {
        for (j, d) in dst.iter_mut().enumerate() {
            *d = src[j * s];
        }
    }
}
