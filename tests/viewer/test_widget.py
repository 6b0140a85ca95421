"""The dock widget in a napari window: what is chosen, what is shown, what is refused."""

import numpy as np
import pytest
from mdn_viewer.core.contrast import reach_of, symmetric, upward
from mdn_viewer.core.session import ALL, title
from mdn_viewer.widgets.controls import Figure
from mdn_viewer.widgets.parts import PartsPanel
from mdn_viewer.widgets.plot import CurvePlot
from mdn_viewer.widgets.table import TableView
from mdn_viewer.widgets.voters import VotersPanel
from qtpy.QtCore import QCoreApplication, Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QPlainTextEdit,
    QPushButton,
    QSlider,
)
from viewer_support import (
    PLUGIN,
    add_fields,
    assert_shows,
    dock,
    names,
    peaks,
    pictures,
    two_parts,
    wrong,
)

import mdn_cupy as mdn

CELLS = ["noisy-or", "additive", "confidence"]


def test_it_welcomes_who_has_nothing_open(viewer):
    widget = dock(viewer)
    assert "File > Open Sample" in widget.controls.message.said
    assert widget.canvas.hint.text() == widget.controls.message.said
    assert not widget.canvas.hint.isHidden()
    assert not wrong(widget)
    assert set(peaks(widget).values()) == {"– at –"}
    assert names(viewer) == []
    widget.controls.sigma.value = 5
    widget.wait()
    assert names(viewer) == []


def test_everything_explains_itself_and_takes_the_keyboard(two):
    for form in (two.controls, two.controls.notices, two.inputs):
        assert [control.label for control in form if not control.tooltip] == []
    kinds = QPushButton, QCheckBox, QComboBox, QAbstractSpinBox, QSlider, QPlainTextEdit, TableView
    found = [child for panel in (two.compare, *two.panels) for child in panel.findChildren(kinds)]
    assert len(found) >= 65
    said = [*found, *two.findChildren((Figure, CurvePlot)), two.panel(PartsPanel).list]
    voters = two.panel(VotersPanel)
    said += [voters.headline, voters.where]
    assert [child for child in said if not child.toolTip()] == []
    assert [child for child in found if not child.focusPolicy() & Qt.FocusPolicy.TabFocus] == []
    for table in two.findChildren(TableView):
        assert all(column.meaning for column in table.rows.known.values())


@pytest.mark.slow
def test_a_field_set_that_is_opened_is_shown_at_once(viewer):
    widget = dock(viewer)
    add_fields(viewer, two_parts(), part=1)
    widget.wait()
    assert_shows(widget, two_parts(), "right", 2.0)
    assert (widget.inputs.stride.pair, widget.inputs.origin.pair) == ((4, 4), (2, 2))
    assert names(viewer) == ["two image", "two confidence", "two offsets"]
    assert [*widget.canvas.cells] == CELLS
    add_fields(viewer, two_parts(sigma=3.0), "other", part=ALL)
    widget.wait()
    assert_shows(widget, two_parts(), ALL, 3.0)
    assert [*widget.canvas.cells] == CELLS
    assert len(viewer.layers) == 6


def test_of_several_field_sets_the_last_is_shown(viewer):
    sigmas = iter(np.linspace(1, 3, 6).tolist())

    def add(*sets):
        for name in sets:
            add_fields(viewer, two_parts(sigma=next(sigmas)), name)

    def assert_seen(name):
        widget.wait()
        assert widget.inputs.confidence.current_choice == f"{name} confidence"
        assert_shows(widget, two_parts(), "left", widget.model.session.sigma)

    add("first", "second")
    widget = dock(viewer)
    assert_seen("second")
    add("third", "fourth")  # at once: nobody looks at the third
    assert_seen("fourth")
    add("fifth")
    QCoreApplication.processEvents()
    add("sixth")  # while the fifth comes
    assert_seen("sixth")


def test_a_file_that_is_opened_is_shown_at_once(viewer, tmp_path):
    widget = dock(viewer)
    mdn.save_fields(tmp_path / "hand.mdn", two_parts())
    viewer.open(tmp_path / "hand.mdn", plugin=PLUGIN)
    widget.wait()
    assert widget.inputs.confidence.current_choice == "hand confidence"
    assert_shows(widget, two_parts(), "left", 2.0)


def test_a_bad_file_loses_nothing(viewer, two, tmp_path):
    (tmp_path / "bad.mdn").write_text("no archive")
    before, choice = names(viewer), two.inputs.confidence.value
    with pytest.raises(ValueError, match=r"bad\.mdn: not a readable \.mdn file"):
        viewer.open(tmp_path / "bad.mdn", plugin=PLUGIN)
    two.wait()
    assert names(viewer) == before
    assert two.inputs.confidence.value is choice
    assert_shows(two, two_parts(), "left", 2.0)


def test_a_part_is_chosen_here_or_with_naparis_own_slider(viewer, two):
    two.controls.part.value = 1
    two.wait()
    assert peaks(two)["additive"].endswith("at 12, 20")
    assert viewer.dims.current_step[-3] == 1  # the confidence follows
    viewer.dims.set_current_step(1, 0)
    two.wait()
    assert two.controls.part.current_choice == "left"
    assert peaks(two)["additive"].endswith("at 10, 5")


def test_the_offsets_slider_chooses_no_part(viewer, two):
    two.controls.part.value = ALL
    viewer.dims.set_current_step(0, 1)
    two.wait()
    assert two.controls.part.value == ALL
    assert_shows(two, two_parts(), ALL, 2.0)


def test_the_additive_map_on_its_own_scale_or_on_that_of_the_noisy_or(viewer, two):
    def limits(rule):
        return two.canvas.cells[rule].picture.limits

    for sigma in (1.5, 4.0):
        two.controls.sigma.value = sigma
        two.wait()
        assert limits("additive") == pytest.approx((0, pictures(two)["additive"].max()))
    two.compare.same_scale.setChecked(True)
    assert limits("additive") == limits("noisy-or") == (0, 1)
    two.compare.same_scale.setChecked(False)
    assert limits("additive") == pytest.approx((0, pictures(two)["additive"].max()))


def test_where_nothing_votes(viewer):
    add_fields(viewer, two_parts(confidence=np.zeros((2, 6, 8), np.float32)))
    widget = dock(viewer)
    assert set(peaks(widget).values()) == {"no vote at –"}
    assert widget.canvas.cells["additive"].picture.limits == (0, 1)
    assert not wrong(widget)


@pytest.mark.slow
def test_plain_layers_vote(viewer):
    fields, widget = two_parts(image=None), dock(viewer)
    for index in (slice(None), 0):  # (P, H, W) and (H, W)
        viewer.layers.clear()
        c = viewer.add_image(fields.confidence[index], name="c", scale=[4, 4], translate=[2, 2])
        o = viewer.add_image(fields.offsets[index], name="o")
        widget.inputs.confidence.value, widget.inputs.offsets.value = c, o
        assert widget.inputs.stride.pair == (4, 4)  # of the layer
        assert widget.inputs.origin.pair == (2, 2)
        widget.controls.sigma.value = 1.5
        widget.wait()
        assert not wrong(widget)
        assert_shows(widget, fields, "left", 1.5)
    widget.inputs.stride.pair = 2, 2
    widget.wait()
    assert_shows(widget, two_parts(image=None, stride=2.0), "left", 1.5)


def test_an_image_may_be_laid_under_plain_layers(viewer):
    fields = two_parts()
    for name in ("confidence", "offsets", "image"):
        viewer.add_image(getattr(fields, name), name=name)
    widget = dock(viewer)
    widget.inputs.stride.pair, widget.inputs.origin.pair = (4, 4), (2, 2)
    for name in ("confidence", "offsets"):
        getattr(widget.inputs, name).value = viewer.layers[name]
    widget.inputs.stride.pair, widget.inputs.origin.pair = (4, 4), (2, 2)
    widget.wait()
    widget.inputs.image.value = viewer.layers["image"]
    widget.wait()
    assert widget.model.session.fields.image is not None
    assert_shows(widget, fields, "left", widget.controls.sigma.value)


def test_what_does_not_fit_is_refused_and_nothing_is_lost(viewer, two):
    viewer.add_image(np.zeros((3, 3), np.float32), name="small")
    viewer.add_image(np.full((6, 8), 51, np.uint8), name="counts")
    everything = names(viewer)
    two.inputs.offsets.value = viewer.layers["small"]
    two.wait()
    assert "got confidence (2, 6, 8), offsets (3, 3)" in wrong(two)
    assert set(peaks(two).values()) == {"– at –"}
    two.controls.sigma.value = 3
    two.inputs.confidence.value = viewer.layers["counts"]
    two.wait()
    assert "confidence must be floating-point numbers" in wrong(two)
    assert names(viewer) == everything
    two.inputs.confidence.value = viewer.layers["two confidence"]  # brings its offsets along
    two.wait()
    assert not wrong(two)
    assert_shows(two, two_parts(), "left", 3.0)


@pytest.mark.parametrize("nowhere", [np.nan, np.inf])
def test_sources_that_cast_no_vote_are_counted_and_nothing_is_wrong(viewer, nowhere):
    offsets = two_parts().offsets.copy()
    offsets[0, 0, 0, 0] = nowhere
    add_fields(viewer, two_parts(offsets=offsets))
    widget = dock(viewer)
    said = "1 of 96 sources have no finite offset and cast no vote"
    assert widget.controls.message.said == said
    assert not wrong(widget)
    assert peaks(widget)["additive"].endswith("at 10, 5")  # the others vote


@pytest.mark.slow
def test_limits_come_from_finite_pixels(viewer, two):
    two.compare.shown["difference"].setChecked(True)
    layer, right = viewer.layers["two confidence"], two_parts().confidence
    for value in (np.inf, -np.inf, np.nan, 3e38, -3e38, -1.0, -1e-42, 1e-42):
        for where in ((0, 1, 1), ...):
            confidence = right.copy()
            confidence[where] = value
            layer.data = confidence
            two.wait()
            for kind, vote_map in two.model.maps.items():
                low, high = two.canvas.cells[title(kind)].picture.limits
                assert -1e31 < low <= 0 < high < 1e31
                finite = vote_map.values[np.isfinite(vote_map.values)]
                if kind != "noisy_or" and 1e-30 < finite.max(initial=0) < 1e30:
                    assert finite.max() <= high * 1.001
            two.canvas.screenshot()  # with numbers at both ends of the bars


def test_limits_of_values_that_no_color_tells_apart():
    for values in ([], [np.nan], [np.inf, -np.inf], [0, 0]):
        assert symmetric(reach_of(np.array(values))) == (-1, 1)
        assert upward(reach_of(np.array(values))) == (0, 1)
    assert reach_of(np.array([np.inf, -3, 2, np.nan])) == 3
    assert symmetric(1e300) == (-1e30, 1e30)
    assert upward(1e-45) == (0, 1e-30)
