"""Where the canvas is: in napari's window, whose own canvas is hidden and otherwise as it was."""

import gc
import weakref

import numpy as np
import pytest
from qtpy.QtCore import QCoreApplication, QEvent
from qtpy.QtWidgets import QLabel
from viewer_support import PLUGIN, add_fields, assert_shows, dock, names, press, two_parts


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 750)
    return viewer


def others(widget):
    """What else lies in the central area."""
    canvas = widget.canvas
    layout = canvas.parentWidget().layout()
    widgets = [layout.itemAt(n).widget() for n in range(layout.count())]
    return [each for each in widgets if each not in (None, canvas)]


def test_napari_first_and_the_plugin_after(viewer, qtbot):
    viewer.add_image(np.eye(8, dtype=np.float32), name="mine")
    viewer.window.add_dock_widget(QLabel("another plugin"), name="another", area="bottom")
    add_fields(viewer, two_parts())
    widget = dock(viewer)
    assert names(viewer) == ["mine", "two image", "two confidence", "two offsets"]
    assert widget.canvas.window() is widget.window()
    assert widget.canvas.isVisible()
    room = widget.contentsRect().marginsRemoved(widget.layout().contentsMargins())
    qtbot.waitUntil(lambda: widget.tabs.width() == room.width())  # nothing of napari's beside them
    assert "another" in viewer.window.dock_widgets
    (native,) = others(widget)
    assert not native.isVisible()
    box = widget.compare.napari_canvas
    press(qtbot, box)
    qtbot.waitUntil(native.isVisible)
    assert widget.canvas.isVisible()
    box.setChecked(False)
    assert not native.isVisible()
    assert_shows(widget, two_parts(), "left", 2.0)


def test_closing_the_dock_leaves_everything_as_it_was(viewer, qtbot):
    add_fields(viewer, two_parts())
    lists, layers = viewer.layers.events, [*viewer.layers]
    emitters = [lists.inserted, lists.removed, lists.reordered, viewer.events.theme]
    emitters += [viewer.dims.events.current_step]
    for layer in layers:
        emitters += [*layer.events.emitters.values()]
    before = [len(emitter.callbacks) for emitter in emitters]
    looks = [(layer.visible, layer.contrast_limits, layer.opacity) for layer in layers]
    widget = dock(viewer)
    (native,) = others(widget)
    canvas, model = weakref.ref(widget.canvas), weakref.ref(widget.model)
    viewer.window.remove_dock_widget(widget)
    del widget
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(native.isVisible)
    assert [len(emitter.callbacks) for emitter in emitters] == before
    assert names(viewer) == ["two image", "two confidence", "two offsets"]
    assert [(x.visible, x.contrast_limits, x.opacity) for x in layers] == looks
    qtbot.waitUntil(lambda: (viewer.screenshot(flash=False)[..., :3] > 0).any())

    def gone():
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        return canvas() is None and model() is None

    qtbot.waitUntil(gone)


def test_it_is_closed_and_opened_again(viewer):
    add_fields(viewer, two_parts())
    one = dock(viewer)
    viewer.window.remove_dock_widget(one)
    add_fields(viewer, two_parts(sigma=1.5), "later")  # nobody is there to vote
    again = dock(viewer)
    assert again is not one
    assert again.inputs.confidence.current_choice == "later confidence"
    assert_shows(again, two_parts(), "left", 1.5)
    assert len(others(again)) == 1
    assert not others(again)[0].isVisible()


def test_a_floating_dock_leaves_the_maps_in_the_window(viewer, qtbot):
    add_fields(viewer, two_parts())
    widget = dock(viewer)
    main, (native,) = widget.canvas.window(), others(widget)
    parent = widget.parent()
    while not hasattr(parent, "setFloating"):
        parent = parent.parent()
    for floating in (True, False):
        parent.setFloating(floating)
        qtbot.waitUntil(lambda floating=floating: (widget.window() is not main) == floating)
        widget.controls.sigma.value = 3 + floating
        widget.wait()
        assert widget.canvas.window() is main
        assert widget.canvas.isVisible()
        assert not native.isVisible()
        assert_shows(widget, two_parts(), "left", 3 + floating)


def test_two_viewers_at_once(make_napari_viewer):
    viewers = [make_napari_viewer(show=False) for _ in range(2)]
    for viewer in viewers:
        add_fields(viewer, two_parts())
    one, other = map(dock, viewers)
    assert one.canvas.window() is not other.canvas.window()
    one.controls.part.value, one.controls.sigma.value = 1, 3
    other.controls.sigma.value = 1
    one.wait()
    other.wait()
    assert_shows(one, two_parts(), "right", 3.0)
    assert_shows(other, two_parts(), "left", 1.0)
    viewers[0].close()
    other.controls.sigma.value = 2
    other.wait()
    assert_shows(other, two_parts(), "left", 2.0)


def test_the_maps_stay_when_another_viewer_closes(make_napari_viewer, qtbot, caplog):
    """napari deletes OpenGL objects by number, in whichever context is current."""
    viewer = make_napari_viewer(show=False)
    viewer.open_sample(PLUGIN, "pose")
    widget = dock(viewer)
    widget.take_centre()  # so that the numbers of our objects are the first
    viewer.window.show()
    widget.model.settle()
    other = make_napari_viewer(show=True)
    other.open_sample(PLUGIN, "coins")
    qtbot.wait(300)  # napari's own canvas draws
    dock(other)
    qtbot.wait(300)
    before = widget.canvas.screenshot()
    assert before[..., :3].std() > 10
    widget.canvas.grab()
    QCoreApplication.processEvents()
    other.close()
    np.testing.assert_array_equal(widget.canvas.screenshot(), before)
    assert not [record for record in caplog.records if record.name == "vispy"]


def test_napari_learns_what_opengl_can_do_after_the_maps_were_drawn(make_napari_viewer, qtbot):
    """It asks the context that is current when its first layer comes, and keeps the answer."""
    from vispy.gloo import gl

    viewer = make_napari_viewer(show=True)
    widget = dock(viewer)
    widget.canvas.draw_now()
    qtbot.wait(100)
    assert gl.glGetParameter(gl.GL_MAX_TEXTURE_SIZE) >= 1024
    assert gl.glGetParameter(gl.GL_VERSION)
    widget.canvas.grab()
    qtbot.wait(100)
    assert gl.glGetParameter(gl.GL_VERSION)
