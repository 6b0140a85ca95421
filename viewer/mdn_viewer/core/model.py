"""The viewer's mutable state: the session, its maps, and what was asked. Independent of Qt."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import replace
from typing import Any

from psygnal import Signal

import mdn_cupy as mdn
from mdn_viewer.core.jobs import AtOnce, MakeWorker, Stopped, Worker
from mdn_viewer.core.origin import UNKNOWN, Origin
from mdn_viewer.core.session import KINDS, RULES, VoteMap, VotingSession, same_votes
from mdn_viewer.core.window import Window

__all__ = ["VotingModel"]

_MOST = 2**26  # pixels of a map; a larger one has no place in a texture of OpenGL's
_SEEN = 2**22  # so many are computed of a larger one before the screen says which it shows

Pixel = tuple[int, int]
Source = tuple[int, int, int]


class VotingModel:
    """What is looked at (a session), the maps of it, and the pixel that was asked about.

    Parameters
    ----------
    make_worker : callable
        Makes workers of two callables, for a result and for an error; the result is delivered at
        once, or by `mdn_viewer.latest_worker.LatestOnlyWorker` where a window must not wait.

    Attributes
    ----------
    session : VotingSession or None
        The fields and parameters that are shown; None where no fitting layers are chosen.
    maps : dict of VoteMap
        The maps that are shown; none until there are some.
    voted : VotingSession or None
        What `maps` are of; it lags behind `session` while votes are being counted.
    loaded : mdn_cupy.Fields or None
        The field set that is open, whatever `set_fields` has replaced it with.
    origin : Origin
        Where the fields come from; nothing, where that is not known.
    frames : sequence of mdn_cupy.Fields
        The frames there are to choose from; none where one field set is open.
    frame : int
        The one that is looked at.
    kinds : tuple of str
        Which maps are wanted.
    pixel : (row, column) or None
        The pixel of the output that was asked about.
    asked_rule : str
        The rule whose votes for it are asked about: one of `RULES`.
    source : (part, row, column) or None
        The source that was asked about, on the fields' own grid.
    window : Window or None
        The pixels that are on the screen. While a parameter changes no others are computed;
        `settle` computes the rest.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> model = VotingModel()
    >>> model.show(VotingSession(mdn.samples.load("pose"), "nose", 8.0))
    >>> model.change(sigma=4.0)
    >>> print(model.maps["noisy_or"].peak)
    1 at row 95, column 166
    """

    session_changed = Signal(object)  # VotingSession or None: other fields, or another parameter
    # Dict of VoteMap, empty when none are wanted or left. One who hears of them may have others
    # computed at once: who comes after that one hears of those only.
    maps_changed = Signal(object, reemission="latest-only")
    settled = Signal()  # no change for a while: time for what takes long
    said = Signal(str)  # a line for the user
    refused = Signal(str)  # a line for the user: what does not fit, and why
    withdrawn = Signal(str)  # such a line that holds no longer
    frame_changed = Signal(int)
    pixel_asked = Signal(object)  # (row, column) or None
    source_asked = Signal(object)  # (part, row, column) or None

    def __init__(self, make_worker: MakeWorker = AtOnce) -> None:
        self._make_worker = make_worker
        self._workers: list[Worker] = []
        self._complaints: dict[Hashable, str] = {}  # that still hold, by what they are of
        self._voting = self.worker(self._deliver, self._fail)
        self.loaded: mdn.Fields | None = None
        self.origin = UNKNOWN
        self.frames: Sequence[mdn.Fields] = ()
        self.frame = 0
        self.session: VotingSession | None = None
        self.voted: VotingSession | None = None
        self.maps: dict[str, VoteMap] = {}
        self.kinds: tuple[str, ...] = RULES
        self.pixel: Pixel | None = None
        self.asked_rule = RULES[0]
        self.source: Source | None = None
        self.window: Window | None = None
        self._at_rest = True  # whether the newest job computes what is shown at rest

    @property
    def exact(self) -> bool:
        """Whether the maps have all pixels; above 2²⁶ of them, all that are on the screen."""
        if self.voted is None:
            return True
        enough = (None, self._pixels(self.voted, at_rest=True))
        return all(vote_map.window in enough for vote_map in self.maps.values())

    @property
    def titles(self) -> dict[str, str]:
        """What people read for each of `maps`."""
        voted = self.voted
        return {} if voted is None else {kind: voted.title(kind) for kind in self.maps}

    def show(
        self,
        session: VotingSession | None,
        origin: Origin = UNKNOWN,
        frames: Sequence[mdn.Fields] = (),
        frame: int = 0,
    ) -> None:
        """Look at something else, or at nothing.

        Parameters
        ----------
        session : VotingSession or None
            What to look at.
        origin : Origin
            Where its fields come from, if that is known.
        frames : sequence of mdn_cupy.Fields
            Where `go_to` finds other frames; it may be lazy.
        frame : int
            Which of them the session looks at.
        """
        self._voting.cancel()
        self.loaded = None if session is None else session.fields
        self.origin, self.frames = origin, frames
        self.session, self.voted = session, None
        self._forget_maps()
        self.ask_pixel(None)
        self.ask_source(None)
        self._set_frame(frame)
        self._begin(session)

    def go_to(self, frame: int) -> None:
        """Look at another frame: part, sigma and the asked pixel stay."""
        if self.session is None or frame == self.frame:
            return
        try:
            fields = self.frames[frame]
            shape, expected = fields.confidence.shape, self.session.fields.confidence.shape
            if shape != expected:
                raise ValueError(
                    f"its confidence has the shape {shape}, and the others {expected}; "
                    "open frames of one size"
                )
            session = replace(self.session, fields=fields)
        except Exception as error:  # whatever a reader of any file raises
            self.frame_changed.emit(self.frame)  # the sliders go back
            self.refuse(f"frame {frame}: {error}", of=self.go_to)
            return
        self.withdraw(self.go_to)
        self._set_frame(frame)
        self.show_fields(fields, session)

    def show_frames(self, frames: Sequence[mdn.Fields]) -> None:
        """Look at other frames, as many and of the same kind as those that are open.

        Raises
        ------
        ValueError
            As `show_fields`.
        """
        self.frames = frames
        self.show_fields(frames[self.frame])

    def show_fields(self, fields: mdn.Fields, session: VotingSession | None = None) -> None:
        """Look at other fields of the same kind as those that are open, which they replace.

        Raises
        ------
        ValueError
            If nothing is open, or the part that is looked at is not in them.
        """
        if self.session is None:
            raise ValueError("there are no fields yet that could be replaced")
        session = replace(self.session, fields=fields) if session is None else session
        self.loaded = fields
        self._begin(session)

    def change(self, **parameters: Any) -> None:
        """Change parameters of the session; where that makes no sense, say so and change nothing.

        Parameters
        ----------
        **parameters
            Those of `VotingSession`, but for `fields`.
        """
        if self.session is None:
            return
        try:
            session = replace(self.session, **parameters)
        except ValueError as error:
            self.refuse(error, of=self.change)
            return
        self.withdraw(self.change)
        self._begin(session)

    def show_kinds(self, kinds: Collection[str]) -> None:
        """Say which of `KINDS` are wanted: nothing else is computed."""
        self.kinds = tuple(kind for kind in KINDS if kind in kinds)
        self._vote()

    def set_fields(self, fields: mdn.Fields) -> None:
        """Look at other values of the same fields, one step of their gradient further, say.

        Part, sigma, the asked pixel and what is open stay as they are; `reset_fields` goes back.

        Raises
        ------
        ValueError
            If nothing is open, or the grid is not that of the fields that are.
        """
        if self.session is None:
            raise ValueError("there are no fields yet whose values could be replaced")
        expected = _grid(self.session.fields)
        if _grid(fields) != expected:
            raise ValueError(f"the fields must stay on their grid {expected}, got {_grid(fields)}")
        self._begin(replace(self.session, fields=fields))

    def reset_fields(self) -> None:
        """Go back to the fields that are open."""
        if self.loaded is not None:
            self.set_fields(self.loaded)

    def ask_pixel(self, pixel: Pixel | None, rule: str | None = None) -> None:
        """Ask who voted for a pixel, or ask no more.

        Parameters
        ----------
        pixel : (row, column) or None
            A pixel of the output; one outside of it is not asked about.
        rule : str, optional
            By which of `RULES`; the last one by default.
        """
        if pixel is not None and not (self.session and _within(pixel, self.session.votes.shape)):
            return
        if pixel != self.pixel or pixel is not None:
            self.pixel, self.asked_rule = pixel, rule or self.asked_rule
            self.pixel_asked.emit(pixel)

    def ask_source(self, source: Source | None) -> None:
        """Ask where the vote of a source (part, row, column) lands; None asks no more."""
        shape = self.session.fields.confidence.shape if self.session else ()
        if source is not None and not _within(source, shape):
            return
        if source != self.source or source is not None:
            self.source = source
            self.source_asked.emit(source)

    def worker(
        self, on_result: Callable[[Any], None], on_error: Callable[[BaseException], None]
    ) -> Worker:
        """Make a worker for jobs of another kind, which ends with this model.

        What an error has said is withdrawn with the next result.
        """

        def deliver(result: Any) -> None:
            self.withdraw(on_result)
            on_result(result)

        def fail(error: BaseException) -> None:
            on_error(error)
            self._complaints[on_result] = str(error)

        worker = self._make_worker(deliver, fail)
        self._workers.append(worker)
        return worker

    def refresh(self) -> None:
        """Compute the maps again, for the pixels that are seen now."""
        self._vote()

    def settle(self) -> None:
        """Say that the slider rests, once the maps have all pixels."""
        if self.exact:
            self.settled.emit()
        else:
            self._vote(at_rest=True)

    def say(self, text: str) -> None:
        """Tell the user something."""
        self.said.emit(text)

    def refuse(self, reason: BaseException | str, of: Hashable = None) -> None:
        """Tell the user what does not fit, and why; said of something, it can be withdrawn."""
        if of is not None:
            self._complaints[of] = str(reason)
        self.refused.emit(str(reason))

    def withdraw(self, of: Hashable) -> None:
        """Tell the user that what was refused of something, if anything was, holds no longer."""
        reason = self._complaints.pop(of, None)
        if reason is not None:
            self.withdrawn.emit(reason)

    def cancel(self) -> None:
        """Deliver no maps of what has been asked for: what votes is about to change."""
        self._voting.cancel()

    def wait(self) -> None:
        """Wait until the maps are those of the session, and exact."""
        self._voting.wait()
        if not self.exact:
            self._vote(at_rest=True)
            self._voting.wait()

    def close(self) -> None:
        """Emit no further signals, whatever is still under way."""
        for worker in self._workers:
            worker.close()
        for name in (
            "session_changed",
            "maps_changed",
            "settled",
            "said",
            "refused",
            "withdrawn",
            "frame_changed",
        ):
            getattr(self, name).disconnect()
        self.pixel_asked.disconnect()
        self.source_asked.disconnect()

    def _set_frame(self, frame: int) -> None:
        self.frame = frame
        self.frame_changed.emit(frame)

    def _begin(self, session: VotingSession | None) -> None:
        self.session = session
        self.session_changed.emit(session)
        self._vote()

    def _pixels(self, session: VotingSession, *, at_rest: bool) -> Window | None:
        """Return which pixels to compute; None for all."""
        rows, columns = session.votes.shape
        window = self.window
        if window is not None and (window.bottom > rows or window.right > columns):
            window = None  # of the fields before
        if rows * columns <= _MOST:
            return None if at_rest else window
        step = math.ceil(math.sqrt(rows * columns / _SEEN))
        return window or Window(0, 0, rows, columns, step)

    def _vote(self, *, at_rest: bool = False) -> None:
        session, kinds, loaded = self.session, self.kinds, self.loaded
        if session is None:
            return
        window = self._pixels(session, at_rest=at_rest)
        at_rest = window == self._pixels(session, at_rest=True)
        if self._at_rest and not at_rest:
            self._voting.cancel()  # all pixels take longer than a frame
        self._at_rest = at_rest
        known = session.knows(kinds, window)
        self._voting.submit(
            lambda: (loaded, session, session.vote(kinds, window)),
            1.0 if known else session.work_in(window),
            "Counting votes",
            (kinds, session.program, window is None, known),
        )

    def _deliver(self, result: tuple[mdn.Fields, VotingSession, dict[str, VoteMap]]) -> None:
        loaded, session, maps = result
        if self.session is None or (loaded is not self.loaded and not self.frames):
            return  # what voted is gone
        if not same_votes(session, self.session):
            return  # another part has been chosen, and is under way
        self.voted, self.maps = session, maps
        self.maps_changed.emit(maps)  # none too, where no kinds are wanted

    def _fail(self, error: BaseException) -> None:
        if isinstance(error, Stopped) and self.voted is not None:
            self.session = self.voted  # whose maps are there still
            self.session_changed.emit(self.session)
        else:
            self.voted = None
            self._forget_maps()
        self.refuse(error)

    def _forget_maps(self) -> None:
        if self.maps:
            self.maps = {}
            self.maps_changed.emit({})


def _grid(fields: mdn.Fields) -> tuple[object, ...]:
    return fields.confidence.shape, fields.stride, fields.origin


def _within(index: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(index) == len(shape) and all(0 <= i < n for i, n in zip(index, shape, strict=True))
