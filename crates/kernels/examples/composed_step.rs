//! One training step of a small U-Net on 28x28 images with the pieces of a real one (residual blocks with time
//! modulation, skips, down- and upsampling, AdamW), for profiling: `perf record` around
//! `cargo run --release -p rectiflow-kernels --example composed_step [reference]`.

use std::time::Instant;

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use kernels::reference;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const B: usize = 32;

fn values(seed: usize, n: usize, scale: f32) -> Vec<f32> {
    (0..n).map(|i| (((i + seed * 131) * 7919 % 1009) as f32 / 504.5 - 1.0) * scale).collect()
}

struct Params {
    all: Vec<(Vec<usize>, Tensor<1>, Tensor<1>, Tensor<1>)>,
    leaves: Vec<Tensor<1>>,
    next: usize,
    device: Device,
}

impl Params {
    fn get<const D: usize>(&mut self, dims: [usize; D]) -> Tensor<D> {
        let n = dims.iter().product();
        if self.next == self.all.len() {
            let fan: usize = dims[1..].iter().product();
            let value: Tensor<1> =
                Tensor::from_floats(values(self.next, n, (1.0 / fan as f32).sqrt()).as_slice(), &Device::flex());
            let zero = value.zeros_like();
            self.all.push((dims.to_vec(), value, zero.clone(), zero * 1.0));
        }
        self.next += 1;
        let leaf = Tensor::from_inner(self.all[self.next - 1].1.clone()).require_grad();
        self.leaves.push(leaf.clone());
        leaf.reshape(dims)
    }
}

type Conv = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, usize, usize) -> Tensor<4>;

struct Ops {
    fast: bool,
}

impl Ops {
    fn conv(&self, p: &mut Params, x: Tensor<4>, o: usize, k: usize, s: usize) -> Tensor<4> {
        let i = x.dims()[1];
        let f: Conv = if self.fast { kernels::conv2d } else { reference::conv2d };
        let (w, b) = (p.get([o, i, k, k]), p.get([o]));
        f(x, w, Some(b), s, k / 2)
    }

    fn norm(&self, p: &mut Params, x: Tensor<4>, m: Option<(Tensor<2>, Tensor<2>)>) -> Tensor<4> {
        let c = x.dims()[1];
        let f = if self.fast { kernels::group_norm } else { reference::group_norm };
        let (g, b) = (p.get([c]) + 1.0, p.get([c]));
        f(x, g, b, 8, 1e-5, m, true)
    }

    fn linear(&self, p: &mut Params, x: Tensor<2>, o: usize) -> Tensor<2> {
        let i = x.dims()[1];
        let f = if self.fast { kernels::linear } else { reference::linear };
        let (w, b) = (p.get([o, i]), p.get([o]));
        f(x, w, Some(b))
    }

    fn block(&self, p: &mut Params, x: Tensor<4>, e: Tensor<2>, o: usize) -> Tensor<4> {
        let i = x.dims()[1];
        let h = self.norm(p, x.clone(), None);
        let h = self.conv(p, h, o, 3, 1);
        let e = self.linear(p, e, 2 * o);
        let (scale, shift) = (e.clone().narrow(1, 0, o), e.narrow(1, o, o));
        let h = self.norm(p, h, Some((scale, shift)));
        let h = self.conv(p, h, o, 3, 1);
        let skip = if i == o { x } else { self.conv(p, x, o, 1, 1) };
        skip + h
    }

    fn net(&self, p: &mut Params, x: Tensor<4>, e: Tensor<2>) -> Tensor<4> {
        let e = self.linear(p, e, 192);
        let e = if self.fast { kernels::silu(e) } else { reference::silu(e) };
        let h = self.conv(p, x, 48, 3, 1);
        let a = self.block(p, h.clone(), e.clone(), 48);
        let d = self.conv(p, a.clone(), 96, 3, 2);
        let c = self.block(p, d, e.clone(), 96);
        let m = self.block(p, c.clone(), e.clone(), 96);
        let u = self.block(p, Tensor::cat(vec![m, c], 1), e.clone(), 96);
        let u = if self.fast { kernels::upsample2(u) } else { reference::upsample2(u) };
        let u = self.conv(p, u, 48, 3, 1);
        let u = self.block(p, Tensor::cat(vec![u, a], 1), e, 48);
        let u = self.norm(p, u, None);
        self.conv(p, u, 1, 3, 1)
    }
}

fn main() {
    let ops = Ops { fast: std::env::args().nth(1).as_deref() != Some("reference") };
    let device = Device::flex().autodiff();
    let mut p = Params { all: vec![], leaves: vec![], next: 0, device: device.clone() };
    let image = |seed| Tensor::<4>::from_data(TensorData::new(values(seed, B * 784, 1.0), [B, 1, 28, 28]), &device);
    let e = Tensor::<2>::from_data(TensorData::new(values(3, B * 48, 1.0), [B, 48]), &p.device);
    let config = kernels::adamw::AdamW::default();
    let mut best = [f64::MAX; 3];
    for step in 1..=20 {
        let t0 = Instant::now();
        (p.next, p.leaves) = (0, vec![]);
        let y = ops.net(&mut p, image(1), e.clone());
        let loss = (y - image(2)).square().mean();
        let t1 = Instant::now();
        let grads: Gradients = loss.clone().backward();
        let t2 = Instant::now();
        for (state, leaf) in p.all.iter_mut().zip(p.leaves.drain(..)) {
            let g = leaf.grad(&grads).expect("every parameter is used");
            drop(leaf);
            let [v, m, s] = [&mut state.1, &mut state.2, &mut state.3].map(|t| std::mem::replace(t, g.clone()));
            (state.1, state.2, state.3) = kernels::adamw::step(&config, 1e-3, step, 1.0, v, g, m, s);
        }
        let times = [t1 - t0, t2 - t1, t2.elapsed()].map(|t| t.as_secs_f64() * 1e3);
        for (best, t) in best.iter_mut().zip(times) {
            *best = best.min(t);
        }
        if step % 10 == 0 {
            let [f, b, u] = best;
            println!(
                "step {step}: loss {:.5}; best forward {f:.1} ms, backward {b:.1}, update {u:.2}, all {:.1}",
                loss.into_scalar::<f32>(),
                f + b + u
            );
        }
    }
}
