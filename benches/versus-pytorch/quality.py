"""Draws quality.png from quality.csv: Fréchet distance against training images, both programs, by number of steps.

    pip install matplotlib && python quality.py
"""

import csv
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

here = pathlib.Path(__file__).parent
rows = list(csv.DictReader((here / "quality.csv").open()))
steps = sorted({int(r["steps"]) for r in rows})
figure, axes = plt.subplots(1, len(steps), figsize=(13, 3), layout="constrained")
for axis, n in zip(axes, steps):
    for program, style in (("rectiflow", "o-"), ("pytorch", "s--")):
        points = [(int(r["images"]), float(r["frechet"])) for r in rows if r["program"] == program and int(r["steps"]) == n]
        axis.plot(*zip(*sorted(points)), style, label=program)
    axis.set(title=f"{n} Euler step{'s' if n > 1 else ''}", xlabel="training images", xlim=0, ylim=(0, None))
    axis.grid(alpha=0.3)
    axis.set_xticks([0, 50_000, 100_000, 150_000], ["0", "50k", "100k", "150k"])
axes[0].set_ylabel("Fréchet distance")
axes[0].legend()
figure.savefig(here / "quality.png", dpi=90)
