"""Helpers of the tests of the torch layer: small fields, and gradients compared as vectors."""

import torch

import mdn_cupy as mdn

# The fields are small: on a busy machine, threads of torch's would mostly wait for each other.
torch.set_num_threads(1)

RULES = {
    name: getattr(mdn, name) for name in ("noisy_or", "log_complement", "plain_sum", "additive")
}


def fields(sigma="scalar", dtype=torch.float64, requires_grad=True, seed=0):
    """Two parts that differ in nothing special; no vote ends on the edge of its window."""
    torch.manual_seed(seed)
    confidence = 0.1 + 0.8 * torch.rand(2, 3, 4, dtype=dtype)
    offsets = torch.randn(2, 2, 3, 4, dtype=dtype)
    shape = {"scalar": (), "per part": (2, 1, 1), "per source": (2, 3, 4)}[sigma]
    widths = 0.7 + torch.rand(shape, dtype=dtype)
    return [x.requires_grad_(requires_grad) for x in (confidence, offsets, widths)]


def weighted(result):
    """A sum of a map that tells its pixels apart."""
    weight = torch.cos(torch.arange(result.numel(), dtype=result.dtype)).reshape(result.shape)
    return (weight * result).sum()


def gradients(function, arguments, **options):
    return torch.autograd.grad(weighted(function(*arguments, **options)), arguments)


def assert_close(got, want, rtol=1e-12):
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        distance, length = torch.linalg.vector_norm(a - b), torch.linalg.vector_norm(b)
        assert distance <= rtol * length, (distance, length)
