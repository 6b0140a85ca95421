"""Files that are dropped on the maps: what is asked, what is shown of it, what is remembered."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
from mdn_viewer import settings
from mdn_viewer.widgets.open_dialog import OpenDialog
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox, QFileDialog
from viewer_support import PLUGIN, add_fields, assert_shows, drop, names, press, two_parts, wrong

import mdn_cupy as mdn
from mdn_cupy.io import inspect_file


@pytest.fixture
def widget(shared):
    """The dock widget of a window, with nothing open and nothing remembered."""
    settings.get_plugin_settings("mdn-cupy").files.readings = "{}"
    shared._viewer.layers.clear()
    shared.wait()
    shared.controls.message.say("")
    return shared


def dialog_of(widget, qtbot):
    assert not wrong(widget)
    (dialog,) = widget.findChildren(OpenDialog)
    qtbot.waitUntil(dialog.isVisible)
    return dialog


def answer(widget, qtbot, dialog, which=QDialogButtonBox.StandardButton.Open):
    press(qtbot, dialog.buttons.button(which))
    qtbot.waitUntil(lambda: not widget.findChildren(OpenDialog))
    widget.wait()


def as_posenet(fields):
    """The two arrays as PoseNet writes them: rows first, in two blocks, as logits."""
    c = np.moveaxis(np.log(fields.confidence / (1 - fields.confidence)), 0, -1)
    o = np.concatenate([fields.offsets[:, 1], fields.offsets[:, 0]])
    return c, np.moveaxis(o, 0, -1)


def as_deeplabcut(fields):
    o = fields.offsets / np.float32(7.2801)
    return fields.confidence, o.reshape(-1, *o.shape[-2:])


def test_what_was_guessed_opens_with_one_press(widget, qtbot, tmp_path):
    fields = two_parts()
    c, o = as_posenet(fields)
    np.savez(tmp_path / "p.npz", heatmap=c, part_offsets=o, image=fields.image)
    drop(widget, tmp_path / "p.npz")
    dialog = dialog_of(widget, qtbot)
    assert "heatmap (6, 8, 2) float32" in dialog.found.text()
    assert "evidence" in dialog.understood.text()
    assert "HW(CP)" in dialog.understood.text()
    assert dialog.reading.reading.order == "yx"
    assert dialog.form.sigmoid.value
    assert dialog.form.stride.pair == (4.0, 4.0)  # of 24 × 32 pixels and 6 × 8 sources
    assert not dialog.previews["noisy-or"].pixmap().isNull()
    assert names(widget._viewer) == []  # nothing yet
    dialog.form.origin.value = "2"
    dialog.form.origin.native.editingFinished.emit()
    answer(widget, qtbot, dialog)
    assert [name.split()[1] for name in names(widget._viewer)] == ["image", "confidence", "offsets"]
    assert_shows(widget, fields, 0, widget.controls.sigma.value)
    drop(widget, tmp_path / "p.npz")  # it is remembered
    assert dialog_of(widget, qtbot).form.origin.pair == (2.0, 2.0)
    answer(widget, qtbot, dialog_of(widget, qtbot), QDialogButtonBox.StandardButton.Cancel)
    assert len(names(widget._viewer)) == 3


def test_a_number_of_pixels_is_the_unit(widget, qtbot, tmp_path):
    fields = two_parts(image=None, output_shape=None)
    c, o = as_deeplabcut(fields)
    with h5py.File(tmp_path / "d.h5", "w") as file:
        file["net/scoremap"], file["net/locref"] = c, o
    drop(widget, tmp_path / "d.h5")
    dialog = dialog_of(widget, qtbot)
    dialog.form.axes.value = "(PC)HW"
    dialog.form.order.value = "xy"
    dialog.form.scale.value = 7.2801
    dialog.form.stride.value, dialog.form.origin.value = "4", "2"
    answer(widget, qtbot, dialog)
    got = widget.model.session.fields
    np.testing.assert_allclose(got.offsets, fields.offsets, rtol=1e-5, atol=1e-5)
    assert (got.stride, got.origin) == (4.0, 2.0)


def test_a_network_has_a_preset(widget, qtbot, tmp_path):
    fields = two_parts(image=None)
    c, o = as_deeplabcut(fields)
    np.savez(tmp_path / "d.npz", scoremap=c, locref=o)
    drop(widget, tmp_path / "d.npz")
    dialog = dialog_of(widget, qtbot)
    dialog.form.network.value = "deeplabcut"
    qtbot.waitUntil(lambda: "deeplabcut needs stride" in dialog.understood.text())
    assert not dialog.opens.isEnabled()
    dialog.form.stride.value = "4"
    qtbot.waitUntil(dialog.opens.isEnabled)
    answer(widget, qtbot, dialog)
    got = widget.model.session.fields
    assert (got.stride, got.origin) == (4.0, 2.0)
    np.testing.assert_allclose(got.offsets, fields.offsets, rtol=1e-5, atol=1e-5)


def test_two_files_of_one_array_each(widget, qtbot, tmp_path):
    fields = two_parts(image=None)
    (tmp_path / "other").mkdir()
    c, o = tmp_path / "a.npy", tmp_path / "other" / "b.npy"
    np.save(c, np.concatenate([fields.confidence] * 2)[:3])
    np.save(o, np.concatenate([fields.offsets] * 2)[:3])
    drop(widget, o, c)
    dialog = dialog_of(widget, qtbot)
    answer(widget, qtbot, dialog)
    assert widget.model.session.fields.confidence.shape == (3, 6, 8)


OTHERS = {
    "text": np.array([["a", "b"]]),
    "dates": np.zeros((4, 4), "M8[s]"),
    "complex": np.zeros((4, 4), complex),
    "records": np.zeros((4, 4), [("a", float)]),
    "a number": np.array(3.0),
    "a row": np.zeros(7),
    "nothing": np.zeros((0, 4)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_a_pair_with_an_array_that_is_no_field_is_one_line(widget, tmp_path, kind):
    fields, bad = two_parts(), tmp_path / "bad.npy"
    np.save(bad, OTHERS[kind])
    for name, values in (("c", fields.confidence), ("o", fields.offsets)):
        np.save(tmp_path / f"{name}.npy", values)
        widget.controls.message.say("")
        drop(widget, bad, tmp_path / f"{name}.npy")
        assert "bad.npy" in wrong(widget)
        assert "\n" not in wrong(widget)
        assert not widget.findChildren(OpenDialog)
        assert names(widget._viewer) == []


def test_three_columns_are_no_colours(widget, qtbot, tmp_path):
    random = np.random.default_rng(0)
    narrow = two_parts(
        confidence=random.random((40, 40, 3), np.float32),  # as napari knows pictures
        offsets=random.normal(size=(40, 2, 40, 3)).astype(np.float32),
        names=tuple(f"part {n}" for n in range(40)),
        image=None,
        stride=1.0,
        origin=0.0,
    )
    paths = [tmp_path / "c.npy", tmp_path / "o.npy"]
    for path, array in zip(paths, (narrow.confidence, narrow.offsets), strict=True):
        np.save(path, array)
    drop(widget, *paths)
    dialog = dialog_of(widget, qtbot)
    dialog.form.order.value = "xy"  # of noise, either may score higher
    answer(widget, qtbot, dialog)
    assert not wrong(widget)
    assert widget._viewer.layers["c confidence"].ndim == 3
    assert_shows(widget, narrow, "part 0", widget.controls.sigma.value)


def test_frames_of_several_files_come_on_one_slider(widget, qtbot, tmp_path):
    paths = []
    for number in range(3):
        fields = two_parts(confidence=np.full((2, 6, 8), 0.1 * (number + 1), np.float32))
        paths.append(tmp_path / f"e{number}.npz")
        np.savez(paths[-1], heatmap=fields.confidence, offset=fields.offsets)
    drop(widget, *paths)
    answer(widget, qtbot, dialog_of(widget, qtbot))
    assert len(widget.model.frames) == 3
    assert widget.model.frames[2].confidence.max() == pytest.approx(0.3)


def test_a_field_set_asks_nothing(widget, tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", two_parts())
    drop(widget, tmp_path / "a.mdn")
    assert not widget.findChildren(OpenDialog)
    assert_shows(widget, two_parts(), 0, 2.0)


def test_an_image_is_an_image(widget, tmp_path):
    tifffile.imwrite(tmp_path / "photo.tif", np.zeros((20, 30), np.uint8))
    drop(widget, tmp_path / "photo.tif")
    assert names(widget._viewer) == ["photo"]
    assert not wrong(widget)


def torch_pickle(path):
    import pickle

    path.write_bytes(pickle.dumps({"confidence": [1]}))


MAP = np.zeros((2, 6, 8))
BAD = {
    "gone.npz": lambda path: None,
    "empty.npz": lambda path: path.touch(),
    "text.h5": lambda path: path.write_text("no HDF5"),
    "cut.mdn": lambda path: path.write_bytes(b"PK\x03\x04 and no more"),
    "pickle.pt": torch_pickle,
    "objects.npz": lambda path: np.savez(path, confidence=np.array([{}]), offsets=np.array([{}])),
    "misfit.npz": lambda path: np.savez(path, heatmap=np.zeros((2, 6, 8)), offsets=np.ones((7, 9))),
    "one.npz": lambda path: np.savez(path, heatmap=np.zeros((2, 6, 8))),
    "whole.npz": lambda path: np.savez(
        path, a=np.zeros((2, 6, 8), int), b=np.zeros((4, 6, 8), int)
    ),
    "folder.zarr": lambda path: path.mkdir(),
    "text.npy": lambda path: path.write_text("no array"),
    "void.npz": lambda path: np.savez(path, confidence=MAP[:0], offsets=MAP[:0, None].repeat(2, 1)),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_one_line_and_leaves_all_as_it_was(widget, tmp_path, name):
    add_fields(widget._viewer, two_parts())
    widget.wait()
    before, session = names(widget._viewer), widget.model.session
    BAD[name](tmp_path / name)
    drop(widget, tmp_path / name)
    assert name in wrong(widget)
    assert "\n" not in wrong(widget)
    assert names(widget._viewer) == before
    assert widget.model.session is session
    assert not widget.findChildren(OpenDialog)


def test_the_cursor_says_that_a_file_is_read(widget, qtbot, tmp_path, monkeypatch):
    cursors = []

    def slow(*arguments):
        cursors.append(QApplication.overrideCursor().shape())
        return inspect_file(*arguments)

    monkeypatch.setattr("mdn_viewer.core.file_guess.inspect_file", slow)
    np.savez(tmp_path / "a.npz", heatmap=two_parts().confidence, offset=two_parts().offsets)
    drop(widget, tmp_path / "a.npz")
    assert cursors == [Qt.CursorShape.WaitCursor]
    assert QApplication.overrideCursor() is None  # the dialog is there to be used
    answer(widget, qtbot, dialog_of(widget, qtbot), QDialogButtonBox.StandardButton.Cancel)


def test_an_array_without_a_partner_is_told_to_be_a_layer(widget, tmp_path):
    np.save(tmp_path / "c.npy", two_parts().confidence)
    drop(widget, tmp_path / "c.npy")
    widget.wait()
    assert "c.npy: no field set alone" in widget.controls.message.said


def test_a_zarr_group_is_opened_by_going_into_it(widget, qtbot, tmp_path):
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(tmp_path / "f.zarr", mode="w")
    for name in ("confidence", "offsets"):
        values = getattr(two_parts(), name)
        group.create_array(name, shape=values.shape, dtype=values.dtype)[...] = values
    widget.opener.ask()
    dialog = widget.findChild(QFileDialog)
    dialog.setOption(QFileDialog.Option.DontUseNativeDialog)
    dialog.directoryEntered.emit(str(tmp_path))
    assert dialog.isVisible()
    dialog.directoryEntered.emit(str(tmp_path / "f.zarr"))
    assert not dialog.isVisible()
    answer(widget, qtbot, dialog_of(widget, qtbot))
    np.testing.assert_array_equal(widget.model.session.fields.offsets, two_parts().offsets)


def test_the_dialog_asks_nothing_that_a_network_settles(widget, qtbot, tmp_path):
    c, o = as_deeplabcut(two_parts(image=None))
    np.savez(tmp_path / "d.npz", scoremap=c, locref=o, image=np.zeros((24, 32), np.uint8))
    drop(widget, tmp_path / "d.npz")
    dialog = dialog_of(widget, qtbot)
    form = dialog.form
    settled = [box.native for box in (form.axes, form.order, form.coarse, form.scale, form.origin)]
    assert all(control.isVisible() for control in settled)
    dialog.form.network.value = "deeplabcut"
    text = "2 parts; read as deeplabcut writes it: stride 4.0, origin 2.0"
    qtbot.waitUntil(lambda: dialog.understood.text() == text)
    assert not any(control.isVisible() for control in settled)
    dialog.form.network.value = ""
    qtbot.waitUntil(lambda: all(control.isVisible() for control in settled))
    answer(widget, qtbot, dialog, QDialogButtonBox.StandardButton.Cancel)


def test_sources_in_a_corner_of_their_image_are_told_and_spread(widget, qtbot, tmp_path):
    fields = two_parts(image=np.zeros((24, 32), np.uint8))
    np.savez(tmp_path / "c.npz", heatmap=fields.confidence, offset=fields.offsets)
    reading = {"layout": "PCHW", "stride": 1, "origin": 0}
    found = mdn.open_fields(tmp_path / "c.npz", **reading)[0]
    add_fields(widget._viewer, replace(found, image=fields.image))
    widget.wait()
    remedy = widget.controls.remedy
    assert "in a corner of the image; 24 / 6 = 4" in widget.controls.message.said
    assert remedy.text == "Take stride 4, origin 1.5"
    qtbot.mouseClick(remedy.native, Qt.MouseButton.LeftButton)
    widget.wait()
    shown = widget.model.session.fields
    assert (shown.stride, shown.origin) == (4.0, 1.5)
    assert not remedy.visible
    assert not widget.controls.message.said


def test_what_was_remembered_and_edited_badly_is_forgotten(widget):
    settings.get_plugin_settings("mdn-cupy").files.readings = "{no json"
    assert settings.recall_reading("x") == {}
    settings.remember_reading("x", {"layout": "PCHW"})
    assert settings.recall_reading("x") == {"layout": "PCHW"}


@pytest.mark.parametrize("what", ["a sample", "files"])
def test_of_what_napari_opens_a_layer_comes_in_a_turn(widget, qtbot, tmp_path, what, monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    viewer, counts = widget._viewer, []
    viewer.layers.clear()
    paths = [tmp_path / "a.mdn", tmp_path / "b.mdn"]
    for path in paths:
        mdn.save_fields(path, two_parts())

    def open_it():
        if what == "files":
            return viewer.open(paths[0], plugin=PLUGIN)
        return viewer.open_sample(PLUGIN, "coins")

    every_turn = QTimer()
    every_turn.timeout.connect(lambda: counts.append(len(viewer.layers)))
    QTimer.singleShot(0, open_it)  # as a menu does, in the event loop
    every_turn.start(0)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3)
    every_turn.stop()
    widget.wait()
    assert {*np.diff([0, *counts, 3])} <= {0, 1}
    shape = (303, 384) if what == "a sample" else two_parts().image.shape[:2]
    assert widget.model.maps["noisy_or"].values.shape == shape
    viewer.layers.clear()
    assert len(open_it()) == 3  # a script has them at once
    viewer.layers.clear()
    monkeypatch.setattr("IPython.get_ipython", object)
    typed = []
    QTimer.singleShot(0, lambda: typed.append(len(open_it())))  # in napari's console
    qtbot.waitUntil(lambda: typed == [3])
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    viewer.layers.clear()
    QTimer.singleShot(0, lambda: viewer.open(paths, stack=False, plugin=PLUGIN))
    qtbot.waitUntil(lambda: len(viewer.layers) == 6)
    roles = ("image", "confidence", "offsets")
    assert names(viewer) == [f"{name} {role}" for name in "ab" for role in roles]
