"""Tensors on a device: torch's memory, stream and backward thread, and graph capture; no GPU."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CHECKS = re.findall(r"^def (check_\w+)", (TESTS / "cuda_host" / "training.py").read_text(), re.M)


@pytest.fixture(scope="module")
def done():
    """The checks run in a process of their own: torch cannot forget a device."""
    return subprocess.run(
        [sys.executable, "-m", "cuda_host.training"], capture_output=True, text=True, cwd=TESTS
    )


@pytest.mark.parametrize("check", CHECKS)
def test_on_an_imagined_device(check, done):
    assert f"held {check}" in done.stdout.splitlines(), done.stdout + done.stderr


def test_there_are_checks():
    assert len(CHECKS) >= 6
