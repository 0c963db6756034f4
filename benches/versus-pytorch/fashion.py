"""The peer: rectified flow, reflow and distillation on Fashion-MNIST in PyTorch, as a careful user would write it.

Same method, budget and evaluation as `recipes/fashion/*.toml`; samples are written as .npz so that one program
(`rectiflow score`) measures both sides.

    python fashion.py --data DIR --out DIR [--base 480 --pairs 20000 --reflow 240 --distill 120]
    python fashion.py --data DIR --out DIR --images 89600 --reflow 0     # by images seen, whatever the load

DIR of --data holds the four Fashion-MNIST idx .gz files. Times are wall-clock seconds of training proper.
"""

import argparse
import copy
import gzip
import json
import math
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def read_idx(path):
    raw = gzip.decompress(path.read_bytes())
    dims = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dims)]
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * dims).reshape(shape)


class Residual(nn.Module):
    """GroupNorm-SiLU-conv twice, the embedding as scale and shift of the second normalisation."""

    def __init__(self, cin, cout, emb):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(16, cin), nn.Conv2d(cin, cout, 3, padding=1)
        self.film = nn.Linear(emb, 2 * cout)
        self.norm2, self.conv2 = nn.GroupNorm(16, cout), nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()
        nn.init.zeros_(self.conv2.weight), nn.init.zeros_(self.conv2.bias)

    def forward(self, x, e):
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.film(e)[:, :, None, None].chunk(2, 1)
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.skip(x) + h


class UNet(nn.Module):
    def __init__(self, channels=32, classes=10, patch=2):
        super().__init__()
        c, e, p = channels, 4 * channels, patch * patch
        self.patch = patch
        self.freqs = torch.exp(-math.log(1e4) * torch.arange(c) / c)
        self.time = nn.Sequential(nn.Linear(2 * c, e), nn.SiLU(), nn.Linear(e, e))
        self.label = nn.Embedding(classes + 1, e)  # N(0, 1); the last row is "no class"
        self.conv_in = nn.Conv2d(p, c, 3, padding=1)
        self.down1, self.pool, self.down2 = Residual(c, c, e), nn.Conv2d(c, c, 3, 2, 1), Residual(c, 2 * c, e)
        self.mid1, self.mid2 = Residual(2 * c, 2 * c, e), Residual(2 * c, 2 * c, e)
        self.up2a, self.up2b = Residual(4 * c, 2 * c, e), Residual(3 * c, 2 * c, e)
        self.unpool = nn.Conv2d(2 * c, 2 * c, 3, padding=1)
        self.up1a, self.up1b = Residual(3 * c, c, e), Residual(2 * c, c, e)
        self.norm, self.conv_out = nn.GroupNorm(16, c), nn.Conv2d(c, p, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight), nn.init.zeros_(self.conv_out.bias)

    def forward(self, x, t, y):
        a = 1000 * t[:, None] * self.freqs
        e = F.silu(self.time(torch.cat([a.cos(), a.sin()], 1)) + self.label(y))
        h0 = self.conv_in(F.pixel_unshuffle(x, self.patch))
        h1 = self.down1(h0, e)
        h2 = self.pool(h1)
        h3 = self.down2(h2, e)
        h = self.mid2(self.mid1(h3, e), e)
        h = self.up2b(torch.cat([self.up2a(torch.cat([h, h3], 1), e), h2], 1), e)
        h = self.unpool(F.interpolate(h, scale_factor=2))
        h = self.up1b(torch.cat([self.up1a(torch.cat([h, h1], 1), e), h0], 1), e)
        return F.pixel_shuffle(self.conv_out(F.silu(self.norm(h))), self.patch)


def autocast():
    return torch.autocast("cpu", torch.bfloat16)


def train(net, batches, seconds, lr, log, images=0):
    """AdamW with cosine decay over the wall clock, or over `images` seen; returns the EMA network and the images seen."""
    ema = copy.deepcopy(net).eval()
    opt = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=0.01)
    start, step, seen = time.time(), 0, 0
    while (progress := seen / images if images else (time.time() - start) / seconds) < 1:
        for group in opt.param_groups:
            group["lr"] = lr * min(1, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * progress))
        x0, x1, t, y = batches()
        tt = t[:, None, None, None]
        with autocast():
            out = net((1 - tt) * x0 + tt * x1, t, y)
        loss = (out.float() - (x1 - x0)).square().mean()
        opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        opt.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(ema.parameters()), list(net.parameters()), 1 - decay)
        step, seen = step + 1, seen + len(x0)
        if step % 200 == 0:
            log(f"step {step} seen {seen} loss {loss.item():.4f} {seen / (time.time() - start):.0f} img/s")
    return ema, seen


@torch.no_grad()
def sample(net, x0, y, steps, guidance=1.0):
    x, null = x0, torch.full_like(y, 10)
    for i in range(steps):
        t = torch.full((len(x),), i / steps)
        with autocast():
            if guidance == 1.0:
                v = net(x, t, y)
            else:
                c, u = net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([y, null])).chunk(2)
                v = u + guidance * (c - u)
        x = x + v.float() / steps
    return x


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--data", type=pathlib.Path, required=True)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--base", type=float, default=480)
    p.add_argument("--images", type=int, default=0, help="limit the base model by images seen instead of seconds")
    p.add_argument("--pairs", type=int, default=20000)
    p.add_argument("--pair-steps", type=int, default=20)
    p.add_argument("--reflow", type=float, default=240)
    p.add_argument("--distill", type=float, default=120)
    p.add_argument("--eval", type=int, default=2000)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    torch.manual_seed(a.seed)
    a.out.mkdir(parents=True, exist_ok=True)
    images = torch.from_numpy(read_idx(a.data / "train-images-idx3-ubyte.gz").copy())[:, None]
    labels = torch.from_numpy(read_idx(a.data / "train-labels-idx1-ubyte.gz").copy()).long()
    log = lambda line: print(line, flush=True)
    record = {}

    def base_batch():
        i = torch.randint(len(images), (a.batch,))
        x1 = images[i].float() / 127.5 - 1
        y = torch.where(torch.rand(a.batch) < 0.1, 10, labels[i])
        return torch.randn_like(x1), x1, torch.sigmoid(torch.randn(a.batch)), y

    def evaluate(stage, net, plan=((1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0), (50, 1.0))):
        g = torch.Generator().manual_seed(1)
        noise = torch.randn(a.eval, 1, 28, 28, generator=g)
        y = torch.arange(a.eval) % 10
        for steps, guidance in plan:
            start = time.time()
            x = torch.cat([sample(net, n, c, steps, guidance) for n, c in zip(noise.split(100), y.split(100))])
            name = f"{stage}-{steps}" + (f"-g{guidance}" if guidance != 1 else "")
            np.savez(a.out / f"{name}.npz", images=x.clamp(-1, 1).numpy(), labels=y.numpy())
            record[name] = {"nfe": steps, "seconds": time.time() - start}
            log(f"{name}: {len(x) / (time.time() - start):.0f} img/s")

    net = UNet()
    log(f"{sum(p.numel() for p in net.parameters())} parameters")
    start = time.time()
    ema, seen = train(net, base_batch, a.base, a.lr, log, a.images)
    record["base"] = {"seconds": time.time() - start, "images": seen}
    evaluate("base", ema, ((1, 1.0), (2, 1.0), (4, 1.0), (8, 1.0), (50, 1.0), (50, 1.5)))

    if a.reflow:
        start = time.time()
        y = torch.randint(10, (a.pairs,))
        z0 = torch.randn(a.pairs, 1, 28, 28)
        z1 = torch.cat([sample(ema, n, c, a.pair_steps) for n, c in zip(z0.split(100), y.split(100))])
        record["pairs"] = {"seconds": time.time() - start, "count": a.pairs}

        def pair_batch(times):
            def draw():
                i = torch.randint(a.pairs, (a.batch,))
                return z0[i], z1[i], times(a.batch), y[i]

            return draw

        net.load_state_dict(ema.state_dict())
        ema, seen = train(net, pair_batch(torch.rand), a.reflow, a.lr / 2, log)
        record["reflow"] = {"seconds": a.reflow, "images": seen}
        evaluate("reflow", ema)
        net.load_state_dict(ema.state_dict())
        ema, seen = train(net, pair_batch(torch.zeros), a.distill, a.lr / 2, log)
        record["distill"] = {"seconds": a.distill, "images": seen}
        evaluate("distill", ema, ((1, 1.0),))
    (a.out / "record.json").write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
