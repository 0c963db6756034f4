//! What a causal codec remembers between two pieces of a clip: the last frames that each of its convolutions in time has seen.

use crate::layers::Conv3d;
use base::Tensor;

/// The memory of one pass over a clip, piece by piece. Convolutions ask in the same order for every piece.
#[derive(Default)]
pub(super) struct Past {
    seen: Vec<Option<Tensor<5>>>,
    asked: usize,
    began: bool,
}

impl Past {
    /// Before a piece is walked.
    pub fn begin(&mut self) {
        (self.began, self.asked) = (!self.seen.is_empty(), 0);
    }

    /// Whether a piece came before this one.
    pub fn began(&self) -> bool {
        self.began
    }

    /// The place of the convolution that asks now.
    pub fn place(&mut self) -> &mut Option<Tensor<5>> {
        if self.asked == self.seen.len() {
            self.seen.push(None);
        }
        self.asked += 1;
        &mut self.seen[self.asked - 1]
    }

    /// `conv` over a piece `[b c f h w]` and the frames before it; zeros before the first.
    pub fn causal(&mut self, conv: &Conv3d, x: Tensor<5>) -> Tensor<5> {
        let ([b, c, _, h, w], reach) = (x.dims(), conv.reach());
        let place = self.place();
        if reach == 0 {
            return conv.forward(x);
        }
        let before = place.take().unwrap_or_else(|| Tensor::zeros([b, c, reach, h, w], &x.device()));
        let all = Tensor::cat(vec![before, x], 2);
        let frames = all.dims()[2];
        *place = Some(tail(&all, frames - reach, reach));
        conv.forward(all)
    }
}

/// Frames of `x` as numbers of their own: a view would hold on to all of it, at each of thirty convolutions.
pub(super) fn tail(x: &Tensor<5>, from: usize, frames: usize) -> Tensor<5> {
    x.clone().narrow(2, from, frames) * 1.0
}
