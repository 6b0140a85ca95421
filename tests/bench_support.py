"""Helpers of the tests of the benchmarks: little work, and the error of a command."""

import numpy as np

from benchmarks.timing import Budget

SMALL = ((2, 9, 12), 1.0)
ONCE = Budget(seconds=0, least=1, most=1)


def products_of(weight, confidence, times):
    return np.prod(1 - confidence.astype(float)[:, None] * weight, axis=0) ** times


def refused(capsys, benchmark, *argv):
    assert benchmark.main([*map(str, argv)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err
