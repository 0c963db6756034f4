"""The peers of `cargo bench --workspace --bench solvers`: the same runs in PyTorch, torchdiffeq, diffrax and POT.

    python solvers.py

20 000 particles by 1000 Euler-Maruyama steps on the exact 1-D mixture (two modes to three, latent sqrt(t(1-t)) z);
100 000 points by 100 Euler steps through a multilayer perceptron 2-64-64-64-2; the assignment of 512 and 2048 standard
normal points to as many shifted by three, in 2 and 32 dimensions, costs included. Best of three, seconds.
"""

import math
import time

import torch


def best(run, runs=3):
    seconds = []
    for _ in range(runs):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


M0, V0 = torch.tensor([-3.0, 3.0]), torch.tensor([0.25, 0.25])
M1, V1 = torch.tensor([-6.0, 0.0, 6.0]), torch.tensor([0.5, 0.33, 0.5])


def mixture(x, t):
    """Velocity and score at x [n], all pairs of components at once."""
    a, b, g2, gg = 1 - t, t, t * (1 - t), (1 - 2 * t) / 2
    mean = (a * M0[:, None] + b * M1[None]).reshape(-1)
    d_mean = (-M0[:, None] + M1[None]).reshape(-1)
    var = (a * a * V0[:, None] + b * b * V1[None] + g2).reshape(-1)
    rate = (-a * V0[:, None] + b * V1[None] + gg).reshape(-1) / var
    away = x[:, None] - mean
    pull = away / var
    weight = torch.softmax(-0.5 * (away * pull + torch.log(var)), dim=1)
    return (weight * (d_mean + rate * away)).sum(1), -(weight * pull).sum(1)


@torch.inference_mode()
def stochastic(particles=20_000, steps=1000):
    modes = torch.randint(0, 2, (particles,))
    x = M0[modes] + V0[modes].sqrt() * torch.randn(particles)
    h = 1 / steps
    for i in range(steps):
        velocity, score = mixture(x, i * h)
        x = x + h * (velocity + score) + math.sqrt(2 * h) * torch.randn(particles)
    return (x * x).mean().item()


LAYERS = [torch.randn(i, o) / math.sqrt(i) for i, o in [(2, 64), (64, 64), (64, 64), (64, 2)]]
TIME = torch.randn(64)


def perceptron(t, x):
    h = torch.nn.functional.silu(torch.addmm(TIME * t, x, LAYERS[0]))
    for layer in LAYERS[1:3]:
        h = torch.nn.functional.silu(h @ layer)
    return h @ LAYERS[3]


POINTS = torch.randn(100_000, 2)


@torch.inference_mode()
def hand(steps=100, chunk=None):
    for x in POINTS.split(chunk or len(POINTS)):
        for i in range(steps):
            x = x + perceptron(i / steps, x) / steps


@torch.inference_mode()
def torchdiffeq(steps=100):
    from torchdiffeq import odeint

    odeint(perceptron, POINTS, torch.tensor([0.0, 1.0]), method="euler", options={"step_size": 1 / steps})


def diffrax(steps=100):
    import diffrax
    import jax
    import jax.numpy as jnp

    layers, bias = [jnp.asarray(w.numpy()) for w in LAYERS], jnp.asarray(TIME.numpy())

    def field(t, x, _):
        h = jax.nn.silu(x @ layers[0] + bias * t)
        for layer in layers[1:3]:
            h = jax.nn.silu(h @ layer)
        return h @ layers[3]

    @jax.jit
    def run(x):
        term = diffrax.ODETerm(field)
        return diffrax.diffeqsolve(term, diffrax.Euler(), 0.0, 1.0, 1 / steps, x, max_steps=steps + 1).ys

    x = jnp.asarray(POINTS.numpy())
    run(x).block_until_ready()  # compile
    return best(lambda: run(x).block_until_ready())


def diffrax_sde(particles=20_000, steps=1000):
    import diffrax
    import jax
    import jax.numpy as jnp
    import lineax

    m0, v0, m1, v1 = (jnp.asarray(v.numpy()) for v in (M0, V0, M1, V1))

    def drift(t, x, _):
        a, b, g2, gg = 1 - t, t, t * (1 - t), (1 - 2 * t) / 2
        mean = (a * m0[:, None] + b * m1[None]).reshape(-1)
        d_mean = (-m0[:, None] + m1[None]).reshape(-1)
        var = (a * a * v0[:, None] + b * b * v1[None] + g2).reshape(-1)
        rate = (-a * v0[:, None] + b * v1[None] + gg).reshape(-1) / var
        away = x[:, None] - mean
        pull = away / var
        weight = jax.nn.softmax(-0.5 * (away * pull + jnp.log(var)), axis=1)
        return (weight * (d_mean + rate * away - pull)).sum(1)

    def noise(t, x, _):
        return lineax.DiagonalLinearOperator(jnp.full(particles, math.sqrt(2.0)))

    @jax.jit
    def run(x, key):
        path = diffrax.UnsafeBrownianPath(shape=(particles,), key=key)
        terms = diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(noise, path))
        return diffrax.diffeqsolve(
            terms, diffrax.Euler(), 0.0, 1.0, 1 / steps, x, max_steps=steps + 1, adjoint=diffrax.DirectAdjoint()
        ).ys

    modes = torch.randint(0, 2, (particles,))
    x = jnp.asarray((M0[modes] + V0[modes].sqrt() * torch.randn(particles)).numpy())
    end = run(x, jax.random.key(0)).block_until_ready()  # compile
    square = float((end * end).mean())
    assert abs(square - 24.44) < 0.5, f"E x^2 = {square}"
    return best(lambda: run(x, jax.random.key(1)).block_until_ready())


def assignment(n, d):
    """POT's exact transport, in double precision as it computes, and SciPy's assignment."""
    import numpy
    import ot
    import scipy.optimize

    draw = numpy.random.default_rng(n + d)
    a, b = draw.standard_normal((n, d)), draw.standard_normal((n, d)) + 3.0

    def pot():
        return ot.emd([], [], ot.dist(a, b))

    def scipy_():
        scipy.optimize.linear_sum_assignment(ot.dist(a, b))

    return best(pot), best(scipy_), float((pot() * ot.dist(a, b)).sum())


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, E x^2 = {stochastic():.2f}")
    print(f"SDE, hand loop in PyTorch:          {best(stochastic):.3f} s")
    print(f"ODE, hand loop in PyTorch:          {best(hand):.3f} s")
    print(f"ODE, hand loop, 2500 points a time: {best(lambda: hand(chunk=2500)):.3f} s")
    for name, run in [("torchdiffeq", lambda: best(torchdiffeq)), ("diffrax", diffrax)]:
        try:
            print(f"ODE, {name}:{' ' * (31 - len(name) - 1)}{run():.3f} s")
        except ImportError as error:
            print(f"ODE, {name}: not installed ({error})")
    try:
        print(f"SDE, diffrax:                       {diffrax_sde():.3f} s")
    except ImportError as error:
        print(f"SDE, diffrax: not installed ({error})")
    try:
        for n in (512, 2048):
            for d in (2, 32):
                pot, scipy, cost = assignment(n, d)
                print(f"assignment, {n:4} points in {d:2}-D:        POT {pot:.4f} s, SciPy {scipy:.4f} s (cost {cost:.3f})")
    except ImportError as error:
        print(f"assignment: POT is not installed ({error})")
