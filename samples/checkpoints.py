"""Checkpoints of the trainers: one file with the settings, and all that a training goes on from."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mdn_cupy import console
from mdn_cupy.files import replacing

__all__ = ["restore", "run", "save"]


def run(program: str, work: Callable[[], int]) -> int:
    """Run a trainer's command line; bad input and Ctrl+C end in one line.

    Parameters
    ----------
    program : str
    work : callable
        Returns the exit status.

    Returns
    -------
    int
        The exit status.
    """
    status = console.run(program, work, (OSError, ValueError))
    if status == console.INTERRUPTED:
        console.complain(program, "stopped; the same command goes on from the last checkpoint")
    return status


def save(path: Path, settings: Any, state: dict[str, Any]) -> None:
    """Write a training's state, whole or not at all.

    Parameters
    ----------
    path : Path
    settings : dataclass
        What the training was made with.
    state : dict
        Tensors, numbers, texts, and lists and dicts of those.
    """
    with replacing(path) as file:
        torch.save({"settings": asdict(settings), **state}, file)


def restore(
    path: Path, settings: Any, load: Callable[[dict[str, Any]], None], device: Any = "cpu"
) -> None:
    """Go on from a checkpoint, if there is one.

    Parameters
    ----------
    path : Path
    settings : dataclass
        Those of the training that goes on. A field that the checkpoint was made before has its
        default there.
    load : callable
        Takes over the state; called only if the settings are the checkpoint's.
    device : torch.device or str
        For the tensors.

    Raises
    ------
    ValueError
        If the file is none of this training's checkpoints, or one of other settings.
    """
    for unfinished in path.parent.glob(f".{path.name}.*"):  # of a process that was killed
        unfinished.unlink(missing_ok=True)
    if not path.exists():
        return
    remedy = "delete it, or write to another folder"
    try:
        state = torch.load(path, weights_only=True, map_location=device)
        made_with = type(settings)(**state["settings"])
        if made_with == settings:
            load(state)
    except Exception as error:  # torch raises whatever its unpickler met
        raise ValueError(f"{path} is no checkpoint of this training; {remedy}") from error
    if made_with != settings:
        raise ValueError(f"{path} was made with {made_with}, not with {settings}; {remedy}")
