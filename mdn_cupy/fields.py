"""Field sets: the outputs of a network from which an MDN layer votes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mdn_cupy.arrays import (
    Array,
    adopt,
    cast_to,
    in_words,
    integer,
    is_number,
    kind_of,
    library,
    plain,
    remedy,
    to_numpy,
)
from mdn_cupy.problem import VoteOptions
from mdn_cupy.validation import (
    check_flag,
    check_positive,
    check_sequence,
    compute_dtype,
    floating_dtype,
    named_in_errors,
    per_axis,
)
from mdn_cupy.votes import Votes

__all__ = ["Fields"]


@named_in_errors
@dataclass(frozen=True, eq=False, repr=False)
class Fields:
    """The fields of a network on one image: P parts on an H × W grid.

    The arrays are of NumPy, CuPy or torch, all on one device; the functions that vote return the
    same kind, and tensors keep their graph. `to_numpy` brings them to the CPU. A batch or a video
    is a sequence of `Fields`, one for each image.

    Parameters
    ----------
    confidence : array [P, H, W]
        Confidences c in [0, 1].
    offsets : array [P, 2, H, W]
        Offsets (o_x, o_y) of each part's votes for itself, in output pixels.
    cross_offsets : array [K, P, 2, H, W], optional
        Part p's votes for part k; NaN where there is none.
    image : array [Hi, Wi] or [Hi, Wi, 3 or 4], optional
        What the fields were computed from, a NumPy array. The output grid is the image's.
    stride, origin : float or (float, float)
        One number, or a pair (y, x): source (i, j) sits at the output position
        (x, y) = (origin_x + stride_x·j, origin_y + stride_y·i). Kept as a number where y and x are
        equal.
    sigma : float or array
        A width that suits these fields, in output pixels; an array broadcasts against `confidence`:
        (P, 1, 1) holds one width per part, (P, H, W) one per source.
    names : sequence of str, optional
        The parts' names, P of them; "part 0", "part 1", … by default. Bytes are read as UTF-8.
    source : str
        Where the fields come from.
    output_shape : (int, int), optional
        Height and width of the output grid where there is no image. By default the grid ends at the
        last source, as in `mdn_cupy.Votes`.

    Raises
    ------
    TypeError
        If a field is not of a floating dtype, is masked or on another device than the rest, or
        names is a string.
    ValueError
        If a shape does not fit the others or a scalar is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> fields = mdn.Fields(np.zeros((2, 4, 4), np.float32), np.zeros((2, 2, 4, 4), np.float32))
    >>> fields.names
    ('part 0', 'part 1')
    >>> fields  # doctest: +NORMALIZE_WHITESPACE
    Fields(confidence=float32 [2, 4, 4], offsets=float32 [2, 2, 4, 4], stride=1.0, origin=0.0,
           sigma=2.0, names=('part 0', 'part 1'), source='')
    """

    confidence: Array
    offsets: Array
    cross_offsets: Array | None = None
    image: npt.NDArray[Any] | None = None
    stride: float | Sequence[float] = 1.0
    origin: float | Sequence[float] = 0.0
    sigma: Array | float = 2.0
    names: Sequence[str] = ()
    source: str = ""
    output_shape: Sequence[int] | None = None

    def __post_init__(self) -> None:
        arrays = self._arrays()
        dtype = compute_dtype(arrays["confidence"], arrays["offsets"])
        shape = tuple(arrays["confidence"].shape)
        if len(shape) != 3:
            raise ValueError(f"confidence must have the shape (P, H, W), got {shape}")
        parts, height, width = shape
        if parts == 0:
            raise ValueError("confidence must hold at least one part, got the shape (0, ...)")
        _expect_shape("offsets", arrays["offsets"], (parts, 2, height, width))
        if "cross_offsets" in arrays:
            targets = arrays["cross_offsets"].shape[:1]
            wanted = (*targets, parts, 2, height, width)
            _expect_shape("cross_offsets", arrays["cross_offsets"], wanted)
        if "sigma" in arrays:
            arrays["sigma"] = _broadcastable("sigma", arrays["sigma"], shape)
        for name, array in arrays.items():
            floating_dtype(name, array)
            arrays[name] = cast_to(array, dtype)
        image = _plain_image(self.image)
        names = tuple(f"part {p}" for p in range(parts))
        listed = isinstance(self.names, (list, tuple))  # NumPy has no size of ['a', ['b', 'c']]
        if len(self.names) if listed else np.size(self.names):
            given = check_sequence("names", self.names, parts, "parts")
            names = tuple(_text("names", name) for name in given)
        stride = per_axis("stride", self.stride, positive=True)
        origin = per_axis("origin", self.origin)
        if "sigma" not in arrays:
            sigma = self.sigma if is_number(self.sigma) else float(self.sigma)
            arrays["sigma"] = check_positive("sigma", sigma)
        settled = {
            **arrays,
            "image": image,
            "stride": stride[0] if stride[0] == stride[1] else stride,
            "origin": origin[0] if origin[0] == origin[1] else origin,
            "names": names,
            "source": _text("source", self.source),
            "output_shape": _size_of_output(self.output_shape, image),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    def _arrays(self) -> dict[str, Array]:
        """Return the fields that are arrays, all on one device; the image is none of them."""
        given = {"confidence": self.confidence, "offsets": self.offsets}
        if self.cross_offsets is not None:
            given["cross_offsets"] = self.cross_offsets
        if not (is_number(self.sigma) or getattr(self.sigma, "ndim", None) == 0):
            given["sigma"] = self.sigma
        return adopt(**given)[1]

    def __repr__(self) -> str:
        """Describe the arrays by dtype and shape, without their values."""
        members = {member.name: getattr(self, member.name) for member in dataclasses.fields(self)}
        said = {n: repr(x) if library(x) is None else in_words(x) for n, x in members.items()}
        listed = (f"{name}={said[name]}" for name, x in members.items() if x is not None)
        return f"Fields({', '.join(listed)})"

    @property
    def geometry(self) -> dict[str, Any]:
        """The keywords stride, origin and output_shape of `Votes`."""
        output_shape = self.output_shape if self.image is None else self.image.shape[:2]
        return {"stride": self.stride, "origin": self.origin, "output_shape": output_shape}

    @property
    def typical_sigma(self) -> float:
        """One width for all votes: sigma, or its geometric mean weighted by confidence.

        What is no width, 0 or NaN, casts no votes and does not count; where all is so, it is 2.
        """
        if is_number(self.sigma):
            return float(self.sigma)
        confidence = to_numpy(self.confidence)
        sigma = np.broadcast_to(to_numpy(self.sigma), confidence.shape)
        casts = (sigma > 0) & np.isfinite(sigma)
        sigma, confidence = sigma[casts], confidence[casts]
        weights = confidence if confidence.sum(dtype=np.float64) > 0 else np.ones_like(confidence)
        total = weights.sum(dtype=np.float64)
        if total == 0:
            return 2.0
        return float(np.exp((np.log(sigma) * weights).sum(dtype=np.float64) / total))

    def to_numpy(self) -> Fields:
        """Copy the arrays to the CPU where they are not there yet; tensors are detached.

        Returns
        -------
        Fields
            With NumPy arrays; the same one if it has them already.

        Examples
        --------
        >>> import torch
        >>> import mdn_cupy as mdn
        >>> fields = mdn.Fields(torch.zeros(1, 3, 4), torch.zeros(1, 2, 3, 4))
        >>> type(fields.to_numpy().offsets)
        <class 'numpy.ndarray'>
        """
        given = self._arrays()
        if isinstance(given["confidence"], np.ndarray):
            return self
        arrays: dict[str, Any] = {name: to_numpy(x, name) for name, x in given.items()}
        return dataclasses.replace(self, **arrays)

    def votes(
        self,
        part: str | int | None = None,
        *,
        sigma: Array | float | None = None,
        cross: bool = False,
    ) -> Votes:
        """Return the votes that one output map receives.

        Parameters
        ----------
        part : str or int, optional
            The part whose map is wanted; by default all parts vote, by their own offsets, into one
            map.
        sigma : float or array, optional
            Width of the Gaussian, in output pixels; the field set's own by default.
        cross : bool
            Let all parts vote for `part`, by the cross offsets.

        Returns
        -------
        Votes
            Other options are set by `Votes.replace`.

        Raises
        ------
        ValueError
            If there is no such part, or no cross offsets.

        Examples
        --------
        >>> import mdn_cupy as mdn
        >>> mdn.samples.load("coins").votes().noisy_or().shape
        (303, 384)
        """
        confidence, offsets = self.confidence, self.offsets
        own_sigma: Any = self.sigma
        if check_flag("cross", cross):
            if self.cross_offsets is None or part is None:
                missing = "a part to vote for" if part is None else "a field set with cross_offsets"
                raise ValueError(f"cross-part voting needs {missing}")
            offsets = self.cross_offsets[self.part(part)]
        elif part is not None:
            index = self.part(part)
            confidence, offsets = confidence[index], offsets[index]
            if not is_number(own_sigma):
                own_sigma = own_sigma[index if len(own_sigma) > 1 else 0]
        return Votes(
            confidence,
            offsets,
            own_sigma if sigma is None else sigma,
            aggregate=-3 if confidence.ndim == 3 else None,
            **self.geometry,
        )

    def part(self, name: str | int) -> int:
        """Return the index of a part, from its name or its number.

        Raises
        ------
        ValueError
            If there is no such part; the message lists the names.
        """
        if isinstance(name, str) and name in self.names:
            return list(self.names).index(name)
        try:
            index = int(name) if isinstance(name, str) else integer(name)
        except (TypeError, ValueError):
            index = -1
        if not 0 <= index < len(self.names):
            raise ValueError(f"no part {name!r}; the parts are {', '.join(self.names)}")
        return index


def _expect_shape(name: str, array: Array, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape:
        raise ValueError(
            f"{name} must have the shape {shape} to match confidence, got {tuple(array.shape)}"
        )


def _broadcastable(name: str, array: Array, shape: tuple[int, int, int]) -> Array:
    """Give an array that broadcasts against confidence all three axes."""
    given = tuple(array.shape)
    padded = (1,) * (3 - len(given)) + given
    if len(padded) > 3 or any(n not in (1, size) for n, size in zip(padded, shape, strict=True)):
        raise ValueError(
            f"{name} must be a number or broadcast against confidence {shape}, got the shape "
            f"{given}; one {name} per part has the shape {(shape[0], 1, 1)}"
        )
    return array.reshape(padded)


def _size_of_output(
    wanted: Sequence[int] | None, image: npt.NDArray[Any] | None
) -> Sequence[int] | None:
    size: Sequence[int] | None = VoteOptions(output_shape=wanted).output_shape
    if image is not None and size not in (None, image.shape[:2]):
        raise ValueError(f"output_shape must be the image's, {image.shape[:2]}, got {size}")
    return size


def _text(name: str, value: object) -> str:
    """Return a text that a file or a caller may hold as bytes."""
    if isinstance(value, (list, tuple)) or getattr(value, "ndim", False):
        raise TypeError(f"{name} must be text, got {kind_of(value)}")
    if not isinstance(value, (bytes, bytearray, memoryview)):
        return str(value)
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise ValueError(f"{name} must be text or UTF-8, got {value!r}; decode it first") from None


def _plain_image(image: object) -> npt.NDArray[Any] | None:
    if image is None:
        return None
    if not isinstance(image, np.ndarray):
        found = f"{kind_of(image)}{remedy('image', image)}"
        raise TypeError(f"image must be a NumPy array, got {found}")
    image = plain("image", image)
    if not (image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (3, 4))) or not image.size:
        raise ValueError(
            "image must have the shape (H, W), (H, W, 3) or (H, W, 4) and some pixels, "
            f"got {image.shape}"
        )
    if image.dtype.kind not in "buif":
        raise TypeError(f"image must be of numbers, got {image.dtype}")
    return image
