"""Opening anything, comparing the maps and cross-part votes, in the dock widget."""

import numpy as np
import pytest
from mdn_viewer import settings
from mdn_viewer.core import model as model_module
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.session import KINDS, RULES, VotingSession, title
from viewer_support import add_fields, dock, pictures, two_parts

import mdn_cupy as mdn


def assert_map(widget, kind, session):
    expected = session.vote([kind])[kind].values
    np.testing.assert_allclose(pictures(widget)[title(kind)], expected, atol=1e-6)


def test_vectors_rows_first_and_coarse_units(viewer):
    fields = two_parts(image=None)
    widget = dock(viewer)
    confidence = viewer.add_image(fields.confidence[0], name="c", scale=(4, 4), translate=(2, 2))
    swapped = viewer.add_image(fields.offsets[0, ::-1] / 4, name="o")
    inputs = widget.inputs
    inputs.confidence.value, inputs.offsets.value = confidence, swapped
    inputs.order.value, inputs.coarse.value = "yx", True
    widget.controls.sigma.value = 2
    widget.wait()
    assert_map(widget, "noisy_or", VotingSession(fields, 0, 2.0))
    rows, columns = np.mgrid[:6, :8].reshape(2, -1)
    starts = np.stack([rows, columns], -1)
    steps = fields.offsets[0, ::-1].reshape(2, -1).T
    inputs.offsets.value = viewer.add_vectors(np.stack([starts, steps], 1), name="v")
    inputs.order.value, inputs.coarse.value = "xy", False
    widget.wait()
    assert_map(widget, "noisy_or", VotingSession(fields, 0, 2.0))


def test_what_does_not_fit_is_said(viewer, two):
    viewer.add_image(np.zeros((3, 3), np.float32), name="small")
    two.inputs.offsets.value = viewer.layers["small"]
    two.wait()
    assert two.controls.message.wrong
    assert "offsets (3, 3): they fit in no common layout" in two.controls.message.said


def test_maps_on_request(two):
    assert [*two.canvas.cells] == ["noisy-or", "additive", "confidence"]
    shown = two.compare.shown
    shown["evidence"].setChecked(True)
    shown["difference"].setChecked(True)
    shown["additive"].setChecked(False)
    shown["confidence"].setChecked(False)
    two.wait()
    session = VotingSession(two_parts(), "left", 2.0)
    assert {*two.canvas.cells} == {"noisy-or", "difference", "evidence"}
    for kind in ("noisy_or", "difference", "evidence"):
        assert_map(two, kind, session)
    figures = {k: [label.text() for label in f] for k, f in two.compare.figures.items()}
    peak = session.vote(KINDS)["evidence"]
    assert figures["additive"] == ["–"] * 3
    assert figures["evidence"][:2] == [f"{peak.peak.value:#.4g}", "10, 5"]
    assert figures["evidence"][2] == f"{peak.total:.4g}"


def test_only_the_confidence_and_then_nothing(two):
    shown = two.compare.shown
    for kind in RULES:
        shown[kind].setChecked(False)
    two.wait()
    assert [*two.canvas.cells] == ["confidence"]
    two.controls.sigma.value = 3
    shown["confidence"].setChecked(False)
    two.wait()
    assert not two.canvas.cells
    assert two.compare.figures["noisy_or"][0].text() == "–"
    shown["difference"].setChecked(True)
    two.wait()
    assert [*two.canvas.cells] == ["difference"]
    assert_map(two, "difference", VotingSession(two_parts(), "left", 3.0))


@pytest.mark.parametrize("shown", [set(), {"confidence"}], ids=["nothing", "the confidence"])
def test_opened_with_no_map_to_be_shown(viewer, shown):
    settings.remember_shown(shown)
    add_fields(viewer, two_parts())
    widget = dock(viewer)
    assert widget.voted
    assert {*widget.canvas.cells} == shown
    assert widget.canvas.hint.isHidden() == bool(shown)
    assert "choose some in Compare" in widget.canvas.hint.text() or shown
    viewer.layers.clear()
    widget.wait()
    assert not widget.voted
    assert not widget.canvas.cells


def test_no_difference_is_black(viewer):
    settings.remember_shown({"difference"})
    add_fields(viewer, two_parts(confidence=np.zeros((2, 6, 8), np.float32)))
    widget = dock(viewer)
    assert widget.canvas.cells["difference"].picture.limits == (-1, 1)


def test_layers_that_lie_askew_are_refused(viewer, two):
    confidence = viewer.layers["two confidence"]
    confidence.rotate = 30
    confidence.data = confidence.data / 2
    two.wait()
    assert two.controls.message.wrong
    assert "the layer is rotated" in two.controls.message.said


def test_the_kernel(viewer, two):
    two.compare.sum_rule.setCurrentIndex(1)
    two.compare.truncate.setValue(1.5)
    two.wait()
    session = VotingSession(two_parts(), "left", 2.0, sum_rule="plain_sum", truncate=1.5)
    for kind in RULES:
        assert_map(two, kind, session)


def test_colormaps_are_linked_and_remembered(two):
    two.compare.shown["difference"].setChecked(True)
    two.compare.colormap.setCurrentText("magma")
    two.wait()
    seen = {name: cell.picture.colormap for name, cell in two.canvas.cells.items()}
    assert seen["noisy-or"] == seen["additive"] == "magma"
    assert seen["difference"] != "magma"
    assert settings.recall("colormap") == "magma"


def test_colormaps_to_choose_from_are_those_of_the_settings(two):
    box = two.compare.colormap
    for name in [box.itemText(n) for n in range(box.count())]:
        settings.remember("colormap", name)
    with pytest.raises(ValueError, match="'viridi' is not one of the allowed"):
        settings.remember("colormap", "viridi")


@pytest.mark.slow
def test_settings_are_remembered(viewer, two, qtbot):
    two.compare.shown["evidence"].setChecked(True)
    two.compare.colormap.setCurrentText("viridis")
    two.controls.sigma.value = 5
    two.wait()
    two.model.settle()
    viewer.window.remove_dock_widget(two)
    viewer.layers.clear()
    fields = two_parts(image=None, sigma=2.0)
    c = viewer.add_image(fields.confidence, name="c")
    o = viewer.add_image(fields.offsets, name="o")
    again = dock(viewer)
    again.inputs.confidence.value, again.inputs.offsets.value = c, o
    qtbot.waitUntil(lambda: "evidence" in again.canvas.cells)
    assert again.controls.sigma.value == pytest.approx(5)
    assert again.compare.shown["evidence"].isChecked()
    assert again.canvas.cells["evidence"].picture.colormap == "viridis"


def test_cross_part_votes(viewer):
    pose = mdn.samples.load("pose")
    add_fields(viewer, pose, "pose", "left wrist")
    widget = dock(viewer)
    assert widget.controls.cross.enabled
    widget.controls.cross.value = True
    widget.wait()
    part = pose.part("left wrist")
    assert_map(widget, "noisy_or", VotingSession(pose, part, pose.sigma, cross=True))
    widget.controls.part.value = "all"  # has no cross votes
    widget.wait()
    assert not widget.controls.cross.enabled
    assert_map(widget, "noisy_or", VotingSession(pose, "all", pose.sigma))


def test_fields_without_cross_offsets(two):
    assert not two.controls.cross.enabled


def test_a_map_too_large_to_compute_whole_says_so(two, monkeypatch):
    compare = two.compare
    assert compare.place.text().startswith("Computed ")
    monkeypatch.setattr(model_module, "_MOST", 100)
    monkeypatch.setattr(model_module, "_SEEN", 100)
    two.controls.sigma.value = 3
    two.wait()
    assert compare.place.text().startswith("The table counts one in 3 × 3 of the pixels on the ")
    monkeypatch.undo()
    two.controls.sigma.value = 2
    two.wait()
    assert compare.place.text().startswith("Computed ")


class Ear:
    """Hears what a model says."""

    def __init__(self, model):
        self.heard = []
        for name in ("session_changed", "maps_changed", "refused", "pixel_asked", "source_asked"):
            getattr(model, name).connect(lambda value, name=name: self.heard.append((name, value)))


def test_a_model_without_a_window():
    model, fields = VotingModel(), two_parts()
    ear = Ear(model)
    model.change(sigma=3.0)
    model.ask_pixel((1, 1))
    assert ear.heard == []  # there is nothing to look at
    model.show(VotingSession(fields, "left", 2.0))
    assert [name for name, _ in ear.heard] == ["session_changed", "maps_changed"]
    model.change(sigma=-1.0)
    assert ear.heard[-1] == ("refused", "sigma must be greater than 0, got -1.0")
    assert model.session.sigma == 2
    model.ask_pixel((10, 5), "additive")
    assert (model.pixel, model.asked_rule) == ((10, 5), "additive")
    model.ask_pixel((24, 5))
    model.ask_source((2, 0, 0))  # beyond the last part
    assert (model.pixel, model.source) == ((10, 5), None)
    model.show(None)
    assert model.maps == {}
    assert model.pixel is None


def test_a_model_of_which_no_map_is_wanted():
    model = VotingModel()
    ear = Ear(model)
    model.show_kinds(())
    assert ear.heard == []
    session = VotingSession(two_parts(), "left", 2.0)
    model.show(session)
    assert ear.heard == [("session_changed", session), ("maps_changed", {})]
    assert model.voted is session
    model.show(None)
    assert model.voted is None


def test_other_values_of_the_same_fields():
    model, fields = VotingModel(), two_parts()
    model.show(VotingSession(fields, "right", 2.0))
    halved = two_parts(confidence=fields.confidence / 2)
    model.set_fields(halved)
    expected = VotingSession(halved, "right", 2.0).vote()
    np.testing.assert_array_equal(model.maps["additive"].values, expected["additive"].values)
    assert model.loaded is fields
    model.reset_fields()
    assert model.session.fields is fields
    with pytest.raises(ValueError, match="must stay on their grid"):
        model.set_fields(two_parts(stride=2.0))
