"""The command `mdn-cupy`, which Ctrl+C ends in silence from its first imports on."""

from __future__ import annotations

import sys

from mdn_cupy.interrupts import load

TYPE_CHECKING = False  # as typing has it, which takes as long as all else here
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; bad input ends in one line on standard error and the status 2.

    Whatever standard output takes, files are written; Ctrl+C ends it with the status 130.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments after the program's name; those of the process by default.

    Returns
    -------
    int
        The exit status; 1 if the result went to standard output alone, and that failed.
    """
    status: int = load("mdn_cupy.program").main(argv)
    return status


if __name__ == "__main__":
    sys.exit(main())
