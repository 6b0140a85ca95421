"""The process that compiles the CPU's kernels, started by `core.compilation`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core.compilation import STAGES, mark_done
from mdn_viewer.core.detections import Search, detect
from mdn_viewer.core.losses import Loss
from mdn_viewer.core.optimizer import Descent, Rates
from mdn_viewer.core.session import ALL, VotingSession

__all__ = ["main"]


def main() -> None:
    """Call each kernel as the viewer does, and write a line for each stage."""
    draw = np.random.default_rng(0)
    confidence = draw.uniform(0.1, 0.9, (2, 6, 6)).astype(np.float32)
    fields = mdn.Fields(confidence, np.zeros((2, 2, 6, 6), np.float32), stride=4)
    part, together = (VotingSession(fields, part, 2.0) for part in (0, ALL))
    stages: dict[str, Callable[[], object]] = {
        "part": part.vote,
        "together": together.vote,
        "gradient": lambda: (_descend(part), _descend(together)),
        "peaks": lambda: (_detect(part), _detect(together)),
    }
    for stage in STAGES:
        stages[stage]()
        print(stage, flush=True)
    mark_done()


def _descend(session: VotingSession) -> Descent:
    target = np.zeros(session.votes.shape, np.float32)
    return Descent.begin(session, target, Loss.CROSS_ENTROPY).step(Rates())


def _detect(session: VotingSession) -> object:
    return detect(session, Search(score=0.01)).instances()


if __name__ == "__main__":
    main()
