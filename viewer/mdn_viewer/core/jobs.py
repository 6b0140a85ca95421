"""Jobs that may take long, and the workers that run them. Independent of Qt."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Protocol

__all__ = ["AtOnce", "MakeWorker", "Stopped", "Worker"]


class Worker(Protocol):
    """Runs the newest job and drops those that it overtook, as `LatestOnlyWorker` does."""

    def submit(
        self, job: Callable[[], Any], work: float, title: str = ..., kind: Hashable = ...
    ) -> None:
        """Run a job whose time grows with `work`; its result is delivered to the window."""

    def wait(self) -> None:
        """Wait until nothing is left to do and everything is delivered."""

    def cancel(self) -> None:
        """Deliver nothing of what has been submitted."""

    def close(self) -> None:
        """Deliver nothing more, ever."""


MakeWorker = Callable[[Callable[[Any], None], Callable[[BaseException], None]], Worker]


class Stopped(Exception):
    """What was under way was stopped: by the user, or because it is no longer wanted."""


class AtOnce:
    """A worker without threads: a job is done when `submit` returns.

    Parameters
    ----------
    on_result, on_error : callable
        Called with what a job returned or raised.
    """

    def __init__(
        self, on_result: Callable[[Any], None], on_error: Callable[[BaseException], None]
    ) -> None:
        self._on_result, self._on_error = on_result, on_error

    def submit(
        self, job: Callable[[], Any], work: float, title: str = "", kind: Hashable = None
    ) -> None:
        """Run a job."""
        try:
            result = job()
        except Exception as error:
            self._on_error(error)
        else:
            self._on_result(result)

    def wait(self) -> None:
        """Nothing is ever left to do."""

    def cancel(self) -> None:
        """Nothing is ever under way."""

    def close(self) -> None:
        """Nothing is ever under way."""
