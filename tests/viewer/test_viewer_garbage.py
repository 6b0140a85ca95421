"""Python looks for garbage among all objects when the user rests, and only then."""

import gc

import pytest
from mdn_viewer.scene import garbage
from mdn_viewer.scene.garbage import SearchAtRest, garbage_among_new_objects
from qtpy.QtCore import QCoreApplication, QEvent


@pytest.fixture
def searches(monkeypatch):
    """The generations that Python has looked through, while a test runs; it rests quickly."""
    monkeypatch.setattr(garbage, "_LOOK_MS", 5)
    looked = []

    def note(phase, info):
        if phase == "start":
            looked.append(info["generation"])

    gc.callbacks.append(note)
    yield looked
    gc.callbacks.remove(note)


def test_it_looks_once_when_nothing_is_under_way_any_more(qtbot, searches):
    busy = [True]
    search = SearchAtRest(lambda: busy[0])
    search.soon()
    qtbot.wait(100)
    assert search.pending
    assert 2 not in searches
    busy.clear()
    busy.append(False)
    qtbot.waitUntil(lambda: not search.pending)
    assert searches.count(2) == 1
    search.close()


def test_it_does_not_look_when_it_is_closed(qtbot, searches):
    search = SearchAtRest(lambda: False)
    search.soon()
    search.close()
    search.close()
    search.soon()
    qtbot.wait(100)
    assert not search.pending
    assert 2 not in searches


def test_qt_may_delete_it_first(qtbot):
    before = gc.get_threshold()
    search = SearchAtRest(lambda: False)
    search.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    search.soon()
    assert not search.pending
    search.close()
    assert gc.get_threshold() == before


def test_python_looks_as_often_as_before_when_the_last_has_gone(qtbot):
    before = gc.get_threshold()
    first, second = SearchAtRest(lambda: False), SearchAtRest(lambda: False)
    assert gc.get_threshold()[:2] == before[:2]
    assert gc.get_threshold()[2] > before[2]
    first.close()
    assert gc.get_threshold()[2] > before[2]
    second.close()
    assert gc.get_threshold() == before


def test_what_napari_looks_for_meanwhile_is_among_new_objects(searches):
    with garbage_among_new_objects():
        gc.collect()
        with garbage_among_new_objects():
            gc.collect()
        gc.collect()
    assert searches == [1, 1, 1]
    gc.collect()
    assert searches[3:] == [2]
