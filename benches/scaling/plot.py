"""Draws scaling.png from scaling.csv: time per image, and the rate of arithmetic behind it, as three sizes grow.

    pip install matplotlib && python benches/scaling/plot.py
"""

import csv
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

TITLES = {
    "batch": "U-Net of 32 channels, 28x28",
    "tokens": "DiT of width 256, 2048 tokens a batch",
    "channels": "U-Net, 28x28, batch 16",
}

here = pathlib.Path(__file__).parent
rows = list(csv.DictReader((here / "scaling.csv").open()))
figure, axes = plt.subplots(2, len(TITLES), figsize=(13, 6), layout="constrained", sharex="col")
for column, (sweep, title) in zip(axes.T, TITLES.items()):
    mine = [row for row in rows if row["sweep"] == sweep]
    x = [int(row["value"]) for row in mine]
    for phase, style in (("forward", "o-"), ("train", "s--")):
        column[0].plot(x, [float(row[f"{phase}_ms_per_image"]) for row in mine], style, label=phase)
        column[1].plot(x, [float(row[f"{phase}_gflops"]) for row in mine], style, label=phase)
    column[0].set(title=title, xscale="log", yscale="log")
    column[0].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    column[0].yaxis.set_minor_formatter(lambda *_: "")
    column[1].set(xlabel=sweep, ylim=(0, None))
    column[1].set_xticks(x, [str(value) for value in x], minor=False)
    column[1].minorticks_off()
    for axis in column:
        axis.grid(alpha=0.3)
axes[0][0].set_ylabel("ms per image")
axes[1][0].set_ylabel("GFLOP/s")
axes[0][0].legend()
figure.savefig(here / "scaling.png", dpi=90)
