"""The table of benches/few-step/run: one row per method, from the figures it left in FOLDER.

    python3 benches/few-step/table.py FOLDER
"""

import json
import pathlib
import re
import statistics
import sys

STEPS = [1, 2, 4, 8, 50]

# Files of figures by row; several are the rows' own numbers of steps.
ROWS = [
    ("base", "base model, Euler"),
    ("boss", "its schedule by BOSS, no training"),
    ("reflow", "reflow, uniform times, L2"),
    ("reflow-u", "reflow, U-shaped times, L2"),
    ("reflow++", "reflow, U-shaped, pseudo-Huber (2-rectified flow++)"),
    ("reflow++lpips", "the same with LPIPS-Huber-1/t"),
    ("twice", "a second reflow of 2-rectified flow++"),
    ("distill-base", "distilled from the base model"),
    ("distill", "distilled from 2-rectified flow++"),
    ("slim-naive", "a quarter of the parameters, distilled from the base model's pairs"),
    ("slim-reflow", "reflow into a quarter of the parameters"),
    ("slim-annealed", "the same annealed, and mirrored where the base was (SlimFlow)"),
    ("slim-distill", "then distilled on its pairs"),
    ("slim-guided", "then distilled, flow-guided (SlimFlow)"),
    ("straighten", "BOSS, both stages"),
    ("consistency", "consistency distillation"),
    ("progressive", "progressive distillation, a network to each of 4, 2 and 1 steps"),
    ("phased", "phased rectification, without the ends of phases"),
    ("phased-two", "the same with two phases"),
    ("phased-whole", "phased rectification, as published"),
    ("mean-flow", "MeanFlow"),
    ("shortcut", "shortcut model"),
    ("diffusion", "diffusion model, DDIM"),
    ("curved", "Rectified Diffusion (its own curve)"),
    ("wrapped", "the same pairs on the linear path"),
    ("diffusion-v", "the same with v-prediction and no signal at the start"),
    ("curved-v", "Rectified Diffusion of it"),
    ("wrapped-v", "its pairs on the linear path"),
    ("one-more-step", "the diffusion model after One More Step"),
]


def figures(folder, name):
    """Rows of figures by number of evaluations (one per seed), the facts of their stages, and the seconds that each trained."""
    # Progressive distillation is three students in a row; BOSS's schedules are numbered by their steps.
    names = ["progressive", "progressive-two", "progressive-one"] if name == "progressive" else [name]
    found, facts, seconds = {}, [], []
    for file in sorted(folder.glob("*.json")):
        base, _, last = file.stem.rpartition("-")
        if file.stem not in names and not (base in names and last.isdigit()):
            continue
        stage = next(iter(json.loads(file.read_text())["stages"].values()))
        facts.append(stage)
        done = re.search(r"done: \d+ images in ([\d.]+) s", log(folder, file.stem))
        seconds.append(float(done[1]) if done else 0.0)
        for nfe, row in stage["nfe"].items():
            found.setdefault(int(nfe), []).append(row)
    return found, facts, seconds


def log(folder, name):
    """What a training said; nothing for figures without one, as those along another schedule."""
    file = folder / f"{name}.log"
    return file.read_text() if file.exists() else ""


def cell(rows):
    values = [row["frechet"] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def main(folder):
    titles = [f"FD, {n}" for n in STEPS] + ["right class, fewest steps", "parameters", "images", "training, s", "samples/s, fewest steps"]
    print("| method | " + " | ".join(titles) + " |")
    print("|---" * (len(titles) + 1) + "|")
    for name, title in ROWS:
        found, facts, seconds = figures(folder, name)
        if not found:
            continue
        fewest = found[min(found)]
        right = [row.get("class_accuracy") for row in fewest]
        right = f"{100 * statistics.mean(right):.1f} %" if None not in right else "–"
        # One after another, the students of a seed saw all of these, and took all of the seconds.
        stages = len(facts) // len(fewest) if name == "progressive" else 1
        trained = stages * statistics.mean(seconds)
        speed = statistics.mean(row["samples"] / row["seconds"] for row in fewest)
        cells = [cell(found[n]) if n in found else "–" for n in STEPS]
        cells += [right, f"{facts[0]['parameters']}", f"{facts[0]['images'] * stages}", f"{trained:.0f}" if trained else "–", f"{speed:.0f}"]
        print(f"| {title} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
