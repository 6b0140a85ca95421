"""The maps of all parts, small. Knows neither Qt nor napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_viewer.core.detections import every_part
from mdn_viewer.core.session import VotingSession

__all__ = ["Thumbnails", "thumbnails"]


@dataclass(frozen=True, eq=False)
class Thumbnails:
    """The noisy-or map of every part, every so many pixels.

    Attributes
    ----------
    session : VotingSession
        Whose fields, sigma and kernel.
    maps : array [P, h, w]
        The maps.
    image : array [h, w] or [h, w, 3 or 4], or None
        The image at the same pixels.
    """

    session: VotingSession
    maps: npt.NDArray[np.floating]
    image: npt.NDArray[Any] | None

    @property
    def names(self) -> tuple[str, ...]:
        """The parts' names."""
        return tuple(self.session.fields.names)

    @property
    def peaks(self) -> npt.NDArray[np.floating]:
        """The highest value of each map, [P]."""
        highest: npt.NDArray[np.floating] = np.nanmax(self.maps, axis=(1, 2), initial=0)
        return highest

    def serves(self, session: VotingSession) -> bool:
        """Whether these are also the maps of another session, whatever part it looks at."""
        mine = self.session
        return mine.fields is session.fields and (mine.sigma, mine.truncate) == (
            session.sigma,
            session.truncate,
        )


def thumbnails(session: VotingSession, size: int) -> Thumbnails:
    """Vote for every part, at as few pixels as a small picture has.

    Parameters
    ----------
    session : VotingSession
        Whose fields, sigma and kernel.
    size : int
        How many pixels a picture has about, along its longer side.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> small = thumbnails(VotingSession(mdn.samples.load("pose"), "nose", 8.0), 100)
    >>> small.maps.shape, small.image.shape
    ((17, 129, 129), (129, 129, 3))
    """
    step = max(1, max(session.votes.shape) // size)
    every = slice(None, None, step)
    votes = every_part(session).crop(every, every)
    image = session.fields.image
    return Thumbnails(session, votes.noisy_or(), None if image is None else image[::step, ::step])
