"""Values from one process to another: the newest wins, and none changes while it is read."""

import os
import pickle
import threading

import mdn_viewer
import numpy as np
import pytest
from mdn_viewer.mailbox import Mailbox, take
from mdn_viewer.process import _sent
from mdn_viewer.serve import Values
from viewer_support import two_parts


@pytest.fixture
def ends():
    read, write = os.pipe()
    with open(read, "rb") as reader, open(write, "wb") as writer:
        mailbox = Mailbox(writer)
        yield mailbox, lambda: take(reader, mailbox.file)
        mailbox.close()


def test_the_newest_wins_and_what_is_read_stays(ends):
    mailbox, taken = ends
    mailbox.on_taken()
    for n in range(5):  # the first is sent, the others overtake each other
        mailbox.put((np.full(7, n), "five"))
    first, word = taken()
    assert word == "five"
    np.testing.assert_array_equal(first, np.zeros(7))
    mailbox.put((np.full(7, 9), ""))
    np.testing.assert_array_equal(first, np.zeros(7))
    mailbox.on_taken()
    np.testing.assert_array_equal(taken()[0], np.full(7, 9))


def test_values_of_any_size_and_layout(ends):
    mailbox, taken = ends
    rng = np.random.default_rng(0)
    for size in (3, 20_000, 5, 300_000, 0):
        value = {
            "rows": rng.normal(size=(size, 2)),
            "columns": np.asfortranarray(rng.normal(size=(size, 2))),
            "bytes": np.arange(size, dtype=np.uint8)[::-1][:1000],
        }
        mailbox.on_taken()
        mailbox.put(value)
        found = taken()
        for name, array in value.items():
            np.testing.assert_array_equal(found[name], array)
        with pytest.raises(ValueError, match="read-only"):
            found["rows"][...] = 0


def test_many_threads_give_and_none_waits(ends):
    mailbox, taken = ends

    def give(number):
        for n in range(200):
            mailbox.put(np.full(5000, number + 10 * n))

    threads = [threading.Thread(target=give, args=[number]) for number in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(100):
        mailbox.on_taken()
        if all(not thread.is_alive() for thread in threads):
            break
        found = taken()
        assert (found == found[0]).all()  # no mixture of two
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_after_the_other_end_has_gone():
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb", buffering=0) as writer:
        mailbox = Mailbox(writer)
        mailbox.on_taken()
        with pytest.raises(OSError, match="pipe"):
            mailbox.put(np.zeros(3))
    with pytest.raises(OSError, match="closed"):
        mailbox.put(np.zeros(3))
    mailbox.close()
    mailbox.close()


def test_what_is_sent_of_new_values():
    fields = two_parts()
    c, o = fields.confidence, fields.offsets
    same = _sent(fields, c.swapaxes(1, 2).copy().swapaxes(1, 2), o, None, {})
    assert [x.flags.c_contiguous for x in same[:2]] == [True, True]
    assert same[2] is None
    assert _sent(fields, fields, None, None, {})[2] is None  # its image is there
    assert _sent(fields, c, o, fields.image + 1, {})[2].shape == fields.image.shape
    smaller = _sent(fields, c[..., 1:], o[..., 1:], None, {})
    assert smaller[0].confidence.shape == (2, 6, 7)
    for bad in (c.astype(int), c[:1]):
        with pytest.raises((TypeError, ValueError), match="confidence"):
            _sent(fields, bad, o, None, {})


def test_a_window_shows_copies_and_awaits_the_next_after_a_rest(make_napari_viewer, qtbot, ends):
    shown = mdn_viewer.show(two_parts(), viewer=make_napari_viewer(show=True))
    shown.widget.wait()
    (mailbox, taken), (heard, said) = ends, os.pipe()
    with open(said, "wb") as replies, open(heard, "rb") as answers:
        values = Values(shown, replies)
        for factor in (0.5, 2.0, 1.0):
            mailbox.on_taken()
            mailbox.put((two_parts().confidence * np.float32(factor), two_parts().offsets, None))
            values.show_values(taken())
            assert values.pause.isActive()
            shown.widget.wait()
            now = shown.widget.model.session.fields
            np.testing.assert_allclose(now.confidence, 0.3 * factor, rtol=1e-6)
            assert now.names == ("left", "right")
            qtbot.waitUntil(lambda: not values.pause.isActive(), timeout=10000)
            assert pickle.load(answers) is None
            if factor == 0.5:
                first = now
        np.testing.assert_allclose(first.confidence, 0.15, rtol=1e-6)
