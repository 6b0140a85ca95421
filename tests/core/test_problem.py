"""Arguments that do not fit: one error each, that names the argument and says what was wanted."""

import re

import numpy as np
import pytest
import torch

import mdn_cupy as mdn

KINDS = {"numpy": lambda x: x, "torch": torch.from_numpy}
by_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)

FIELDS = {
    "confidence": np.full((3, 4, 5), 0.5, np.float32),
    "offsets": np.zeros((3, 2, 4, 5), np.float32),
    "sigma": np.ones((3, 1, 1), np.float32),
}


def refused(call, error, *fragments):
    """The message of the error that a call raises; it must be one line."""
    with pytest.raises(error) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message
    return message


def call(kind, **changes):
    arguments = {**FIELDS, **changes}
    arguments = {n: kind(x) if isinstance(x, np.ndarray) else x for n, x in arguments.items()}
    return mdn.Votes(**arguments)


def readable(changes):
    """A test's id from the argument that it changes."""
    if not isinstance(changes, dict):
        return "-"
    (name, value), *_ = changes.items()
    return f"{name}={getattr(value, 'shape', value)}"


def of_shape(*shape):
    return np.ones(shape, np.float32)


@by_kind
@pytest.mark.parametrize(
    ("changes", "fragments"),
    [
        ({"confidence": of_shape(5)}, ["confidence", "(..., H, W)", "(5,)"]),
        ({"confidence": of_shape()}, ["confidence", "(..., H, W)", "()"]),
        ({"offsets": of_shape(4, 5)}, ["offsets", "(..., 2, H, W)", "(4, 5)"]),
        ({"offsets": of_shape(3, 4, 5)}, ["offsets", "(..., 2, H, W)", "(3, 4, 5)"]),
        ({"offsets": of_shape(3, 4, 5, 2)}, ["offsets", "(..., 2, H, W)", "(3, 4, 5, 2)"]),
        (
            {"offsets": of_shape(3, 2, 4, 6)},
            ["offsets", "(..., 2, 4, 5)", "confidence", "(3, 4, 5)", "(3, 2, 4, 6)"],
        ),
        ({"offsets": of_shape(3, 2, 1, 1)}, ["offsets", "(..., 2, 4, 5)", "(3, 2, 1, 1)"]),
        ({"offsets": of_shape(2, 2, 4, 5)}, ["confidence (3,)", "offsets (2,)", "broadcast"]),
        ({"sigma": of_shape(3)}, ["sigma", "(3,)", "4, 5", "(P, 1, 1)", "sigma[:, None, None]"]),
        ({"sigma": of_shape(5, 4)}, ["sigma", "(5, 4)", "4, 5"]),
        ({"sigma": of_shape(2, 1, 1)}, ["sigma (2,)", "confidence (3,)", "broadcast"]),
    ],
    ids=readable,
)
def test_shapes_that_do_not_fit(kind, changes, fragments):
    refused(lambda: call(kind, **changes), ValueError, *fragments)


def paired(offsets):
    return offsets.reshape(*offsets.shape[:-4], -1, *offsets.shape[-2:])


def stacked(offsets):
    return paired(np.swapaxes(offsets, -4, -3))


def last(array):
    return np.moveaxis(array, -3, -1)


def same(array):
    return array


LAYOUTS = {  # what is made of the confidence (..., P, H, W) and of the offsets (..., P, 2, H, W)
    "(..., H, W, 2)": (same, last),
    "(..., H, W, P, 2)": (same, lambda o: np.moveaxis(o, (-4, -3), (-2, -1))),
    "(..., 2, P, H, W)": (same, lambda o: np.swapaxes(o, -4, -3)),
    "(..., 2P, H, W), x and y of each part in turn": (same, paired),
    "(..., 2P, H, W), all x before all y": (same, stacked),
    "(..., H, W, 2P), x and y of each part in turn": (same, lambda o: last(paired(o))),
    "(..., H, W, 2P), all x before all y": (same, lambda o: last(stacked(o))),
    "(..., P, 2, H, W), beside confidence (H, W, P)": (last, same),
    "(..., H, W, P, 2), beside confidence (H, W, P)": (
        last,
        lambda o: np.moveaxis(o, (-4, -3), (-2, -1)),
    ),
    "(..., H, W, 2P), x and y of each part in turn, beside confidence (H, W, P)": (
        last,
        lambda o: last(paired(o)),
    ),
    "(..., H, W, 2P), all x before all y, beside confidence (H, W, P)": (
        last,
        lambda o: last(stacked(o)),
    ),
}


@by_kind
@pytest.mark.parametrize("leading", [(), (7,), (2, 1)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_offsets_in_another_layout_are_named_and_converted(kind, leading, layout):
    rng = np.random.default_rng(0)
    c, o = rng.random((*leading, 3, 4, 5)), rng.random((*leading, 3, 2, 4, 5))
    of_confidence, of_offsets = LAYOUTS[layout]
    given = {
        "confidence": kind(np.ascontiguousarray(of_confidence(c))),
        "offsets": kind(np.ascontiguousarray(of_offsets(o))),
    }
    shape = str(tuple(given["offsets"].shape))
    message = refused(lambda: mdn.Votes(**given, sigma=1.0), ValueError, "offsets must have", shape)
    if not leading and layout != "(..., H, W, 2)":
        layout = layout.replace("..., ", "")
    converters = re.split(", or like |; ", message.partition(f"like {layout}: ")[2])[0]
    names = {**given, "numpy": np, "torch": torch}
    converted = [eval(expression, names) for expression in converters.split(" and ")]
    offsets, confidence = (*converted, given["confidence"])[:2]
    np.testing.assert_array_equal(offsets, o)
    np.testing.assert_array_equal(confidence, c)
    swap = re.search(r"; (.*) swaps x and y", message)[1].replace("...", "offsets")
    swapped = eval(swap.rpartition("; ")[2], {**names, "offsets": offsets})
    np.testing.assert_array_equal(swapped, o[..., ::-1, :, :])


@by_kind
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.complex64])
def test_dtypes_that_are_not_floating(kind, name, dtype):
    refused(
        lambda: call(kind, **{name: FIELDS[name].astype(dtype)}),
        TypeError,
        name,
        "floating",
        np.dtype(dtype).name,
        *(["divide it by 255"] if (name, dtype) == ("confidence", np.uint8) else []),
    )


@pytest.mark.parametrize("name", FIELDS)
def test_object_arrays(name):
    objects = FIELDS[name].astype(object)
    refused(lambda: call(KINDS["numpy"], **{name: objects}), TypeError, name, "object")


@by_kind
@pytest.mark.parametrize(
    ("options", "error", "fragments"),
    [
        *(
            ({name: value}, ValueError, [name, "greater than 0", str(value)])
            for name in ("sigma", "truncate", "stride")
            for value in (0, -1.5)
        ),
        *(
            ({name: value}, ValueError, [name, "finite", str(value)])
            for name in ("sigma", "stride", "origin")
            for value in (float("nan"), float("inf"), -float("inf"))
        ),
        *(
            ({name: 10**400}, ValueError, [name, "finite"])
            for name in ("sigma", "stride", "origin")
        ),
        *(
            (
                {"truncate": value},
                ValueError,
                ["truncate", "greater than 0, or math.inf", str(value)],
            )
            for value in (float("nan"), -float("inf"))
        ),
        *(
            ({name: value}, TypeError, [name, "number", type(value).__name__])
            for name in ("truncate", "stride", "origin")
            for value in ("2.0", None, [1.0], 1j)
        ),
        *(
            ({name: value}, TypeError, [name, "pair of numbers (y, x)", seen])
            for name in ("stride", "origin")
            for value, seen in (
                ((1.0, 2.0, 3.0), "tuple of length 3"),
                ("24", "str of length 2"),
                ([1.0, None], "list of length 2"),
                (np.ones((2, 2)), "of length 2"),
                ((True, 1.0), "tuple of length 2"),
                ({1.0, 2.0}, "set of length 2"),
                ({1.0: 2.0, 3.0: 4.0}, "dict of length 2"),
                (np.array(2.0), "got"),
            )
        ),
        ({"stride": (4.0, 0.0)}, ValueError, ["stride", "greater than 0", "0.0"]),
        ({"stride": (4.0, np.inf)}, ValueError, ["stride", "finite", "inf"]),
        ({"origin": [np.nan, 0.0]}, ValueError, ["origin", "finite", "nan"]),
        ({"output_shape": (-1, 3)}, ValueError, ["output_shape", "negative", "(-1, 3)"]),
        *(
            ({"output_shape": value}, ValueError, ["output_shape", "two integers"])
            for value in (5, (1, 2, 3), (4,), (2.5, 3.0), "ab", (True, 3), {3, 4}, {3: 0, 4: 0})
        ),
        *(
            ({"aggregate": axis}, ValueError, ["aggregate", str(axis), "(3, H, W)"])
            for axis in (1, 2, 3, -1, -2, -4)
        ),
        *(
            ({"aggregate": axis}, TypeError, ["aggregate", "axis"])
            for axis in (0.5, "0", (0,), False)
        ),
        ({"deterministic": "no"}, TypeError, ["deterministic", "True or False", "'no'"]),
    ],
    ids=readable,
)
def test_options_out_of_their_range(kind, options, error, fragments):
    refused(lambda: call(kind, **options), error, *fragments)


@by_kind
@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [[[0.5]], None, "pose", {"a": 1}, 1j, True], ids=repr)
def test_things_that_are_no_arrays(kind, name, value):
    refused(lambda: call(kind, **{name: value}), TypeError, name, type(value).__name__)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("other", KINDS)
def test_fields_of_two_libraries(name, other):
    changed = {name: KINDS[other](FIELDS[name])}
    rest = KINDS["torch" if other == "numpy" else "numpy"]
    arguments = {n: changed.get(n, rest(x)) for n, x in FIELDS.items()}
    seen = f"{name} is on {'torch (' if other == 'torch' else 'NumPy (CPU)'}"
    wanted = "the arrays must be of one library and on one device, but ", "tensor.to(...)"
    refused(lambda: mdn.Votes(**arguments), TypeError, *wanted, seen)


@pytest.mark.parametrize("vjp", [mdn.Votes.noisy_or_vjp, mdn.Votes.additive_vjp])
@by_kind
@pytest.mark.parametrize("shape", [(4, 5), (), (1, 4, 5), (3, 5, 4), (3, 4, 5, 1)])
def test_a_cotangent_of_another_shape_than_the_map(vjp, kind, shape):
    votes = mdn.Votes(*map(kind, FIELDS.values()))
    refused(
        lambda: vjp(votes, kind(np.asarray(of_shape(*shape)))),
        ValueError,
        "cotangent",
        "(3, 4, 5)",
        str(shape),
    )


@by_kind
@pytest.mark.parametrize("shape", [(4, 5), (1, 4, 5)])
def test_a_log_complement_of_another_shape_than_the_map(kind, shape):
    votes = mdn.Votes(*map(kind, FIELDS.values()))
    cotangent, log_complement = kind(of_shape(3, 4, 5)), kind(of_shape(*shape))
    refused(
        lambda: votes.noisy_or_vjp(cotangent, log_complement=log_complement),
        ValueError,
        "log_complement",
        "(3, 4, 5)",
        str(shape),
    )


@pytest.mark.parametrize("vjp", [mdn.Votes.noisy_or_vjp, mdn.Votes.additive_vjp])
@pytest.mark.parametrize("other", KINDS)
def test_a_cotangent_of_another_library_than_the_fields(vjp, other):
    rest = KINDS["torch" if other == "numpy" else "numpy"]
    votes = mdn.Votes(*map(rest, FIELDS.values()))
    cotangent = KINDS[other](of_shape(3, 4, 5))
    refused(lambda: vjp(votes, cotangent), TypeError, "cotangent", "torch")


@by_kind
def test_sigma_may_add_leading_axes(kind):
    sigma = of_shape(6, 1, 1, 1)
    assert tuple(call(kind, sigma=sigma).shape) == (6, 3, 4, 5)


@by_kind
def test_numpy_scalars_serve_as_numbers(kind):
    m = call(
        kind,
        sigma=np.float64(1.0),
        truncate=np.int64(3),
        stride=[np.float32(2.0), np.int64(3)],
        origin=np.int8(1),
        output_shape=np.array([4, 6]),
        aggregate=np.int64(0),
    ).noisy_or()
    assert tuple(m.shape) == (4, 6)


@by_kind
@pytest.mark.parametrize(
    ("name", "value"), [("sigma", 1e300), ("sigma", 1e-300), ("truncate", 1e-300)]
)
def test_numbers_that_the_dtype_cannot_hold(kind, name, value):
    refused(lambda: call(kind, **{name: value}), ValueError, name)


def test_a_map_larger_than_any_machine():
    for stride in (1e9, 1e300):
        said = refused(
            lambda stride=stride: mdn.noisy_or(
                FIELDS["confidence"], FIELDS["offsets"], 1.0, stride=stride
            ),
            ValueError,
            "output_shape",
            "stride",
        )
        assert len(said) < 150  # and not 300 digits


def test_a_class_is_no_array():
    refused(lambda: call(KINDS["numpy"], confidence=np.ndarray), TypeError, "confidence", "type")


@pytest.mark.parametrize("device", [None, 1.5, torch.float64], ids=str)
def test_tensors_go_to_a_device_and_to_nothing_else(device):
    votes = mdn.Votes(*map(torch.from_numpy, FIELDS.values()))
    refused(lambda: votes.to(device), TypeError, "device", str(device))


VOTES = mdn.Votes(**FIELDS)
FLAGS = {
    "rows": lambda: VOTES.crop(slice(True, 3), slice(None)),
    "columns": lambda: VOTES.crop(slice(None), slice(0, 3, True)),
    "pixel": lambda: VOTES.voters((0, True, 1)),
    "source": lambda: VOTES.footprint((False, 1, 1)),
    "max_peaks": lambda: VOTES.peaks(threshold=1.0, max_peaks=True),
    "border": lambda: VOTES.peaks(threshold=1.0, border=True),
    "n": lambda: mdn.set_num_threads(True),
    "part": lambda: mdn.Fields(FIELDS["confidence"], FIELDS["offsets"]).votes(True, sigma=1.0),
    "parts": lambda: mdn.torch.MDNKeypointHead(8, True),
    "stride": lambda: mdn.torch.MDNKeypointHead(8, 3, stride=True),
    "edges": lambda: mdn.torch.MDNKeypointHead(8, 3, edges=[(False, True)]),
    "input_size": lambda: mdn.adapters.mmpose_udp(np.zeros((3, 8, 8)), input_size=(True, 8)),
}


@pytest.mark.parametrize("name", FLAGS)
def test_true_is_no_integer(name):
    refused(FLAGS[name], (TypeError, ValueError), name)


OPTIONS = "truncate, stride, origin, output_shape, aggregate, deterministic"
ARGUMENTS = f"confidence, offsets, sigma, {OPTIONS}"
LAYER = mdn.torch.MassDisplacement()
CALLS = {
    **{name: getattr(mdn, name) for name in ("noisy_or", "log_complement", "additive")},
    **{name: getattr(mdn, name) for name in ("plain_sum", "compare", "Votes")},
    "Votes.replace": VOTES.replace,
    "MassDisplacement.votes": LAYER.votes,
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize(
    ("given", "meant"), [("strides", "stride"), ("output_size", "output_shape")]
)
def test_an_unknown_option_names_the_function_that_was_called_and_the_nearest(name, given, meant):
    fields = {} if name == "Votes.replace" else FIELDS
    if name.startswith("Mass"):
        fields = {n: torch.from_numpy(x) for n, x in FIELDS.items() if n != "sigma"}
    message = refused(lambda: CALLS[name](**fields, **{given: 2}), TypeError)
    seen = f"{name}(): unexpected argument {given!r}, did you mean {meant!r}? It takes {ARGUMENTS}"
    assert message == seen


def test_an_unknown_option_of_a_class_names_the_nearest():
    message = refused(lambda: mdn.torch.MassDisplacement(strides=2), TypeError)
    assert message == (
        "MassDisplacement(): unexpected argument 'strides', did you mean 'stride'? It takes "
        + OPTIONS
    )
    fields = FIELDS["confidence"], FIELDS["offsets"]
    refused(lambda: mdn.Fields(*fields, part="nose"), TypeError, "Fields(): ", "'part'; it takes")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "missing a required argument: 'confidence'"),
        ([1, 2], "missing a required argument: 'sigma'"),
        ([1, 2, 3, 4.0], "too many positional arguments"),
    ],
)
def test_a_wrong_number_of_arguments_names_the_function_that_was_called(arguments, problem):
    message = refused(lambda: mdn.noisy_or(*arguments), TypeError)
    assert message == f"noisy_or(): {problem}; it takes {ARGUMENTS}"


@pytest.mark.parametrize("index", [{0, 1, 2}, {0: 0, 1: 0, 2: 0}], ids=readable)
def test_what_has_no_order_is_no_index(index):
    refused(lambda: VOTES.voters(index), TypeError, "pixel must be integers")
    refused(lambda: VOTES.footprint(index), TypeError, "source must be integers")


def test_a_number_on_another_device_than_the_fields_is_refused():
    fields = [torch.from_numpy(FIELDS[name]) for name in ("confidence", "offsets")]
    nowhere = torch.tensor(1.0, device="meta")  # of which torch would make a map of any bits
    refused(
        lambda: mdn.noisy_or(*fields, nowhere), TypeError, "confidence is on torch (cpu)", "sigma"
    )
    arrays = [FIELDS[name] for name in ("confidence", "offsets")]
    refused(lambda: mdn.noisy_or(*arrays, torch.tensor(1.0)), TypeError, "sigma is on torch (cpu)")
    on_meta = [field.to("meta") for field in fields]
    assert mdn.noisy_or(*on_meta, torch.tensor(1.0)).shape == (3, 4, 5)
