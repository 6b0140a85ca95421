"""One training: its steps, its checkpoints, and what it learned.

Nothing random is left to chance: the weights start from the seed, and the pictures of a step are
those of its number. A training that goes on from a checkpoint therefore ends as if it had never
stopped.
"""

import math
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import torch
from torch import Tensor, nn

from keypoints.efficientnet import Trunk, imagenet_weights
from keypoints.networks import Network, Stage
from keypoints.settings import Settings
from keypoints.task import Batch, Measures, Task
from mdn_cupy.files import replacing

__all__ = ["PICTURES_SEED", "TOGETHER", "Training", "find_parts", "to_tensors"]

WARMUP = 50  # steps
WEIGHT_DECAY = 1e-3
LONGEST_GRADIENT = 50.0  # norm; ten times the usual one
CHECKPOINT_STEPS = 50

TOGETHER = 16
"""Pictures that a trained network looks at at once."""

PICTURES_SEED = 0
"""Of the validation and the test pictures, which are the same for every training."""


class Training:
    """A network on its way, from its first step or from where its checkpoint left it.

    Parameters
    ----------
    task : Task
    settings : Settings
    checkpoint : Path
        Where the state is kept. If it is there, the training goes on from it.
    cache : Path, optional
        Folder for what the frozen part of a pretrained trunk makes of the pictures of every step:
        another training with the same seed, there, has no work with them.

    Raises
    ------
    ValueError
        If the checkpoint is of other settings, or is none; if the trunk's own weights are wanted
        and missing; or, from `run`, if the loss is not finite.
    """

    def __init__(
        self, task: Task, settings: Settings, checkpoint: Path, cache: Path | None = None
    ) -> None:
        self.task = task
        self.settings = settings
        self.checkpoint = checkpoint
        self.step = 0
        self.seconds = 0.0  # spent on the steps so far, and on nothing else
        self.losses: list[float] = []
        torch.manual_seed(settings.seed)
        self.network = Network(settings, task).to(memory_format=torch.channels_last)
        trunk = getattr(self.network.backbone, "trunk", None)
        self._trunk = trunk if isinstance(trunk, Trunk) and settings.pretrained else None
        self._cache = cache if self._trunk else None
        if self._trunk and not checkpoint.exists():
            self._trunk.load_state_dict(imagenet_weights())
        branches = self._branches()
        self._rates = list(branches)
        self._optimizer = torch.optim.AdamW(
            [{"params": parameters} for parameters in branches.values()],
            lr=settings.learning_rate,
            weight_decay=WEIGHT_DECAY,
        )
        checkpoints.restore(checkpoint, settings, self._load)

    def run(self) -> Iterator[float]:
        """Take the remaining steps; yield the loss of each, and keep a checkpoint now and then.

        Between two steps the network may be put to use.
        """
        while self.step < self.settings.steps:
            started = time.perf_counter()
            self.losses.append(self._advance())
            self.step += 1
            self.seconds += time.perf_counter() - started
            if self.step % CHECKPOINT_STEPS == 0 or self.step == self.settings.steps:
                self._save()
            yield self.losses[-1]

    def _branches(self) -> dict[float, list[nn.Parameter]]:
        """The network's parameters by their learning rate, at its highest."""
        slower = {"offsets": self.settings.offset_rate, "trunk": self.settings.trunk_rate}
        branches: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                rate = self.settings.learning_rate
                rate *= next((slower[word] for word in name.split(".") if word in slower), 1.0)
                branches.setdefault(rate, []).append(parameter)
        return branches

    def _advance(self) -> float:
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._schedule()
        self.network.train()
        loss = self.network.loss(*self._batch(), self._stage())
        self._optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), LONGEST_GRADIENT)
        self._optimizer.step()
        value = loss.item()
        if not math.isfinite(value):
            raise ValueError(
                f"the loss of step {self.step} is not finite; --set a lower learning_rate"
            )
        return value

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Pictures of the step, or what a frozen trunk makes of them, and the joints."""
        kept = (
            self._cache
            and self._cache / f"{self.settings.seed}-{self.step}-{self.settings.batch}.pt"
        )
        if kept and kept.exists():
            with suppress(Exception):  # whatever a damaged file makes torch raise: it is made again
                features, joints = torch.load(kept, weights_only=True)
                return features.float(), joints
        size = self.settings.batch
        first = self.step * size
        batch = self.task.draw("train", self.settings.seed, range(first, first + size))
        pictures, joints = to_tensors(batch)
        if self._trunk is None:
            return pictures, joints
        with torch.no_grad():
            # Rounded, so that it makes no difference whether they are kept.
            features = self._trunk.frozen(pictures).half()
        if kept:
            with replacing(kept) as file:
                torch.save((features, joints), file)
        return features.float(), joints

    def _schedule(self) -> float:
        """Share of the learning rate: a short rise, then half a cosine down to zero."""
        rise = min((self.step + 1) / WARMUP, 1)
        return rise * 0.5 * (1 + math.cos(math.pi * self.step / self.settings.steps))

    def _stage(self) -> Stage:
        """How far the training is; the targets narrow in equal steps of the logarithm."""
        done = self.step / self.settings.steps
        return Stage(done, self.settings.target_sigma * self.settings.target_end**done)

    def _save(self) -> None:
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "losses": self.losses,
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        checkpoints.save(self.checkpoint, self.settings, state)

    def _load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.losses = state["losses"]


def to_tensors(batch: Batch) -> tuple[Tensor, Tensor]:
    """Pictures (N, 3, H, W) and joints (N, P, 2) of a batch, in its memory."""
    return torch.from_numpy(batch.pictures).permute(0, 3, 1, 2), torch.from_numpy(batch.joints)


def find_parts(task: Task, network: Network, split: str, count: int) -> Measures:
    """Let a network find the parts of the first pictures of a split, and measure how well it did.

    Parameters
    ----------
    task : Task
    network : Network
    split : {'validation', 'test'}
        Settings are chosen by the first, and their results reported by the second.
    count : int
        Of pictures.

    Returns
    -------
    Measures
    """
    network.eval()
    found, joints, hidden = [], [], []
    for first in range(0, count, TOGETHER):
        batch = task.draw(split, PICTURES_SEED, range(first, min(first + TOGETHER, count)))
        pictures, _ = to_tensors(batch)
        with torch.inference_mode():
            found.append(network.locate(pictures).numpy())
        joints.append(batch.joints)
        hidden.append(batch.hidden)
    return task.measure(*map(np.concatenate, (found, joints, hidden)))
