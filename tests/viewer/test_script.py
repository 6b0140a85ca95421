"""The console script `mdn-viewer`."""

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import imageio.v3
import matplotlib.image
import numpy as np
import pytest
from helpers import BLOCK
from mdn_viewer.__main__ import main
from mdn_viewer.core.origin import Origin
from mdn_viewer.core.session_file import SavedSession, write_session
from mdn_viewer.display import obstacle
from viewer_support import two_parts

import mdn_cupy as mdn

SAMPLES = ", ".join(mdn.samples.names())
SCRIPT = [sys.executable, "-m", "mdn_viewer"]
NO_DISPLAY = "mdn-viewer: there is no display here; without one: "


@pytest.fixture
def elsewhere(tmp_path):
    """An environment whose napari has settings of its own."""
    settings = str(tmp_path / "napari" / "settings.yaml")
    return {**os.environ, "HOME": str(tmp_path), "NAPARI_CONFIG": settings}


def test_it_is_installed():
    (script,) = entry_points(group="console_scripts", name="mdn-viewer")
    assert script.load() is main


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["--help"])
    assert exit_info.value.code == 0
    text = capsys.readouterr().out
    for word in (SAMPLES, "--part", "--sigma", "--screenshot", "examples:", "compare"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.mdn"], f"nowhere.mdn: no such file; the samples are {SAMPLES}"),
        (["pose", "coins"], "one sample at a time"),
        (["."], "bad.mdn: not a readable .mdn file"),
        (["bad.mdn"], "bad.mdn: not a readable .mdn file"),
        (["bad.mdn-session"], "bad.mdn-session: it is not JSON, so no session"),
        (["pose", "bad.mdn-session"], "a session is opened alone"),
        (["far.mdn-session"], "far.mdn: no such file"),
        (["late.mdn-session"], "sample:pose: there is no frame 7, it has 1"),
        (["pose.mdn-session", "--part", "tail"], "no part 'tail'"),
        (["pose", "--part", "tail"], "no part 'tail'; the parts are nose, left eye"),
        (["pose", "--sigma", "0"], "sigma must be greater than 0, got 0.0"),
        (["pose", "--sigma", "nan"], "sigma must be finite, got nan"),
        (["pose", "--screenshot", "pose.jpg"], "pose.jpg: a screenshot is a .png file"),
        (["pose", "--screenshot", "folder.png"], "folder.png: is a directory"),
        (["plain/d.npz"], "give --layout '(PC)HW'"),
        (["plain/d.npz", "--origin", "-3,-4"], "give --layout '(PC)HW'"),
        (["pose", "--screenshot", "no/pose.png"], "no/pose.png: there is no such folder"),
    ],
)
def test_arguments_that_make_no_sense(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.mdn").write_text("no archive")
    (tmp_path / "plain").mkdir()
    np.savez(
        tmp_path / "plain" / "d.npz", scoremap=np.zeros((5, 6, 8)), locref=np.zeros((10, 6, 8))
    )
    (tmp_path / "bad.mdn-session").write_text("no session")
    write_session("far.mdn-session", SavedSession(Origin(("far.mdn",))))
    write_session("late.mdn-session", SavedSession(Origin(("sample:pose",)), frame=7))
    write_session("pose.mdn-session", SavedSession(Origin(("sample:pose",))))
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("mdn-viewer: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_option_that_is_misspelt_is_guessed(capsys):
    with pytest.raises(SystemExit):
        main(["pose", "--orgin", "2"])
    assert "did you mean --origin?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "environment",
    [{}, {"DISPLAY": ":98765"}, {"QT_QPA_PLATFORM": "offscreen"}],
    ids=["none", "no answer", "offscreen"],
)
def test_without_a_display(environment, monkeypatch, capfd):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["pose"]) == 1
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(NO_DISPLAY)
    assert err.count("\n") == 1


@pytest.mark.parametrize("on_the_path", [True, False])
def test_the_command_for_no_display_works_as_pasted(on_the_path, monkeypatch, tmp_path):
    path = Path(sys.executable).parent if on_the_path else tmp_path
    monkeypatch.setenv("PATH", str(path))
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    command = obstacle().partition("without one: ")[2]
    assert command.startswith("mdn-cupy ") == on_the_path
    subprocess.run(command, shell=True, check=True, cwd=tmp_path, executable="/bin/sh")
    assert (tmp_path / "compare.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; from mdn_viewer.__main__ import main; sys.exit(main(['pose']))",
            "mdn-viewer",
        ),
        ("import mdn_viewer; mdn_viewer.show(1, 2)", "ModuleNotFoundError: mdn_viewer.show"),
        ("from mdn_viewer import show", "ModuleNotFoundError: mdn_viewer.show"),
    ],
)
def test_without_what_the_extra_brings(code, said):
    blocked = {
        "napari",
        "magicgui",
        "platformdirs",
        "qtpy",
        "superqt",
        "vispy",
        "matplotlib",
        "tqdm",
    }
    command = [sys.executable, "-c", BLOCK.format(blocked=blocked) + code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    *before, last = done.stderr.splitlines()
    wanted = f'{said}: napari is not installed: pip install "mdn-cupy[viewer]"'
    assert (done.returncode, last) == (1, wanted)
    assert said != "mdn-viewer" or not before


@pytest.mark.slow
def test_a_screenshot(tmp_path, elsewhere):
    mdn.save_fields(tmp_path / "hand.mdn", two_parts())
    picture = tmp_path / "hand.png"
    options = ["--part", "right", "--sigma", "3", "--screenshot", str(picture)]
    command = [*SCRIPT, str(tmp_path / "hand.mdn"), *options]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert picture.read_bytes()[:4] == b"\x89PNG"
    pixels = matplotlib.image.imread(picture)[..., :3]
    assert pixels.shape[0] >= 500
    assert pixels.shape[1] >= 700
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 200  # not blank
    controls = pixels[50:300, 20:300].reshape(-1, 3)  # of the layer that is selected
    assert len(np.unique(controls, axis=0)) > 100
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".hand.png")]


@pytest.mark.slow
def test_settings_that_make_no_sense_or_no_map(tmp_path, elsewhere):
    (tmp_path / "napari").mkdir()
    off = [f"  show_{kind}: false" for kind in ("noisy_or", "additive", "difference", "confidence")]
    told = "\n".join(["maps:", "  colormap: nonsense", *off])
    (tmp_path / "napari" / "mdn-cupy.yaml").write_text(told)
    command = [*SCRIPT, "delta", "--screenshot", str(tmp_path / "delta.png")]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'nonsense' is not one of the allowed" in done.stderr  # as napari says it
    assert (tmp_path / "delta.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.slow
def test_ctrl_c(elsewhere):
    code = """
import signal, sys
import napari
from qtpy.QtCore import QTimer
from mdn_viewer.__main__ import main

def run(run=napari.run):
    QTimer.singleShot(500, lambda: signal.raise_signal(signal.SIGINT))
    run()

napari.run = run
sys.exit(main(["delta"]))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=elsewhere, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.slow
def test_the_window_stays(elsewhere):
    with subprocess.Popen([*SCRIPT, "delta"], env=elsewhere, stderr=subprocess.PIPE) as process:
        try:
            search = ["xdotool", "search", "--sync", "--onlyvisible", "--name", "mdn-viewer: delta"]
            assert subprocess.run(search, capture_output=True, timeout=120, check=True).stdout
            assert process.poll() is None
        finally:
            process.terminate()


DRIVER = """
import json, sys
import napari, viewer_support
from qtpy.QtTest import QTest

class Bot:
    def wait(self, ms):
        QTest.qWait(ms)

    def waitUntil(self, met, timeout=30000):
        for _ in range(timeout // 50):
            if met():
                return
            QTest.qWait(50)
        raise AssertionError("too late")

def drive():
    (widget,) = napari.current_viewer().window.dock_widgets.values()
    widget.wait()
    model = widget.model
    said = {"frames": len(model.frames), "frame": model.frame, "before": model.pixel}
    viewer_support.click(Bot(), widget, "noisy-or", 12, 20)
    Bot().waitUntil(lambda: model.pixel == (12, 20))
    viewer_support.press(Bot(), widget.tab_buttons.button("Voters"))
    Bot().waitUntil(lambda: widget.tabs.tabText(widget.tabs.currentIndex()) == "Voters")
    fields = model.session.fields
    said |= {"voters": len(model.session.votes.voters((12, 20))), "stride": fields.stride}
    print(json.dumps(said), file=sys.__stdout__)

napari.run = drive
from mdn_viewer.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.window
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("a.mdn b.mdn --part right", {"frames": 2, "frame": 0, "before": None, "stride": 4}),
        (
            "conf.npy offs.npy --image x.tif --order yx --part 1",
            {"frames": 0, "frame": 0, "before": None, "stride": 4},
        ),
        ("all.mdn-session", {"frames": 2, "frame": 1, "before": [3, 4], "stride": 4}),
    ],
)
def test_what_is_named_is_open_and_answers_the_mouse(arguments, expected, tmp_path, elsewhere):
    fields = two_parts()
    for name in ("a.mdn", "b.mdn"):
        mdn.save_fields(tmp_path / name, fields)
    np.save(tmp_path / "conf.npy", fields.confidence)
    np.save(tmp_path / "offs.npy", fields.offsets[:, ::-1])
    imageio.v3.imwrite(tmp_path / "x.tif", fields.image)
    files = Origin((str(tmp_path / "a.mdn"), str(tmp_path / "b.mdn")))
    session = SavedSession(files, part=1, frame=1, shown=["noisy_or"], pixel=[3, 4])
    write_session(tmp_path / "all.mdn-session", session)
    command = [sys.executable, "-c", DRIVER, *arguments.split()]
    tests = str(Path(__file__).parents[1])
    environment = {**elsewhere, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == {**expected, "voters": 48}  # all sources of the part
