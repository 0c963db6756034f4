"""The package beside the program (`RECTIFLOW`): the same numbers, and its messages as exceptions. Run by `python/test`."""

import os
import subprocess
import threading

import numpy as np
import pytest
import rectiflow
from scipy.integrate import solve_ivp


def program(*arguments):
    """What the program says; it must succeed."""
    asked = [os.environ["RECTIFLOW"], *map(str, arguments)]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def demo():
    return rectiflow.load("demo")


@pytest.fixture(scope="module")
def latent(tmp_path_factory):
    """A flow over latents, trained for a moment."""
    place = tmp_path_factory.mktemp("runs")
    tiny = ["data.limit=96", "train.images=64", "train.batch=16"]
    codec = [*tiny, "codec.channels=[8, 8]", "codec.groups=4"]
    flow = [*tiny, f"task.codec={place}/codec", 'network={type="unet", channels=8}']
    for verb, sets in (("codec", codec), ("train", flow)):
        program(verb, *(part for one in sets for part in ("--set", one)), "-o", place / verb)
    return place / "train"


# Mutants: the seed left out; classes not in turn; a batch that changes samples.
@pytest.mark.parametrize(
    "options, keywords",
    [
        ([], {}),
        (["--class", "Sneaker,3"], {"class_": "Sneaker,3"}),
        (["--class", "Bag,3"], {"class_": ["Bag", 3]}),
        (["--class", "none"], {"class_": -1}),
        (["--solver", "heun"], {"solver": "heun", "batch": 2}),
    ],
)
def test_samples_are_the_programs_to_the_bit(demo, tmp_path, options, keywords):
    program("sample", "demo", "--seed", 5, "--num", 5, "--steps", 3, *options, "--output", tmp_path / "x.npy")
    drawn = demo.sample(5, seed=5, steps=3, **keywords)
    assert drawn.dtype == np.float32 and drawn.shape == (5, *demo.shape)
    assert np.array_equal(drawn.view(np.uint32), np.load(tmp_path / "x.npy").view(np.uint32))


# Mutants: times reversed; the condition dropped; guidance dropped; rows mixed up; latents of their own width.
def test_the_velocity_is_what_the_program_follows(latent, tmp_path):
    model = rectiflow.load(latent)
    noise = np.random.default_rng(1).standard_normal((3, *model.latent_shape)).astype(np.float32)
    np.save(tmp_path / "noise.npy", noise)
    options = ["--class", "7,8,9", "--guidance-scale", 3, "--solver", "euler", "--steps", 2, "--num", 3]
    program("sample", latent, "--noise", tmp_path / "noise.npy", *options, "--output", tmp_path / "x.npy")
    x = noise
    for t in (0.0, 0.5):
        x = x + 0.5 * model.velocity(x, t, [7, 8, 9], guidance_scale=3)
    assert np.allclose(model.decode(x), np.load(tmp_path / "x.npy"), atol=1e-4)


# Mutants: one time for all rows; the first class for all rows.
def test_rows_have_their_own_times_and_classes(demo):
    x = np.random.default_rng(1).standard_normal((3, *demo.shape))
    each = demo.velocity(x, [0.1, 0.2, 0.3], [7, 8, 9])
    one = demo.velocity(x[1], 0.2, 8)
    assert each.shape == x.shape and one.shape == demo.shape
    assert np.allclose(each[1], one, atol=1e-4)
    assert np.allclose(demo.velocity(x.reshape(-1), [0.1, 0.2, 0.3], [7, 8, 9]), each.reshape(-1))
    assert not np.allclose(one, demo.velocity(x[1], 0.2), atol=1e-2)
    assert not np.allclose(one, demo.velocity(x[1], 0.8, 8), atol=1e-2)


def test_a_solver_of_ones_own(demo):
    start = np.random.default_rng(2).standard_normal(np.prod(demo.shape))
    end = solve_ivp(lambda t, x: demo.velocity(x, t, 9), (0, 1), start, method="RK45", rtol=1e-3, atol=1e-3)
    assert end.success and end.y.dtype == np.float64
    assert np.abs(end.y[:, -1]).max() < 3


# Mutants: latents of their own width; the codec's shapes swapped.
def test_a_codec_leads_there_and_back(latent, tmp_path):
    model = rectiflow.load(latent)
    assert model.latent_shape == (4, 14, 14) and model.shape == (1, 28, 28)
    options = ["--num", 3, "--steps", 2, "--guidance-scale", 2]
    program("sample", latent, *options, "--output", tmp_path / "x.npy")
    drawn = model.sample(3, steps=2, guidance_scale=2)
    assert np.array_equal(drawn, np.load(tmp_path / "x.npy"))
    latents = model.encode(drawn)
    assert latents.shape == (3, 4, 14, 14) and model.decode(latents).shape == drawn.shape
    assert model.velocity(latents, 0.5).shape == latents.shape


def test_errors_are_exceptions_in_the_programs_words(demo):
    for wrong, kind, said in [
        (lambda: rectiflow.load("nowhere"), RuntimeError, "nowhere"),
        (lambda: rectiflow.load("demo", ema="often"), ValueError, "--ema often"),
        (lambda: rectiflow.load("demo", device="tpu"), ValueError, "tpu"),
        (lambda: demo.sample(0), ValueError, "at least one"),
        (lambda: demo.sample(1, class_=10), ValueError, "10 classes"),
        (lambda: demo.sample(1, class_=[]), ValueError, "empty list"),
        (lambda: demo.sample(1, class_="Hat"), ValueError, "--class Hat"),
        (lambda: demo.sample(1, prompt="a hat"), ValueError, "reads no text"),
        (lambda: demo.sample(1, class_=1, prompt="a hat"), ValueError, "give one"),
        (lambda: demo.sample(1, guidance_scale=2), ValueError, "no unconditional side"),
        (lambda: demo.sample(1, steps=0), ValueError, "steps"),
        (lambda: demo.sample(1, solver="magic"), ValueError, "magic"),
        (lambda: demo.sample(2**50), Exception, "memory"),
        (lambda: demo.sample(1, class_=3.7), TypeError, "integer"),
        (lambda: demo.velocity(np.zeros((784, 28)), 0.5), ValueError, "784 numbers"),
        (lambda: demo.velocity(np.zeros(3), 0.5), ValueError, "784 numbers"),
        (lambda: demo.velocity(np.zeros(784), 1.5), ValueError, "between 0"),
        (lambda: demo.velocity(np.zeros(784), 0.5, guidance_scale=float("nan")), ValueError, "guidance"),
        (lambda: demo.velocity(np.zeros((2, 784)), [0.1, 0.2, 0.3]), ValueError, "broadcast"),
        (lambda: demo.encode(np.zeros(784)), ValueError, "no codec"),
    ]:
        with pytest.raises(kind, match=said):
            wrong()


# Mutant: no turns, where two calls wait for each other's threads.
def test_threads_take_turns(demo):
    alone = [demo.sample(2, seed=seed, steps=1) for seed in range(4)]
    together = [None] * 4

    def draw(seed):
        together[seed] = demo.sample(2, seed=seed, steps=1)

    threads = [threading.Thread(target=draw, args=(seed,)) for seed in range(4)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert all(np.array_equal(a, b) for a, b in zip(alone, together))
