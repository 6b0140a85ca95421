"""Kernels that another process compiles, once a machine."""

import os
import subprocess
import sys

import pytest

# In a process of its own, without a window: as on a new machine.
BEGIN = """
from mdn_viewer.core import compilation
compilation.begin()
print(compilation.under_way())
for stage in compilation.STAGES:
    compilation.wait(stage)
print(compilation.under_way())
"""
VOTE = """
import mdn_cupy as mdn
import numpy as np
from mdn_viewer.core.detections import Search, detect
from mdn_viewer.core.losses import Loss
from mdn_viewer.core.optimizer import Descent
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.window import Window

fields = mdn.samples.load("pose")
for part in (0, ALL):
    session = VotingSession(fields, part, 8.0)
    session.vote()
    session.vote(window=Window(10, 10, 200, 200, 2))
    Descent.begin(session, np.zeros((385, 385), np.float32), Loss.CROSS_ENTROPY).step()
    len(detect(session, Search()).instances())
"""


def run(folder, script, **more):
    """Run a script for which a folder is all that is known of the machine."""
    environment = {"XDG_CACHE_HOME": str(folder), "NUMBA_CACHE_DIR": str(folder / "numba"), **more}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | environment,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.split()


@pytest.mark.slow
def test_votes_of_a_new_machine_compile_nothing_here(tmp_path):
    assert run(tmp_path, BEGIN) == ["True", "False"]
    compiled = {*tmp_path.rglob("*.nbc")}
    assert len(compiled) > 4
    assert run(tmp_path, BEGIN + VOTE) == ["False", "False"]  # it is known that they are there
    assert {*tmp_path.rglob("*.nbc")} == compiled


def test_nothing_is_waited_for_where_nothing_can_be_kept(tmp_path):
    (tmp_path / "mdn-cupy").write_text("a file where the folder would be")
    assert run(tmp_path, BEGIN) == ["False", "False"]


def test_nothing_is_waited_for_once_the_process_has_ended(tmp_path):
    broken = {"NUMBA_CPU_NAME": "no processor", "NUMBA_CPU_FEATURES": "+none"}
    assert run(tmp_path, BEGIN, **broken) == ["True", "False"]
    assert run(tmp_path, BEGIN, **broken) == ["True", "False"]  # it has not been done
