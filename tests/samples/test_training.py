"""Training, as in the paper: the noisy-or reaches a confident map, the additive map cannot.

A field starts from random offsets and an even posterior: its confidences add up to 1, since the
part is somewhere, once. It is trained by the cross-entropy of its vote map against one pixel.
"""

import math

import pytest
import torch
import torch_support  # noqa: F401 — one thread
from torch.nn import functional as F

import mdn_cupy as mdn

SIZE, STEPS = 24, 300
TARGET = (9, 14)  # row and column


def target():
    t = torch.zeros(SIZE, SIZE)
    t[TARGET] = 1
    return t


def vote(rule, confidence, offsets, sigma):
    """The map, and its loss; the target counts as much as all other pixels."""
    weight = 1 + (SIZE**2 - 1) * target()
    if rule == "noisy_or":
        L = mdn.log_complement(confidence, offsets, sigma)
        return mdn.torch.one_minus_exp(L), mdn.torch.noisy_or_bce(L, target(), weight)
    s = mdn.additive(confidence, offsets, sigma)
    return s, F.binary_cross_entropy(s.clamp(0, 1), target(), weight)


def train(rule, seed, sigma):
    """Train a field; return its map, its confidences, and how far from the target they vote."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(SIZE, SIZE, generator=generator).requires_grad_()
    offsets = (3 * torch.randn(2, SIZE, SIZE, generator=generator)).requires_grad_()
    optimizer = torch.optim.Adam([logits, offsets], lr=0.1)
    for _ in range(STEPS):
        confidence = torch.softmax(logits.flatten(), 0).unflatten(0, (SIZE, SIZE))
        m, loss = vote(rule, confidence, offsets, sigma)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    columns, rows = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")
    landing = torch.stack((columns - TARGET[1], rows - TARGET[0])) + offsets.detach()
    return m.detach(), confidence.detach(), landing.norm(dim=0)


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_noisy_or_collapses_its_mass_to_the_target_and_is_certain(seed, sigma):
    m, confidence, distance = train("noisy_or", seed, sigma)
    assert divmod(int(m.argmax()), SIZE) == TARGET
    assert m[TARGET] > 0.99
    assert confidence[distance < 1].sum() > 0.99
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    far = (rows - TARGET[0]).abs() + (columns - TARGET[1]).abs() > 5 * sigma
    assert m[far].max() < 0.01


@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_the_normalised_sum_collapses_too_and_stays_at_the_height_of_its_kernel(seed, sigma):
    m, confidence, distance = train("additive", seed, sigma)
    assert divmod(int(m.argmax()), SIZE) == TARGET
    assert confidence[distance < 1].sum() > 0.99  # it has learned all that there is to learn,
    ceiling = 1 / (2 * math.pi * sigma**2)  # and Eq. 6 allows no more
    assert 0.95 * ceiling < m[TARGET] < 1.0001 * ceiling


@pytest.mark.parametrize("sigma", [1.0, 2.0, 8.0])
def test_a_delta_supports_its_displaced_replica_fully_or_hardly(sigma):
    """Eq. 5 and 6: one certain source, which votes for one pixel."""
    confidence, offsets = torch.zeros(SIZE, SIZE), torch.zeros(2, SIZE, SIZE)
    confidence[3, 4] = 1
    offsets[:, 3, 4] = torch.tensor([10.0, 6.0])
    assert mdn.noisy_or(confidence, offsets, sigma)[TARGET] > 1 - 1e-6
    s = mdn.additive(confidence, offsets, sigma)[TARGET]
    torch.testing.assert_close(s, torch.tensor(1 / (2 * math.pi * sigma**2)))
