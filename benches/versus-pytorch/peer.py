"""The peer's side of `run`: the same networks in PyTorch, with our weights, as a careful user would write them.

    peer.py check DIR            compare outputs and gradients with those that our program exported to DIR
    peer.py work WORKLOAD DIR    wait for turns, as `versus_pytorch work` does

BF16=1 runs under bfloat16 autocast, COMPILE=1 under torch.compile, DEVICE=cuda on a graphics processor. `run` starts this file; see
there.
"""

import contextlib
import math
import os
import pathlib
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

torch.set_num_threads(int(os.environ.get("RAYON_NUM_THREADS", "2")))
BF16, COMPILE, DEVICE = os.environ.get("BF16") == "1", os.environ.get("COMPILE") == "1", os.environ.get("DEVICE", "cpu")
CROWD = 1 if DEVICE == "cpu" else 16  # as in ours: crates/rectiflow/benches/versus_pytorch/networks.rs


def precision():
    return torch.autocast(DEVICE, torch.bfloat16) if BF16 else contextlib.nullcontext()


class Named(nn.Module):
    """Parameters under the names of our checkpoints."""

    def __init__(self, weights):
        super().__init__()
        self.p = nn.ParameterDict({name.replace(".", "/"): nn.Parameter(w.clone()) for name, w in weights.items()})

    def __getitem__(self, name):
        return self.p[name.replace(".", "/")]

    def linear(self, name, x):
        return F.linear(x, self[name + ".weight"], self[name + ".bias"])

    def conv(self, name, x, stride=1):
        w = self[name + ".weight"]
        return F.conv2d(x, w, self[name + ".bias"], stride, w.shape[-1] // 2)

    def norm(self, name, x, groups):
        return F.group_norm(x, groups, self[name + ".weight"], self[name + ".bias"], 1e-5)

    def embed(self, t, classes, features):
        n = features // 2
        a = 1000 * t[:, None] * torch.exp(-math.log(1e4) * torch.arange(n, device=t.device) / n)
        p = "conditioner.time_embedding.linear_"
        e = self.linear(p + "2", F.silu(self.linear(p + "1", torch.cat([a.cos(), a.sin()], 1))))
        return e if classes is None else e + self["conditioner.class_embedding.weight"][classes]


class Perceptron(Named):
    def forward(self, x, t, classes):
        h = x.flatten(1)
        for i in range(4):
            h = self.linear(f"layers.{i}", h)
            h = F.silu(h) if i < 3 else h
        return h[:, :, None, None]


class Dit(Named):
    """Peebles and Xie 2023; no QK-norm, learned positions where the weights hold some."""

    def __init__(self, weights, patch, depth, heads=6):
        super().__init__(weights)
        self.patch, self.depth, self.heads = patch, depth, heads

    def modulate(self, x, shift, scale):
        return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]

    def positions(self, rows, columns, d, device):
        if "pos_embed" in self.p:
            return self["pos_embed"]
        count = lambda n: torch.arange(n, device=device)
        w = 1e4 ** -(count(d // 4) / (d // 4))
        at = torch.meshgrid(count(rows), count(columns), indexing="ij")
        return torch.cat([f(p.flatten()[:, None] * w) for p in at for f in (torch.sin, torch.cos)], 1)

    def forward(self, x, t, classes):
        e = F.silu(self.embed(t, classes, 256))
        folded = F.pixel_unshuffle(x, self.patch)
        b, _, rows, columns = folded.shape
        h = self.linear("x_embedder", folded.flatten(2).transpose(1, 2))
        h = h + self.positions(rows, columns, h.shape[-1], h.device)
        for i in range(self.depth):
            p = f"blocks.{i}."
            shift1, scale1, gate1, shift2, scale2, gate2 = self.linear(p + "modulation", e).chunk(6, 1)
            qkv = self.linear(p + "attn.qkv", self.modulate(h, shift1, scale1))
            q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            h = h + gate1[:, None] * self.linear(p + "attn.proj", y)
            y = F.gelu(self.linear(p + "mlp.fc1", self.modulate(h, shift2, scale2)), approximate="tanh")
            h = h + gate2[:, None] * self.linear(p + "mlp.fc2", y)
        shift, scale = self.linear("final_layer.modulation", e).chunk(2, 1)
        y = self.linear("final_layer.linear", self.modulate(h, shift, scale))
        return F.pixel_shuffle(y.transpose(1, 2).unflatten(2, (rows, columns)), self.patch)


class Blocks(Named):
    """What both U-Nets are made of."""

    groups, film, heads = 16, True, 4

    def residual(self, name, x, e):
        h = self.conv(name + ".conv1", F.silu(self.norm(name + ".norm1", x, self.groups)))
        e = self.linear(name + ".time_emb_proj", e)[:, :, None, None]
        if self.film:
            scale, shift = e.chunk(2, 1)
            h = self.norm(name + ".norm2", h, self.groups) * (1 + scale) + shift
        else:
            h = self.norm(name + ".norm2", h + e, self.groups)
        h = self.conv(name + ".conv2", F.silu(h))
        skip = name + ".conv_shortcut"
        return h + (self.conv(skip, x) if skip.replace(".", "/") + "/weight" in self.p else x)

    def attention(self, name, x):
        y = self.linear(name + ".qkv", self.norm(name + ".group_norm", x, self.groups).flatten(2).transpose(1, 2))
        q, k, v = y.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.linear(name + ".proj", y).transpose(1, 2).reshape(x.shape)


class ConvUnet(Blocks):
    """W4: see crates/rectiflow/benches/versus_pytorch/conv_unet.rs."""

    groups, film = 32, False

    def forward(self, x, t, classes):
        e = F.silu(self.embed(t, None, 64))
        h, skips = self.conv("conv_in", x), []
        for level in range(3):
            for i in range(2):
                h = self.residual(f"down.{2 * level + i}", h, e)
                h = self.attention("attention", h) if (level, i) == (1, 1) else h
                skips.append(h)
            h = self.conv(f"halve.{level}", h, 2) if level < 2 else h
        h = self.residual("mid.1", self.residual("mid.0", h, e), e)
        for level in range(3):
            for i in range(2):
                h = self.residual(f"up.{2 * level + i}", torch.cat([h, skips.pop()], 1), e)
            h = self.conv(f"double.{level}", F.interpolate(h, scale_factor=2)) if level < 2 else h
        return self.conv("conv_out", F.silu(self.norm("norm_out", h, 32)))


class Demo(Blocks):
    """The demo's U-Net: 32 channels, multipliers 1 and 2, one block a level, pixels folded in squares of two."""

    def forward(self, x, t, classes):
        e = F.silu(self.embed(t, classes, 64))
        h0 = self.conv("conv_in", F.pixel_unshuffle(x, 2))
        h1 = self.residual("down_blocks.0.resnets.0", h0, e)
        h2 = self.conv("down_blocks.0.resample.conv", h1, 2)
        h3 = self.residual("down_blocks.1.resnets.0", h2, e)
        h = self.residual("mid_block.resnets.1", self.residual("mid_block.resnets.0", h3, e), e)
        h = self.residual("up_blocks.0.resnets.0", torch.cat([h, h3], 1), e)
        h = self.residual("up_blocks.0.resnets.1", torch.cat([h, h2], 1), e)
        h = self.conv("up_blocks.0.resample.conv", F.interpolate(h, scale_factor=2))
        h = self.residual("up_blocks.1.resnets.0", torch.cat([h, h1], 1), e)
        h = self.residual("up_blocks.1.resnets.1", torch.cat([h, h0], 1), e)
        return F.pixel_shuffle(self.conv("conv_out", F.silu(self.norm("conv_norm_out", h, 16))), 2)


NETWORKS = {
    "mlp": Perceptron,
    "dit": lambda w: Dit(w, patch=2, depth=6),
    "unet": ConvUnet,
    "demo": Demo,
    "dit-s4": lambda w: Dit(w, patch=4, depth=12),
}


def load(name, folder):
    tensors = load_file(folder / f"{name}.safetensors", DEVICE)
    weights = {key[2:]: value for key, value in tensors.items() if key.startswith("p.")}
    classes = tensors["class"].long() if len(tensors["class"]) else None
    return NETWORKS[name](weights), tensors["x"], tensors["t"], classes, tensors


def loss_of(net, x, t, classes):
    with precision():
        y = net(x, t, classes)
    return F.mse_loss(y.float(), x[:, : y.shape[1]])


def check(folder):
    """Largest difference as a share of the largest value, of the output and of the worst gradient."""
    torch.backends.cudnn.allow_tf32 = False
    for name in NETWORKS:
        if not (folder / f"{name}.safetensors").exists():
            continue
        net, x, t, classes, tensors = load(name, folder)
        away = lambda a, b: ((a - b).abs().max() / b.abs().max()).item()
        output = away(net(x, t, classes).detach(), tensors["y"])
        loss_of(net, x, t, classes).backward()
        scale = max(tensors[key].abs().max().item() for key in tensors if key.startswith("g."))
        gradient = max(
            (p.grad - tensors["g." + key.replace("/", ".")]).abs().max().item() / scale for key, p in net.p.items()
        )
        print(f"{name} {sum(p.numel() for p in net.parameters())} {output:.3e} {gradient:.3e}", flush=True)


def network_phases(name, folder):
    eager, x, t, classes, _ = load(name, folder)
    x, t = x.repeat(CROWD, 1, 1, 1), t.repeat(CROWD)
    classes = None if classes is None else classes.repeat(CROWD)
    net = torch.compile(eager) if COMPILE else eager
    phases = {}

    def forward(b):
        part = (x[:b], t[:b], None if classes is None else classes[:b])

        def run():
            with torch.inference_mode(), precision():
                net(*part).cpu()

        return run

    if name in ("dit", "unet"):
        phases["forward-1"] = forward(1)
    phases["forward"] = forward(len(x))
    optimiser = torch.optim.AdamW(eager.parameters(), lr=1e-4, weight_decay=0.0)

    def step():
        loss = loss_of(net, x, t, classes)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        return loss.item()

    phases["train"] = step
    if name in ("demo", "dit-s4"):
        wide = torch.randn(64, *x.shape[1:], device=DEVICE)
        labels = torch.arange(64, device=DEVICE) % 10

        def velocity(x, t, guided):
            t = torch.full((len(x),), t, device=DEVICE)
            with precision():
                if not guided:
                    return net(x, t, labels).float()
                null = torch.full_like(labels, 10)
                c, u = net(torch.cat([x, x]), torch.cat([t, t]), torch.cat([labels, null])).float().chunk(2)
            return u + 1.5 * (c - u)

        @torch.inference_mode()
        def sample(steps=50):
            y = wide
            for i in range(steps):
                y = y + velocity(y, i / steps, True) / steps
            return y.cpu()

        @torch.inference_mode()
        def heun(steps=20):
            y = wide
            for i in range(steps):
                a = velocity(y, i / steps, False)
                b = velocity(y + a / steps, (i + 1) / steps, False)
                y = y + (a + b) / (2 * steps)
            return y.cpu()

        phases["sample-64x50-guided"], phases["pairs-64x20-heun"] = sample, heun
    return phases


def other_phases(name):
    if name == "product":
        a, b = torch.randn(2, 2048, 2048, device=DEVICE)
        if BF16:
            a, b = a.bfloat16(), b.bfloat16()
        wait = torch.cuda.synchronize if DEVICE == "cuda" else lambda: None
        return {"2048": lambda: (a @ b, wait())}
    if name == "coupling":
        import numpy as np
        import ot

        def phase(n):
            a, b, w = torch.randn(n, 32), torch.randn(n, 32), np.full(n, 1 / n)
            return lambda: ot.emd(w, w, (torch.cdist(a, b) ** 2).double().numpy())

        return {"512": phase(512), "2048": phase(2048)}
    if name == "frechet":
        import numpy as np
        import scipy.linalg

        x, y = np.random.default_rng(0).standard_normal((2, 10_000, 2048)).astype(np.float32)

        def run():
            m1, m2, s1, s2 = x.mean(0), y.mean(0), np.cov(x, rowvar=False), np.cov(y, rowvar=False)
            root = scipy.linalg.sqrtm(s1 @ s2)
            return ((m1 - m2) ** 2).sum() + np.trace(s1 + s2 - 2 * root.real)

        return {"10000x2048": run}
    return None


LONG = 1e4  # milliseconds after which a run has warmed itself up


def once(run):
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) * 1e3


def work(name, folder):
    phases = other_phases(name) or network_phases(name, folder)
    for line in sys.stdin:
        phase, seconds = line.split()
        run = phases[phase]
        first = once(run)
        begun, each = time.perf_counter(), [first] if first > LONG else []
        while not each or first <= LONG and (len(each) < 3 or time.perf_counter() - begun < float(seconds)):
            each.append(once(run))
        print(statistics.median(each), len(each), flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check(pathlib.Path(sys.argv[2]))
    else:
        work(sys.argv[2], pathlib.Path(sys.argv[3]))
