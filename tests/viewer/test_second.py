"""A second field set beside the first: maps, differences, matched peaks, who voted where."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mdn_viewer.core.detections import Search
from mdn_viewer.core.second import Own, compare, second_session, voters_in_both
from mdn_viewer.core.session import ALL, VotingSession
from mdn_viewer.widgets.open_dialog import OpenDialog
from mdn_viewer.widgets.second import SecondPanel
from mdn_viewer.widgets.truth import TruthPanel
from qtpy.QtCore import Qt
from viewer_support import add_fields, click, names, pictures, two_parts, wrong

import mdn_cupy as mdn
from mdn_cupy import reference


def moved(fields, part, sources, target):
    """The fields, with the votes of some sources of a part sent to another (row, column)."""
    offsets = fields.offsets.copy()
    rows, columns = fields.origin + fields.stride * np.mgrid[:6, :8]
    offsets[part, 0][sources] = (target[1] - columns)[sources]
    offsets[part, 1][sources] = (target[0] - rows)[sources]
    return replace(fields, offsets=offsets)


@pytest.fixture(scope="module")
def pair():
    """Two checkpoints: in the second one the top row of "left" votes for a false peak."""
    top = np.zeros((6, 8), bool)
    top[0] = True
    first = VotingSession(two_parts(), "left", 2.0)
    return first, second_session(first, moved(first.fields, 0, top, (20, 27)))


def test_the_maps_are_those_of_the_reference(pair):
    found = compare(*pair, Search())
    for session, shown in zip(pair, found.maps, strict=True):
        fields = session.fields
        expected = reference.noisy_or(
            fields.confidence[0].astype(float),
            fields.offsets[0].astype(float),
            2.0,
            stride=4,
            origin=2,
            output_shape=session.votes.shape,
        )
        np.testing.assert_allclose(shown.values, expected, atol=1e-5)
    np.testing.assert_array_equal(found.difference, found.maps[0].values - found.maps[1].values)
    assert found.difference[20, 27] < -0.5


def test_a_false_peak_has_no_partner(pair):
    found = compare(*pair, Search(score=0.5))
    columns = found.columns
    assert columns["part"].tolist() == ["left", "left"]
    np.testing.assert_allclose(columns["row_a"], [10, np.nan], atol=0.1)
    np.testing.assert_allclose(columns["row_b"], [10, 20], atol=0.1)
    np.testing.assert_allclose(columns["column_b"], [5, 27], atol=0.1)
    assert columns["distance"][0] < 0.1
    assert np.isnan(columns["distance"][1])
    assert "1 peak in both, 0 in A only, 1 in B only" in str(found)
    other_way = compare(*pair[::-1], Search(score=0.5))
    assert "1 peak in both, 1 in A only, 0 in B only" in str(other_way)


def test_only_one_of_two_networks_votes_for_the_false_peak(pair):
    voters = voters_in_both(compare(*pair, Search()), (20, 27), "noisy_or")
    columns = voters.columns
    assert columns["listed"].tolist() == ["B"] * 8
    assert columns["row"].tolist() == [2] * 8  # the top row of sources, in pixels
    assert sorted(columns["column"]) == [2 + 4 * n for n in range(8)]
    assert (columns["evidence_a"] == 0).all()
    np.testing.assert_allclose(columns["evidence_b"].sum(), voters.second.voters.evidence)
    assert "0 sources in both, 0 in A only, 8 in B only" in str(voters)


def test_what_voted_in_both_is_one_row(pair):
    voters = voters_in_both(compare(*pair, Search()), (10, 5), "noisy_or")
    columns = voters.columns
    assert (columns["listed"] == "A").sum() == 8
    assert (columns["listed"] == "A and B").sum() == 40
    assert (np.diff(np.abs(columns["change"])) <= 0).all()
    both = columns["listed"] == "A and B"
    np.testing.assert_array_equal(columns["change"][both], 0)
    np.testing.assert_allclose(columns["evidence_a"].sum(), voters.first.voters.evidence)


def test_parts_are_matched_by_name_not_by_number():
    fields = two_parts()
    turned = replace(
        fields,
        confidence=fields.confidence[::-1],
        offsets=fields.offsets[::-1],
        names=fields.names[::-1],
    )
    first = VotingSession(fields, "left", 2.0)
    second = second_session(first, turned)
    assert second.part == 1
    assert np.abs(compare(first, second, Search()).difference).max() == 0
    every = compare(first, second, Search(every_part=True))
    assert every.columns["part"].tolist() == ["left", "right"]
    np.testing.assert_allclose(every.columns["distance"], 0, atol=1e-6)


def test_the_second_keeps_what_is_its_own():
    first = VotingSession(two_parts(), "left", 2.0, "plain_sum", truncate=3.0)
    second = second_session(first, two_parts())
    assert (second.sigma, second.sum_rule, second.truncate) == (2.0, "plain_sum", 3.0)
    second = second_session(first, two_parts(), Own(sigma=4.0, sum_rule="additive"))
    assert (second.sigma, second.sum_rule, second.truncate) == (4.0, "additive", 3.0)
    assert second_session(replace(first, part=ALL), two_parts()).part == ALL


def test_another_grid_of_the_same_output_is_compared_too():
    fields = two_parts(output_shape=(24, 32))
    coarse = mdn.Fields(
        fields.confidence[:, ::2, ::2],
        fields.offsets[:, :, ::2, ::2],
        stride=8.0,
        origin=2.0,
        names=fields.names,
        output_shape=(24, 32),
    )
    first = VotingSession(fields, "left", 2.0)
    comparison = compare(first, second_session(first, coarse), Search())
    voters = voters_in_both(comparison, (10, 5), "noisy_or")
    assert (voters.columns["listed"] == "A and B").sum() == 12  # the sources at the same places
    assert (voters.columns["listed"] == "A").sum() == 36


def test_a_source_that_the_first_has_not_is_not_asked_of_it():
    """Neither one of another part nor one between those of the first's grid."""
    fields = two_parts()
    fine = replace(
        fields,
        confidence=np.repeat(np.repeat(fields.confidence, 2, -2), 2, -1),
        offsets=np.repeat(np.repeat(fields.offsets, 2, -2), 2, -1),
        stride=2.0,
        names=("left", "tail"),
    )
    first = VotingSession(fields, ALL, 2.0)
    found = compare(first, second_session(first, fine), Search())
    voters = voters_in_both(found, (12, 20), "noisy_or")
    columns = voters.columns
    for row, (part, y, x) in enumerate(
        zip(columns["part"], columns["row"], columns["column"], strict=True)
    ):
        own = part in fields.names and (y - 2) % 4 == 0 and (x - 2) % 4 == 0
        at = (y - 2) // 4, (x - 2) // 4
        assert voters.source(row) == ((fields.part(part), *at) if own else None)
    assert {*columns["part"]} >= {"right", "tail"}


@pytest.mark.parametrize(
    ("changes", "own", "message"),
    [
        ({"names": ("eye", "ear")}, Own(), "the second field set: .*left"),
        ({"output_shape": (24, 33), "image": None}, Own(), "24 × 33, those of the first 24 × 32"),
        ({}, Own(cross=True), "the second field set: these fields carry no cross offsets"),
        ({}, Own(sigma=-1.0), "the second field set: .*sigma"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(changes, own, message):
    first = VotingSession(two_parts(), "left", 2.0)
    with pytest.raises(ValueError, match=message) as refused:
        second_session(first, two_parts(**changes), own)
    assert "\n" not in str(refused.value)


def test_nothing_found_is_an_empty_table(pair):
    found = compare(*pair, Search(score=0.9999999999, every_part=False))
    assert {len(values) for values in found.columns.values()} == {0}
    voters = voters_in_both(found, (0, 31), "noisy_or")
    assert {len(values) for values in voters.columns.values()} == {0}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["noisy_or", "additive"]))
def test_every_peak_is_in_the_table_once(seed, rule):
    rng = np.random.default_rng(seed)
    fields = two_parts()
    noise = rng.normal(0, 4, (2, *fields.offsets.shape)).astype(np.float32)
    first = VotingSession(replace(fields, offsets=fields.offsets + noise[0]), "left", 1.0)
    second = second_session(first, replace(fields, offsets=fields.offsets + noise[1]))
    found = compare(first, second, Search(0.02, 3.0, rule, every_part=True))
    for detections, numbers in zip(found.found, found.pairs.T, strict=True):
        assert sorted(numbers[numbers >= 0]) == list(range(len(detections)))
    one, other = (d.part_names for d in found.found)
    both = (found.pairs >= 0).all(axis=1)
    a, b = found.pairs[both].T
    assert (one[a] == other[b]).all()
    assert (found.columns["distance"][both] <= 3).all()
    # No two peaks that are left over are near enough to each other.
    lonely = [found.pairs[found.pairs[:, 1 - side] < 0, side] for side in (0, 1)]
    for i in lonely[0]:
        for j in lonely[1]:
            apart = np.hypot(*(found.found[0].places[i] - found.found[1].places[j]))
            assert one[i] != other[j] or apart > 3


@pytest.mark.slow
def test_the_second_is_shown_and_follows(shared_two, pair, qtbot, tmp_path):
    widget, panel = shared_two, shared_two.panel(SecondPanel)
    widget.open_tab("Second")
    qtbot.waitUntil(panel.isVisible)
    path = tmp_path / "epoch 2.mdn"
    mdn.save_fields(path, pair[1].fields)
    panel.open(str(path))
    widget.wait()
    panel.wait()
    assert panel.choice.currentText() == "epoch 2.mdn"
    expected = VotingSession(pair[1].fields, 0, 2.0).vote()["noisy_or"].values
    shown = pictures(widget)
    np.testing.assert_allclose(shown["noisy-or (B)"], expected, atol=1e-6)
    np.testing.assert_allclose(shown["difference A − B"], shown["noisy-or"] - expected, atol=1e-6)
    assert panel.peaks.rows.rowCount() == 2
    # The false peak is asked in both, where B has it and A does not.
    click(qtbot, widget, "noisy-or (B)", 20.4, 26.6)
    qtbot.waitUntil(lambda: widget.model.pixel == (20, 27))
    panel.wait()
    assert panel.voters.columns["listed"].tolist() == ["B"] * 8
    assert len(widget.canvas.overlay("votes:second").start) == 8
    panel.table.chosen.emit(0)
    assert widget.model.source == panel.voters.source(0)
    # Sigma, the part and the frame are the first's; sigma may be its own.
    widget.model.change(sigma=3.0, part="right")
    widget.wait()
    panel.wait()
    assert (panel.compared.second.sigma, panel.compared.second.part) == (3.0, 1)
    panel.own_sigma.setChecked(True)
    panel.sigma.setValue(1.5)
    panel.wait()
    assert (panel.compared.first.sigma, panel.compared.second.sigma) == (3.0, 1.5)
    panel.cross.setCurrentIndex(2)
    panel.wait()
    assert "carry no cross offsets" in wrong(widget)
    assert "noisy-or (B)" not in widget.canvas.cells
    assert panel.summary.text() == wrong(widget)
    panel.cross.setCurrentIndex(0)
    panel.wait()
    assert wrong(widget) == ""  # it holds no longer
    assert "A and B differ" in panel.summary.text()
    panel.open(str(tmp_path / "none.mdn"))
    assert "none.mdn" in wrong(widget)
    # An open layer's field set is a second, too.
    panel.choice.setCurrentIndex(1)
    panel.wait()
    assert panel.compared.second.fields.names == ("left", "right")
    panel.choice.setCurrentIndex(0)
    panel.wait()
    assert not {"noisy-or (B)", "difference A − B"} & widget.canvas.cells.keys()
    assert widget.canvas.overlay("votes:second") is None
    widget.model.change(part=0, sigma=2.0)
    widget.wait()


@pytest.mark.slow
def test_the_second_goes_from_frame_to_frame(shared, shown, pair, qtbot):
    one, other = (session.fields for session in pair)
    widget = shown([one, replace(one, confidence=one.confidence / 2)])
    panel = widget.panel(SecondPanel)
    add = [other, replace(other, confidence=other.confidence / 3)]
    add_fields(widget._viewer, add, "second")
    widget.wait()
    widget.inputs.confidence.value = widget._viewer.layers["two confidence"]
    widget.wait()
    names = [panel.choice.itemText(n) for n in range(panel.choice.count())]
    panel.choice.setCurrentIndex(names.index("second confidence"))
    for frame in (0, 1):
        widget.controls.frame.value = frame
        widget.wait()
        panel.wait()
        assert panel.compared.first.fields is widget.model.session.fields
        np.testing.assert_array_equal(
            panel.compared.second.fields.confidence, add[frame].confidence
        )
    widget._viewer.layers.remove("second confidence")
    panel.wait()
    assert panel.compared is None


def test_plain_arrays_have_the_names_and_the_output_of_the_first(pair):
    fields, (first, _) = two_parts(), pair
    plain = mdn.Fields(fields.confidence, fields.offsets, stride=4.0, origin=2.0)
    second = second_session(first, plain)
    assert (second.fields.names, second.votes.shape) == (fields.names, first.votes.shape)
    np.testing.assert_array_equal(second.vote()["noisy_or"].values, first.vote()["noisy_or"].values)
    with pytest.raises(ValueError, match="fields of one size of output"):
        second_session(first, replace(plain, stride=2.0))
    with pytest.raises(ValueError, match="no part 'left'"):
        second_session(first, replace(plain, names=("a", "b")))


def test_a_file_that_does_not_say_all_is_asked_about_and_compared(shown, qtbot, tmp_path):
    fields = two_parts()
    widget = shown(fields)
    panel = widget.panel(SecondPanel)
    widget.open_tab(SecondPanel.title)
    locref = (fields.offsets / np.float32(7.2801)).reshape(4, 6, 8)
    np.savez(tmp_path / "b.npz", scoremap=fields.confidence / 2, locref=locref)
    panel.open(str(tmp_path / "b.npz"))
    dialog = widget.findChild(OpenDialog)
    dialog.form.network.value = "deeplabcut"
    dialog.form.sigmoid.value = False
    dialog.form.stride.value = "4"
    qtbot.waitUntil(dialog.opens.isEnabled)
    before = names(widget._viewer)
    qtbot.mouseClick(dialog.opens, Qt.MouseButton.LeftButton)
    widget.wait()
    panel.wait()
    np.testing.assert_allclose(panel.fields().offsets, fields.offsets, rtol=1e-5)
    assert panel.compared is not None
    assert names(widget._viewer) == before  # it is no layer


def test_a_bad_file_is_told_until_a_good_one_is_opened(shown, tmp_path):
    widget = shown(two_parts())
    second, truth = widget.panel(SecondPanel), widget.panel(TruthPanel)
    mdn.save_fields(tmp_path / "b.mdn", two_parts())
    (tmp_path / "b.csv").write_text("part,x,y\nleft,8,10\n")
    for panel, bad, good in ((second, "a.mdn", "b.mdn"), (truth, "a.csv", "b.csv")):
        (tmp_path / bad).write_bytes(b"")
        widget.open_tab(panel.title)
        panel.open(str(tmp_path / bad))
        assert bad in wrong(widget)
        panel.open(str(tmp_path / good))
        widget.wait()
        panel.wait()
        assert not wrong(widget)
