"""What a person can do: from napari's command palette, and by keys that napari lists."""

import mdn_viewer.actions as actions
import pytest
from mdn_viewer.core.session import ALL
from mdn_viewer.widget import MassDisplacement
from mdn_viewer.widgets.gradient import GradientPanel
from mdn_viewer.widgets.peaks import PeaksPanel
from mdn_viewer.widgets.save import SavePanel
from mdn_viewer.widgets.shortcuts import KEYS, keys_of
from mdn_viewer.widgets.voters import VotersPanel
from napari._app_model import get_app_model
from napari.utils.action_manager import action_manager
from npe2 import PluginManifest
from qtpy.QtWidgets import (
    QApplication,
    QDialog,
    QFileDialog,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QWidget,
)
from viewer_support import (
    PLUGIN,
    add_fields,
    click,
    dock,
    mouse,
    move_to,
    names,
    remember_defaults,
    two_parts,
)

COMMANDS = {
    command.id.removeprefix("mdn-cupy."): command
    for command in PluginManifest.from_distribution(PLUGIN).contributions.commands
    if command.python_name.startswith("mdn_viewer.actions:")
}
LISTED = {name: f"{key.description} ({PLUGIN})" for name, key in KEYS.items()}
# What acts without fields too; all else says what to open.
WITHOUT_FIELDS = {
    "show_everything",
    "show_napari_canvas",
    "take_back_point",
    "detach_all",
    "remedy",
    "stop",
    *(name for name in actions.ACTIONS if name.startswith(("toggle_", "open_"))),
}


@pytest.fixture
def viewer(make_napari_viewer):
    remember_defaults()  # and not the maps that another test has chosen
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 850)
    return viewer


@pytest.fixture
def two(viewer, qtbot):
    add_fields(viewer, two_parts())
    widget = dock(viewer)
    widget.canvas.window().activateWindow()
    qtbot.waitUntil(widget.canvas.window().isActiveWindow)
    qtbot.wait(100)
    return widget


def run(name):
    """Run a command of napari's registry, as the palette does."""
    get_app_model().commands.execute_command(f"mdn-cupy.{name}").result()


def choose(qtbot, window, words):
    """Open the palette by its key, type words, and take the first command."""
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    mouse("key", "ctrl+shift+p")
    qtbot.waitUntil(lambda: isinstance(QApplication.focusWidget(), QLineEdit))
    line = QApplication.focusWidget()
    mouse("type", "--delay", 20, words)
    qtbot.waitUntil(lambda: line.text() == words)
    mouse("key", "Return")
    qtbot.waitUntil(lambda: not line.isVisible())


def key(qtbot, name):
    mouse("key", name)
    qtbot.wait(150)


def said(widget):
    return widget.controls.message.said


def tab(widget):
    return widget.tabs.tabText(widget.tabs.currentIndex())


def test_the_manifest_has_every_action_under_a_title_of_its_own():
    assert COMMANDS.keys() == actions.ACTIONS.keys()
    assert len({command.title for command in COMMANDS.values()}) == len(COMMANDS)
    for name, command in COMMANDS.items():
        assert command.python_name == f"mdn_viewer.actions:{name}"
        assert callable(getattr(actions, name))
    assert KEYS.keys() <= COMMANDS.keys()
    with pytest.raises(AttributeError, match="no attribute 'sing'"):
        actions.sing  # noqa: B018


def test_the_palette_has_every_action_and_runs_it(two, qtbot):
    menus = get_app_model().menus
    offered = {item.command.id for item in menus.get_menu(menus.COMMAND_PALETTE_ID)}
    assert {f"mdn-cupy.{name}" for name in COMMANDS} <= offered
    window = two.canvas.window()
    choose(qtbot, window, "show the next part")
    assert two.controls.part.value == 1
    choose(qtbot, window, "add the map of the sum")
    assert two.results.offers.keys() >= {"additive"}
    choose(qtbot, window, "open the tab sweep")
    assert tab(two) == "Sweep"
    choose(qtbot, window, "widen sigma")
    assert two.controls.sigma.value == pytest.approx(2.2)


def test_an_action_opens_the_plugin_or_shows_it_again(viewer, qtbot):
    add_fields(viewer, two_parts())
    choose(qtbot, QApplication.activeWindow() or _window(viewer), "open the tab voters")
    (widget,) = (w for w in viewer.window.dock_widgets.values() if isinstance(w, MassDisplacement))
    widget.wait()
    assert tab(widget) == "Voters"
    widget.parentWidget().hide()
    run("open_save")
    assert tab(widget) == "Save"
    assert widget.isVisible()
    assert len(viewer.window.dock_widgets) == 1


def _window(viewer):
    return next(w for w in QApplication.topLevelWidgets() if w.windowTitle() == viewer.title)


def test_without_fields_an_action_says_what_to_open(viewer):
    widget = dock(viewer)
    for name in actions.ACTIONS:
        widget.controls.message.say("")
        run(name)
        assert ("Open Sample" in said(widget)) == (name not in WITHOUT_FIELDS), name
    assert names(viewer) == []
    tabs = {widget.tabs.tabText(n).lower() for n in range(widget.tabs.count())}
    assert {name for name in actions.ACTIONS if name.startswith("open_")} == {
        f"open_{what}" for what in (*tabs, "files", "session")
    }


def test_every_button_has_an_action(two, monkeypatch):
    tabs, pressed = two.tab_buttons, set()
    buttons = {b for b in two.findChildren(QPushButton) if b.parentWidget() is not tabs}
    monkeypatch.setattr(QPushButton, "click", lambda self: pressed.add(self))
    monkeypatch.setattr(QPushButton, "isEnabled", lambda self: True)
    monkeypatch.setattr(QPushButton, "isHidden", lambda self: False)
    for act in actions.ACTIONS.values():
        act(two)
    by_another_way = {two.inputs.open_any.native}  # its action opens no tab
    assert buttons - pressed == by_another_way


def test_buttons_are_pressed_and_those_that_cannot_be_say_why(two):
    for name, missing in {
        "remedy": "there is no complaint with a remedy",
        "stop": "nothing is computed",
        "exchange_channels": "no other order of the channels is offered",
        "export_errors": "choose or open annotations first",
        "export_frames": "no frames are measured yet",
        "stop_frames": "no frames are being measured",
    }.items():
        run(name)
        assert said(two) == missing
    run("export_errors")
    assert tab(two) == "Truth"
    panel = two.panel(PeaksPanel)
    run("open_peaks")
    panel.wait()
    run("add_found_peaks")
    assert "detections" in names(two._viewer)
    for name, button in {
        "remedy": two.controls.remedy,
        "exchange_channels": two.inputs.other_order,
    }.items():
        pressed = []
        button.changed.connect(pressed.append)
        button.visible = True  # as where it is offered
        run(name)
        assert len(pressed) == 1, name


def test_parts_sigma_and_maps(two, viewer):
    run("previous_part")
    assert two.controls.part.value == ALL
    run("next_part")
    assert two.controls.part.value == 0
    run("show_all_parts")
    assert two.model.session.part == ALL
    run("vote_by_all_parts")
    assert "cross offsets" in said(two)
    run("narrow_sigma")
    assert two.model.session.sigma == pytest.approx(2 / 1.1)
    two.wait()
    for name, cell in {"noisy_or": "noisy-or", "confidence": "confidence"}.items():
        run(f"toggle_{name}")
        two.wait()
        assert cell not in two.canvas.cells
    run("add_noisy_or")
    assert said(two) == "show the noisy-or map first, under Compare"
    run("toggle_noisy_or")
    run("toggle_evidence")
    two.wait()
    assert {"noisy-or", "evidence"} <= two.canvas.cells.keys()
    run("toggle_same_scale")
    assert two.compare.same_scale.isChecked()
    run("toggle_sum")
    assert two.model.session.sum_rule == "plain_sum"
    others = [w for w in two.canvas.parentWidget().children() if isinstance(w, QWidget)]
    others.remove(two.canvas)
    assert not any(w.isVisible() for w in others)
    run("show_napari_canvas")
    assert any(w.isVisible() for w in others)


def test_cross_offsets_choose_who_votes(viewer):
    fields = two_parts()
    cross = fields.offsets[:, None] + fields.offsets[None] * 0
    add_fields(viewer, two_parts(cross_offsets=cross))
    widget = dock(viewer)
    run("vote_by_all_parts")
    assert widget.model.session.cross
    run("vote_by_part_itself")
    assert not widget.model.session.cross


def test_results_as_layers(two, viewer, qtbot):
    before = names(viewer)
    run("add_votes")
    assert "ask a pixel" in said(two)
    two.model.ask_pixel((10, 5))
    two.panel(VotersPanel).wait()
    qtbot.waitUntil(lambda: "votes" in two.results.offers)
    for name in ("noisy_or", "additive", "difference", "peaks", "votes"):
        run(f"add_{name}")
    added = ["noisy-or", "additive", "difference", "peaks", "votes"]
    assert names(viewer) == before + added
    run("detach_all")
    layer = viewer.layers["noisy-or"]
    kept = layer.data.copy()
    run("widen_sigma")
    two.wait()
    assert (layer.data == kept).all()
    run("add_gradient")
    assert "target" in said(two)


def test_questions(two, qtbot):
    run("clear_question")
    assert "ask a pixel" in said(two)
    move_to(qtbot, two, "noisy-or", 10, 5)
    run("ask_pixel")
    assert two.model.pixel == (10, 5)
    two.panel(VotersPanel).wait()
    qtbot.waitUntil(two.panel(VotersPanel).clear.isEnabled)
    run("clear_question")
    assert two.model.pixel is None
    mouse("mousemove", 5, 5)
    qtbot.waitUntil(lambda: two.panel(VotersPanel) and two.canvas.underMouse() is False)
    qtbot.wait(50)
    run("ask_pixel")
    assert two.model.pixel is None
    assert "cursor" in said(two)


def test_points_steps_and_the_way_back(two, viewer, qtbot):
    panel = two.panel(GradientPanel)
    run("step")
    assert "choose a target" in said(two)
    run("add_points")
    assert tab(two) == "Gradient"
    assert panel.controls.add.isChecked()
    for column in (12, 20):
        click(qtbot, two, "noisy-or", 6, column)
    points = viewer.layers[-1]
    assert len(points.data) == 2
    run("take_back_point")
    assert len(points.data) == 1
    run("add_points")
    assert not panel.controls.add.isChecked()
    panel.wait()
    qtbot.waitUntil(panel.controls.step.isEnabled)
    run("add_gradient")
    assert "gradient" in names(viewer)
    run("step")
    panel.wait()
    two.wait()
    assert two.model.session.fields is not two.model.loaded
    run("play")
    assert panel.playing
    run("play")
    assert not panel.playing
    run("reset_fields")
    panel.wait()
    assert two.model.session.fields is two.model.loaded


def test_saving_asks_for_a_name_and_the_program_goes_to_the_clipboard(two, qtbot):
    panel = two.panel(SavePanel)
    for name, file in {
        "save_fields": "fields.mdn",
        "save_map": "noisy_or.npy",
        "save_picture": "mdn-viewer.png",
        "save_session": "votes.mdn-session",
        "save_program": "maps.py",
    }.items():
        run(name)
        (dialog,) = panel.findChildren(QFileDialog)
        assert dialog.selectedFiles()[0].endswith(file)
        dialog.reject()
        qtbot.waitUntil(lambda: panel.findChildren(QFileDialog) == [])
    for name, parent in (("open_session", panel), ("open_files", two)):
        run(name)
        (dialog,) = parent.findChildren(QFileDialog)
        qtbot.waitUntil(dialog.isVisible)
        dialog.reject()
        qtbot.waitUntil(lambda parent=parent: parent.findChildren(QFileDialog) == [])
    run("open_save")
    QApplication.clipboard().clear()
    run("copy_program")
    assert QApplication.clipboard().text() == panel.program.toPlainText() != ""


@pytest.mark.parametrize("focus", ["canvas", "panel", "layers"])
def test_keys_page_through_the_parts_wherever_the_focus_is(two, viewer, qtbot, focus):
    window = two.canvas.window()
    layers = next(w for w in window.findChildren(QWidget) if w.objectName() == "layer list")
    chosen = {"canvas": two.canvas.native, "panel": two.controls.part.native, "layers": layers}
    chosen[focus].setFocus()
    key(qtbot, "alt+Next")
    assert two.controls.part.value == 1
    key(qtbot, "alt+Prior")
    assert two.controls.part.value == 0


def test_keys_of_the_maps(two, qtbot):
    two.controls.part.native.setFocus()
    move_to(qtbot, two, "noisy-or", 10, 5)
    key(qtbot, "a")
    assert two.model.pixel == (10, 5)
    mouse("mousemove", 5, 5)
    qtbot.wait(100)
    two.model.ask_pixel(None)
    key(qtbot, "a")
    assert two.model.pixel is None


def preferences():
    """Open napari's Preferences, and find the table of its shortcuts."""
    command = "napari.window.file.show_preferences_dialog"
    get_app_model().commands.execute_command(command)
    dialogs = [w for w in QApplication.topLevelWidgets() if isinstance(w, QDialog)]
    (dialog,) = (w for w in dialogs if w.isVisible())
    (table,) = (
        t for t in dialog.findChildren(QTableWidget) if t.horizontalHeaderItem(2) is not None
    )
    rows = {table.item(row, 0).text(): row for row in range(table.rowCount())}
    return dialog, table, rows


def test_napari_lists_the_keys_and_has_the_user_change_them(two, viewer, qtbot):
    dialog, table, rows = preferences()
    assert set(LISTED.values()) <= rows.keys()
    cell = table.item(rows[LISTED["next_part"]], 2)
    assert cell.text() == "Alt+PageDown"
    cell.setText("Alt+N")
    dialog.done(0)  # OK would write the settings, which tests keep in memory
    assert [keys.toString() for keys in keys_of("next_part")] == ["Alt+N"]
    two.canvas.window().activateWindow()
    qtbot.waitUntil(two.canvas.window().isActiveWindow)
    try:
        key(qtbot, "alt+Next")
        assert two.controls.part.value == 0
        key(qtbot, "alt+n")
        assert two.controls.part.value == 1
        assert "Home" in two.results.menu("noisy-or").actions()[-1].text()
        action_manager.unbind_shortcut("mdn-cupy:show_everything")
        assert two.results.menu("noisy-or").actions()[-1].text() == "Show everything\t"
    finally:
        for name in KEYS:
            action_manager.unbind_shortcut(f"mdn-cupy:{name}")
            action_manager.bind_shortcut(f"mdn-cupy:{name}", KEYS[name].default)
    key(qtbot, "alt+Prior")
    assert two.controls.part.value == 0


def test_napari_runs_what_it_lists(two):
    action_manager.trigger("mdn-cupy:next_part")
    assert two.controls.part.value == 1


def test_keys_act_in_their_own_window_and_end_with_it(two, make_napari_viewer, qtbot):
    other = make_napari_viewer(show=True)
    add_fields(other, two_parts())
    second = dock(other)
    second.canvas.window().activateWindow()
    qtbot.waitUntil(second.canvas.window().isActiveWindow)
    key(qtbot, "alt+Next")
    assert (two.controls.part.value, second.controls.part.value) == (0, 1)
    followers = len(action_manager.events.shortcut_changed.callbacks)
    other.window.remove_dock_widget(second)
    assert len(action_manager.events.shortcut_changed.callbacks) == followers - 1
    action_manager.bind_shortcut("mdn-cupy:next_part", "Alt-M")
    action_manager.unbind_shortcut("mdn-cupy:next_part")
    action_manager.bind_shortcut("mdn-cupy:next_part", KEYS["next_part"].default)
    again = dock(other)
    key(qtbot, "alt+Next")
    assert again.controls.part.value == 1
    assert two.controls.part.value == 0
