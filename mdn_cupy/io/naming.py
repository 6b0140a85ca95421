"""Which arrays of a file are the confidence and the offsets: by given or by usual names."""

from __future__ import annotations

import re

from mdn_cupy.io.contents import Contents, Refusal

__all__ = ["chosen", "named", "stem"]

# What networks and their users call them; of several that fit, the own name goes first.
_USUAL = {
    "confidence": (
        "confidence",
        "confidences",
        "confmap",
        "confmaps",
        "foreground",
        "heatmap",
        "heatmaps",
        "hm",
        "hm_hp",
        "prob",
        "probability",
        "scmap",
        "scoremap",
        "scoremaps",
    ),
    "offsets": (
        "flow",
        "hp_offset",
        "locref",
        "locrefs",
        "offset",
        "offsets",
        "part_offsets",
        "short_offsets",
        "vectors",
    ),
}
_OTHERS = ("cross_offsets",)


def _within(names: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(names, key=len, reverse=True)
    return re.compile(rf"(?:^|_)(?:{'|'.join(longest_first)})(?:_|$)")


_PATTERNS = {role: _within(names) for role, names in _USUAL.items()}


def chosen(contents: Contents, role: str, given: str | None) -> str:
    """Name of the array that has a role.

    Parameters
    ----------
    contents : Contents
        Of the file.
    role : {"confidence", "offsets"}
        What is wanted.
    given : str or None
        The name that the caller gave.

    Raises
    ------
    Refusal
        If none or several arrays may be meant; the message lists what there is and the remedy.
    """
    if given is not None:
        if given not in contents.arrays:
            raise Refusal(f"no array {given!r}; {contents.listed()}")
        return given
    plain = {name: _plain(name) for name in contents.arrays}
    tiers = (
        [name for name, last in plain.items() if last == role],
        [name for name, last in plain.items() if last in _USUAL[role]],
        [n for n, last in plain.items() if last not in _OTHERS and _PATTERNS[role].search(last)],
    )
    found = next(filter(None, tiers), [])
    if len(found) == 1:
        return found[0]
    which = f"could be {' or '.join(found)}" if found else "missing"
    raise Refusal(f"{role} {which}: give {role}='NAME'; {contents.listed()}")


def named(contents: Contents, name: str) -> str | None:
    """Return the only array of a name, in whatever group and letter case; None if there is none."""
    found = [own for own in contents.arrays if _plain(own) == name.lower()]
    if len(found) > 1:
        raise Refusal(f"{name} could be {' or '.join(found)}; keep one of them in the file")
    return found[0] if found else None


def stem(name: str) -> str | None:
    """Return what is left of a file's name without the usual name in it; None if it has none.

    Examples
    --------
    >>> stem("hand_heatmap"), stem("hand-offsets"), stem("hand")
    ('hand', 'hand', None)
    """
    plain = _plain(name)
    for pattern in _PATTERNS.values():
        if pattern.search(plain):
            return pattern.sub("_", plain).strip("_")
    return None


def _plain(name: str) -> str:
    """Reduce a path within a file to its last part; OME-Zarr's level 0 is what it is in."""
    last = name.removesuffix("/0").rpartition("/")[2]
    last = re.sub(r"\.(npy|tiff?)$", "", last, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "_", last.lower()).strip("_")
