"""Targets, losses and steps down their gradients, without a window."""

from dataclasses import replace

import numpy as np
import pytest
from mdn_viewer.core.gradient_descent import GradientDescentController, TargetSpec
from mdn_viewer.core.losses import Loss, loss_gradient, loss_of
from mdn_viewer.core.model import VotingModel
from mdn_viewer.core.optimizer import Descent, Rates
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.core.targets import target_of_image, target_of_points
from viewer_support import two_parts

import mdn_cupy as mdn

SHAPE = (24, 32)  # of the maps of two_parts


def scattered(dtype=np.float64):
    """`two_parts` with votes that only partly agree, with cross offsets, one of them missing."""
    rng = np.random.default_rng(3)
    fields = two_parts()
    shape = fields.offsets.shape
    cross = fields.offsets[:, None] + rng.normal(0, 2, (2, *shape))
    cross[1, 0, :, 2, 3] = np.nan
    return replace(
        fields,
        confidence=rng.uniform(0.05, 0.4, fields.confidence.shape).astype(dtype),
        offsets=(fields.offsets + rng.normal(0, 2, shape)).astype(dtype),
        cross_offsets=cross.astype(dtype),
    )


def sessions(fields):
    return {
        "own": VotingSession(fields, "left", 2.3),
        "all": VotingSession(fields, ALL, 2.3, sum_rule="plain_sum", truncate=6.0),
        "cross": VotingSession(fields, "right", 2.3, cross=True),
    }


POINTS = target_of_points([[11, 8], [15.5, 20.25]], 3.0, SHAPE)


def test_points_are_blurred_and_peak_at_one():
    target = target_of_points([[3, 4], [3, 6], [100, 100]], 2.0, (9, 12))
    assert target.dtype == np.float32
    rows, columns = np.mgrid[:9, :12]
    apart = [np.exp(-((rows - 3) ** 2 + (columns - c) ** 2) / 8) for c in (4, 6)]
    np.testing.assert_allclose(target, np.maximum(*apart), atol=1e-5)
    assert target[3, 4] == target[3, 6] == 1


@pytest.mark.parametrize(
    ("points", "width", "match"),
    [
        ([], 2.0, "none of the 0 points"),
        ([[50, 2]], 2.0, "lies on the map of 9 × 12"),
        ([[np.nan, 2]], 2.0, "none of the 1 points"),
        ([[2, 2]], 0.0, "width"),
    ],
)
def test_points_that_are_no_target(points, width, match):
    with pytest.raises(ValueError, match=match):
        target_of_points(points, width, (9, 12))


def test_an_image_of_the_maps_size_stays_what_it_is():
    values = np.random.default_rng(0).uniform(0, 1, SHAPE).astype(np.float32)
    np.testing.assert_array_equal(target_of_image(values, SHAPE), values)
    counts = (values * 255).astype(np.uint8)
    np.testing.assert_allclose(target_of_image(counts, SHAPE), counts / counts.max(), atol=1e-6)
    mask = values > 0.5
    np.testing.assert_array_equal(target_of_image(mask, SHAPE), mask)


def test_a_coarse_image_is_interpolated_where_it_lies():
    coarse = two_parts().confidence[0] * np.linspace(0, 1, 8)
    target = target_of_image(coarse, SHAPE, ((4.0, 2.0), (2.0, 1.0)))
    np.testing.assert_allclose(target[2::4, 1:17:2], coarse, atol=1e-7)
    np.testing.assert_allclose(target[2, 2], coarse[0, :2].mean(), atol=1e-7)
    assert (target[:2] == 0).all()  # beyond its pixels
    assert (target[:, 16:] == 0).all()
    stretched = target_of_image(coarse, (21, 29))
    np.testing.assert_allclose(
        stretched[[0, 0, -1, -1], [0, -1, 0, -1]], coarse[[0, 0, -1, -1], [0, -1, 0, -1]]
    )


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (np.ones((5, 24, 32)), "one image"),
        (np.ones((24, 24)), "proportions"),
        (-np.ones(SHAPE), "not negative"),
        (np.full(SHAPE, np.nan), "finite"),
        (np.zeros(SHAPE), "nothing to vote for"),
        (np.ones(SHAPE, complex), "real numbers"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_images_that_are_no_target(values, match):
    with pytest.raises(ValueError, match=match):
        target_of_image(values, SHAPE)


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("votes", ["own", "all", "cross"])
def test_the_gradient_is_that_of_the_loss(votes, loss):
    """Against the loss's own finite differences, in single sources and in sigma."""
    session = sessions(scattered())[votes]
    pull = loss_gradient(session, POINTS, loss)
    assert pull.loss == loss_of(session, POINTS, loss)
    rng, step = np.random.default_rng(1), 1e-5
    scale = {name: np.abs(getattr(pull, name)).max() for name in ("confidence", "offsets")}
    for name in ("confidence", "offsets"):
        values = getattr(session.votes, name)
        finite = np.argwhere(np.isfinite(values))
        for index in map(tuple, rng.permutation(finite)[:12]):
            losses = []
            for sign in (1, -1):
                moved = values.copy()
                moved[index] += sign * step
                losses.append(loss_of(_with(session, name, moved), POINTS, loss))
            slope = (losses[0] - losses[1]) / (2 * step)
            assert getattr(pull, name)[index] == pytest.approx(
                slope, rel=1e-3, abs=1e-3 * scale[name]
            )
    losses = [loss_of(replace(session, sigma=s), POINTS, loss) for s in (2.3 + step, 2.3 - step)]
    # The window's edge moves with sigma: what it takes in or leaves weighs exp(-8) and less.
    assert pull.sigma == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=0.02)


def _with(session, name, values):
    """A session whose votes are of other confidences or offsets."""
    moved = replace(session)
    moved.__dict__["votes"] = session.votes.replace(**{name: values})
    return moved


def test_the_cross_entropy_is_the_librarys():
    torch = pytest.importorskip("torch")
    session = sessions(scattered())["own"]
    votes = session.votes
    c, o = (torch.from_numpy(x).requires_grad_() for x in (votes.confidence, votes.offsets))
    log_complement = votes.replace(confidence=c, offsets=o).log_complement()
    target = torch.from_numpy(POINTS).double()
    loss = mdn.torch.noisy_or_bce(log_complement, target, reduction="sum")
    loss.backward()
    pull = loss_gradient(session, POINTS, Loss.CROSS_ENTROPY)
    assert pull.loss == pytest.approx(loss.item())
    np.testing.assert_allclose(pull.confidence, c.grad.numpy(), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(pull.offsets, o.grad.numpy(), rtol=1e-5, atol=1e-9)


def test_a_map_that_saturates_beyond_all_digits_is_still_pulled():
    """L is below −2000, where exp(L) is 0 even in float64; its cotangent is 1 − t all the same."""
    confidence = np.full((1, 40, 40), 0.9, np.float32)
    rows, columns = np.mgrid[:40, :40]
    offsets = np.stack([20 - columns, 20 - rows])[None].astype(np.float32)
    session = VotingSession(mdn.Fields(confidence, offsets), 0, 2.0)
    target = target_of_points([[20, 20]], 1.0, (40, 40)) / 2
    pull = loss_gradient(session, target, Loss.CROSS_ENTROPY)
    assert np.isfinite(pull.loss)
    # Each vote's own pixel alone: (1 − t)/(1 − c)
    assert (pull.confidence > 0.5 / (1 - 0.9)).all()
    assert Descent.begin(session, target, Loss.CROSS_ENTROPY).step().pull.loss < pull.loss


def test_what_has_no_loss_is_refused():
    session = VotingSession(two_parts(), 0, 2.0)
    with pytest.raises(ValueError, match=r"map's size \(24, 32\), got \(3, 3\)"):
        loss_gradient(session, np.ones((3, 3)), Loss.NOISY_OR)
    confidence = two_parts().confidence.copy()
    confidence[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="pixels of the map are not a number"):
        loss_gradient(
            VotingSession(two_parts(confidence=confidence), 0, 2.0), POINTS, Loss.NOISY_OR
        )


@pytest.mark.parametrize("loss", Loss)
@pytest.mark.parametrize("votes", ["own", "all", "cross"])
def test_steps_lead_down_and_leave_everything_else_alone(votes, loss):
    session = sessions(scattered(np.float32))[votes]
    kept = {
        n: getattr(session.fields, n).copy() for n in ("confidence", "offsets", "cross_offsets")
    }
    descent = Descent.begin(session, POINTS, loss)
    for _ in range(8):
        descent = descent.step()
    assert len(descent.losses) == 9
    assert (np.diff(descent.losses) < 0).all()
    assert descent.losses[-1] == loss_of(descent.session, POINTS, loss)
    after = descent.session.fields
    assert after.confidence.dtype == after.offsets.dtype == np.float32
    assert ((after.confidence >= 0) & (after.confidence <= 1)).all()
    for name, values in kept.items():
        np.testing.assert_array_equal(getattr(session.fields, name), values)
        moved = ~np.isclose(getattr(after, name), values, equal_nan=True)
        expected = {
            ("own", "confidence"): [0],
            ("own", "offsets"): [0],
            ("all", "confidence"): [0, 1],
            ("all", "offsets"): [0, 1],
            ("cross", "confidence"): [0, 1],
            ("cross", "cross_offsets"): [1],
        }.get((votes, name), [])
        assert [n for n in range(len(moved)) if moved[n].any()] == expected
    assert np.isnan(after.cross_offsets[1, 0, :, 2, 3]).all()


@pytest.mark.parametrize("loss", Loss)
def test_mass_collapses_onto_the_target(loss):
    """Forty steps at most, with all votes 6 pixels away to begin with."""
    session = VotingSession(two_parts(), "left", 2.0, sum_rule="plain_sum")
    target = target_of_points([[14, 9]], 3.0, SHAPE)
    kind = "additive" if loss is Loss.ADDITIVE else "noisy_or"

    def mass_there(session):
        values = session.vote()[kind].values
        rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
        return values[np.hypot(rows - 14, columns - 9) < 4].sum() / values.sum()

    descent = Descent.begin(session, target, loss)
    assert mass_there(session) < 0.3
    for _ in range(40):
        descent = descent.step()
    assert mass_there(descent.session) > 0.7
    assert descent.losses[-1] < 0.3 * descent.losses[0]


def test_mass_collapses_on_a_networks_output():
    """Onto a point that no vote was near, a hundred pixels away from where most of them landed."""
    session = VotingSession(mdn.samples.load("pose"), "nose", 8.0)
    target = target_of_points([[200, 150]], 8.0, (385, 385))
    descent = Descent.begin(session, target, Loss.CROSS_ENTROPY)
    for _ in range(50):
        descent = descent.step()
    peak = descent.session.vote()["noisy_or"].peak
    assert (peak.row, peak.column) == pytest.approx((200, 150), abs=2)
    assert descent.losses[-1] < 0.15 * descent.losses[0]


def test_it_comes_to_rest():
    session = VotingSession(two_parts(), "left", 2.0)
    log_complement = session.compute("log_complement")
    descent = Descent.begin(session, -np.expm1(log_complement), Loss.NOISY_OR)
    assert descent.pull.loss == 0
    rest = descent.step()
    assert rest.at_rest
    assert rest.session is session
    still = Descent.begin(session, POINTS, Loss.NOISY_OR).step(Rates(0, 0))
    assert still.at_rest


def test_rates_say_what_moves():
    session = sessions(scattered(np.float32))["own"]
    start = Descent.begin(session, POINTS, Loss.CROSS_ENTROPY)
    only_c, only_o = start.step(Rates(offsets=0)), start.step(Rates(confidence=0))
    np.testing.assert_array_equal(only_c.session.fields.offsets, session.fields.offsets)
    np.testing.assert_array_equal(only_o.session.fields.confidence, session.fields.confidence)
    assert only_c.session.fields.confidence[0].std() > 0
    away = np.abs(only_o.session.fields.offsets - session.fields.offsets).max()
    assert 0.1 * 2.3 < away <= 0.25 * 2.3 + 1e-5


@pytest.fixture
def model():
    model = VotingModel()
    model.show(VotingSession(scattered(np.float32), "left", 2.0))
    return model


@pytest.fixture
def descending(model):
    descending = GradientDescentController(model)
    descending.take(TargetSpec(lambda session: POINTS, Loss.CROSS_ENTROPY))
    return descending


def test_maps_follow_the_steps_and_reset_is_exact(model, descending):
    before, loaded = model.maps["noisy_or"].values.copy(), model.loaded
    copies = loaded.confidence.copy(), loaded.offsets.copy()
    assert len(descending.descent.losses) == 1
    for _ in range(3):
        descending.step()
    assert len(descending.descent.losses) == 4
    assert descending.descent.session is model.session is model.voted
    assert not np.array_equal(model.maps["noisy_or"].values, before)
    expected = loss_of(model.session, POINTS, Loss.CROSS_ENTROPY)
    assert descending.descent.pull.loss == expected
    descending.reset()
    assert model.session.fields is model.loaded is loaded
    np.testing.assert_array_equal(model.maps["noisy_or"].values, before)
    np.testing.assert_array_equal(loaded.confidence, copies[0])
    np.testing.assert_array_equal(loaded.offsets, copies[1])
    assert len(descending.descent.losses) == 1


def test_the_gradient_follows_what_is_looked_at(model, descending):
    heard = []
    descending.changed.connect(heard.append)
    descending.step()
    stepped = model.session.fields
    model.change(sigma=3.0)
    model.settle()
    assert descending.descent.session is model.session
    assert model.session.fields is stepped  # the way so far is kept
    assert len(descending.descent.losses) == 1
    model.change(part="right")
    descending.step()  # sees first where it is
    assert (descending.descent.session.part, len(descending.descent.losses)) == (1, 1)
    model.show(None)
    assert descending.descent is None
    assert heard[-1] is None
    descending.step()
    descending.reset()
    assert descending.descent is None


def test_without_an_aim_there_is_no_gradient(model, descending):
    descending.take(None)
    assert descending.descent is None
    model.settle()
    descending.step()
    assert descending.descent is None


def test_why_there_is_no_gradient_is_said(model, descending):
    heard = []
    descending.refused.connect(heard.append)
    descending.take(TargetSpec(lambda session: np.ones((3, 3)), Loss.NOISY_OR))
    assert descending.descent is None
    assert "got (3, 3)" in str(heard[0])
    descending.take(TargetSpec(lambda session: POINTS, Loss.NOISY_OR))
    assert descending.descent is not None
