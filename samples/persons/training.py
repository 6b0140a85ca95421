"""One training: steps, schedule, checkpoints and the log, in one process or several.

Batches and torch's random numbers of a step are functions of its number, so that a training that
goes on from a checkpoint ends as if it had never stopped.
"""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import checkpoints
import torch
import torch.distributed as distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mdn_cupy.files import replacing
from persons.dataset import Batches, Persons, Sample
from persons.models import Settings, make_model

__all__ = ["Training"]

CHECKPOINT_STEPS = 50
WARMUP = 0.05  # share of the steps
LONGEST_GRADIENT = 10.0
WEIGHT_DECAY = {"small": 1e-3, "full": 1e-4}
MOMENTUM = 0.9
DROPS = (36 / 46, 43 / 46)  # of the full schedule: torchvision's, for keypoints


class _Answers(torch.utils.data.Dataset):
    """Batches, or the errors that they raise: torch would add a process's traceback to these."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __getitem__(self, step: int) -> list[Sample] | Exception:
        try:
            return self.batches[step]
        except (OSError, ValueError) as error:
            return error


class Training:
    """A model on its way, from its first step or from where its checkpoint left it.

    Parameters
    ----------
    settings : Settings
    persons : Persons
        To train on.
    checkpoint : Path
        Where the state is kept; the log goes beside it, with one JSON object a line.
    device : torch.device
    workers : int
        Processes that read images.

    Raises
    ------
    ValueError
        If the checkpoint is of other settings, or is none, or a loss is not finite.
    """

    def __init__(
        self,
        settings: Settings,
        persons: Persons,
        checkpoint: Path,
        device: torch.device,
        workers: int = 0,
    ) -> None:
        self.settings = settings
        self.checkpoint = checkpoint
        self._log_path = checkpoint.with_suffix(".jsonl")
        self.device = device
        self.step = 0
        self.seconds = 0.0  # spent on the steps so far, and on nothing else
        several = distributed.is_initialized()
        self.rank = distributed.get_rank() if several else 0
        self.world = distributed.get_world_size() if several else 1
        torch.manual_seed(settings.seed)
        self.model = make_model(settings, len(persons.parts), persons.edges).to(device)
        self._optimizer = self._make_optimizer()
        checkpoints.restore(checkpoint, settings, self._load, device)
        self._wrapped = self.model
        if several:
            ids = [device.index] if device.type == "cuda" else None
            self._wrapped = DistributedDataParallel(self.model, device_ids=ids)
        self._batches = torch.utils.data.DataLoader(
            _Answers(Batches(persons, settings.seed, settings.batch, self.rank, self.world)),
            batch_size=None,
            sampler=range(self.step, settings.steps),
            num_workers=workers,
        )

    def run(self) -> Iterator[dict[str, float]]:
        """Take the remaining steps; yield the losses of each."""
        self.model.train()
        self._cut_log()
        started = time.perf_counter()
        for batch in self._batches:
            if isinstance(batch, Exception):
                raise batch
            losses = self._advance(batch)
            self.step += 1
            self.seconds += time.perf_counter() - started
            self._log(losses)
            if self.step % CHECKPOINT_STEPS == 0 or self.step == self.settings.steps:
                self._save()
            yield losses
            started = time.perf_counter()

    def _make_optimizer(self) -> torch.optim.Optimizer:
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        options = {
            "lr": self.settings.learning_rate,
            "weight_decay": WEIGHT_DECAY[self.settings.size],
        }
        if self.settings.size == "full":
            return torch.optim.SGD(parameters, momentum=MOMENTUM, **options)
        return torch.optim.AdamW(parameters, **options)

    def _advance(self, batch: list) -> dict[str, float]:
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._schedule()
        torch.manual_seed((self.settings.seed * 1_000_003 + self.step) * self.world + self.rank)
        images = [image.to(self.device) for image, _ in batch]
        targets = [{k: v.to(self.device) for k, v in target.items()} for _, target in batch]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.settings.amp):
            losses = self._wrapped(images, targets)
            total = sum(losses.values())
        self._optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), LONGEST_GRADIENT)
        self._optimizer.step()
        values = {name: loss.item() for name, loss in losses.items()}
        if not all(map(math.isfinite, values.values())):
            raise ValueError(
                f"a loss of step {self.step} is not finite: {values}; lower --learning-rate"
            )
        return values

    def _schedule(self) -> float:
        """Share of the learning rate: a rise, and then half a cosine, or two drops to a tenth."""
        done = self.step / self.settings.steps
        rise = min((self.step + 1) / (WARMUP * self.settings.steps), 1)
        if self.settings.size == "full":
            return rise * 0.1 ** sum(done >= drop for drop in DROPS)
        return rise * 0.5 * (1 + math.cos(math.pi * done))

    def _cut_log(self) -> None:
        """Drop what the log has of steps after the checkpoint, which are taken again."""
        if self.rank or not self._log_path.exists():
            return
        lines = self._log_path.read_bytes().splitlines(keepends=True)
        with replacing(self._log_path) as file:
            file.writelines(lines[: self.step])

    def _log(self, losses: dict[str, float]) -> None:
        if self.rank:
            return
        rounded = {name: round(loss, 5) for name, loss in losses.items()}
        line = {"step": self.step, "seconds": round(self.seconds, 2), **rounded}
        with self._log_path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        if self.rank:
            return
        state = {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        checkpoints.save(self.checkpoint, self.settings, state)

    def _load(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
