"""A few lines of Python that compute the maps that are shown: on the CPU, to the bit."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

import mdn_cupy as mdn
from mdn_viewer.core.origin import Origin
from mdn_viewer.core.session import ALL, KINDS, RULES, VotingSession

__all__ = ["is_there", "loading", "snippet"]

_IMPORTS = {
    "replace(": "from dataclasses import replace",
    "partial(": "from functools import partial",
    "imread(": "from imageio.v3 import imread",
}
_UNSAVED = "fields.mdn"  # what the file is called that has yet to be saved
_VOTE = ("confidence", "offsets", "cross_offsets", "image", "stride", "origin", "names")


def snippet(
    session: VotingSession, kinds: Collection[str] = RULES, found: str | None = None
) -> str:
    """Write a program that computes maps of a session with the library.

    Parameters
    ----------
    session : VotingSession
        What votes.
    kinds : collection of str
        Which maps, of `mdn_viewer.core.session.KINDS`.
    found : str, optional
        The expression that loads the fields, which `loading` returns.

    Returns
    -------
    str
        Python that runs as it is, or says what to save first: fields that are in no file yet.

    Examples
    --------
    >>> session = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    >>> print(snippet(session, ["additive"], loading(session.fields, Origin(("sample:pose",)))))
    import mdn_cupy as mdn
    <BLANKLINE>
    fields = mdn.samples.load('pose')
    votes = fields.votes('nose', sigma=8.0)
    s = votes.additive()
    <BLANKLINE>
    print(s.max())
    """
    votes = f"fields.votes({_part(session)}sigma={session.sigma!r})"
    if session.truncate != mdn.Votes.truncate:
        votes += f".replace(truncate={session.truncate!r})".replace("inf", "float('inf')")
    program = {
        "m": "votes.noisy_or()",
        "s": f"votes.{session.sum_rule}()",
        "difference": "m - s",
        "evidence": "votes.evidence()",
    }
    shown = [name for kind, name in zip(KINDS, program, strict=True) if kind in kinds]
    needed = {*shown, *("ms" if "difference" in shown else "")}
    imports = [line for name, line in _IMPORTS.items() if found is not None and name in found]
    lines = [*imports, *[""] * bool(imports), "import mdn_cupy as mdn", ""]
    if found is None:
        found = f"mdn.load_fields({_UNSAVED!r})"
        lines.append(f"# These fields are in no file yet: save them as {_UNSAVED} first.")
    lines += [f"fields = {found}", f"votes = {votes}"]
    lines += [f"{name} = {value}" for name, value in program.items() if name in needed]
    return "\n".join([*lines, "", f"print({', '.join(f'{name}.max()' for name in shown)})"])


def loading(fields: mdn.Fields, origin: Origin, frame: int = 0) -> str | None:
    """Write an expression that loads these very fields, or None if they are not there.

    Parameters
    ----------
    fields : mdn_cupy.Fields
        The fields.
    origin : Origin
        Where they are said to come from. Not taken at its word: it is read, and what the votes
        depend on compared.
    frame : int
        Which of its frames they are.
    """
    return origin.expression(frame) if is_there(fields, origin, frame) else None


def is_there(fields: mdn.Fields, origin: Origin, frame: int = 0) -> bool:
    """Whether these very fields, apart from their sigma, are read from where they come from."""
    try:
        return bool(origin) and _same_fields(fields, origin.frames()[frame])
    except (OSError, ValueError, IndexError):
        return False


def _same_fields(one: mdn.Fields, other: mdn.Fields) -> bool:
    return all(_equal(getattr(one, n), getattr(other, n)) for n in _VOTE)


def _part(session: VotingSession) -> str:
    """The first arguments of `Fields.votes`: the part by its name if no other has the same."""
    if session.part == ALL:
        return ""
    names, part = session.fields.names, int(session.part)
    known = names[part] if names.index(names[part]) == part else part
    return f"{known!r}, {'cross=True, ' if session.cross else ''}"


def _equal(one: object, other: object) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return one is other or bool(one == other)
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
