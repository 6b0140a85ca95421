"""The command line takes what the window takes; a folder is followed; layers become a file."""

import os
import shutil

import imageio.v3
import numpy as np
import pytest
from mdn_viewer.__main__ import _opened, _parser, main
from mdn_viewer.core.opened import Opened
from mdn_viewer.layers.conversion import layer_data
from mdn_viewer.reader import get_reader
from mdn_viewer.watching import NewestFile, follow
from mdn_viewer.writer import write_fields
from qtpy.QtCore import QObject
from viewer_support import assert_shows, names, two_parts, wrong

import mdn_cupy as mdn

LONG = 120_000  # milliseconds: the machine may be busy


def opened(*arguments):
    return _opened(_parser().parse_args([str(x) for x in arguments]))


def test_a_pair_an_image_and_how_they_are_read(tmp_path):
    fields = two_parts()
    np.save(tmp_path / "conf.npy", fields.confidence)
    np.save(tmp_path / "offs.npy", fields.offsets[:, ::-1])
    imageio.v3.imwrite(tmp_path / "x.tif", fields.image)
    paths = [tmp_path / "conf.npy", tmp_path / "offs.npy"]
    for pair in (paths, paths[::-1]):
        got = opened(*pair, "--image", tmp_path / "x.tif", "--stride", 4, "--order", "yx").first
        np.testing.assert_array_equal(got.offsets, fields.offsets)
        np.testing.assert_array_equal(got.image, fields.image)
        assert got.stride == 4.0
    got = opened(*paths, "--image", tmp_path / "x.tif").first
    assert (got.stride, got.origin) == (4.0, 1.5)  # of the sizes


def test_several_files_are_frames_and_one_layout_is_found(tmp_path):
    confidence = np.concatenate([two_parts().confidence] * 2)
    offsets = np.concatenate([two_parts().offsets] * 2)
    for number in range(3):
        np.savez(
            tmp_path / f"epoch{number}.npz",
            heatmap=np.moveaxis(confidence, 0, -1),
            offset=offsets * number,
        )
    frames = opened(*sorted(tmp_path.glob("*.npz"))).frames
    assert len(frames) == 3
    np.testing.assert_array_equal(frames[2].offsets, offsets * 2)
    preset = opened(tmp_path / "epoch1.npz", "--layout", "HWP PCHW", "--stride", "4,4").first
    assert preset.stride == 4.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pose", "--order", "yx"], "pose is a sample, which takes no order"),
        (["a.npz", "--layout", "PPHW"], "layout must order the axes"),
        (["a.npz", "--set", "x=1"], "--set is for the settings of an adapter"),
        (["a.npz", "--from", "posenet", "--order", "yx"], "posenet takes no order"),
        (["a.npz"], "give --layout '(PC)HW'"),
        (["a.npz", "--scale", "nan"], "scale must be finite, got nan"),
        (["c.npy"], "or name the offsets' file too: c.npy OFFSETS.npy"),
        (["maps.npz", "--region", "0:0,0:0"], "region"),
        (["maps.npz", "--region", "5:3,:"], "region"),
        (["pose", "--image", "gone.png"], "gone.png: "),
        (["pose", "--image", "a.npz"], "image must have the shape"),
        (["--watch", "gone"], "gone: no folder or file to watch"),
        (["--watch", "gone/a.npz"], "gone/a.npz: no folder or file to watch"),
        (["pose", "--watch", "."], "--watch takes a folder"),
        (["a.npy", "b.npy"], "a.npy: "),
    ],
)
def test_what_makes_no_sense_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", confidence=np.zeros((2, 6, 8)), offsets=np.zeros((4, 6, 8)))
    np.savez("maps.npz", confidence=np.zeros((2, 6, 8)), offsets=np.zeros((2, 2, 6, 8)))
    np.save("c.npy", np.zeros((2, 6, 8)))
    np.save("a.npy", np.zeros(3))
    np.save("b.npy", np.zeros(3))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_newest_file_of_a_folder_is_shown_once_it_is_whole(tmp_path, qtbot):
    parent, read, refused = QObject(), [], []
    watched = NewestFile(tmp_path, lambda path: (path.name, mdn.open_fields(path)[0]), parent)
    watched.read.connect(read.append)
    watched.refused.connect(refused.append)
    qtbot.wait(600)
    assert read == refused == []  # there is nothing yet
    mdn.save_fields(tmp_path / "1.mdn", two_parts())
    qtbot.waitUntil(lambda: [name for name, _ in read] == ["1.mdn"], timeout=LONG)
    whole = (tmp_path / "1.mdn").read_bytes()
    with (tmp_path / "2.mdn").open("wb") as file:  # it is written in pieces, and rests between
        file.write(whole[:500])
        file.flush()
        qtbot.waitUntil(lambda: len(refused) == 1, timeout=LONG)
        file.write(whole[500:])
    qtbot.waitUntil(lambda: len(read) == 2, timeout=LONG)
    assert read[1][0] == "2.mdn"
    assert "2.mdn" in refused[0]
    for number in range(3, 20):  # of many at once the last wins
        shutil.copy(tmp_path / "1.mdn", tmp_path / f"{number}.mdn")
        os.utime(tmp_path / f"{number}.mdn", ns=(0, 10**18 * 4 + number))
    qtbot.waitUntil(lambda: read[-1][0] == "19.mdn", timeout=LONG)
    assert len(read) < 10
    shutil.rmtree(tmp_path)
    qtbot.wait(600)
    assert read[-1][0] == "19.mdn"


def test_a_watched_file_may_come_later_and_others_are_left_alone(tmp_path, qtbot):
    parent, read = QObject(), []
    watched = NewestFile(tmp_path / "best.mdn", lambda path: path.name, parent)
    watched.read.connect(read.append)
    mdn.save_fields(tmp_path / "other.mdn", two_parts())
    qtbot.wait(800)
    assert read == []
    for count in (1, 2):
        mdn.save_fields(tmp_path / "best.mdn", two_parts())
        qtbot.waitUntil(lambda count=count: read == ["best.mdn"] * count, timeout=LONG)


def test_layers_become_a_file_by_napari(shared, tmp_path):
    viewer = shared._viewer
    viewer.layers.clear()
    for data, keywords, _ in layer_data(Opened([two_parts()]), "two"):
        viewer.add_image(data, **keywords)
    viewer.layers["two confidence"].data = two_parts().confidence / 2
    viewer.layers.selection = set(viewer.layers)
    assert viewer.layers.save(str(tmp_path / "saved.mdn"), selected=True, plugin="mdn-cupy")
    saved = mdn.load_fields(tmp_path / "saved.mdn")
    np.testing.assert_array_equal(saved.confidence, two_parts().confidence / 2)
    np.testing.assert_array_equal(saved.offsets, two_parts().offsets)
    assert saved.names == ("left", "right")
    viewer.layers.clear()
    viewer.open(tmp_path / "saved.mdn", plugin="mdn-cupy")
    assert len(names(viewer)) == 3


def test_plain_layers_become_a_file_if_they_fit_in_one_way(tmp_path):
    fields = two_parts()
    c, o = np.concatenate([fields.confidence] * 2), np.concatenate([fields.offsets] * 2)
    keywords = {"metadata": {}, "scale": (1, 4, 4), "translate": (0, 2, 2)}
    layers = [(o, {**keywords, "scale": (1, 1, 4, 4)}, "image"), (c, keywords, "image")]
    write_fields(str(tmp_path / "a.mdn"), layers)
    saved = mdn.load_fields(tmp_path / "a.mdn")
    assert (saved.stride, saved.origin) == (4.0, 2.0)
    np.testing.assert_array_equal(saved.offsets, o)
    frames = [(np.stack([each, each]), looks, kind) for each, looks, kind in layers]
    write_fields(str(tmp_path / "two.mdn"), frames)
    assert len(mdn.open_fields(tmp_path / "two.mdn")) == 2
    with pytest.raises(ValueError, match="select the layers of one field set"):
        write_fields(str(tmp_path / "b.mdn"), layers[:1])
    both = [(fields.confidence, keywords, "image"), (fields.offsets, keywords, "image")]
    with pytest.raises(ValueError, match="could be"):
        write_fields(str(tmp_path / "b.mdn"), both)
    others = [each for name in "ab" for each in layer_data(Opened([two_parts()]), name)]
    with pytest.raises(ValueError, match="several field sets"):
        write_fields(str(tmp_path / "b.mdn"), others)
    assert not (tmp_path / "b.mdn").exists()


def test_the_reader_leaves_files_of_others_alone(tmp_path):
    np.savez(tmp_path / "theirs.npz", weights=np.zeros((3, 4)), bias=np.zeros(4))
    assert get_reader(str(tmp_path / "theirs.npz")) is None
    assert get_reader(str(tmp_path / "photo.png")) is None
    assert get_reader(str(tmp_path / "gone.h5")) is None
    fields = two_parts()
    np.savez(tmp_path / "ours.npz", hm=fields.confidence, offset=fields.offsets)
    layers = get_reader(str(tmp_path / "ours.npz"))(str(tmp_path / "ours.npz"))
    np.testing.assert_array_equal(layers[0][0], fields.confidence)


def test_what_a_watched_folder_gets_is_shown_in_the_window(shared, tmp_path, qtbot):
    shared._viewer.layers.clear()
    shared.wait()
    watched = follow(shared._viewer, shared, tmp_path, lambda path: [mdn.open_fields(path)[-1]])
    mdn.save_fields(tmp_path / "1.mdn", two_parts())
    qtbot.waitUntil(lambda: shared.voted, timeout=LONG)
    before = names(shared._viewer)
    assert shared._viewer.title.endswith(": 1.mdn")
    (tmp_path / "bad.mdn").write_text("no archive")
    qtbot.waitUntil(lambda: "bad.mdn" in wrong(shared), timeout=LONG)
    newer = two_parts(confidence=two_parts().confidence / 2)
    mdn.save_fields(tmp_path / "2.mdn", newer)
    qtbot.waitUntil(
        lambda: shared.model.session.fields.confidence.max() == newer.confidence.max(),
        timeout=LONG,
    )
    shared.wait()
    assert_shows(shared, newer, 0, shared.controls.sigma.value)
    assert names(shared._viewer) == before  # the same layers have new values
    assert not wrong(shared)
    assert shared._viewer.title.endswith(": 2.mdn")
    watched.deleteLater()
