"""`Votes`: its texts, and the methods that return other votes."""

import dataclasses
import math
import pickle
import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

import mdn_cupy as mdn
from mdn_cupy.notebook import as_html

RNG = np.random.default_rng(0)
CONFIDENCE, OFFSETS = RNG.random((2, 5, 6), np.float32), RNG.normal(size=(2, 2, 5, 6)).astype("f4")


def test_it_says_what_there_is_and_what_is_not_at_its_default():
    votes = mdn.Votes(CONFIDENCE, OFFSETS, 1.5, stride=(2, 3), aggregate=-3)
    assert repr(votes) == (
        "Votes(confidence=float32 [2, 5, 6], offsets=float32 [2, 2, 5, 6], sigma=1.5, "
        "stride=(2, 3), aggregate=-3, map=float32 [9, 16], backend=cpu)"
    )


@pytest.mark.parametrize(
    ("shape", "drawn"), [((5, 6), True), ((0, 6), False), ((5, 1 << 22), False)]
)
def test_a_notebook_shows_a_table_and_a_picture_of_a_map_that_is_not_too_large(shape, drawn):
    html = mdn.Votes(CONFIDENCE, OFFSETS, 1.5, output_shape=shape)._repr_html_()
    assert "<th>sigma</th><td>1.5</td>" in html
    assert ("data:image/png;base64," in html) == drawn


def test_a_picture_of_a_notebook_is_small_and_shows_a_narrow_peak():
    m = np.zeros((600, 301), np.float32)
    m[500, 4] = 1
    data = re.search('base64,([^"]+)', as_html([], m))
    picture = imread(BytesIO(b64decode(data[1])), format="png")
    assert picture.shape[:2] == (200, 101)
    assert np.argwhere(picture[..., 0] > picture[0, 0, 0]).tolist() == [[500 // 3, 4 // 3]]


def test_it_is_frozen_and_pickles():
    votes = mdn.Votes(CONFIDENCE, OFFSETS, 1.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        votes.sigma = 2.0
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(votes)).noisy_or(), votes.noisy_or())


def test_it_equals_only_itself():
    votes = mdn.Votes(CONFIDENCE, OFFSETS, 1.5)
    assert len({votes, votes, votes.replace(), mdn.Votes(1 - CONFIDENCE, OFFSETS, 1.5)}) == 3


def test_replaced_arguments_are_checked_and_a_default_size_follows_the_stride():
    votes = mdn.Votes(CONFIDENCE, OFFSETS, 1.5)
    assert votes.replace(stride=2).shape == (2, 9, 11)
    assert votes.replace(truncate=math.inf).truncate == math.inf
    with pytest.raises(ValueError, match="sigma must be greater than 0, got -1"):
        votes.replace(sigma=-1.0)
    with pytest.raises(TypeError, match="widht"):
        votes.replace(widht=1.0)


def test_slices_of_a_crop_are_those_of_the_map():
    votes = mdn.Votes(CONFIDENCE, OFFSETS, 1.5, stride=2, output_shape=(9, 11))
    whole = votes.plain_sum()
    for rows, columns in ((slice(-4, None), slice(3, 99)), (slice(6, 2), slice(None))):
        part = votes.crop(rows, columns).plain_sum()
        np.testing.assert_allclose(part, whole[:, rows, columns], atol=1e-6)


def test_values_out_of_the_domain_are_looked_for_when_asked():
    with pytest.raises(ValueError, match="confidence: 1 of 60 values outside"):
        mdn.Votes(
            np.where(CONFIDENCE.max() == CONFIDENCE, 2, CONFIDENCE).astype("f4"), OFFSETS, 1.5
        ).check()


def test_there_is_no_other_device_than_these():
    with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda', got 'tpu'"):
        mdn.Votes(CONFIDENCE, OFFSETS, 1.5).to("tpu")
