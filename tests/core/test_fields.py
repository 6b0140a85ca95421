"""Field sets and their files: what is written comes back, and what is wrong is refused whole."""

import io
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mdn_cupy as mdn

C = np.linspace(0, 1, 24, dtype=np.float32).reshape(2, 3, 4)
O = np.linspace(-2, 2, 48, dtype=np.float32).reshape(2, 2, 3, 4)  # noqa: E741


@st.composite
def field_sets(draw):
    parts, height, width = (draw(st.integers(least, 3)) for least in (1, 0, 0))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    targets = draw(st.none() | st.integers(0, 2))
    cross = None if targets is None else rng.normal(size=(targets, parts, 2, height, width))
    image = draw(st.sampled_from([None, (5, 6), (5, 6, 3), (1, 1, 4), (1, 2)]))
    names = [draw(st.text(max_size=5).filter(unpadded)) for _ in range(parts)]
    positive, anywhere = st.floats(1e-3, 1e3), st.floats(-1e3, 1e3)
    return mdn.Fields(
        confidence=rng.random((parts, height, width)).astype(dtype),
        offsets=rng.normal(size=(parts, 2, height, width)).astype(dtype),
        cross_offsets=None if cross is None else np.where(cross > 1, np.nan, cross),
        image=None if image is None else rng.integers(0, 255, image).astype(np.uint8),
        stride=draw(positive | st.tuples(positive, positive)),
        origin=draw(anywhere | st.tuples(anywhere, anywhere)),
        sigma=draw(positive) if draw(st.booleans()) else rng.random((parts, 1, width)) + 0.1,
        output_shape=draw(st.none() | st.just((7, 3))) if image is None else None,
        names=draw(st.just(names) | st.just(())),
        source=draw(st.text(max_size=9).filter(unpadded)),
    )


def unpadded(text):
    """NumPy's strings end at their last character that is not NUL; files hold valid Unicode."""
    return not text.endswith("\0") and text.isprintable()


@given(fields=field_sets())
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, fields):
    path = tmp_path_factory.mktemp("fields") / "some.mdn"
    mdn.save_fields(path, fields)
    loaded = mdn.load_fields(path)
    for name in ("stride", "origin", "names", "source", "output_shape"):
        assert getattr(loaded, name) == getattr(fields, name)
    for name in ("confidence", "offsets", "cross_offsets", "image", "sigma"):
        old, new = getattr(fields, name), getattr(loaded, name)
        assert (old is None) == (new is None)
        if isinstance(old, np.ndarray) and old.size != 1:  # one width is loaded as a number
            assert old.dtype == new.dtype
        if old is not None:
            np.testing.assert_array_equal(old, new)


def test_half_precision_becomes_float32_and_the_rest_stays():
    for given_, settled in (("float16", "float32"), ("float32", "float32"), ("float64", "float64")):
        assert mdn.Fields(C.astype(given_), O.astype(given_)).confidence.dtype == settled
    half = mdn.Fields(torch.tensor(C).bfloat16(), torch.tensor(O).half())
    assert half.confidence.dtype == half.offsets.dtype == torch.float32


def test_a_file_is_never_pickled(tmp_path):
    mdn.save_fields(tmp_path / "a.mdn", mdn.Fields(C, O, names=["left", "right"], source="here"))
    with np.load(tmp_path / "a.mdn", allow_pickle=False) as archive:
        assert {archive[name].dtype.kind for name in archive.files} <= set("fiuU")


def test_unknown_arrays_in_a_file_are_passed_over(tmp_path):
    write(tmp_path / "a.mdn", confidence=C, offsets=O, thumbnail=np.ones(3))
    assert mdn.load_fields(tmp_path / "a.mdn").names == ("part 0", "part 1")


# Writing


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, error):
    path = tmp_path / "a.mdn"
    before = saved(path)

    def fail(file, **arrays):
        file.write(b"half of it")
        raise error

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(type(error)):
        mdn.save_fields(path, mdn.Fields(C / 2, O))
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["a.mdn"]


@pytest.mark.parametrize("place", ["", "missing/a.mdn", "file/a.mdn"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, place):
    (tmp_path / "file").touch()
    path = tmp_path / place
    with pytest.raises(OSError, match="a.mdn" if place else "is a directory"):
        mdn.save_fields(path, mdn.Fields(C, O))
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


# Reading


def write(path, **arrays):
    with path.open("wb") as file:
        np.savez(file, **arrays)


def refused(path, error=ValueError):
    """The one line in which a file is refused; it must name the file."""
    with pytest.raises(error) as caught:
        mdn.load_fields(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def saved(path):
    """The bytes of a good file."""
    mdn.save_fields(path, mdn.Fields(C, O, names=["left", "right"]))
    return path.read_bytes()


def test_a_missing_file_and_a_directory(tmp_path):
    assert "no such file" in refused(tmp_path / "a.mdn", FileNotFoundError)
    assert "is a directory" in refused(tmp_path, IsADirectoryError)


def test_a_single_array(tmp_path):
    path = tmp_path / "a.mdn"
    with path.open("wb") as file:
        np.save(file, C)
    assert "rename it to *.npy" in refused(path)


def test_a_zip_without_arrays(tmp_path):
    path = tmp_path / "a.mdn"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no arrays here")
    assert "confidence missing" in refused(path)


def raw_npy(header, body=b""):
    """A .npy of any header."""
    padded = header.encode("latin1") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(padded).to_bytes(2, "little") + padded + body


def claim(shape, descr="<f4"):
    return f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}}}"


@pytest.mark.parametrize(
    "npy",
    [
        raw_npy(claim((10**6, 10**6)), bytes(64)),
        raw_npy(claim((2**62, 2**62)), bytes(64)),
        raw_npy(claim((-1, 3)), bytes(64)),
        raw_npy(claim((2, 3, 4)), bytes(95)),
        raw_npy(claim((2, 3, 4), "|O"), bytes(192)),
        raw_npy(claim((2, 3, 4), "|V0"), bytes(192)),
        raw_npy(claim("(2, 3"), bytes(96)),
        raw_npy("{'descr': ", bytes(96)),
        raw_npy("x" * 20000),
        raw_npy("__import__('os')"),
        raw_npy(claim((2, 3, 4), "<f4, <f4"), bytes(192)),
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY",
        b"",
    ],
    ids=[
        "4 TB",
        "overflow",
        "negative",
        "short",
        "objects",
        "void",
        "torn tuple",
        "torn header",
        "long header",
        "code",
        "structured",
        "version",
        "magic only",
        "empty",
    ],
)
def test_an_array_with_a_wrong_header(tmp_path, npy):
    path = tmp_path / "a.mdn"
    offsets = io.BytesIO()
    np.save(offsets, O)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("confidence.npy", npy)
        archive.writestr("offsets.npy", offsets.getvalue())
    refused(path)


@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"confidence": C[0]}, ["confidence", "(P, H, W)", "(3, 4)"]),
        ({"confidence": C[:0], "offsets": O[:0]}, ["confidence", "at least one part"]),
        ({"offsets": O[:1]}, ["offsets", "(P, 2, H, W)", "(1, 2, 3, 4)"]),
        ({"offsets": O[..., :3]}, ["offsets", "(P, 2, H, W)", "(2, 2, 3, 3)"]),
        ({"cross_offsets": O}, ["cross_offsets", "(2, 2, 2, 3, 4)", "(2, 2, 3, 4)"]),
        ({"cross_offsets": O[:, None]}, ["cross_offsets", "(2, 2, 2, 3, 4)", "(2, 1, 2, 3, 4)"]),
        ({"image": C[0, 0]}, ["image", "(H, W)", "(4,)"]),
        ({"image": np.ones((3, 4, 2))}, ["image", "(3, 4, 2)"]),
        ({"names": np.array(["left"])}, ["names", "2", "1"]),
        ({"stride": np.array([1.0, 2.0, 3.0])}, ["stride", "one number, or two (y, x)", "(3,)"]),
        ({"stride": np.array([1.0, 0.0])}, ["stride", "greater than 0"]),
        ({"stride": np.array(0.0)}, ["stride", "greater than 0"]),
        ({"sigma": np.array(np.nan)}, ["sigma", "finite", "nan"]),
        ({"sigma": np.array(-2.0)}, ["sigma", "greater than 0", "-2"]),
        ({"sigma": np.array("wide")}, ["sigma", "real number"]),
        ({"sigma": np.ones(3)}, ["sigma", "(2, 3, 4)", "(3,)", "(2, 1, 1)"]),
        ({"sigma": np.ones((1, 2, 1, 1))}, ["sigma", "broadcast", "(1, 2, 1, 1)"]),
        ({"sigma": np.ones((2, 1, 1), int)}, ["sigma", "floating", "int64"]),
        ({"output_shape": np.array([3])}, ["output_shape", "two integers"]),
        ({"output_shape": np.array([3, -1])}, ["output_shape", "negative"]),
        ({"output_shape": np.array([3.5, 1])}, ["output_shape", "two integers"]),
        ({"output_shape": np.array([3, 4]), "image": np.ones((5, 4))}, ["output_shape", "(5, 4)"]),
        ({"origin": np.array(np.inf)}, ["origin", "finite"]),
        ({"confidence": C > 0.5}, ["confidence", "floating", "bool"]),
        ({"offsets": O.astype(int)}, ["offsets", "floating", "int64"]),
        ({"cross_offsets": O[None].astype(int)}, ["cross_offsets", "floating", "int64"]),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, changes, fragments):
    path = tmp_path / "a.mdn"
    write(path, **{"confidence": C, "offsets": O, **changes})
    message = refused(path)
    for fragment in fragments:
        assert fragment in message


def assert_refused_or_unharmed(path):
    """A damaged file must not load as something else."""
    try:
        loaded = mdn.load_fields(path)
    except ValueError:
        refused(path)
    else:
        np.testing.assert_array_equal(loaded.confidence, C)
        np.testing.assert_array_equal(loaded.offsets, O)


@given(data=st.data())
def test_a_damaged_file_is_refused_or_means_the_same(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fields") / "a.mdn"
    content = bytearray(saved(path))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert_refused_or_unharmed(path)


def test_a_damaged_list_of_members_is_refused_or_means_the_same(tmp_path):
    # The last part of a zip lists what it holds: every byte of it is tried.
    path = tmp_path / "a.mdn"
    whole = saved(path)
    for place in range(whole.index(b"PK\x01\x02"), len(whole)):
        for flip in (0x01, 0x08, 0xFF):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            path.write_bytes(damaged)
            assert_refused_or_unharmed(path)


# Votes of a field set


def test_parts_are_found_by_name_and_number():
    fields = mdn.Fields(C, O, names=["right", "0"])
    assert [fields.part(p) for p in ("right", 0, 1, "1", "0")] == [0, 0, 1, 1, 1]
    for wrong in ("left", 2, -1, "2", "-1", ""):
        with pytest.raises(ValueError, match="the parts are right, 0"):
            fields.part(wrong)


def test_votes_of_one_part_of_all_and_of_all_for_one():
    cross = np.stack([O, O + 1])
    fields = mdn.Fields(C, O, cross, np.zeros((9, 8)), stride=2.0, origin=0.5)
    for votes, c, o, aggregate in (
        (fields.votes(1), C[1], O[1], None),
        (fields.votes(), C, O, -3),
        (fields.votes(1, cross=True), C, O + 1, -3),
    ):
        assert (votes.stride, votes.origin, votes.sigma) == ((2.0, 2.0), (0.5, 0.5), 2.0)
        assert votes.aggregate == aggregate
        np.testing.assert_array_equal(votes.confidence, c)
        np.testing.assert_array_equal(votes.offsets, o)
        assert votes.noisy_or().shape == votes.shape == (9, 8)


def test_the_output_grid_is_the_images_or_what_is_said_or_ends_at_the_last_source():
    assert mdn.Fields(C, O, image=np.zeros((9, 8))).geometry["output_shape"] == (9, 8)
    assert mdn.Fields(C, O, output_shape=[9, 8]).geometry["output_shape"] == (9, 8)
    same = mdn.Fields(C, O, image=np.zeros((9, 8)), output_shape=(9, 8))
    assert same.geometry["output_shape"] == (9, 8)
    assert mdn.Fields(C, O).votes(0).shape == (3, 4)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 1), (1, 3, 4), (3, 1), (4,)])
def test_widths_of_single_sources_follow_the_part(shape):
    sigma = np.linspace(0.5, 2, np.prod(shape), dtype=np.float32).reshape(shape)
    fields = mdn.Fields(C, O, np.stack([O, O]), sigma=sigma)
    every = np.broadcast_to(sigma, C.shape)
    for part, cross, c, o, s in (
        (0, False, C[0], O[0], every[0]),
        (1, False, C[1], O[1], every[1]),
        (None, False, C, O, every),
        (1, True, C, O, every),
    ):
        got = fields.votes(part, cross=cross).noisy_or()
        want = mdn.noisy_or(c, o, s, aggregate=-3 if c.ndim == 3 else None)
        np.testing.assert_array_equal(got, want)


def test_one_width_that_stands_for_all_is_their_mean_by_confidence():
    assert mdn.Fields(C, O, sigma=3).typical_sigma == 3
    sigma = np.ones((2, 3, 4))
    sigma[1, 2, 3] = 16
    sure = np.zeros_like(sigma)
    assert mdn.Fields(sure, O, sigma=sigma).typical_sigma == pytest.approx(16 ** (1 / 24))
    sure[1, 2, 2:] = 0.5
    assert mdn.Fields(sure, O, sigma=sigma).typical_sigma == pytest.approx(4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("none", [0.0, -1.0, np.nan, np.inf])
def test_what_is_no_width_does_not_count_for_the_one_that_stands_for_all(none):
    parts = np.array([none, 3.0])[:, None, None]
    sources = np.full((2, 3, 4), 3.0)
    sources[0, 1] = none
    for confidence in (C, np.zeros_like(C)):
        for sigma in (parts, sources):
            assert mdn.Fields(confidence, O, sigma=sigma).typical_sigma == pytest.approx(3)
        assert mdn.Fields(confidence, O, sigma=np.full((2, 1, 1), none)).typical_sigma == 2


def test_a_width_of_no_axes_is_a_number():
    for sigma in (np.array(1.5), np.float32(1.5), torch.tensor(1.5)):
        assert mdn.Fields(C, O, sigma=sigma).sigma == 1.5
        assert isinstance(mdn.Fields(C, O, sigma=sigma).sigma, float)


def test_tensors_stay_tensors_and_are_saved_as_arrays(tmp_path):
    arrays = [torch.tensor(x, requires_grad=True) for x in (C, O, np.stack([O, O]))]
    fields = mdn.Fields(*arrays, sigma=torch.ones(2, 1, 1), output_shape=(9, 8))
    assert repr(fields).startswith("Fields(confidence=float32 [2, 3, 4], offsets=float32 [2, 2, 3,")
    assert fields.typical_sigma == 1
    for part, cross in ((0, False), (None, False), (1, True)):
        m = fields.votes(part, cross=cross).noisy_or()
        (gradient,) = torch.autograd.grad(m.sum(), arrays[0])
        assert gradient.abs().sum() > 0
    copied = fields.to_numpy()
    assert copied.to_numpy() is copied
    mdn.save_fields(tmp_path / "a.mdn", fields)
    loaded = mdn.load_fields(tmp_path / "a.mdn")
    for name in ("confidence", "offsets", "cross_offsets", "sigma"):
        array = getattr(copied, name)
        assert isinstance(array, np.ndarray)
        np.testing.assert_array_equal(array, getattr(loaded, name))
        np.testing.assert_array_equal(array, getattr(fields, name).detach().numpy())


def test_fields_of_two_libraries_are_refused():
    with pytest.raises(TypeError, match=r"confidence is on NumPy \(CPU\), offsets is on torch"):
        mdn.Fields(C, torch.tensor(O))
    with pytest.raises(TypeError, match=r"sigma is on torch \(cpu\)"):
        mdn.Fields(C, O, sigma=torch.ones(2, 1, 1))
    with pytest.raises(TypeError, match=r"image must be a NumPy array, got torch\.Tensor"):
        mdn.Fields(C, O, image=torch.zeros(3, 4))


def test_votes_across_parts_need_cross_offsets_and_a_part():
    with pytest.raises(ValueError, match="cross_offsets"):
        mdn.Fields(C, O).votes(0, cross=True)
    with pytest.raises(ValueError, match="a part to vote for"):
        mdn.Fields(C, O, O[None]).votes(cross=True)
    with pytest.raises(TypeError, match="cross must be True or False, got 'no'"):
        mdn.Fields(C, O, O[None]).votes(0, cross="no")
    with pytest.raises(ValueError, match="no part True"):
        mdn.Fields(C, O).votes(True)


@pytest.mark.parametrize("name", ["confidence", "offsets", "cross_offsets"])
def test_fields_that_are_no_arrays_are_refused_by_name(name):
    arrays = {"confidence": C, "offsets": O, "cross_offsets": O[None]}
    if name != "cross_offsets":
        with pytest.raises(TypeError, match=f"{name} must be an array .*, got NoneType"):
            mdn.Fields(**{**arrays, name: None})
    with pytest.raises(TypeError, match=f"{name} must be an array .*, got list"):
        mdn.Fields(**{**arrays, name: arrays[name].tolist()})
    with pytest.raises(TypeError, match=f"{name} is a masked array"):
        mdn.Fields(**{**arrays, name: np.ma.masked_array(arrays[name])})


@pytest.mark.parametrize("path", [None, 3, ["a.mdn"]], ids=repr)
@pytest.mark.parametrize("function", [mdn.open_fields, mdn.load_fields, mdn.save_fields])
def test_what_is_no_path_is_refused(function, path):
    fields = [mdn.Fields(np.ones((1, 2, 3)), np.zeros((1, 2, 2, 3)))]
    with pytest.raises(TypeError, match=f"path must be .*, got {type(path).__name__}"):
        function(path, *(fields if function is mdn.save_fields else ()))


@pytest.mark.parametrize(
    "names",
    ["ab", None, 3, {"a": 1, "b": 2}, {"a", "b"}],
    ids=["text", "None", "number", "dict", "set"],
)
def test_what_is_no_sequence_of_names_is_refused(names):
    seen = "the string 'ab'" if isinstance(names, str) else type(names).__name__
    with pytest.raises(TypeError, match=f"names must be a sequence, .* 2 parts, got {seen}"):
        mdn.Fields(C, O, names=names)


@pytest.mark.parametrize("names", [["a", ["b", "c"]], [np.zeros((2, 3)), "b"]], ids=str)
def test_a_name_is_a_text(names):
    with pytest.raises(TypeError, match=r"names must be text, got (list|numpy\.ndarray)"):
        mdn.Fields(C, O, names=names)


@pytest.mark.parametrize("names", [(), [], range(0), np.array([])], ids=repr)
def test_no_names_are_numbers(names):
    assert mdn.Fields(C, O, names=names).names == ("part 0", "part 1")


def test_only_field_sets_are_saved(tmp_path):
    with pytest.raises(TypeError, match=r"mdn_cupy\.Fields"):
        mdn.save_fields(tmp_path / "a.mdn", {"confidence": C})
    assert not list(tmp_path.iterdir())


# check_fields


def good():
    return {"confidence": C.copy(), "offsets": O.copy(), "sigma": np.ones((2, 1, 1), np.float32)}


def test_good_fields_pass():
    mdn.check_fields(**good())
    mdn.check_fields(C, O, 1.0)
    mdn.check_fields(C[:0], O[:0], 1.0)


def complaint(**fields):
    """What `check_fields` says."""
    with pytest.raises(ValueError, match="values") as caught:
        mdn.check_fields(**fields)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "at", "values", "said"),
    [
        (
            "confidence",
            ([0, 1, 1], [2, 0, 1], [3, 0, 2]),
            (-0.01, 1.01, np.nan, np.inf),
            "3 of 24 values outside [0, 1], the first at (0, 2, 3)",
        ),
        (
            "offsets",
            (1, [0, 1], 2, 3),
            (np.nan, np.inf, -np.inf),
            "2 of 48 values not finite, the first at (1, 0, 2, 3)",
        ),
        (
            "sigma",
            1,
            (0.0, -1.0, np.nan, np.inf),
            "1 of 2 values not positive and finite, the first at (1, 0, 0)",
        ),
    ],
)
def test_values_outside_their_domain_are_counted_and_shown(name, at, values, said):
    for value in values:
        fields = good()
        fields[name][at] = value
        assert complaint(**fields) == f"{name}: {said} is {np.float32(value)}"
        if name == "sigma":
            wanted = "sigma: 1 of 1 values not positive and finite, the first at () is"
            assert complaint(**{**fields, "sigma": value}).startswith(wanted)


def test_everything_wrong_is_said_at_once():
    fields = good()
    fields["confidence"][0, 0, 0], fields["offsets"][0, 0, 0, 0] = 2, np.nan
    with pytest.raises(ValueError, match=r"^confidence: .*; offsets: .*; sigma: "):
        mdn.check_fields(fields["confidence"], fields["offsets"], -1.0)


def test_values_of_tensors_are_checked_too():
    fields = {name: torch.from_numpy(x) for name, x in good().items()}
    fields["confidence"].requires_grad_()
    mdn.check_fields(**fields)
    fields["offsets"][0, 0, 0, 0] = torch.inf
    with pytest.raises(ValueError, match="offsets: 1 of 48"):
        mdn.check_fields(**fields)


@pytest.mark.parametrize("name", ["confidence", "offsets", "sigma"])
def test_checked_fields_must_be_arrays(name):
    fields = good()
    with pytest.raises(TypeError, match=name):
        mdn.check_fields(**{**fields, name: fields[name].tolist()})


def test_checked_fields_must_fit_together():
    fields = good()
    with pytest.raises(ValueError, match="offsets must have the shape"):
        mdn.check_fields(fields["confidence"], fields["offsets"][..., :2], 1.0)
    with pytest.raises(TypeError, match="confidence must be of a floating dtype"):
        mdn.check_fields(fields["confidence"] > 0.5, fields["offsets"], 1.0)


@pytest.mark.parametrize(
    "image", [np.array("an image"), np.zeros((0, 5)), np.zeros((4, 4), complex)]
)
def test_images_that_cannot_be_shown(image):
    with pytest.raises((TypeError, ValueError), match="image"):
        mdn.Fields(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 2)), image=image)


def test_a_link_is_written_through_and_permissions_are_kept(tmp_path):
    target, link = tmp_path / "target.mdn", tmp_path / "link.mdn"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link.symlink_to(target)
    mdn.save_fields(link, mdn.Fields(np.zeros((1, 2, 2)), np.zeros((1, 2, 2, 2))))
    assert link.is_symlink()
    assert mdn.load_fields(target).confidence.shape == (1, 2, 2)
    assert target.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("source", [np.array(b"a network"), np.array([b"a network"]), "a network"])
@pytest.mark.parametrize(
    "names", [np.array([b"nose", "ohr ä".encode()]), [b"nose", "ohr ä".encode()], ["nose", "ohr ä"]]
)
def test_texts_that_a_file_holds_as_bytes_are_decoded(tmp_path, names, source):
    path = tmp_path / "hand.mdn"
    arrays = {"confidence": np.zeros((2, 4, 4)), "offsets": np.zeros((2, 2, 4, 4))}
    with path.open("wb") as file:
        np.savez(file, **arrays, names=names, source=source)
    for fields in (mdn.load_fields(path), mdn.Fields(**arrays, names=names, source=b"a network")):
        assert fields.names == ("nose", "ohr ä")
        assert fields.source == "a network"
        assert {type(text) for text in (*fields.names, fields.source)} == {str}


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            {"names": [b"nose", "ohr ä".encode("latin-1")]},
            r"names must be text or UTF-8, got b'ohr",
        ),
        ({"source": "ä".encode("latin-1")}, "source must be text or UTF-8"),
        ({"names": [1, 2]}, "names must be text, got int64"),
        ({"source": 3.0}, "source must be text, got float64"),
        ({"source": ["one", "two"]}, "source must be one text, got 2"),
    ],
)
def test_texts_that_are_none_are_refused(tmp_path, texts, message):
    with (tmp_path / "hand.mdn").open("wb") as file:
        np.savez(file, confidence=np.zeros((2, 4, 4)), offsets=np.zeros((2, 2, 4, 4)), **texts)
    with pytest.raises(ValueError, match=f"hand.mdn: {message}"):
        mdn.load_fields(tmp_path / "hand.mdn")
