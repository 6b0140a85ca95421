"""What is open and asked, saved and opened again."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mdn_viewer.canvas.camera import Camera
from mdn_viewer.core.code_export import loading, snippet
from mdn_viewer.core.detections import Search
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.origin import Origin
from mdn_viewer.core.second import Own
from mdn_viewer.core.session_file import SavedSession, read_session, write_session
from mdn_viewer.layers.conversion import layer_data
from mdn_viewer.layers.own import layer_of
from mdn_viewer.widgets.gradient import GradientPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.save import SavePanel
from mdn_viewer.widgets.second import SecondPanel
from mdn_viewer.widgets.truth import TruthPanel
from qtpy.QtWidgets import QFileDialog
from viewer_support import click, name_file, names, pictures, press, two_parts, wrong

import mdn_cupy as mdn

FULL = SavedSession(
    fields=Origin(("sample:pose",)),
    part=3,
    sigma=4.5,
    sum_rule="plain_sum",
    truncate=3.0,
    cross=True,
    frame=2,
    shown=["noisy_or", "confidence"],
    camera=(3.0, 4.5, 2.0),
    pixel=(3, 4),
    rule="additive",
    source=(0, 1, 2),
    search=Search(0.25, 3.0, "additive", True),
    own=Own(2.5, None, False),
    layers=[{"kind": "points", "name": "target", "data": [[1.0, 2.0]], "ndim": 2}],
    target=("target", 3.0, "ADDITIVE"),
)


def test_what_is_written_is_read(tmp_path):
    write_session(tmp_path / "a.mdn-session", FULL)
    assert read_session(tmp_path / "a.mdn-session") == FULL


def test_files_beside_it_may_move_with_it(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    elsewhere, image = str(tmp_path / "elsewhere.csv"), str(before / "x.tif")
    paths = str(before / "a.mdn"), str(before / "b.mdn")
    session = SavedSession(Origin(paths, {}, image), annotations=elsewhere)
    write_session(before / "a.mdn-session", session)
    data = json.loads((before / "a.mdn-session").read_text())
    assert data["fields"] == {"files": ["a.mdn", "b.mdn"], "reading": {}, "image": "x.tif"}
    assert data["annotations"] == elsewhere
    shutil.move(before, after)
    moved = read_session(after / "a.mdn-session").fields
    assert moved == session.fields.moved(lambda path: path.replace(str(before), str(after)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[" * 100000, "not JSON"),
        ("[]", "no session"),
        ('{"format": "other"}', "no session"),
        ('{"format": "mdn-session"}', "version None"),
        ('{"format": "mdn-session", "version": 99}', "version 99 .* reads version 1"),
        ('{"format": "mdn-session", "version": 1}', "names no fields"),
        ('{"format": "mdn-session", "version": 1, "fields": 3}', "fields makes no sense: 3"),
    ],
)
def test_a_bad_file_is_one_line(text, message, tmp_path):
    path = tmp_path / "bad.mdn-session"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"bad.mdn-session: .*{message}") as refused:
        read_session(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sigma", "wide"),
        ("sigma", float("nan")),
        ("sigma", True),
        ("pixel", [1]),
        ("pixel", [1.5, 2]),
        ("camera", [1, 2, None]),
        ("search", [0.5, 8, "noisy_or"]),
        ("search", [0.5, 8, "max", False]),
        ("camera", [1, 2, -3]),
        ("fields", {"files": []}),
        ("fields", {"files": ["a.mdn"], "reading": {"path": "b.mdn"}}),
        ("fields", {"files": ["a.mdn"], "reading": {"adapter": "posenet"}}),
        ("fields", {"files": ["a.mdn"], "reading": {"region": [[1, 2, 3, 4]]}}),
        ("truncate", float("nan")),
        ("second", 3),
        ("own", [None, 3, None]),
        ("shown", [1]),
        ("sum_rule", "max"),
        ("rule", "max"),
        ("frame", "first"),
        ("layers", ["points"]),
        ("target", ["target", "wide", ""]),
    ],
)
def test_a_value_that_makes_no_sense_is_named(name, value, tmp_path):
    path = tmp_path / "a.mdn-session"
    write_session(path, FULL)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, name: value}))
    with pytest.raises(ValueError, match=f"{name} makes no sense"):
        read_session(path)


def test_a_file_that_is_not_there_is_named_in_plain_words(tmp_path):
    path = tmp_path / "none.mdn-session"
    with pytest.raises(FileNotFoundError) as refused:
        read_session(path)
    assert str(refused.value) == f"{path}: No such file or directory"
    labels = str(tmp_path / "none.npy")
    with pytest.raises(FileNotFoundError) as refused:
        layer_of({"kind": "labels", "name": "cells", "data": labels})
    assert str(refused.value) == f"{labels}: No such file or directory"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_any_json_is_a_session_or_a_line(value):
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.mdn-session")
        data = {"format": "mdn-session", "version": 1, "fields": "sample:pose", "source": value}
        path.write_text(json.dumps(data))
        fits = value is None or (
            isinstance(value, list) and [type(each) for each in value] == [int] * 3
        )
        with nullcontext() if fits else pytest.raises(ValueError, match="source makes no sense"):
            assert read_session(path).source == (None if value is None else tuple(value))


@pytest.mark.slow
def test_what_is_open_and_asked_comes_back(shared, shown, qtbot, tmp_path):
    fields = two_parts()
    widget = shown(fields)  # which is in no file
    second, model = widget.panel(SecondPanel), widget.model
    mdn.save_fields(tmp_path / "b.mdn", replace(fields, confidence=fields.confidence / 2))
    second.open(str(tmp_path / "b.mdn"))
    second.show_own(Own(sigma=3.5))
    (tmp_path / "truth.csv").write_text("part,x,y\nleft,8,10\n")
    widget.panel(TruthPanel).open(str(tmp_path / "truth.csv"))
    widget.panel(PeaksPanel).form.show_search(Search(0.25, 5.0, "noisy_or", True))
    widget.compare.shown["evidence"].setChecked(True)
    model.change(part=1, sigma=2.5, sum_rule="plain_sum", truncate=3.0)
    widget.wait()
    widget.canvas.look_at(Camera(12, 20, 30))
    model.ask_pixel((12, 20), "additive")
    model.ask_source((1, 2, 3))
    second.wait()
    expected = pictures(widget)
    path = tmp_path / "all.mdn-session"
    widget.sessions.save(str(path))
    assert {p.name for p in tmp_path.iterdir()} == {"all.mdn", "b.mdn", "truth.csv", path.name}

    shown("pose")
    second.choice.setCurrentIndex(0)
    second.show_own(Own())
    second.wait()
    assert "noisy-or (B)" not in widget.canvas.cells
    widget.panel(SavePanel).open(str(path))
    assert widget.controls.message.said == f"{path} opened"
    widget.wait()
    second.wait()
    session = model.session
    assert (session.part, session.sigma, session.sum_rule, session.truncate) == (
        1,
        2.5,
        "plain_sum",
        3.0,
    )
    assert (model.pixel, model.asked_rule, model.source) == ((12, 20), "additive", (1, 2, 3))
    assert widget.canvas.camera == (12, 20, 30)
    assert widget.panel(PeaksPanel).search == Search(0.25, 5.0, "noisy_or", True)
    assert widget.panel(TruthPanel).annotations.source == str(tmp_path / "truth.csv")
    assert second.own == Own(sigma=3.5)
    found = pictures(widget)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    # A session whose fields are gone changes nothing.
    (tmp_path / "all.mdn").unlink()
    widget.panel(SavePanel).open(str(path))
    assert "all.mdn" in widget.controls.message.said
    assert widget.controls.message.wrong
    assert model.session is session
    second.choice.setCurrentIndex(0)
    second.show_own(Own())


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one file", "several files", "no file", "read otherwise"])
def test_frames_are_kept_and_are_in_the_program(way, shared, tmp_path, monkeypatch):
    widget, folder = shared, tmp_path / "before"
    folder.mkdir()
    monkeypatch.chdir(folder)
    widget._viewer.layers.clear()
    fields = two_parts()
    frames = [replace(fields, confidence=fields.confidence * np.float32(x)) for x in (1, 0.5, 0.2)]
    mdn.save_fields("video.mdn", frames)
    mdn.save_fields("b.mdn", frames[:1])
    mdn.save_fields("c.mdn", frames[1:])
    if way == "no file":
        widget.opener.add(layer_data(Opened(frames), "frames"))
    else:
        widget.opener.open(["b.mdn", "c.mdn"] if way == "several files" else ["video.mdn"])
    widget.wait()
    if way == "read otherwise":
        widget.inputs.order.value = "yx"
        widget.wait()
    widget.model.go_to(2)
    widget.wait()
    expected, shown = widget.model.session.fields, pictures(widget)
    np.testing.assert_allclose(expected.confidence, frames[2].confidence)
    turned = way == "read otherwise"
    np.testing.assert_array_equal(
        expected.offsets, fields.offsets[:, ::-1] if turned else fields.offsets
    )
    widget.sessions.save("a.mdn-session")
    assert (folder / "a.mdn").exists() == (way in ("no file", "read otherwise"))
    widget._viewer.layers.clear()
    widget.wait()
    folder.rename(tmp_path / "after")
    widget.sessions.open(str(tmp_path / "after" / "a.mdn-session"))
    widget.wait()
    model = widget.model
    assert (model.frame, len(model.frames)) == (2, 3)
    for name, values in pictures(widget).items():
        np.testing.assert_array_equal(values, shown[name])
    left = {}
    exec(snippet(model.session, model.kinds, loading(model.loaded, model.origin, 2)), left)
    np.testing.assert_array_equal(left["m"], model.maps["noisy_or"].values)


@pytest.mark.slow
def test_a_session_is_saved_and_opened_by_the_mouse(shown, qtbot, tmp_path):
    widget, path = shown(two_parts()), tmp_path / "all.mdn-session"
    panel, model = widget.panel(SavePanel), widget.model
    click(qtbot, widget, "noisy-or", 12, 20)
    qtbot.waitUntil(lambda: model.pixel == (12, 20))
    press(qtbot, widget.tab_buttons.button("Compare"))
    press(qtbot, widget.compare.shown["evidence"])
    press(qtbot, widget.tab_buttons.button("Save"))
    press(qtbot, panel.save_session)
    qtbot.waitUntil(lambda: panel.findChildren(QFileDialog) != [], timeout=30000)
    name_file(qtbot, panel, path)
    assert widget.controls.message.said == f"{path} written"
    assert {each.name for each in tmp_path.iterdir()} == {"all.mdn", path.name}

    widget = shown("delta")
    assert model.pixel is None
    widget.open_tab("Save")
    press(qtbot, panel.open_session)
    qtbot.waitUntil(lambda: panel.findChildren(QFileDialog) != [], timeout=30000)
    name_file(qtbot, panel, path)
    assert widget.controls.message.said == f"{path} opened"
    widget.wait()
    assert model.pixel == (12, 20)
    assert {"noisy-or", "evidence"} <= set(widget.canvas.cells)
    assert model.session.fields.names == ("left", "right")


def test_a_session_on_a_sample_is_dropped(shared, shown, tmp_path):
    widget = shown("pose")
    widget.model.change(part="left eye")
    path = tmp_path / "pose.mdn-session"
    widget.sessions.save(str(path))
    assert read_session(path).fields == Origin(("sample:pose",))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    widget.model.change(part="nose")
    widget.canvas.dropped.emit([str(path)])
    widget.wait()
    assert widget.model.session.fields.names[widget.model.session.part] == "left eye"
    path.write_text("no session")
    widget.canvas.dropped.emit([str(path)])
    assert "not JSON" in wrong(widget)


def test_what_is_there_already_is_not_opened_once_more(shared, shown, tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", two_parts())
    widget = shown("delta")
    viewer, model = widget._viewer, widget.model
    viewer.layers.clear()
    widget.canvas.dropped.emit([str(tmp_path / "a.mdn")])
    widget.wait()
    points = viewer.add_points([[10, 5], [3, 4]], name="mine")
    viewer.add_labels(np.arange(24 * 32).reshape(24, 32) % 3, name="labels")
    model.change(sigma=4.5)
    path = str(tmp_path / "a.mdn-session")
    widget.sessions.save(path)
    before = [*viewer.layers]
    model.change(sigma=1.5)
    model.set_fields(replace(model.loaded, confidence=model.loaded.confidence / 2))  # a step
    widget.sessions.open(path)
    assert [*viewer.layers] == before
    assert (model.session.sigma, model.session.fields) == (4.5, model.loaded)
    points.data = [[10, 5], [3, 9]]
    viewer.layers["labels"].data[5, 5] += 1
    widget.sessions.open(path)  # what has changed stays
    assert names(viewer) == [*(each.name for each in before), "mine [1]", "labels [1]"]
    mdn.save_fields(tmp_path / "a.mdn", replace(two_parts(), stride=2))
    widget.sessions.open(path)
    assert len(viewer.layers) == 10
    assert model.loaded.stride == 2


@pytest.mark.slow
def test_the_users_own_layers_and_the_target_come_back(shared, shown, tmp_path):
    widget = shown(two_parts())
    viewer, panel = widget._viewer, widget.panel(GradientPanel)
    target = viewer.add_points([[10, 5], [3, 4]], size=[4, 6], name="target", scale=(2, 2))
    viewer.add_points(np.empty((0, 2)), name="none yet")
    box, line = np.array([[1, 1], [1, 5], [6, 5], [6, 1]]), np.array([[0, 0], [3, 9]])
    viewer.add_shapes([box, line], shape_type=["rectangle", "line"], name="shapes")
    labels = np.arange(24 * 32).reshape(24, 32) % 3
    viewer.add_labels(labels, name="labels", translate=(1, 2), opacity=0.4)
    panel.restore(target, 3.5, "ADDITIVE")
    panel.wait()
    pull = panel.descending.descent.pull.offsets
    (tmp_path / "before").mkdir()
    widget.sessions.save(str(tmp_path / "before" / "a.mdn-session"))
    shutil.move(tmp_path / "before", tmp_path / "after")
    assert {path.suffix for path in (tmp_path / "after").iterdir()} == {
        ".mdn",
        ".mdn-session",
        ".npy",
    }
    widget = shown("delta")
    panel.restore(None, 1.0, "CROSS_ENTROPY")
    assert names(viewer) == ["delta image", "delta confidence", "delta offsets"]
    path = tmp_path / "after" / "a.mdn-session"
    widget.sessions.open(str(path))
    widget.wait()
    panel.wait()
    assert names(viewer)[-4:] == ["target", "none yet", "shapes", "labels"]
    points, shapes, painted = (viewer.layers[name] for name in ("target", "shapes", "labels"))
    np.testing.assert_array_equal(points.data, [[10, 5], [3, 4]])
    assert (points.size.tolist(), points.scale.tolist()) == ([4, 6], [2, 2])
    assert shapes.shape_type == ["rectangle", "line"]
    np.testing.assert_array_equal(shapes.data[0], box)
    np.testing.assert_array_equal(painted.data, labels)
    assert (painted.translate.tolist(), painted.opacity) == ([1, 2], 0.4)
    assert panel.settings == ("target", 3.5, "ADDITIVE")
    np.testing.assert_array_equal(panel.descending.descent.pull.offsets, pull)
    # A layer that makes no sense, or is gone, changes nothing.
    before, session = names(viewer), widget.model.session
    good = path.read_text()
    data = json.loads(good)
    data["layers"][0]["data"] = [["here"]]
    for text, message in ((json.dumps(data), "'target' makes no sense"), (good, "labels-3.npy")):
        path.write_text(text)
        with pytest.raises((OSError, ValueError), match=message):
            widget.sessions.open(str(path))
        assert names(viewer) == before
        assert widget.model.session is session
        (tmp_path / "after" / "a-labels-3.npy").unlink(missing_ok=True)
