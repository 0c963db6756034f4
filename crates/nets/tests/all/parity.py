"""Numbers of tests/parity.rs: a U-Net and a DiT in PyTorch with weights given by a formula of their names.

    python parity.py
"""

import math

import torch
import torch.nn.functional as F


def tensor(name, *shape):
    """0.15 sin(1.7 i + sum of the name's bytes), row-major; one more for weights of rank one (norms)."""
    n = math.prod(shape)
    i = torch.arange(n, dtype=torch.float64)
    v = 0.15 * torch.sin(1.7 * i + sum(name.encode()))
    if name.endswith("weight") and len(shape) == 1:
        v = v + 1
    return v.float().reshape(shape)


def linear(name, x, o, bias=True):
    return F.linear(x, tensor(f"{name}.weight", o, x.shape[-1]), tensor(f"{name}.bias", o) if bias else None)


def conv(name, x, o, k=3, stride=1):
    return F.conv2d(x, tensor(f"{name}.weight", o, x.shape[1], k, k), tensor(f"{name}.bias", o), stride, k // 2)


def norm(name, x, groups=4):
    return F.group_norm(x, groups, tensor(f"{name}.weight", x.shape[1]), tensor(f"{name}.bias", x.shape[1]), 1e-5)


def conditioning(t, classes, features, width, count):
    n = features // 2
    a = 1000 * t[:, None] * torch.exp(-math.log(1e4) * torch.arange(n) / n)
    p = "conditioner.time_embedding.linear_"
    e = linear(p + "2", F.silu(linear(p + "1", torch.cat([a.cos(), a.sin()], 1), width)), width)
    return e + tensor("conditioner.class_embedding.weight", count + 1, width)[classes]


def residual(name, x, e, o, resample=lambda x: x):
    h = conv(f"{name}.conv1", resample(F.silu(norm(f"{name}.norm1", x))), o)
    x = resample(x)
    scale, shift = linear(f"{name}.time_emb_proj", e, 2 * o)[:, :, None, None].chunk(2, 1)
    h = conv(f"{name}.conv2", F.silu(norm(f"{name}.norm2", h) * (1 + scale) + shift), o)
    return h + (conv(f"{name}.conv_shortcut", x, o, 1) if x.shape[1] != o else x)


def attention(name, x, heads):
    b, c, h, w = x.shape
    y = linear(f"{name}.qkv", norm(f"{name}.group_norm", x).flatten(2).transpose(1, 2), 3 * c)
    q, k, v = y.reshape(b, h * w, 3, heads, -1).permute(2, 0, 3, 1, 4)
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    return x + linear(f"{name}.proj", y, c).transpose(1, 2).reshape(x.shape)


def unet(x, t, classes):
    """Channels 8, multipliers 1-2, attention at factor 2, residual resampling, two heads, four groups, three classes."""
    e = F.silu(conditioning(t, classes, 16, 32, 3))
    down = lambda x: F.avg_pool2d(x, 2)
    up = lambda x: F.interpolate(x, scale_factor=2)
    skips = [conv("conv_in", x, 8)]
    skips.append(residual("down_blocks.0.resnets.0", skips[-1], e, 8))
    skips.append(residual("down_blocks.0.resample.resnet", skips[-1], e, 8, down))
    skips.append(attention("down_blocks.1.attentions.0", residual("down_blocks.1.resnets.0", skips[-1], e, 16), 2))
    h = attention("mid_block.attentions.0", residual("mid_block.resnets.0", skips[-1], e, 16), 2)
    h = residual("mid_block.resnets.1", h, e, 16)
    for i in range(2):
        h = residual(f"up_blocks.0.resnets.{i}", torch.cat([h, skips.pop()], 1), e, 16)
        h = attention(f"up_blocks.0.attentions.{i}", h, 2)
    h = residual("up_blocks.0.resample.resnet", h, e, 16, up)
    for i in range(2):
        h = residual(f"up_blocks.1.resnets.{i}", torch.cat([h, skips.pop()], 1), e, 8)
    return conv("conv_out", F.silu(norm("conv_norm_out", h)), 1)


def modulate(x, scale, shift):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


def rms(name, x):
    return F.rms_norm(x, x.shape[-1:], tensor(f"{name}.weight", x.shape[-1]), 1e-6)


def dit(x, t, classes, tokens, mask):
    """Patch 2, width 16, depth 2, two heads, ratio 2, QK-norm, fixed positions, tokens of 3 numbers, three classes."""
    b, c, rows, columns = x.shape
    d, heads = 16, 2
    split = lambda y: y.unflatten(2, (heads, -1)).transpose(1, 2)
    e = F.silu(conditioning(t, classes, 256, d, 3))
    h = linear("x_embedder", F.unfold(x, 2, stride=2).transpose(1, 2), d)
    w = 1e4 ** -(torch.arange(d // 4) / (d // 4))
    place = [p.flatten()[:, None] * w for p in torch.meshgrid(torch.arange(rows // 2), torch.arange(columns // 2), indexing="ij")]
    h = h + torch.cat([f(p) for p in place for f in (torch.sin, torch.cos)], 1)
    for i in range(2):
        p = f"blocks.{i}"
        shift1, scale1, gate1, shift2, scale2, gate2 = linear(f"{p}.modulation", e, 6 * d).chunk(6, 1)
        q, k, v = (split(y) for y in linear(f"{p}.attn.qkv", modulate(h, scale1, shift1), 3 * d).chunk(3, 2))
        y = F.scaled_dot_product_attention(rms(f"{p}.attn.q_norm", q), rms(f"{p}.attn.k_norm", k), v)
        h = h + gate1[:, None] * linear(f"{p}.attn.proj", y.transpose(1, 2).flatten(2), d)
        q = split(linear(f"{p}.cross_attn.q", F.layer_norm(h, (d,), eps=1e-6), d))
        k, v = (split(y) for y in linear(f"{p}.cross_attn.kv", tokens, 2 * d).chunk(2, 2))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :]).transpose(1, 2).flatten(2)
        h = h + linear(f"{p}.cross_attn.proj", y, d, bias=False)
        y = F.gelu(linear(f"{p}.mlp.fc1", modulate(h, scale2, shift2), 2 * d), approximate="tanh")
        h = h + gate2[:, None] * linear(f"{p}.mlp.fc2", y, d)
    shift, scale = linear("final_layer.modulation", e, 2 * d).chunk(2, 1)
    y = linear("final_layer.linear", modulate(h, scale, shift), 4 * c)
    return F.fold(y.transpose(1, 2), (rows, columns), 2, stride=2)


def ramp(*shape):
    return torch.sin(0.37 * torch.arange(math.prod(shape), dtype=torch.float64)).float().reshape(shape)


def show(name, y):
    flat = y.flatten()
    picked = ", ".join(f"{v:.6f}" for v in flat[:: len(flat) // 8][:8].tolist())
    print(f"{name}: mean of absolutes {flat.abs().mean():.6f}; every {len(flat) // 8}th [{picked}]")


t, classes = torch.tensor([0.25, 0.8]), torch.tensor([1, 3])  # 3 is the null row
show("unet", unet(ramp(2, 1, 8, 4), t, classes))
mask = torch.tensor([[True, True, False], [True, True, True]])
show("dit", dit(ramp(2, 2, 4, 6), t, classes, ramp(2, 3, 3), mask))
