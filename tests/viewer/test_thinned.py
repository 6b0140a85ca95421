"""Fields of more sources than a window bears: every n-th is read, and it is said."""

import numpy as np
import pytest
import zarr
from mdn_viewer.core import file_guess, origin
from mdn_viewer.core.opened import open_paths


@pytest.fixture
def slide(tmp_path, monkeypatch):
    monkeypatch.setattr(file_guess, "MOST", 1000)
    monkeypatch.setattr(origin, "MOST", 1000)
    monkeypatch.setattr(origin, "_THINNED", 256)
    rng = np.random.default_rng(0)
    group = zarr.open_group(tmp_path / "slide.zarr")
    group.create_array("confidence", data=rng.random((64, 64), np.float32), chunks=(16, 16))
    group.create_array("offsets", data=np.zeros((2, 64, 64), np.float32), chunks=(2, 16, 16))
    return tmp_path / "slide.zarr"


def test_every_nth_source_of_a_slide_is_opened_and_a_part_with_all(slide):
    whole = zarr.open_group(slide)["confidence"][:]
    with pytest.warns(UserWarning, match="of 64 x 64 sources every 4th votes here; --region"):
        fields = open_paths([slide]).first
    np.testing.assert_array_equal(fields.confidence[0], whole[::4, ::4])
    assert fields.stride == 4
    with pytest.warns(UserWarning, match="every 4th"):
        (dropped,) = file_guess.guess(slide).files().frames()
    np.testing.assert_array_equal(dropped.confidence, fields.confidence)
    part = open_paths([slide], region=(slice(8, 40), slice(0, 30))).first
    np.testing.assert_array_equal(part.confidence[0], whole[8:40, :30])
