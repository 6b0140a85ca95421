"""From Python to a window: what `show` takes, `update` from threads, a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from dataclasses import replace

import mdn_viewer
import numpy as np
import pytest
import torch
from mdn_viewer.core.session import VotingSession
from mdn_viewer.process import _sent
from mdn_viewer.values import newer, opened_from
from viewer_support import assert_shows, names, two_parts, wrong

import mdn_cupy as mdn

GIVEN = {"stride": 4.0, "origin": 2.0, "sigma": 2.0}
LONG = 300  # seconds: the machine may be busy


def other(scale):
    fields = two_parts()
    return replace(fields, confidence=fields.confidence * np.float32(scale))


# What is taken, without a window.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensors_of_any_dtype_and_with_a_graph(dtype):
    fields = two_parts()
    c, o = (
        torch.tensor(x).to(getattr(torch, dtype)).requires_grad_()
        for x in (fields.confidence, fields.offsets)
    )
    opened = opened_from(c, o, None, GIVEN).first
    expected = c.detach().double().numpy()
    np.testing.assert_array_equal(opened.confidence.astype(float), expected)
    frames = opened_from(c[None].expand(3, -1, -1, -1), o[None].expand(3, -1, -1, -1, -1), None, {})
    assert len(frames.frames) == 3
    np.testing.assert_array_equal(frames.frames[2].confidence, opened.confidence)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_arrays_on_the_gpu():
    cupy = pytest.importorskip("cupy")
    fields = two_parts()
    for make in (cupy.asarray, lambda x: torch.tensor(x, device="cuda", requires_grad=True)):
        opened = opened_from(make(fields.confidence), make(fields.offsets), None, GIVEN).first
        np.testing.assert_array_equal(opened.confidence, fields.confidence)
        np.testing.assert_array_equal(opened.offsets, fields.offsets)


def test_fields_votes_paths_frames_and_one_part(tmp_path):
    fields = two_parts()
    mdn.save_fields(tmp_path / "two.mdn", fields)
    votes = fields.votes(0, sigma=2.0)
    for given in (fields, str(tmp_path / "two.mdn"), tmp_path / "two.mdn"):
        found = opened_from(given, None, None, {}).first
        np.testing.assert_array_equal(found.confidence, fields.confidence)
    found = opened_from(votes, None, None, {}).first
    assert found.sigma == 2.0
    ours, theirs = VotingSession(found, 0, 2.0), VotingSession(fields, 0, 2.0)
    np.testing.assert_allclose(
        ours.vote()["additive"].values, theirs.vote()["additive"].values, atol=1e-6
    )
    assert len(opened_from([fields, other(0.5)], None, None, {}).frames) == 2
    assert (
        len(opened_from([str(tmp_path / "two.mdn"), tmp_path / "two.mdn"], None, None, {}).frames)
        == 2
    )
    one = opened_from(fields.confidence[0], fields.offsets[0], None, GIVEN).first
    assert one.confidence.shape == (1, 6, 8)


@pytest.mark.parametrize("layout", ["PCHW", "PHWC", "HWP PCHW"])
@pytest.mark.parametrize("frames", [False, True])
def test_a_layout_that_fits_alone_is_taken(layout, frames):
    rng = np.random.default_rng(0)
    whole = rng.random((3, 6, 8), np.float32), rng.random((3, 2, 6, 8), np.float32)
    if layout.startswith("HWP"):
        c, o = whole[0].transpose(1, 2, 0), whole[1]
    else:
        c, o = whole[0], whole[1] if layout == "PCHW" else whole[1].transpose(0, 2, 3, 1)
    if frames:
        (found,) = opened_from(torch.tensor(c)[None], torch.tensor(o)[None], None, {}).frames
    else:
        (found,) = opened_from(c, o, None, {}).frames
    np.testing.assert_array_equal(found.confidence, whole[0])
    np.testing.assert_array_equal(found.offsets, whole[1])
    np.testing.assert_array_equal(newer(two_parts(), c, o, None)[0].offsets, whole[1])


def test_layouts_that_fit_are_named():
    with pytest.raises(ValueError, match=r"give layout='\(PC\)HW' .* or layout='\(CP\)HW'"):
        opened_from(np.zeros((3, 40, 50)), np.zeros((6, 40, 50)), None, {})
    with pytest.raises(ValueError, match=r"give layout='HW\(PC\)' .* or layout='HW\(CP\)'"):
        opened_from(np.zeros((40, 50, 3)), np.zeros((40, 50, 6)), None, {})
    with pytest.raises(ValueError, match="give layout='PHWC' or layout='HWPC'"):
        opened_from(np.zeros((40, 50, 3)), np.zeros((40, 50, 3, 2)), None, {})


@pytest.mark.parametrize("order", ["xy", "yx"])
@pytest.mark.parametrize("frames", [False, True])
@pytest.mark.parametrize("layout", ["HW(PC)", "HW(CP)", "(PC)HW", "PHW HWCP"])
def test_a_layout_and_an_order_are_those_that_are_said(layout, frames, order):
    rng = np.random.default_rng(0)
    c, o = rng.random((3, 6, 8), np.float32), rng.random((3, 2, 6, 8), np.float32)
    written = {
        "HW(PC)": (c.transpose(1, 2, 0), o.reshape(6, 6, 8).transpose(1, 2, 0)),
        "HW(CP)": (c.transpose(1, 2, 0), o.swapaxes(0, 1).reshape(6, 6, 8).transpose(1, 2, 0)),
        "(PC)HW": (c, o.reshape(6, 6, 8)),
        "PHW HWCP": (c, o.transpose(2, 3, 1, 0)),
    }
    reading = {"layout": layout, "order": order}
    expected = o[:, ::-1] if order == "yx" else o
    arrays = [torch.tensor(each.copy()) for each in written[layout]]
    if frames:
        arrays = [each[None] for each in arrays]
    for found in (
        opened_from(*arrays, None, GIVEN | reading).frames,
        newer(None, *arrays, None, reading),
        _sent(two_parts(), *arrays, None, reading),  # of other parts: to a window's process
    ):
        (one,) = found
        np.testing.assert_array_equal(one.confidence, c)
        np.testing.assert_array_equal(one.offsets, expected)


def test_frames_of_one_part_are_told_by_the_layout():
    c, o = np.zeros((5, 6, 8), np.float32), np.zeros((5, 2, 6, 8), np.float32)
    assert opened_from(c, o, None, {}).first.confidence.shape == (5, 6, 8)
    frames = opened_from(c, o, None, {"layout": "CHW"}).frames
    assert [each.confidence.shape for each in frames] == [(1, 6, 8)] * 5


@pytest.mark.parametrize("colours", [3, 4])
def test_one_picture_of_as_many_rows_as_frames_is_every_frame_s(colours):
    frames = 24
    fields = two_parts()
    c, o = (np.stack([x] * frames) for x in (fields.confidence, fields.offsets))
    image = np.zeros((frames, 32, colours), np.uint8)
    for found in (opened_from(c, o, image, GIVEN).frames, newer(None, c, o, image)):
        assert found[5].image.shape == image.shape
    several = np.zeros((frames, 24, 32), np.uint8)
    assert opened_from(c, o, several, GIVEN).frames[5].image.shape == (24, 32)


def test_frames_of_arrays_are_made_once_and_several_votes_are_frames():
    fields = two_parts()
    c, o = np.stack([fields.confidence] * 2), np.stack([fields.offsets] * 2)
    frames = opened_from(c, o, None, {}).frames
    assert frames[1] is frames[1]  # what is known of its votes is kept by it
    votes = fields.votes(0)
    assert len(newer(None, [votes, votes], None, None)) == 2
    with pytest.raises(TypeError, match="frames must all be Fields or Votes, got ndarray"):
        newer(None, [fields, c], None, None)
    with pytest.raises(ValueError, match="must have a frame"):
        opened_from([], None, None, {})


def test_new_values_are_copied_and_keep_the_rest():
    fields = two_parts()
    c, o = fields.confidence.copy(), fields.offsets.copy()
    (found,) = newer(fields, c, o, None)
    c[:] = 0
    assert found.confidence.min() > 0
    assert (found.names, found.stride, found.sigma) == (fields.names, fields.stride, fields.sigma)
    assert found.image is fields.image
    for given in (fields, [fields], fields.votes(0)):  # the layout is that of arrays
        (found,) = newer(fields, given, None, None, {"layout": "HW(PC)"})
        np.testing.assert_array_equal(found.confidence[0], fields.confidence[0])


def test_what_else_fields_say_is_taken_of_fields_too():
    for given in (two_parts(), [two_parts(), other(0.5)]):
        one = opened_from(given, None, None, {"sigma": 7.0, "names": ("a", "b")}).frames[-1]
        assert (one.sigma, one.names) == (7.0, ("a", "b"))


BAD = {
    "a layout of other arrays": (
        lambda f: ((f.confidence, f.offsets), {"layout": "HW(PC)"}),
        ValueError,
        r"wants confidence \(H, W, P\) and offsets \(H, W, 2P\), .* got .*: give layout='PCHW'",
    ),
    "no layout": (lambda f: ((f.confidence, f.offsets), {"layout": "PXY"}), ValueError, "layout"),
    "layouts": (lambda f: ((f.confidence, f.offsets), {"layout": ["P"]}), TypeError, "layout"),
    "a file of several": (lambda f: ((["pose", "x.mdn"],), {}), ValueError, "one sample at a time"),
    "no order": (lambda f: ((f.confidence, f.offsets), {"order": "rc"}), ValueError, "order must"),
    "a layout of fields": (lambda f: ((f,), {"layout": "PCHW"}), TypeError, "are for arrays"),
    "no offsets": (lambda f: ((f.confidence,), {}), TypeError, "offsets are missing"),
    "no file": (lambda f: (("there-is-none.mdn",), {}), OSError, "there-is-none.mdn"),
    "no array": (lambda f: (("x", "y"), {}), OSError, "x"),
    "another grid": (lambda f: ((f.confidence, f.offsets[..., :3]), {}), ValueError, "offsets"),
    "no such part": (lambda f: ((f,), {"part": "knee"}), ValueError, "knee"),
    "too few frames": (
        lambda f: ((f.confidence[None], f.offsets[None][:0]), {}),
        ValueError,
        r"axis of frames; got confidence \(1, 2, 6, 8\), offsets \(0, ",
    ),
    "sigma": (
        lambda f: ((f.confidence, f.offsets), {"sigma": -1.0}),
        ValueError,
        "sigma",
    ),
}


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("bad", BAD)
def test_what_is_no_field_set_is_refused_before_a_window_opens(bad, process, monkeypatch):
    def no_window(*_, **__):
        raise AssertionError("a window would have opened")

    monkeypatch.setattr("mdn_viewer.window.open_window", no_window)
    monkeypatch.setattr("mdn_viewer.window.WindowProcess", no_window)
    arguments, error, says = BAD[bad]
    positional, named = arguments(two_parts())
    with pytest.raises(error, match=says) as raised:
        mdn_viewer.show(*positional, **named, process=process, block=False)
    assert "\n" not in str(raised.value)


# In a window.


@pytest.fixture
def window(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    shown = mdn_viewer.show(two_parts(), viewer=viewer)
    shown.widget.wait()
    return shown


def test_the_newest_of_a_thread_wins(window, qtbot):
    fields = two_parts()

    def loop():
        for n in range(1, 41):
            c = fields.confidence * np.float32(n / 20)
            window.update(torch.tensor(c, requires_grad=True), torch.tensor(fields.offsets))
            time.sleep(0.005)

    thread = threading.Thread(target=loop)
    thread.start()
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=1000 * LONG)
    qtbot.waitUntil(
        lambda: np.allclose(window.widget.model.session.fields.confidence, 0.6), timeout=1000 * LONG
    )
    window.widget.wait()
    assert_shows(window.widget, other(2.0), 0, 2.0)


def test_updates_that_are_no_fields_change_nothing(window):
    before = window.widget.model.session
    fields = two_parts()
    for arguments in ((fields.confidence, fields.offsets[:1]), (fields.confidence,)):
        with pytest.raises((TypeError, ValueError), match="offsets"):
            window.update(*arguments)
    with pytest.raises(ValueError, match=r"axis of frames; got confidence \(3, .*, offsets \(2, "):
        window.update(np.zeros((3, 2, 6, 8)), np.zeros((2, 2, 2, 6, 8)))
    with pytest.raises(ValueError, match="holds no frame"):
        window.update(np.zeros((0, 2, 6, 8)), np.zeros((0, 2, 2, 6, 8)))
    assert window.widget.model.session is before


def test_a_batch_takes_the_place_of_the_frames(window):
    fields, widget = two_parts(), window.widget

    def batch(*scales):
        c = np.stack([fields.confidence * np.float32(scale) for scale in scales])
        return torch.tensor(c), np.stack([fields.offsets] * len(scales))

    window.update(*batch(1, 0.5, 0.25))  # three frames where there was one field set
    widget.wait()
    assert len(widget.model.frames) == 3
    widget.controls.frame.value = 2
    widget.wait()
    before = names(window.viewer)
    for scales in ((2, 1.5, 1), (1, 1, 0.5)):
        window.update(*batch(*scales))
        widget.wait()
        assert widget.model.frame == 2
        assert_shows(widget, other(scales[2]), 0, 2.0)
    widget.controls.frame.value = 1
    widget.wait()
    assert_shows(widget, other(1), 0, 2.0)
    window.update([other(0.1), other(0.2), other(0.3)])
    widget.wait()
    assert_shows(widget, other(0.2), 0, 2.0)
    assert names(window.viewer) == before
    widget._write_values()
    layer = widget._selection.layers.confidence
    np.testing.assert_allclose(np.asarray(layer.data[2]), 0.09, rtol=1e-6)
    widget.controls.frame.value = 0
    widget.wait()
    assert_shows(widget, other(0.1), 0, 2.0)


def corner(fields, rows):
    """Other arrays than those of the fields, on a smaller grid."""
    return fields.confidence[:, :rows], fields.offsets[:, :, :rows]


def test_values_of_another_size_keep_the_grid_and_do_not_pile_up(window):
    fields, widget = two_parts(), window.widget
    count = len(names(window.viewer))
    for rows in (5, 4, 3):
        window.update(*corner(fields, rows))
        widget.wait()
        shown = widget.model.session.fields
        assert shown.confidence.shape == (2, rows, 8)
        assert (shown.stride, shown.origin, shown.names) == (4.0, 2.0, fields.names)
        assert len(names(window.viewer)) == count + 2  # confidence and offsets of the newest
    window.update(fields.confidence[:1], fields.offsets[:1])
    widget.wait()
    shown = widget.model.session.fields
    assert (shown.stride, shown.names) == (4.0, ("part 0",))


def test_new_values_are_read_as_the_tab_fields_has_it(window):
    fields, widget = two_parts(), window.widget
    inputs = widget.inputs
    inputs.order.value, inputs.scale.value = "yx", 0.5
    inputs.origin.pair = (1.0, 1.0)
    widget.wait()
    expected = widget.model.session.fields
    np.testing.assert_array_equal(expected.offsets, fields.offsets[:, ::-1] / 2)
    for values in ((fields.confidence, fields.offsets), (fields,), ([fields],)):
        window.update(*values)
        widget.wait()
        shown = widget.model.session.fields
        np.testing.assert_array_equal(shown.offsets, expected.offsets)
        assert (shown.stride, shown.origin) == (4.0, 1.0)
        widget._write_values()  # the layers have what came, and the tab's reading still holds
        widget.wait()
        np.testing.assert_array_equal(widget.model.session.fields.offsets, expected.offsets)


def test_values_out_of_range_are_told_and_then_no_longer(window):
    fields = two_parts()
    for scale, said in ((4, "outside [0, 1]"), (0.5, ""), (np.nan, "is nan"), (1, "")):
        with np.errstate(invalid="ignore"):
            window.update(fields.confidence * np.float32(scale), fields.offsets)
        window.widget.wait()
        assert said in wrong(window.widget)
        assert bool(said) == bool(wrong(window.widget))


def test_votes_that_fail_are_told_in_the_window(make_napari_viewer, monkeypatch):
    def fail(*_):
        raise MemoryError("no room")

    monkeypatch.setattr(VotingSession, "vote", fail)
    shown = mdn_viewer.show(two_parts(), viewer=make_napari_viewer(show=True))
    shown.widget.wait()
    assert "no room" in wrong(shown.widget)


def test_the_viewer_is_in_this_process(window):
    with pytest.raises(ValueError, match="viewer"):
        mdn_viewer.show(two_parts(), viewer=window.viewer, process=True)


# In a process of its own. Its window is found by its name on the X server.


def windows_named(name):
    command = ["xdotool", "search", "--name", f"mdn-viewer: {name}"]
    return subprocess.run(command, capture_output=True, text=True).stdout.split()


def gone(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def run_script(tmp_path, text):
    (tmp_path / "script.py").write_text(textwrap.dedent(text))
    return subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def shared_files():
    """The files without a name that this process holds for its windows."""
    links = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # of listdir itself
            links.append(os.readlink(f"/proc/self/fd/{number}"))
    return [link for link in links if "memfd:mdn-viewer" in link]


@pytest.mark.window
def test_a_process_of_its_own(qtbot, qapp):
    shown = mdn_viewer.show(two_parts(), process=True, name="own process")
    assert windows_named("own process")
    assert not shown.closed
    assert len(shared_files()) == 1
    for scale in np.linspace(0.1, 2, 30):
        shown.update(other(scale))
    shown.update(two_parts().confidence, two_parts().offsets)
    with pytest.raises(TypeError, match="offsets are missing"):
        shown.update(two_parts().confidence)
    shown.close()
    assert shown.closed
    qtbot.waitUntil(lambda: not windows_named("own process"), timeout=1000 * LONG)
    shown.update(two_parts())
    shown.close()
    qtbot.waitUntil(lambda: not shared_files(), timeout=1000 * LONG)


@pytest.mark.window
@pytest.mark.parametrize("given", ["confidence, offsets", "confidence, offsets, image"])
def test_a_new_window_shows_every_cell_without_a_resize(given, tmp_path):
    script = run_script(
        tmp_path,
        f"""
        import mdn_viewer
        import numpy as np
        from qtpy.QtWidgets import QApplication

        rng = np.random.default_rng(0)
        confidence = rng.random((3, 40, 50), np.float32)
        offsets = rng.normal(0, 8, (3, 2, 40, 50)).astype(np.float32)
        image = rng.random((40, 50), np.float32)
        window = mdn_viewer.show({given}, sigma=2.0, block=False)
        window.widget.wait()
        while not window.widget.canvas.complete:
            QApplication.processEvents()
        picture = window.viewer.screenshot(canvas_only=False, flash=False)
        canvas = window.widget.canvas
        corner = canvas.native.mapTo(canvas.window(), canvas.native.rect().topLeft())
        for cell in canvas.cells.values():
            left, top, width, height = cell.rectangle
            rows = picture[corner.y() + top :, corner.x() + left :]
            print(rows[:height, :width, :3].std())
        window.close()
        """,
    )
    out, complaint = script.communicate(timeout=LONG)
    contrasts = [float(text) for text in out.split()]
    assert len(contrasts) == 4, complaint
    assert min(contrasts) > 10


@pytest.mark.window
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, None])
def test_the_window_ends_with_its_parent(how, tmp_path, qtbot, qapp):
    """A script without a guard of its main module; None: it ends by itself."""
    script = run_script(
        tmp_path,
        f"""
        import mdn_cupy as mdn
        import mdn_viewer

        window = mdn_viewer.show(mdn.samples.load("delta"), process=True, name="child")
        window.update(mdn.samples.load("delta"))
        print(window._process.pid, flush=True)
        {"input()" if how is None else "window.wait()"}
        """,
    )
    pid = int(script.stdout.readline())
    assert windows_named("child")
    if how is not None:
        script.send_signal(how)
    script.communicate(timeout=LONG)
    qtbot.waitUntil(lambda: gone(pid), timeout=1000 * LONG)
    qtbot.waitUntil(lambda: not windows_named("child"), timeout=1000 * LONG)


@pytest.mark.window
def test_without_a_display_there_is_one_line(tmp_path):
    script = run_script(
        tmp_path,
        """
        import os

        os.environ.pop("DISPLAY", None)
        import mdn_cupy as mdn
        import mdn_viewer

        try:
            mdn_viewer.show(mdn.samples.load("delta"), process=True)
        except OSError as error:
            print(error)
        """,
    )
    out, _ = script.communicate(timeout=LONG)
    assert out.startswith("the window cannot open: there is no display here")
    assert out.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("block", ["", ", block=True"], ids=["by default", "asked to"])
def test_a_script_waits_until_its_window_is_closed(block):
    script = f"""
        import mdn_viewer, napari
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        application = QApplication([])
        QTimer.singleShot(0, lambda: QTimer.singleShot(500, napari.current_viewer().close))
        mdn_viewer.show("pose"{block})
        assert not [w for w in QApplication.topLevelWidgets() if w.isVisible()]
        print("closed")
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=LONG,
    )
    assert ran.stdout.endswith("closed\n"), ran.stderr
    assert ran.returncode == 0


@pytest.mark.slow
def test_triton_may_be_imported_after_the_window():
    """It crashed behind the LLVM of Mesa, by torchvision and torch.compile, as they came to it."""
    pytest.importorskip("triton")
    script = """
        import torch
        import mdn_viewer
        from qtpy.QtWidgets import QApplication
        window = mdn_viewer.show("delta", block=False)
        window.widget.wait()
        QApplication.processEvents()
        import torchvision
        window.close()
        """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    assert subprocess.run(command, timeout=300).returncode == 0
