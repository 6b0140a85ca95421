"""Results as layers of napari's, by the menu of a cell: live, detached, forgotten."""

import numpy as np
import pytest
from mdn_viewer.layers.conversion import inputs_of, is_output
from mdn_viewer.layers.linked import write_image
from mdn_viewer.layers.targets import targets
from mdn_viewer.widgets.voters import VotersPanel
from napari.layers import Image, Vectors
from qtpy.QtWidgets import QApplication, QMenu
from viewer_support import add_fields, mouse, move_to, names, two_parts

MAP, PEAKS, VOTES = "the noisy-or map", "the peaks", "the arrows of the votes"


def choose(qtbot, widget, what, cell="noisy-or"):
    """Choose from the menu of a cell, with the right and the left button of a real mouse."""
    move_to(qtbot, widget, cell, 20, 16)
    mouse("mousedown", 3)
    qtbot.wait(30)
    mouse("mouseup", 3)
    qtbot.waitUntil(lambda: isinstance(QApplication.activePopupWidget(), QMenu))
    menu = QApplication.activePopupWidget()
    qtbot.wait(50)
    (action,) = (action for action in menu.actions() if action.text() == what)
    at = menu.mapToGlobal(menu.actionGeometry(action).center())
    mouse("mousemove", at.x(), at.y())
    qtbot.wait(30)
    mouse("mousedown", 1)
    mouse("mouseup", 1)
    qtbot.waitUntil(lambda: QApplication.activePopupWidget() is None)
    qtbot.wait(20)


def set_sigma(qtbot, widget, sigma):
    widget.controls.sigma.value = sigma
    widget.wait()
    widget.panel(VotersPanel).wait()
    qtbot.wait(20)


@pytest.fixture
def asked(shown):
    """A window in which a pixel has been asked about."""
    widget = shown(two_parts())
    widget.controls.sigma.value = 2.0
    widget.wait()
    widget.model.ask_pixel((10, 5))
    widget.panel(VotersPanel).wait()
    return widget


def offers(widget, cell):
    menu = widget.results.menu(cell)
    return [action.text() for action in menu.actions() if action.text()]


@pytest.mark.slow
def test_map_peaks_and_arrows_follow_until_they_are_detached(asked, qtbot):
    widget, layers, model = asked, asked._viewer.layers, asked.model
    before = names(widget._viewer)
    for what in (MAP, PEAKS, VOTES):
        choose(qtbot, widget, f"Add {what} as a layer")
    assert names(widget._viewer) == [*before, "noisy-or", "peaks", "votes"]
    for sigma in (2.0, 3.0, 1.0):
        set_sigma(qtbot, widget, sigma)
        np.testing.assert_array_equal(layers["noisy-or"].data, model.maps["noisy_or"].values)
        assert tuple(layers["noisy-or"].contrast_limits) == (0, 1)
        peaks, found = layers["peaks"], [m.peak for m in model.maps.values()]
        np.testing.assert_array_equal(peaks.data, [(p.row, p.column) for p in found])
        np.testing.assert_array_equal(peaks.features["value"], [p.value for p in found])
        assert list(peaks.features["map"]) == ["noisy-or", "additive", "difference"]
        drawn = widget.canvas.overlay("votes")
        np.testing.assert_allclose(layers["votes"].data[:, 0], drawn.start)
        np.testing.assert_allclose(layers["votes"].data[:, 1], drawn.vector)
    widget.controls.part.value = 1
    set_sigma(qtbot, widget, 1.5)
    assert tuple(layers["peaks"].data[0]) == (12, 20)

    for what in (MAP, PEAKS):
        choose(qtbot, widget, f"Detach {what}")
    kept = [np.array(layers[name].data) for name in ("noisy-or", "peaks")]
    widget.controls.part.value = 0
    set_sigma(qtbot, widget, 4.0)
    for name, data in zip(("noisy-or", "peaks"), kept, strict=True):
        np.testing.assert_array_equal(layers[name].data, data)
    assert f"Detach {VOTES}" in offers(widget, "noisy-or")
    choose(qtbot, widget, f"Add {MAP} as a layer")  # another one, beside what was detached
    np.testing.assert_array_equal(layers[-1].data, model.maps["noisy_or"].values)
    np.testing.assert_array_equal(layers["noisy-or"].data, kept[0])


def test_results_are_never_offered_as_inputs_or_targets(asked):
    widget, viewer = asked, asked._viewer
    kinds = inputs_of(viewer, Image, Vectors), targets(viewer)
    widget.results.add_map("difference")
    widget.results.add_map("additive")
    widget.results.add_peaks()
    widget.results.add_arrows()
    added = list(viewer.layers)[-4:]
    assert all(is_output(layer) for layer in added)
    assert (inputs_of(viewer, Image, Vectors), targets(viewer)) == kinds
    for cell in ("difference", "additive"):
        widget.results.menu(cell).actions()[0].trigger()  # detaches
    assert (inputs_of(viewer, Image, Vectors), targets(viewer)) == kinds
    session = widget.model.session
    widget.wait()
    assert widget.model.session is session  # nothing votes anew


def test_what_is_deleted_is_forgotten_and_can_be_added_again(asked, qtbot):
    widget, layers = asked, asked._viewer.layers
    widget.results.add_map("noisy_or")
    assert offers(widget, "noisy-or")[0] == f"Detach {MAP}"
    deleted = layers["noisy-or"]
    layers.remove(deleted)
    assert offers(widget, "noisy-or")[0] == f"Add {MAP} as a layer"
    before = np.array(deleted.data)
    set_sigma(qtbot, widget, 5.0)
    np.testing.assert_array_equal(deleted.data, before)
    widget.results.add_map("noisy_or")
    assert layers["noisy-or"] != deleted  # napari hands out proxies
    widget.results.add_map("noisy_or")  # once is enough
    assert names(widget._viewer).count("noisy-or") == 1


def test_the_menu_offers_what_there_is(asked):
    widget = asked
    assert offers(widget, "confidence") == [
        f"Add {PEAKS} as a layer",
        f"Add {VOTES} as a layer",
        "Show everything\tHome",
    ]
    widget.model.ask_pixel(None)
    assert not any("arrows" in text for text in offers(widget, "noisy-or"))
    widget.results.menu("noisy-or").actions()[-1].trigger()


def test_fields_of_another_size_are_written_too(asked, shown):
    widget, viewer = asked, asked._viewer
    widget.results.add_map("noisy_or")
    link = viewer.layers["noisy-or"]
    other = two_parts(image=None, output_shape=(40, 50))
    add_fields(viewer, other, "other")
    widget.wait()
    widget.model.settle()
    assert link.data.shape == widget.model.maps["noisy_or"].values.shape == (40, 50)


def test_an_image_of_the_size_is_written_in_place():
    layer = Image(np.zeros((3, 4), np.float32))
    data, values = layer.data, np.arange(12, dtype=np.float32).reshape(3, 4)
    write_image(layer, values, (0.0, 11.0))
    assert layer.data is data
    np.testing.assert_array_equal(data, values)
    assert tuple(layer.contrast_limits) == (0, 11)
    write_image(layer, values[:2], (0.0, 7.0))
    assert layer.data.shape == (2, 4)
    assert not np.shares_memory(layer.data, values)
