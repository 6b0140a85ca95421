"""The curves over frames: their values, their tab, and frames that cannot be shown."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
from mdn_viewer.core.annotation_files import Annotations
from mdn_viewer.core.annotations import errors_of
from mdn_viewer.core.frame_curve import FrameCurves, Question
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.opened import Opened
from mdn_viewer.core.provenance import provenance_of
from mdn_viewer.core.session import ALL, RULES, VotingSession
from mdn_viewer.layers.conversion import layer_data
from mdn_viewer.widgets.frames import FramesPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from qtpy.QtWidgets import QApplication, QFileDialog, QSlider
from viewer_support import (
    add_fields,
    assert_shows,
    dock,
    drag,
    mouse,
    name_file,
    onto_the_screen,
    press,
    two_parts,
    wrong,
)

FRAMES = 12
PIXEL, SOURCE = (10, 5), (0, 2, 1)


def frame(number):
    """A frame whose votes move to the right, and grow."""
    fields = two_parts(confidence=np.full((2, 6, 8), 0.1 + 0.05 * number, np.float32))
    offsets = fields.offsets.copy()
    offsets[:, 0] += 0.5 * number
    return replace(fields, offsets=offsets)


def clip():
    return [frame(number) for number in range(FRAMES)]


class Lazy:
    """Frames that are made when they are read, and counted while they live."""

    def __init__(self, count, broken=()):
        self.count, self.broken, self.alive, self.read = count, broken, weakref.WeakSet(), []
        self.arrays = []

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        self.read.append(number)
        if number in self.broken:
            raise OSError("the disk is gone")
        made = frame(number % FRAMES)
        self.arrays.append(weakref.ref(made.confidence))
        self.alive.add(made.confidence.base if made.confidence.base is not None else made)
        return made


@pytest.mark.parametrize("part", [0, 1, ALL])
@pytest.mark.parametrize("rule", RULES)
def test_the_curves_are_those_of_every_frame(part, rule):
    frames = clip()
    session = VotingSession(frames[0], part, 2.0, truncate=3.0)
    found = FrameCurves(frames).measure(session, Question(PIXEL, rule, SOURCE))
    assert (found.done, found.frames, found.unreadable) == (FRAMES, FRAMES, {})
    for number, fields in enumerate(frames):
        now = replace(session, fields=fields)
        maps = now.vote()
        for kind in RULES:
            assert found.curves[f"{kind} peak"][number] == maps[kind].peak.value
            value = found.curves[f"{kind} at row 10, column 5"][number]
            assert value == pytest.approx(maps[kind].values[PIXEL], abs=1e-6)
        voters = provenance_of(now, PIXEL, rule)
        own = [
            share
            for p, source, share in zip(
                voters.parts, voters.voters.source, voters.voters.share, strict=True
            )
            if (int(p), *source[-2:].tolist()) == SOURCE
        ]
        share = found.curves["share of part 0, row 2, column 1"][number]
        assert share == pytest.approx(sum(own))
    if part != 1:
        assert found.curves["share of part 0, row 2, column 1"].max() > 0


def test_the_error_is_that_of_the_annotations():
    frames = clip()
    session = VotingSession(frames[0], "left", 2.0)
    places = {(n, "left"): (10.0, 5.0) for n in range(0, FRAMES, 2)}
    annotations = Annotations(places, {})
    found = FrameCurves(frames).measure(session, Question(), annotations)
    for number, fields in enumerate(frames):
        error = found.curves["error"][number]
        if number % 2:
            assert np.isnan(error)
        else:
            now = replace(session, fields=fields)
            assert error == errors_of(now, annotations.of(number)).error[0]
    assert np.nanmax(found.curves["error"]) > 3


def test_what_is_measured_is_kept_and_stopped_work_goes_on():
    frames = Lazy(FRAMES)
    session = VotingSession(frame(0), 0, 2.0)
    curves = FrameCurves(frames)
    asked = iter([True] * 5 + [False])
    part = curves.measure(session, Question(), go_on=lambda: next(asked))
    assert part.done == 5
    assert np.isnan(part.curves["additive peak"]).sum() == FRAMES - 5
    told = []
    whole = curves.measure(session, Question(), progress=lambda *at: told.append(at))
    assert whole.done == FRAMES
    assert frames.read == list(range(FRAMES))
    assert told[0] == (5, FRAMES)
    again = curves.measure(session, Question())
    np.testing.assert_array_equal(again.curves["noisy_or peak"], whole.curves["noisy_or peak"])
    assert len(frames.read) == FRAMES
    curves.measure(replace(session, sigma=3.0), Question())
    assert len(frames.read) == 2 * FRAMES


def test_frames_that_cannot_be_read_are_named():
    frames = clip()
    frames[4] = two_parts(confidence=np.zeros((2, 3, 3)), offsets=np.zeros((2, 2, 3, 3)))
    session = VotingSession(frames[0], 0, 2.0)
    found = FrameCurves(frames).measure(session, Question())
    assert found.done == FRAMES
    assert found.unreadable.keys() == {4}
    assert "(2, 3, 3)" in found.unreadable[4]
    assert found.table["frame"].tolist() == list(range(FRAMES))
    assert np.isnan(found.table["additive peak"][4])
    assert found.table["additive peak"][5] == found.curves["additive peak"][5]


@pytest.mark.parametrize("broken", ["unreadable", "other size"])
def test_a_frame_that_cannot_be_shown_leaves_the_one_before(broken):
    frames = clip()
    if broken == "other size":
        frames[3] = two_parts(confidence=np.zeros((2, 3, 3)), offsets=np.zeros((2, 2, 3, 3)))
    else:
        frames = Lazy(FRAMES, broken=[3])
    model, said, at = VotingModel(), [], []
    model.show(VotingSession(frames[2], 0, 2.0), frames=frames, frame=2)
    model.refused.connect(said.append)
    model.frame_changed.connect(at.append)
    session = model.session
    model.go_to(3)
    assert len(said) == 1
    assert said[0].startswith("frame 3: ")
    assert (model.frame, model.session, at) == (2, session, [2])
    data = layer_data(Opened(frames), "clip")[0][0] if broken == "unreadable" else None
    if data is not None:
        assert not np.asarray(data[3]).any()


def test_frames_do_not_stay_in_memory():
    frames = Lazy(200)
    model = VotingModel()
    model.show(VotingSession(frames[0], 0, 2.0), frames=frames, frame=0)
    layers = layer_data(Opened(frames), "clip")
    most = 0
    for number in range(200):
        model.go_to(number)
        np.asarray(layers[1][0][number, 0])
        gc.collect(0)
        most = max(most, len(frames.alive))
    gc.collect()
    assert most < 20


# In a window.


@pytest.fixture
def panel(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1300, 800)
    add_fields(viewer, clip(), "clip")
    widget = dock(viewer)
    widget.open_tab("Frames")
    found = widget.panel(FramesPanel)
    found.wait()
    return widget, found, viewer


def test_the_tab_is_there_where_frames_are(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    add_fields(viewer, two_parts())
    widget = dock(viewer)
    button = widget.tab_buttons.button("Frames")
    assert not button.isVisibleTo(widget)
    add_fields(viewer, clip(), "clip")
    widget.wait()
    assert button.isVisibleTo(widget)
    assert widget.panel(FramesPanel).found is None  # it is not open


def test_the_cursor_says_that_a_frame_is_read(make_napari_viewer):
    waits = []

    class Slow(Lazy):
        def __getitem__(self, number):
            waits.append(QApplication.overrideCursor() is not None)
            return super().__getitem__(number)

    viewer = make_napari_viewer(show=True)
    add_fields(viewer, Slow(FRAMES), "clip")
    widget = dock(viewer)
    widget.wait()
    waits.clear()
    widget.controls.frame.value = 5
    assert True in waits
    assert QApplication.overrideCursor() is None


def test_a_click_on_the_curve_and_a_drag_of_the_slider_go_to_a_frame(panel, qtbot):
    widget, panel, viewer = panel
    assert panel.found.done == FRAMES
    widget.model.ask_pixel(PIXEL)
    qtbot.waitUntil(lambda: panel.found.question.pixel == PIXEL, timeout=30000)
    onto_the_screen(panel.plot.canvas)
    qtbot.wait(300)
    canvas, axes = panel.plot.canvas, panel.plot.axes
    for number in (7, 3):
        x, y = axes.transData.transform((number, 0.5)) / canvas.device_pixel_ratio
        corner = canvas.mapToGlobal(canvas.rect().topLeft())
        mouse("mousemove", round(corner.x() + x), round(corner.y() + canvas.height() - y))
        mouse("click", 1)
        qtbot.waitUntil(lambda number=number: widget.model.frame == number, timeout=30000)
        assert viewer.dims.current_step[-4] == number
        assert widget.controls.frame.value == number
    slider = widget.controls.frame.native.findChild(QSlider)
    drag(qtbot, slider, 6, 9)
    qtbot.waitUntil(lambda: widget.model.frame > 6, timeout=30000)
    at = widget.model.frame
    assert viewer.dims.current_step[-4] == at
    viewer.dims.set_current_step(viewer.dims.ndim - 4, 1)
    assert widget.model.frame == 1
    widget.wait()
    assert_shows(widget, frame(1), 0, widget.model.session.sigma)
    assert widget.model.pixel == PIXEL


@pytest.mark.slow
@pytest.mark.parametrize(
    ("title", "name", "expected"),
    [("COCO…", "peaks.json", '"image_id": 3'), ("movement…", "movement.csv", "\n3,id_0,right,")],
)
def test_peaks_are_saved_as_those_of_their_frame(title, name, expected, panel, qtbot, tmp_path):
    widget, _, viewer = panel
    viewer.dims.set_current_step(viewer.dims.ndim - 4, 3)
    widget.wait()
    press(qtbot, widget.tab_buttons.button("Peaks"))
    peaks = widget.panel(PeaksPanel)
    press(qtbot, peaks.every_part)
    qtbot.waitUntil(  # the first search compiles
        lambda: peaks.found is not None and peaks.found.search.every_part, timeout=60000
    )
    peaks.wait()
    press(qtbot, next(each for each in peaks.buttons.values() if each.text() == title))
    qtbot.waitUntil(lambda: peaks.findChildren(QFileDialog) != [], timeout=30000)
    name_file(qtbot, peaks, tmp_path / name)
    assert widget.controls.message.said == f"{tmp_path / name} written"
    assert expected in (tmp_path / name).read_text()


def test_another_sigma_is_measured_while_the_tab_is_open(panel, qtbot, tmp_path):
    widget, panel, _ = panel
    before = panel.found
    widget.controls.sigma.value = 3.0
    qtbot.waitUntil(lambda: panel.found.session.sigma == 3.0, timeout=30000)
    panel.wait()
    peaks = [replace(panel.found.session, fields=f).vote()["additive"].peak.value for f in clip()]
    np.testing.assert_array_equal(panel.found.curves["additive peak"], peaks)
    widget.open_tab("Compare")
    widget.controls.sigma.value = before.session.sigma
    widget.wait()
    assert panel.found.session.sigma == 3.0
    panel.export_csv.write(str(tmp_path / "frames.csv"))
    panel.save_png.write(str(tmp_path / "frames.png"))
    assert (tmp_path / "frames.csv").read_text().startswith("frame,noisy_or peak,")
    assert (tmp_path / "frames.png").read_bytes().startswith(b"\x89PNG")


def test_a_frame_that_cannot_be_read_in_the_window(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    add_fields(viewer, Lazy(FRAMES, broken=[3]), "clip")
    widget = dock(viewer)
    viewer.dims.set_current_step(viewer.dims.ndim - 4, 2)
    widget.wait()
    viewer.dims.set_current_step(viewer.dims.ndim - 4, 3)
    widget.wait()
    assert wrong(widget) == "frame 3: the disk is gone"
    assert widget.model.frame == 2
    assert viewer.dims.current_step[-4] == 2
    assert widget.controls.frame.value == 2
    assert_shows(widget, frame(2), 0, widget.model.session.sigma)


def test_paging_keeps_no_frame_that_was_seen(make_napari_viewer):
    frames = Lazy(100)
    viewer = make_napari_viewer(show=True)
    add_fields(viewer, frames, "clip")
    widget = dock(viewer)
    for number in range(1, 40):
        viewer.dims.set_current_step(viewer.dims.ndim - 4, number)
        widget.wait()
    gc.collect()
    assert len(set(frames.read)) >= 40
    assert sum(array() is not None for array in frames.arrays) < 10


def test_a_clip_begins_at_its_first_frame(make_napari_viewer):
    """Of an axis that is new, napari shows the middle; where frames were open, theirs stays."""
    viewer = make_napari_viewer(show=True)
    widget = dock(viewer)
    add_fields(viewer, clip(), "clip")
    widget.wait()
    assert (widget.model.frame, widget.controls.frame.value, viewer.dims.current_step[-4]) == (
        (0,) * 3
    )
    assert_shows(widget, frame(0), 0, widget.model.session.sigma)
    widget.model.go_to(4)
    add_fields(viewer, clip()[::-1], "backwards")
    widget.wait()
    assert (widget.model.frame, viewer.dims.current_step[-4]) == (4, 4)
    assert_shows(widget, frame(FRAMES - 5), 0, widget.model.session.sigma)
