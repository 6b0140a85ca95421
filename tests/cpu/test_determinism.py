"""The same bits for any number of threads, any caller and any repetition."""

import threading

import numpy as np
import pytest
from backends import BACKENDS
from helpers import RULES, environment, pull, run_python, vote
from strategies import Drawn

import mdn_cupy as mdn

by_rule = pytest.mark.parametrize("rule", RULES)


def busy(seed=0, parts=5, sides=(40, 37)):
    """Enough parts and rows that every thread has something to do, and shared arguments."""
    rng = np.random.default_rng(seed)
    return Drawn(
        rng.random((parts, *sides)).astype(np.float32),
        rng.normal(0, 5, (2, 1, 2, *sides)).astype(np.float32),
        rng.uniform(0.5, 2.5, (parts, 1, 1)).astype(np.float32),
        {"output_shape": (90, 700)},  # the last maps are cut into tiles
    )


def collapsed(parts=2, sides=(300, 301)):
    """A map with so many voters for one place that they are shared among threads."""
    rng = np.random.default_rng(1)
    towards = np.array([[[10.5]], [[7.25]]]) - np.indices(sides)[::-1]
    offsets = towards + rng.normal(0, 1, (parts, 2, *sides))
    return Drawn(
        rng.random((parts, *sides)).astype(np.float32),
        offsets.astype(np.float32),
        1.5,
        {"output_shape": (16, 20), "aggregate": 0},
    )


@pytest.fixture
def threads():
    """Set how many threads share the work."""

    def set_threads(count):
        mdn.set_num_threads(count)
        assert f"{count} threads" in mdn.backends()["cpu"].detail

    yield set_threads
    mdn.set_num_threads(None)


def results(votes, rule):
    evidence = vote(BACKENDS["cpu"], rule, votes)
    cotangent = np.cos(np.arange(evidence.size)).reshape(evidence.shape)
    return evidence, *pull(BACKENDS["cpu"], rule, cotangent, votes)


def assert_same_bits(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@by_rule
@pytest.mark.parametrize("problem", [busy, collapsed])
def test_any_number_of_threads_gives_the_same_bits(threads, problem, rule):
    drawn = problem()
    threads(1)
    alone = results(drawn, rule)
    for count in (2, 3, 7):
        threads(count)
        assert_same_bits(results(drawn, rule), alone)
    assert any(t.name.startswith("mdn-cupy") for t in threading.enumerate())


@by_rule
def test_repeated_calls_give_the_same_bits(backend, rule):
    drawn = busy(parts=2, sides=(9, 10))
    first, second = (vote(backend, rule, drawn) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    g = np.ones_like(first)
    assert_same_bits(pull(backend, rule, g, drawn), pull(backend, rule, g, drawn))


def test_the_layout_of_the_fields_does_not_change_the_bits():
    drawn = busy()
    other = Drawn(np.asfortranarray(drawn.confidence), drawn.offsets, drawn.sigma, drawn.options)
    assert_same_bits(results(drawn, "noisy_or"), results(other, "noisy_or"))


def test_two_python_threads_may_vote_at_once(threads):
    threads(2)
    problems = [busy(seed) for seed in range(2)]
    alone = [results(drawn, "noisy_or") for drawn in problems]
    together = [[], []]
    start = threading.Barrier(2)

    def work(n):
        start.wait()
        for _ in range(3):
            together[n].append(results(problems[n], "noisy_or"))

    callers = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for n in range(2):
        assert len(together[n]) == 3
        for got in together[n]:
            assert_same_bits(got, alone[n])


FORK = """
import os, signal, sys, threading
import numpy as np
import mdn_cupy as mdn

c = np.random.default_rng(0).random((6, 40, 40)).astype(np.float32)
o = np.zeros((2, 40, 40), np.float32)
before = mdn.noisy_or(c, o, 1.0)
assert threading.active_count() > 1  # the parent's pool has its threads now
child = os.fork()
if child == 0:
    signal.alarm(60)
    same = np.array_equal(mdn.noisy_or(c, o, 1.0), before)
    same &= mdn.Votes(c, o, 1.0).noisy_or_vjp(before).confidence.shape == c.shape
    sys.exit(0 if same else 3)  # an ordinary end, with all that runs at exit
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
after = mdn.noisy_or(c, o, 1.0)
print("child", status, "parent", np.array_equal(after, before))
"""


def test_a_forked_child_votes_as_its_parent_does():
    two_threads = environment(MDN_NUM_THREADS="2")
    said = run_python("-W", "ignore", "-c", FORK, env=two_threads)
    assert said.split() == ["child", "0", "parent", "True"]
