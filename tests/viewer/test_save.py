"""Taking things away: what is written can be read back, and what cannot be written is said."""

import csv
import os
import stat
from types import SimpleNamespace

import numpy as np
import pytest
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import VotingSession
from mdn_viewer.core.window import Window
from mdn_viewer.export import save_map, save_picture, save_table, save_text
from mdn_viewer.widgets.gradient import GradientPanel
from mdn_viewer.widgets.save import SavePanel
from napari_builtins.io import imread
from qtpy.QtGui import QGuiApplication
from qtpy.QtWidgets import QFileDialog
from viewer_support import name_file, press, two_parts, wrong

import mdn_cupy as mdn

VALUES = np.random.default_rng(0).normal(size=(5, 7))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["map.npy", "map.tif", "MAP.TIFF"])
def test_maps_are_read_back_exactly(name, dtype, tmp_path):
    values = VALUES.astype(dtype)
    save_map(tmp_path / name, values)
    path = str(tmp_path / name)
    read = np.load(path) if name.endswith("npy") else imread(path)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, values)
    assert os.listdir(tmp_path) == [name]


def test_pictures_and_programs_are_read_back(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 4)).astype(np.uint8)
    save_picture(tmp_path / "window.png", pixels)
    np.testing.assert_array_equal(imread(str(tmp_path / "window.png")), pixels)
    save_text(tmp_path / "maps.py", "# σ\nprint(1)")
    assert (tmp_path / "maps.py").read_text("utf-8") == "# σ\nprint(1)\n"


def test_every_number_of_a_table_is_read_back_exactly(tmp_path):
    columns = {"part": np.array(["left, lower", "right"]), "x": np.array([0.1, np.nan])}
    save_table(tmp_path / "table.csv", columns)
    with open(tmp_path / "table.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"part": "left, lower", "x": "0.1"}, {"part": "right", "x": "nan"}]
    with pytest.raises(OSError, match="nowhere"):
        save_table(tmp_path / "nowhere" / "table.csv", columns)


@pytest.mark.parametrize(
    ("button", "name", "endings"),
    [
        ("save_fields", "a.npz", "fields are saved as .mdn"),
        ("save_map", "a.csv", "a map is saved as .npy or .tif or .tiff"),
        ("save_picture", "a.jpg", "a picture is saved as .png"),
        ("save_program", "a", "a program is saved as .py"),
        ("save_session", "a.json", "a session is saved as .mdn-session"),
    ],
)
def test_a_wrong_ending_is_refused_and_nothing_is_written(
    button, name, endings, shared_two, tmp_path
):
    shared_two.open_tab("Save")
    (tmp_path / name).write_text("precious")
    getattr(shared_two.panel(SavePanel), button).write(str(tmp_path / name))
    assert wrong(shared_two) == f"{tmp_path / name}: {endings}"
    assert (tmp_path / name).read_text() == "precious"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("name", ["m.npy", "m.tif"])
def test_where_nothing_can_be_written_nothing_is_lost(name, tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        save_map(tmp_path / "nowhere" / name, VALUES)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=name):
        save_map(tmp_path / name, VALUES)
    if os.geteuid() != 0:  # whom no folder is closed to
        closed = tmp_path / "closed"
        closed.mkdir()
        (closed / name).write_text("precious")
        closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(PermissionError, match="closed"):
            save_map(closed / name, VALUES)
        assert (closed / name).read_text() == "precious"


def test_a_map_is_saved_once_it_has_all_pixels(qtbot):
    model = VotingModel()
    panel = SavePanel(model, None, None, SimpleNamespace(save=print))
    qtbot.addWidget(panel)
    model.show(VotingSession(two_parts(), 0, 2.0))
    assert panel.save_map.isEnabled()
    model.window = Window(0, 0, 12, 16, 2)
    model.change(sigma=3.0)  # while a slider is dragged
    assert model.maps["noisy_or"].window == model.window
    assert not panel.save_map.isEnabled()
    model.settle()
    assert panel.save_map.isEnabled()


def fill_in(qtbot, widget, button, path):
    """Press a button and give the dialog that opens a name, by mouse and keyboard."""
    press(qtbot, button)
    qtbot.waitUntil(lambda: button.findChildren(QFileDialog) != [], timeout=30000)
    widget.controls.message.say("")
    name_file(qtbot, button, path)
    qtbot.waitUntil(lambda: widget.controls.message.said != "", timeout=30000)


@pytest.mark.slow
def test_everything_is_taken_away_from_the_window(shown, qtbot, tmp_path):
    widget = shown("pose")
    widget.controls.sigma.value = 6.5
    widget.wait()
    widget.open_tab("Save")
    panel, model = widget.panel(SavePanel), widget.model
    assert "mdn.samples.load('pose')" in panel.program.toPlainText()
    assert "sigma=6.5" in panel.program.toPlainText()

    for kind, name in (("noisy_or", "m.npy"), ("additive", "s.tif")):
        panel.kind.setCurrentIndex(panel.kind.findData(kind))
        fill_in(qtbot, widget, panel.save_map, tmp_path / name)
        assert widget.controls.message.said == f"{tmp_path / name} written"
        read = np.load(tmp_path / name) if name == "m.npy" else imread(str(tmp_path / name))
        np.testing.assert_array_equal(read, model.maps[kind].values)

    fill_in(qtbot, widget, panel.save_fields, tmp_path / "pose")  # the ending may be left out
    saved = mdn.load_fields(tmp_path / "pose.mdn")
    np.testing.assert_array_equal(saved.confidence, model.loaded.confidence)
    np.testing.assert_array_equal(saved.cross_offsets, model.loaded.cross_offsets)
    assert (saved.sigma, saved.source) == (6.5, model.loaded.source)

    fill_in(qtbot, widget, panel.save_picture, tmp_path / "window.png")
    picture = imread(str(tmp_path / "window.png"))
    assert picture.shape[1] > 1000
    assert picture[..., :3].std() > 10

    fill_in(qtbot, widget, panel.save_program, tmp_path / "maps.py")
    press(qtbot, panel.copy)
    program = QGuiApplication.clipboard().text()
    assert (tmp_path / "maps.py").read_text("utf-8").strip() == program.strip()
    left = {}
    exec(compile(program, "maps.py", "exec"), left)
    np.testing.assert_array_equal(left["m"], model.maps["noisy_or"].values)
    np.testing.assert_array_equal(left["s"], model.maps["additive"].values)

    fill_in(qtbot, widget, panel.save_map, tmp_path / "m.csv")
    assert "a map is saved as .npy or .tif" in wrong(widget)


def test_stepped_fields_are_saved_as_they_are_and_said_to_be(shown, tmp_path):
    widget = shown(two_parts())
    gradient, panel = widget.panel(GradientPanel), widget.panel(SavePanel)
    gradient.controls.target.value = widget._viewer.add_points([[14, 8]], name="points")
    gradient.wait()
    gradient.controls.step.click()
    gradient.wait()
    widget.wait()
    stepped = widget.model.session.fields
    panel.save_fields.write(str(tmp_path / "stepped.mdn"))
    saved = mdn.load_fields(tmp_path / "stepped.mdn")
    np.testing.assert_array_equal(saved.offsets, stepped.offsets)
    np.testing.assert_array_equal(saved.confidence, stepped.confidence)
    assert not np.array_equal(saved.offsets, two_parts().offsets)
    assert saved.source == "tests, moved along a gradient"


def test_without_maps_or_fields_there_is_less_to_save(shown):
    widget = shown(two_parts())
    panel = widget.panel(SavePanel)
    assert panel.save_map.isEnabled()
    for box in widget.compare.shown.values():
        box.setChecked(False)
    widget.wait()
    assert panel.save_fields.isEnabled()
    assert not panel.save_map.isEnabled()
    assert not panel.save_program.isEnabled()
    widget.open_tab("Save")
    assert panel.program.toPlainText() == ""
    widget._viewer.layers.clear()
    widget.wait()
    assert not panel.save_fields.isEnabled()
    assert not panel.save_map.isEnabled()
    assert panel.save_picture.isEnabled()
    assert panel.program.toPlainText() == ""
    assert panel.kind.count() == 0
