//! Geometry of a convolution as sums over shifted copies of its input.
//!
//! `out[o, r, c] = sum_{plane, tap} weight[plane, tap, o] in[plane, r s + dy(tap), c s + dx(tap)]`, zero outside the
//! input. Forward passes and input gradients are both of this form; weight gradients are its correlation.

use pulp::Simd;

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

    /// The layouts of bands of so many output rows, each once.
    pub fn bands(&self, rows: impl Iterator<Item = usize>) -> Vec<(usize, Band)> {
        let mut bands: Vec<(usize, Band)> = Vec::new();
        for rows in rows {
            if bands.iter().all(|band| band.0 != rows) {
                bands.push((rows, self.band(rows)));
            }
        }
        bands
    }

    /// The layout of a band of `rows` output rows.
    fn band(&self, rows: usize) -> Band {
        if self.is_pointwise() {
            let offsets: Vec<usize> = (0..self.planes).map(|p| p * self.height * self.width).collect();
            let reach = offsets.last().map_or(0, |o| o + rows * self.width);
            return Band { step: self.width, offsets, reach, padded: None };
        }
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
        let offsets: Vec<usize> = (0..self.planes).flat_map(|p| taps.iter().map(move |t| p * plane + t)).collect();
        let step = s * row;
        let reach = offsets.iter().max().map_or(0, |o| o + (rows - 1) * step + self.columns);
        let spans = (0..s).map(|f| Span::new(left + f as isize, s, phase, self.width)).collect();
        Band { step, offsets, reach, padded: Some(Padded { top, phase, row, plane, size: self.planes * plane, spans }) }
    }

    /// Whether the input can be read where it lies: a single unshifted tap on every input pixel.
    fn is_pointwise(&self) -> bool {
        self.taps == [(0, 0)] && self.stride == 1 && self.rows == self.height && self.columns == self.width
    }
}

/// How the operands of a band of output rows lie, in the input itself or in a padded copy.
#[derive(Clone, Debug)]
pub(crate) struct Band {
    /// Distance of the elements under consecutive output rows.
    pub step: usize,
    /// Where the first output's operand lies, for every term `plane * taps + tap`.
    pub offsets: Vec<usize>,
    /// Values from the first operand of all to the end of the last.
    pub reach: usize,
    /// The copy; `None` where the input is read where it lies.
    pub padded: Option<Padded>,
}

/// A padded copy of the input rows under a band of output rows, laid out so that consecutive outputs of a row read
/// consecutive values for every tap: `[planes, rows, stride, phase]`.
#[derive(Clone, Debug)]
pub(crate) struct Padded {
    /// Input row of the first element, for output row 0.
    top: isize,
    phase: usize,
    row: usize,
    plane: usize,
    size: usize,
    /// What a row of each phase takes from the input.
    spans: Vec<Span>,
}

/// `dst[j] = src[start + j s]` for `low <= j < high`, and zero elsewhere.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: isize,
    low: usize,
    high: usize,
}

impl Span {
    fn new(start: isize, s: usize, len: usize, width: usize) -> Self {
        let low = usize::try_from(-start).unwrap_or(0).div_ceil(s).min(len);
        let inside = usize::try_from(width as isize - start).unwrap_or(0);
        Self { start, low, high: inside.div_ceil(s).clamp(low, len) }
    }
}

/// Values beyond its end that filling a copy may overwrite: whole vectors are written.
const SLACK: usize = 16;

impl Padded {
    /// Values of the memory a copy is made in.
    pub fn room(&self) -> usize {
        self.size + SLACK
    }

    /// Fills `dst` with the input under the output rows from `first` on.
    #[inline(always)]
    pub fn fill<S: Simd>(&self, simd: S, plan: &Plan, src: &[f32], first: usize, dst: &mut [f32]) {
        let _ = simd; // it stands for what this is compiled for
        let (h, w, s) = (plan.height, plan.width, plan.stride);
        assert!(dst.len() >= self.room() && src.len() >= plan.planes * h * w);
        let rows = self.plane / self.row;
        let mut at = 0;
        for plane in 0..plan.planes {
            for y in 0..rows {
                let y = (first * s + y) as isize + self.top;
                let inside = y >= 0 && y < h as isize;
                let src = if inside { &src[(plane * h + y as usize) * w..][..w] } else { &src[..0] };
                for span in &self.spans {
                    let span = if inside { *span } else { Span { start: 0, low: 0, high: 0 } };
                    #[cfg(target_arch = "x86_64")]
                    if S::F32_LANES == 16 && s == 1 {
                        // SAFETY: `dst` has room for this row and a vector beyond by the assertion; a span stays within
                        // its source; the processor has what `S` stands for, which includes AVX-512F.
                        unsafe { copy_vectors(src, span, self.phase, dst.as_mut_ptr().add(at)) };
                        at += self.phase;
                        continue;
                    }
                    for (j, dst) in dst[at..at + self.phase].iter_mut().enumerate() {
                        let inside = j >= span.low && j < span.high;
                        *dst = if inside { src[(span.start + (j * s) as isize) as usize] } else { 0.0 };
                    }
                    at += self.phase;
                }
            }
        }
    }
}

/// Writes `len` values of a row of stride 1, rounded up to whole vectors.
///
/// # Safety
/// `dst` must be writable for `len` values and 15 more; `span` must stay within `src`; AVX-512F.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn copy_vectors(src: &[f32], span: Span, len: usize, dst: *mut f32) {
    use std::arch::x86_64::{_mm512_maskz_loadu_ps, _mm512_storeu_ps};
    let below = |n: usize| (1u32 << n.min(16)) - 1;
    for j in (0..len).step_by(16) {
        let lanes = below(span.high.saturating_sub(j)) & !below(span.low.saturating_sub(j));
        // SAFETY: lanes outside the span are not read, wherever their addresses lie; the caller vouches for the rest.
        unsafe {
            let src = src.as_ptr().wrapping_offset(span.start + j as isize);
            _mm512_storeu_ps(dst.add(j), _mm512_maskz_loadu_ps(lanes as u16, src));
        }
    }
}
