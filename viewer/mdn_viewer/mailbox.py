"""Values for another process, through shared memory: the newest wins, and the giver never waits."""

from __future__ import annotations

import mmap
import os
import pickle
import sys
import tempfile
import threading
from typing import IO, Any

__all__ = ["Mailbox", "take"]

Letter = tuple[bytes, int, list[tuple[int, int]]]  # pickle, place in the file, parts of its buffers


class Mailbox:
    """The giver's end.

    Arrays are written into a file that has no name, in memory where the system has such files: it
    is gone when the last of both processes is. A pipe says where they are. Of two slots one is
    always the giver's, and the pipe hands the other one over, so neither waits for the other.

    Parameters
    ----------
    pipe : file
        Where `take` reads.

    Attributes
    ----------
    file : int or None
        The file's descriptor, for the other process to inherit. None on Windows, which has none:
        there, arrays go through the pipe.
    """

    def __init__(self, pipe: IO[bytes] | None = None) -> None:
        self.pipe = pipe
        self.file = _file_without_name()
        self._lock = threading.Lock()
        self._slots = [_Slot(), _Slot()]  # the giver's, the taker's
        self._end = 0  # of the file
        self._letter: Letter | None = None
        self._awaited = False

    def put(self, value: Any) -> None:
        """Give a value, in the place of one that has not been sent yet.

        Raises
        ------
        OSError
            If the other process has gone, or the pipe is closed.
        """
        buffers: list[pickle.PickleBuffer] = []
        callback = None if self.file is None else buffers.append
        head = pickle.dumps(value, 5, buffer_callback=callback)
        with self._lock:
            self._letter = self._written(head, [buffer.raw() for buffer in buffers])
            if self._awaited:
                self._send()

    def on_taken(self) -> None:
        """Take note that the other process waits for a value; send it the newest, if there is one.

        Raises
        ------
        OSError
            As `put`.
        """
        with self._lock:
            self._awaited = True
            if self._letter is not None:
                self._send()

    def close(self) -> None:
        """Close the file, and give its memory back."""
        with self._lock:
            if self.file is not None:
                os.close(self.file)
            self.file, self._end = None, 0
            self._slots = [_Slot(), _Slot()]  # each mapping holds the file open

    def _written(self, head: bytes, buffers: list[memoryview]) -> Letter:
        slot, size = self._slots[0], sum(len(buffer) for buffer in buffers)
        if size > slot.size and self.file is not None:
            slot.place, slot.size = self._end, size
            self._end += -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
            os.truncate(self.file, self._end)
            slot.memory = memoryview(mmap.mmap(self.file, size, offset=slot.place))
        parts, begin = [], 0
        for buffer in buffers:
            end = begin + len(buffer)
            slot.memory[begin:end] = buffer
            parts.append((begin, end))
            begin = end
        return head, slot.place, parts

    def _send(self) -> None:
        assert self.pipe is not None
        if self.pipe.closed:
            raise BrokenPipeError("the pipe is closed")
        self.pipe.write(pickle.dumps(self._letter))
        self.pipe.flush()
        self._letter, self._awaited = None, False
        self._slots.reverse()


class _Slot:
    """A piece of the file."""

    def __init__(self) -> None:
        self.place = self.size = 0
        self.memory = memoryview(b"")


def take(pipe: IO[bytes], file: int | None) -> Any:
    """Wait for a value. Its arrays may change once the giver is told that it is taken: copy them.

    Parameters
    ----------
    pipe : file
        The pipe of a `Mailbox`.
    file : int or None
        The descriptor of its file.

    Raises
    ------
    EOFError, OSError, pickle.UnpicklingError
        If the giver has gone.
    """
    head, place, parts = pickle.load(pipe)
    if not parts or file is None:
        return pickle.loads(head)
    memory = memoryview(mmap.mmap(file, parts[-1][1], access=mmap.ACCESS_READ, offset=place))
    return pickle.loads(head, buffers=[memory[begin:end] for begin, end in parts])


def _file_without_name() -> int | None:
    if sys.platform == "win32":
        return None
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mdn-viewer")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
