"""Training speed of the text-to-image network of recipes/emoji/text.toml in PyTorch, for beside `rectiflow plan --device`.

    python benches/versus-pytorch/text.py [cuda|cpu] [batch]

The same layers, sizes, optimiser and moving average on random data; prints images per second of f32, bfloat16 autocast and both
together with torch.compile.
"""

import contextlib
import math
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda"
BATCH = int(sys.argv[2]) if len(sys.argv) > 2 else 256
WIDTH, DEPTH, HEADS, PATCH, TOKENS, LENGTH, SIDE = 192, 6, 3, 2, 384, 16, 32


def heads(x):
    return x.unflatten(2, (HEADS, -1)).transpose(1, 2)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        d = WIDTH
        self.modulation, self.qkv, self.proj = nn.Linear(d, 6 * d), nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.q_norm, self.k_norm = nn.RMSNorm(d // HEADS, 1e-6), nn.RMSNorm(d // HEADS, 1e-6)
        self.q, self.kv, self.cross = nn.Linear(d, d), nn.Linear(TOKENS, 2 * d), nn.Linear(d, d, bias=False)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x, e, tokens, mask):
        norm = lambda x: F.layer_norm(x, x.shape[-1:], eps=1e-6)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(e)[:, None].chunk(6, 2)
        q, k, v = map(heads, self.qkv(norm(x) * (1 + scale1) + shift1).chunk(3, 2))
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        x = x + gate1 * self.proj(y.transpose(1, 2).flatten(2))
        k, v = map(heads, self.kv(tokens).chunk(2, 2))
        y = F.scaled_dot_product_attention(heads(self.q(norm(x))), k, v, attn_mask=mask[:, None, None])
        x = x + self.cross(y.transpose(1, 2).flatten(2))
        y = F.gelu(self.fc1(norm(x) * (1 + scale2) + shift2), approximate="tanh")
        return x + gate2 * self.fc2(y)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        d, pixels = WIDTH, 3 * PATCH**2
        self.time = nn.Sequential(nn.Linear(256, d), nn.SiLU(), nn.Linear(d, d))
        self.sentence, self.embedder = nn.Linear(TOKENS, d, bias=False), nn.Linear(pixels, d)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))
        self.modulation, self.last = nn.Linear(d, 2 * d), nn.Linear(d, pixels)
        self.register_buffer("places", torch.randn((SIDE // PATCH) ** 2, d))

    def forward(self, x, t, tokens, mask, sentence):
        a = 1000 * t[:, None] * torch.exp(-math.log(1e4) * torch.arange(128, device=t.device) / 128)
        e = F.silu(self.time(torch.cat([a.cos(), a.sin()], 1)) + self.sentence(sentence))
        h = self.embedder(F.pixel_unshuffle(x, PATCH).flatten(2).transpose(1, 2)) + self.places
        for block in self.blocks:
            h = block(h, e, tokens, mask)
        shift, scale = self.modulation(e)[:, None].chunk(2, 2)
        y = self.last(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift)
        return F.pixel_shuffle(y.transpose(1, 2).unflatten(2, (SIDE // PATCH, SIDE // PATCH)), PATCH)


def speed(bf16, compiled):
    torch.manual_seed(0)
    eager = Net().to(DEVICE)
    net = torch.compile(eager) if compiled else eager
    average = [p.detach().clone() for p in eager.parameters()]
    optimiser = torch.optim.AdamW(eager.parameters(), lr=1e-3, weight_decay=0.0)
    tokens = torch.randn(BATCH, LENGTH, TOKENS, device=DEVICE)
    mask = torch.arange(LENGTH, device=DEVICE) < 8
    mask, sentence = mask.expand(BATCH, -1), torch.randn(BATCH, TOKENS, device=DEVICE)
    data = torch.randn(BATCH, 3, SIDE, SIDE, device=DEVICE)

    def step():
        noise, t = torch.randn_like(data), torch.sigmoid(torch.randn(BATCH, device=DEVICE))
        x = torch.lerp(noise, data, t[:, None, None, None])
        with torch.autocast(DEVICE, torch.bfloat16) if bf16 else contextlib.nullcontext():
            y = net(x, t, tokens, mask, sentence)
        loss = F.mse_loss(y.float(), data - noise)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(eager.parameters(), 1.0)
        optimiser.step()
        torch._foreach_lerp_(average, [p.detach() for p in eager.parameters()], 0.001)
        return loss.item()

    for _ in range(5):
        step()
    each, begun = [], time.perf_counter()
    while len(each) < 5 or time.perf_counter() - begun < 2:
        start = time.perf_counter()
        step()
        each.append(time.perf_counter() - start)
    return BATCH / statistics.median(each)


if __name__ == "__main__":
    parameters = sum(p.numel() for p in Net().parameters())
    print(f"{parameters} parameters, batch {BATCH}, {DEVICE}, PyTorch {torch.__version__}", flush=True)
    for name, bf16, compiled in [("f32", False, False), ("bf16", True, False), ("compiled bf16", True, True)]:
        print(f"{name}: {speed(bf16, compiled):.0f} images/s", flush=True)
