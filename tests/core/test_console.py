"""Command lines with a broken standard output, and interrupted by Ctrl+C."""

import errno
import io
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import environment, run_python
from mdn_viewer.__main__ import main as view

import mdn_cupy as mdn
from benchmarks import cpu
from mdn_cupy import console
from mdn_cupy.__main__ import main

DISK_FULL = "standard output: No space left on device"


class Full(io.RawIOBase):
    """A file on a full disk, or a pipe without a reader."""

    def __init__(self, number=errno.ENOSPC):
        self._number = number

    def writable(self):
        return True

    def write(self, data):
        raise OSError(self._number, os.strerror(self._number))


class Table:
    """What a benchmark of some minutes returns."""

    def __str__(self):
        return "noisy-or 6.7 µs, × torch 119"

    def data(self):
        return {"measured": 1}


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(cpu, "measure", lambda plan: Table())


def writer(stream, encoding):
    return io.TextIOWrapper(stream, encoding=encoding, write_through=True)


COMMANDS = {
    "vote": (main, ["vote", "delta", "-o", "kärte.npy"]),
    "compare": (main, ["compare", "delta", "-o", "kärte.png"]),
    "benchmark": (cpu.main, ["--quick", "--json", "kärte.json"]),
}
NAMES = {main: "mdn-cupy", cpu.main: "cpu.py"}


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "cp1252", "utf-16"])
@pytest.mark.parametrize(("command", "argv"), COMMANDS.values(), ids=COMMANDS)
def test_what_an_encoding_lacks_is_escaped(
    command, argv, encoding, tmp_path, monkeypatch, measured
):
    monkeypatch.chdir(tmp_path)
    taken = io.BytesIO()
    stdout = writer(taken, encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert command(argv) == 0
    assert (tmp_path / argv[-1]).stat().st_size > 0
    told = taken.getvalue().decode(encoding)
    expected = f"written to {argv[-1]}".encode(encoding, "backslashreplace").decode(encoding)
    assert told.splitlines()[-1] == expected
    assert stdout.errors == "strict"  # as it was


@pytest.mark.parametrize("number", [errno.EPIPE, errno.ENOSPC], ids=["closed pipe", "full disk"])
@pytest.mark.parametrize(("command", "argv"), COMMANDS.values(), ids=COMMANDS)
def test_files_are_written_where_nothing_can_be_said(
    command, argv, number, tmp_path, monkeypatch, measured, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdout", writer(Full(number), "utf-8"))
    assert command(argv) == 0
    assert (tmp_path / argv[-1]).stat().st_size > 0
    told = "" if number == errno.EPIPE else f"{NAMES[command]}: {DISK_FULL}\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("command", "argv"), [(main, ["info"]), (cpu.main, ["--quick"]), (cpu.main, ["--help"])]
)
def test_what_was_only_to_be_printed_is_missed(command, argv, monkeypatch, measured, capsys):
    monkeypatch.setattr(sys, "stdout", writer(Full(), "utf-8"))
    assert command(argv) == 1
    assert capsys.readouterr().err == f"{NAMES[command]}: {DISK_FULL}\n"


def test_a_table_that_cannot_be_stored_is_printed(tmp_path, monkeypatch, measured, capsys):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", fill)
    assert cpu.main(["--quick", "--json", str(tmp_path / "a.json")]) == 2
    told = capsys.readouterr()
    assert told.out == f"{Table()}\n"
    assert told.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("argv", [["-m", "mdn_cupy", "info"], ["-m", "mdn_viewer", "--help"]])
def test_a_process_that_nobody_reads_ends_well(argv, unbuffered):
    reader, pipe = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, *argv],
        stdout=pipe,
        stderr=subprocess.PIPE,
        env=environment(PYTHONUNBUFFERED=unbuffered),
        check=False,
    )
    os.close(pipe)
    assert (done.returncode, done.stderr) == (0, b"")


def test_standard_error_may_fail_too(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", writer(Full(), "ascii"))
    assert main(["vote", "händ.mdn", "-o", "x.npy"]) == 2
    assert view(["händ.mdn"]) == 2
    assert capsys.readouterr().out == ""


def interrupting(*_, **__):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("command", "argv", "called"),
    [
        (main, ["vote", "delta", "-o", "map.npy"], (mdn.Votes, "compare")),
        (main, ["compare", "delta", "-o", "map.png"], (mdn.Votes, "compare")),
        (cpu.main, ["--json", "map.json"], (cpu, "measure")),
        (main, ["info"], (mdn.samples, "names")),
    ],
)
def test_ctrl_c_ends_a_command_without_a_word(command, argv, called, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(*called, interrupting)
    assert command(argv) == 130
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_the_viewer_before_it_has_a_window(monkeypatch, capsys):
    monkeypatch.setattr(mdn.samples, "load", interrupting)
    assert view(["delta"]) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_where_python_drops_exceptions_is_not_lost(capsys):
    class Finalized:
        def __del__(self):
            interrupting()

    def work():
        Finalized()  # Python prints what its finalizer raises, and goes on
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.01)
        return 0

    assert console.run("mdn-cupy", work) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_in_the_middle_of_a_vote(tmp_path):
    side = np.zeros((1, 1500, 1500), np.float32)
    mdn.save_fields(tmp_path / "a.mdn", mdn.Fields(side + 1, np.stack([side, side], axis=1)))
    code = """
import os, signal, sys, threading
from mdn_cupy import Votes
from mdn_cupy.__main__ import main

def compare(votes, compare=Votes.compare):
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    return compare(votes)

Votes.compare = compare
sys.exit(main(["vote", "a.mdn", "--sigma", "200", "-o", "a.npy"]))  # would take minutes
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False, timeout=300
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mdn"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends it with a status of its own")
@pytest.mark.parametrize("module", ["mdn_cupy.program", "numpy", "numpy._core", "mdn_cupy.votes"])
def test_ctrl_c_while_the_command_line_is_imported(module):
    code = f"""
import signal, sys

class Interrupt:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from mdn_cupy.__main__ import main
sys.exit(main(["info"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        -signal.SIGINT,
        b"",
        b"",
    )  # 130 in a shell


def test_ctrl_c_is_an_exception_again_once_the_command_line_is_imported():
    code = """
import signal
from mdn_cupy.interrupts import load
load("mdn_cupy.program")
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("raised")
"""
    assert run_python("-c", code) == "raised\n"


@pytest.mark.parametrize("setting", ["SIG_IGN", "SIG_DFL"])
def test_a_program_that_has_settled_what_ctrl_c_does_keeps_it(setting):
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.{setting})
from mdn_cupy.interrupts import load
load("mdn_cupy.program")
print(signal.getsignal(signal.SIGINT) is signal.{setting})
"""
    assert run_python("-c", code) == "True\n"


def test_the_command_line_is_imported_in_a_thread_too():
    code = """
from threading import Thread
from mdn_cupy.interrupts import load
thread = Thread(target=lambda: print(load("mdn_cupy.program").__name__))
thread.start()
thread.join()
"""
    assert run_python("-c", code) == "mdn_cupy.program\n"
