"""The CPU backend in a process: damaged caches, forks, numbers of threads."""

import importlib
import math
import os
import pickle
import sys
import threading
from functools import partial
from hashlib import sha256

import joblib
import numba
import numpy as np
import pytest
import torch
from helpers import environment, run_python

import mdn_cupy as mdn
from mdn_cupy.cpu import thread_pool

VOTE = """
import numpy as np, mdn_cupy as mdn
c, o = np.full((4, 4), 0.5, "f4"), np.zeros((2, 4, 4), "f4")
print(mdn.noisy_or(c, o, 1.0)[0, 0])
"""
COUNT = "import mdn_cupy as mdn; print(mdn.get_num_threads())"

# Numba's cache

KERNEL = """
from mdn_cupy.cpu.jit_options import jit

def double(x):
    return x + x
"""


def test_a_call_from_the_cache_does_not_load_what_compiles(tmp_path):
    code = f"""
{VOTE}
import sys
from mdn_cupy.cpu import forward
print(bool(forward.fill.stats.cache_hits), 'numba.np.linalg' in sys.modules)
"""
    for said in ("False True", "True False"):
        printed = run_python("-c", code, env=environment(NUMBA_CACHE_DIR=str(tmp_path)))
        assert printed.splitlines() == ["0.8461411", said]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder in which a kernel is kept that has been called with float32."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)  # Numba imports the module of code from the cache
    monkeypatch.delitem(sys.modules, "kept_kernel", raising=False)
    (tmp_path / "kept_kernel.py").write_text(KERNEL, "utf-8")
    assert not came_from_the_cache()
    assert came_from_the_cache()
    return tmp_path


def came_from_the_cache(dtype=np.float32):
    """Call the kernel as a new process does; return whether an earlier one had compiled it."""
    kept_kernel = importlib.import_module("kept_kernel")
    double = kept_kernel.jit(kept_kernel.double)
    assert double(dtype(0.75)) == 1.5
    return bool(double.stats.cache_hits)


def without_a_block(data):
    """As a crash of the machine leaves a file: of the right length, with zeros in its middle."""
    middle = len(data) // 2
    return data[:middle] + bytes(512) + data[middle + 512 :]


def of_another_version(data):
    """As another environment leaves a file: whole, and without the versions of this one."""
    _, code = pickle.loads(data)
    return pickle.dumps((sha256(code).digest(), code))


@pytest.mark.parametrize(
    ("files", "damage"),
    [
        ("*double*.nbi", lambda data: b""),
        ("*double*.nbc", lambda data: data[:100]),
        ("*double*.nbc", without_a_block),
        ("*double*.nbc", of_another_version),
    ],
    ids=["index cut off", "code cut off", "code overwritten", "another version"],
)
def test_a_damaged_cache_is_compiled_again_and_repaired(cache, files, damage):
    (found,) = cache.rglob(files)
    whole = found.read_bytes()
    found.write_bytes(damage(whole))
    assert found.read_bytes() != whole
    assert not came_from_the_cache()
    assert came_from_the_cache()


def test_code_of_another_signature_is_not_run(cache):
    """As two processes leave it that compiled for other dtypes at the same time."""
    assert not came_from_the_cache(np.float64)
    one, other = cache.rglob("*double*.nbc")
    code = one.read_bytes(), other.read_bytes()
    one.write_bytes(code[1])
    other.write_bytes(code[0])
    assert not came_from_the_cache()
    assert came_from_the_cache()


def test_a_full_disk_is_one_warning(tmp_path):
    # A file that may hold no more than 100 bytes stands for a full disk.
    code = """
import resource, signal, sys, warnings
warnings.simplefilter("always")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
sys.stderr = sys.stdout
double = jit(double)
print(double(0.75), double(1))
"""
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL + code, "utf-8")
    printed = run_python(str(script), env=environment(NUMBA_CACHE_DIR=str(tmp_path)))
    assert printed.count("RuntimeWarning") == 1
    assert "cannot be kept (File too large)" in printed
    assert "NUMBA_CACHE_DIR" in printed
    assert printed.endswith("1.5 2\n")


# Forks

FORK = """
import os, signal, sys, threading, time, warnings
import numpy as np
import mdn_cupy as mdn
warnings.simplefilter("ignore")
c, o = np.full((4, 4), 0.5, "f4"), np.zeros((2, 4, 4), "f4")
thread = threading.Thread(target=mdn.noisy_or, args=(c, o, 1.0))
thread.start()
while {loaded!r} not in sys.modules:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    signal.alarm(250)  # it compiles all kernels
    print(mdn.noisy_or(c, o, 1.0)[0, 0], flush=True)
    os._exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
thread.join()
assert status == 0, status
"""


@pytest.mark.slow
@pytest.mark.parametrize("loaded", ["numba", "mdn_cupy.cpu.planner"])
def test_a_child_votes_that_is_forked_while_a_thread_loads_or_compiles(tmp_path, loaded):
    nothing_compiled = environment(NUMBA_CACHE_DIR=str(tmp_path))
    code = FORK.format(loaded=loaded)
    assert run_python("-c", code, env=nothing_compiled, timeout=600) == "0.8461411\n"


# Threads


@pytest.fixture
def four_threads():
    mdn.set_num_threads(4)
    yield
    mdn.set_num_threads(None)


def test_the_number_set_is_the_number_used(four_threads):
    assert mdn.get_num_threads() == 4
    assert mdn.backends()["cpu"].detail.endswith(", 4 threads")
    together = threading.Barrier(4, timeout=60)
    assert len(set(thread_pool.run([together.wait] * 4))) == 4  # else it would break


def test_an_interruption_within_another_calls_both():
    calls, votes = [], mdn.samples.load("delta").votes()
    with mdn.interrupted_by(lambda: calls.append("outer")):
        with mdn.interrupted_by(lambda: calls.append("inner")):
            votes.noisy_or()
        assert calls.count("inner") == calls.count("outer") > 0
        votes.noisy_or()
    assert calls.count("outer") > calls.count("inner")


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("backward", [False, True], ids=["vote", "gradient"])
def test_a_vote_ends_when_it_is_interrupted(threads, backward):
    rng = np.random.default_rng(0)
    offsets = rng.normal(0, 3, (2, 512, 512)).astype(np.float32)
    votes = mdn.Votes(np.full((512, 512), 0.5, np.float32), offsets, 4.0)
    ones = np.ones(votes.shape, np.float32)
    whole = partial(votes.noisy_or_vjp, ones) if backward else votes.noisy_or
    calls = []

    def check():
        calls.append(threading.current_thread())
        if len(calls) > ends_at:
            raise InterruptedError("nobody waits for it")

    mdn.set_num_threads(threads)
    try:
        ends_at = math.inf
        with mdn.interrupted_by(check):
            watched = whole()
        assert len(calls) >= 4
        ends_at = len(calls) // 2
        calls.clear()
        with mdn.interrupted_by(check), pytest.raises(InterruptedError, match="nobody waits"):
            whole()
        assert len(calls) <= ends_at + threads  # each thread ends with its next call
        assert thread_pool._working._threads == 0
        calls.clear()
        for one, other in zip(whole(), watched, strict=True):
            np.testing.assert_array_equal(one, other)
        assert not calls
    finally:
        mdn.set_num_threads(None)


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n must be at least 1, got 0; None restores"),
        (1.5, TypeError, "n must be a whole number, got 1.5; None restores"),
    ],
)
def test_a_number_that_cannot_be_is_refused(n, error, message):
    with pytest.raises(error, match=message):
        mdn.set_num_threads(n)


def test_no_thread_joins_a_call_while_as_many_others_call(four_threads):
    done, ready = threading.Event(), threading.Barrier(5, timeout=60)
    hold = [lambda: (ready.wait(), done.wait(60))]
    callers = [threading.Thread(target=thread_pool.run, args=(hold,)) for _ in range(4)]
    for caller in callers:
        caller.start()
    ready.wait()
    names = thread_pool.run([lambda: threading.current_thread().name] * 50)
    done.set()
    for caller in callers:
        caller.join()
    assert set(names) == {threading.current_thread().name}


CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
THREADS = ("MDN", "OMP", "NUMBA", "MKL")  # a cluster of Dask's sets the last to 1
UNSET = dict.fromkeys((f"{name}_NUM_THREADS" for name in THREADS), "")


@pytest.mark.parametrize(
    ("variables", "threads"),
    [
        ({"MDN_NUM_THREADS": "3"}, 3),
        ({"MDN_NUM_THREADS": "3", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}, 3),
        ({"OMP_NUM_THREADS": "1"}, 1),  # of distributed's nanny and of torchrun
        ({"OMP_NUM_THREADS": "1,4"}, 1),
        ({"NUMBA_NUM_THREADS": "1"}, 1),
        ({}, CPUS),
    ],
)
def test_the_environment_sets_the_number(variables, threads):
    assert run_python("-c", COUNT, env=environment(**{**UNSET, **variables})) == f"{threads}\n"


def test_an_environment_that_cannot_be_is_refused_in_a_line(tmp_path):
    vote = ("-m", "mdn_cupy", "vote", "delta", "-o", str(tmp_path / "m.npy"))
    refused = run_python(*vote, env=environment(MDN_NUM_THREADS="two"), status=2)
    assert refused.startswith("mdn-cupy: the environment variable MDN_NUM_THREADS must be a whole")
    assert refused.count("\n") == 1


class Counts(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        mdn.noisy_or(np.full((4, 4), 0.5), np.zeros((2, 4, 4)), 1.0)
        return mdn.get_num_threads()


def set_three(worker):
    mdn.set_num_threads(3)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_worker_of_a_data_loader_uses_one_thread_unless_it_asks_for_more(four_threads):
    loader = torch.utils.data.DataLoader(Counts(), num_workers=2)
    assert [int(count) for count in loader] == [1, 1]
    loader = torch.utils.data.DataLoader(Counts(), num_workers=2, worker_init_fn=set_three)
    assert [int(count) for count in loader] == [3, 3]


def test_a_worker_of_joblib_uses_its_share():
    code = """
import joblib, mdn_cupy as mdn
def vote():
    import numpy as np
    mdn.noisy_or(np.full((4, 4), 0.5), np.zeros((2, 4, 4)), 1.0)
    return mdn.get_num_threads()
if __name__ == "__main__":
    print(joblib.Parallel(n_jobs=2)(joblib.delayed(vote)() for _ in range(2)))
"""
    share = max(1, joblib.cpu_count() // 2)
    assert run_python("-c", code) == f"[{share}, {share}]\n"


@pytest.mark.slow
def test_torchs_number_counts_where_it_was_lowered():
    code = f"import torch; torch.set_num_threads(1); {COUNT}"
    assert run_python("-c", code) == "1\n"
    assert run_python("-c", f"import torch; {COUNT}", env=environment(**UNSET)) == f"{CPUS}\n"


def test_a_pool_can_set_the_number_in_its_processes():
    code = """
import multiprocessing, mdn_cupy as mdn
def count(_):
    return mdn.get_num_threads()
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(
        1, initializer=mdn.set_num_threads, initargs=(5,)
    ) as workers:
        print(workers.map(count, [0]))
"""
    assert run_python("-c", code) == "[5]\n"


INTERRUPTED_AS_A_THREAD_STARTS = """
import threading
from hashlib import sha256

import numpy as np

import mdn_cupy as mdn

mdn.set_num_threads(2)
start = threading.Thread.start

def interrupted(thread):
    start(thread)
    raise KeyboardInterrupt

fields = np.ones((2, 64, 64)), np.zeros((2, 2, 64, 64)), 1.0
threading.Thread.start = interrupted
try:
    mdn.noisy_or(*fields)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_as_a_thread_starts_does_not_hold_up_the_exit():
    assert run_python("-c", INTERRUPTED_AS_A_THREAD_STARTS, timeout=120) == "interrupted\n"
