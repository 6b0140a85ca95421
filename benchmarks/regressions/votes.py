"""Cases that asv times from commit to commit; `benchmarks/cpu.py` measures more than this."""

import numpy as np

import mdn_cupy as mdn

SHAPE, SIGMA = (17, 128, 128), 2.0


def scattered(shape):
    """Confidences and offsets of sources that vote for their surroundings."""
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 2, (shape[0], 2, *shape[1:]))
    return rng.random(shape, dtype=np.float32), offsets.astype(np.float32)


def collapsed(shape):
    """Return the same, with all sources of a map voting for its middle."""
    confidence, offsets = scattered(shape)
    offsets[:, 0] = shape[2] / 2 - np.arange(shape[2])
    offsets[:, 1] = (shape[1] / 2 - np.arange(shape[1]))[:, None]
    return confidence, offsets


def sparse(shape):
    """Return the same, with 1 % of the confidences not 0."""
    confidence, offsets = scattered(shape)
    confidence.reshape(-1)[np.arange(confidence.size) % 100 != 0] = 0
    return confidence, offsets


FIELDS = {"scattered": scattered, "collapsed": collapsed, "sparse": sparse}


class Votes:
    """On NumPy arrays."""

    params = (list(FIELDS),)
    param_names = ("fields",)

    def setup(self, fields):
        self.fields = (*FIELDS[fields](SHAPE), SIGMA)
        self.m, self.log_complement, _ = mdn.compare(*self.fields)

    def time_noisy_or(self, fields):
        mdn.noisy_or(*self.fields)

    def time_additive(self, fields):
        mdn.additive(*self.fields)

    def time_compare(self, fields):
        mdn.compare(*self.fields)

    def time_noisy_or_vjp(self, fields):
        mdn.Votes(*self.fields).noisy_or_vjp(self.m, log_complement=self.log_complement)


class SmallField:
    """What a call costs beyond its votes."""

    def setup(self):
        self.confidence, self.offsets = scattered((1, 64, 64))
        mdn.noisy_or(self.confidence, self.offsets, 1.5)

    def time_noisy_or(self):
        mdn.noisy_or(self.confidence, self.offsets, 1.5)


class Training:
    """Forward and backward through torch."""

    params = ([SHAPE, (1, 64, 64)],)
    param_names = ("shape",)

    def setup(self, shape):
        import torch

        tensors = (torch.from_numpy(x).requires_grad_() for x in scattered(shape))
        self.confidence, self.offsets = tensors
        self.time_noisy_or(shape)

    def time_noisy_or(self, shape):
        mdn.noisy_or(self.confidence, self.offsets, SIGMA).sum().backward()


def timeraw_import():
    """Import the library in a new process."""
    return "import mdn_cupy"
