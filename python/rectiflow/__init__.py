"""Rectiflow's models in Python: draw samples, ask for the velocity, encode and decode.

>>> import rectiflow
>>> model = rectiflow.load("demo")
>>> pictures = model.sample(4, seed=1)  # float32 [4, 1, 28, 28], the program's own to the bit
"""

import operator

import numpy as np

from . import _rectiflow
from ._rectiflow import __version__

__all__ = ["Model", "load", "__version__"]


def load(path, *, ema=None, device="cpu"):
    """Opens a run's folder, a checkpoint, a released model, or ``"demo"``, the model in the program.

    ``ema`` names an average of the weights by its decay, or ``"raw"``; ``device`` is ``cpu``, or where the package was
    built for it ``cuda:0`` or ``wgpu``.
    """
    return Model(_rectiflow.Model(path, None if ema is None else str(ema), device))


def _asked(class_, prompt):
    if class_ is not None and prompt is not None:
        raise ValueError("class_ and prompt both say what is asked for; give one")
    if prompt is not None:
        return [prompt] if isinstance(prompt, str) else [str(one) for one in prompt]
    if class_ is None or isinstance(class_, str):
        return class_
    several = [class_] if np.ndim(class_) == 0 else list(class_)
    if any(isinstance(one, str) for one in several):
        return ",".join(map(str, several))
    return [operator.index(one) for one in several]


class Model:
    """A model that :func:`load` opened. Times run from 0 (noise) to 1 (data)."""

    def __init__(self, opened):
        self._opened = opened

    def __repr__(self):
        return f"rectiflow.Model({str(self._opened.file)!r}, shape={self.shape}, parameters={self.parameters})"

    @property
    def shape(self):
        """Lengths of one sample, ``(c, h, w)`` for a picture."""
        return tuple(self._opened.shape)

    @property
    def latent_shape(self):
        """Lengths of what :meth:`velocity` moves: latents where the model has a codec, else :attr:`shape`."""
        return tuple(self._opened.moved)

    @property
    def classes(self):
        """Names of its classes; empty where it has none."""
        return self._opened.classes

    @property
    def parameters(self):
        """Numbers in its network."""
        return self._opened.parameters

    @property
    def recipe(self):
        """The recipe it was trained by, as TOML."""
        return self._opened.recipe

    def sample(
        self, num, *, seed=0, class_=None, prompt=None, steps=None, solver=None, guidance_scale=None, batch=None
    ):
        """Draws ``num`` samples, float32 ``[num, *shape]``: those of ``rectiflow sample --output x.npy``, to the bit.

        ``class_`` is a number, a name, or several in turn; ``"none"`` asks for none; without it all classes in turn.
        ``prompt`` is a text or several in turn. What is not given is the recipe's.
        """
        rows = self._opened.sample(num, seed, _asked(class_, prompt), steps, solver, guidance_scale, batch)
        return np.frombuffer(rows, np.float32).reshape(-1, *self.shape).copy()

    def velocity(self, x, t, condition=None, *, prompt=None, guidance_scale=1.0):
        """The velocity at ``x`` and time ``t``, in the form of ``x``: a point, a batch, or either laid flat.

        ``t`` is one time, or one for each sample of the batch. ``condition`` is a class as :meth:`sample` takes it, or
        nothing. Computed in float32; what comes back has the type of ``x`` where that is a float.
        """
        x = np.asarray(x)
        rows, count = self._rows(x, self.latent_shape)
        times = np.broadcast_to(np.asarray(t, np.float64), (count,)).tolist()
        moved = self._opened.velocity(rows, times, _asked(condition, prompt), float(guidance_scale))
        kind = x.dtype if np.issubdtype(x.dtype, np.floating) else np.float32
        return np.frombuffer(moved, np.float32).reshape(x.shape).astype(kind)

    def encode(self, x):
        """Latents ``[n, *latent_shape]`` of samples: each channel of mean 0 and deviation 1 over the training data."""
        shape = self._opened.encoded
        rows, count = self._rows(np.asarray(x), tuple(shape) if shape is not None else self.shape)
        return np.frombuffer(self._opened.encode(rows, count), np.float32).reshape(-1, *self.latent_shape).copy()

    def decode(self, latents):
        """Samples ``[n, *shape]`` of latents."""
        rows, count = self._rows(np.asarray(latents), self.latent_shape)
        return np.frombuffer(self._opened.decode(rows, count), np.float32).reshape(-1, *self.shape).copy()

    @staticmethod
    def _rows(x, shape):
        size = int(np.prod(shape))
        flat = x.ndim in (1, 2) and x.shape[-1] % size == 0
        if x.size == 0 or not (flat or x.shape[-len(shape) :] == shape):
            raise ValueError(f"{x.shape} does not hold samples of shape {shape}, which have {size} numbers each")
        return np.ascontiguousarray(x, np.float32).tobytes(), x.size // size
