"""All peaks of evidence maps, as a table."""

from __future__ import annotations

import csv
import io
import math
import os
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from mdn_cupy.arrays import (
    Array,
    adopt,
    cast_to,
    dtype_name,
    is_number,
    namespace,
    on_device,
    to_numpy,
)
from mdn_cupy.backend import module
from mdn_cupy.files import replacing
from mdn_cupy.maxima import around, vertex
from mdn_cupy.validation import (
    Shape,
    as_float,
    check_count,
    check_not_negative,
    check_sequence,
    floating_dtype,
)

__all__ = [
    "Instances",
    "Limits",
    "Peaks",
    "between",
    "find_peaks",
    "least_evidence",
    "limits_of",
    "located",
    "spread",
]

_UNLIMITED = 1 << 62  # peaks, and squared distances of pixels
_COCO = {  # the lists of a result, with the columns of each keypoint in turn
    "keypoints": ("x", "y", "score"),
    "covariances": ("xx", "xy", "yy"),
    "voters": ("voters",),
}


@dataclass(frozen=True, eq=False)
class Peaks:
    """The peaks of evidence maps: a table with a row a peak.

    Rows are sorted by map, then by evidence descending, then by position (row, then column). The
    columns are arrays of the evidence's library, on its device.

    Attributes
    ----------
    map : int64 array [n]
        Which map: flat index into the leading axes of the evidence.
    x, y : float64 array [n]
        Column and row, to a fraction of a pixel; (0, 0) is the centre of the first pixel.
    score : array [n]
        Value of the score map at the peak's pixel, where one was given; else the evidence.
    evidence : array [n]
        Value of the evidence at the peak's pixel.
    xx, xy, yy : float64 array [n], optional
        Covariance of the landing points of the votes for the peak's pixel, in square pixels: about
        their mean, each weighted by its share of the pixel's evidence. `Votes.peaks` has them.
    voters : float64 array [n], optional
        Effective number of those votes, (Σ share)² / Σ share²: n where n votes are equally strong.
    maps_shape : tuple of int
        The leading axes of the evidence, into which `map` counts.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> evidence = np.zeros((2, 5, 6))
    >>> evidence[1, 2, 1:4] = 1.0, 3.0, 1.0
    >>> peaks = mdn.find_peaks(evidence, threshold=0.5)
    >>> len(peaks), peaks.maps_shape
    (1, (2,))
    >>> peaks.to_dict()
    {'map': [1], 'x': [2.0], 'y': [2.0], 'score': [3.0], 'evidence': [3.0]}
    """

    map: Array
    x: Array
    y: Array
    score: Array
    evidence: Array
    xx: Array | None = None
    xy: Array | None = None
    yy: Array | None = None
    voters: Array | None = None
    maps_shape: Shape = ()

    def __len__(self) -> int:
        return int(self.map.shape[0])

    def to_dict(self) -> dict[str, list[Any]]:
        """Return the columns that there are, by name, as lists of Python numbers.

        Returns
        -------
        dict of str to list
            Such as `json.dump` takes.
        """
        return {name: column.tolist() for name, column in self._columns().items()}

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the columns that there are to a CSV file with a header.

        Parameters
        ----------
        path : path
            The file to create or to replace.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        columns = self.to_dict()
        with replacing(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
            writer = csv.writer(text)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))

    def to_coco_keypoints(
        self,
        *,
        image_ids: list[int] | None = None,
        individuals: Array | None = None,
        category_id: int = 1,
    ) -> list[dict[str, Any]]:
        """Return the peaks as results in the format of COCO's keypoint evaluation.

        The last of the leading axes holds the keypoints, those before it the images.

        Parameters
        ----------
        image_ids : list of int, optional
            The identifier of each image; 0, 1, 2, … by default.
        individuals : int array [n], optional
            To which individual of its image each peak belongs. By default every image shows one,
            which has the strongest peak of each keypoint. Of several peaks of an individual's
            keypoint the strongest counts.
        category_id : int
            COCO's category; 1 is a person.

        Returns
        -------
        list of dict
            Of each individual that has a peak: image_id, category_id, keypoints [3·P] with x, y
            and the score of each, 0, 0, 0 where there is none, and score, the mean over the
            keypoints found. Where the table has such columns, also covariances [3·P] with xx, xy
            and yy, and voters [P], 0 where there is no keypoint.

        Raises
        ------
        ValueError
            If the maps have no leading axes, or there is not one identifier an image or one
            individual a peak.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> evidence = np.zeros((3, 4, 5))  # three keypoints
        >>> evidence[0, 1, 2], evidence[2, 3, 4] = 2.0, 4.0
        >>> mdn.find_peaks(evidence, threshold=1.0).to_coco_keypoints(image_ids=[7])
        [{'image_id': 7, 'category_id': 1, 'keypoints': [2.0, 1.0, 2.0, 0, 0, 0, 4.0, 3.0, 4.0], \
'score': 3.0}]
        """
        if not self.maps_shape:
            raise ValueError(
                "the maps have no leading axis that would hold the keypoints; find the peaks of "
                "evidence of the shape (..., P, H, W)"
            )
        *frames, keypoints = self.maps_shape
        images = math.prod(frames)
        if image_ids is None:
            image_ids = list(range(images))
        image_ids = check_sequence("image_ids", image_ids, images, "images")
        columns = self.to_dict()
        groups = self._individuals(individuals)
        found: dict[tuple[int, int], dict[int, int]] = {}
        for peak, (number, individual) in enumerate(zip(columns["map"], groups, strict=True)):
            image, keypoint = divmod(number, keypoints)
            found.setdefault((image, individual), {}).setdefault(keypoint, peak)
        lists = {name: names for name, names in _COCO.items() if {*names} <= columns.keys()}
        return [
            {
                "image_id": image_ids[image],
                "category_id": category_id,
                **{
                    name: [
                        columns[column][points[k]] if k in points else 0
                        for k in range(keypoints)
                        for column in names
                    ]
                    for name, names in lists.items()
                },
                "score": sum(columns["score"][peak] for peak in points.values()) / len(points),
            }
            for (image, _), points in sorted(found.items())
        ]

    def to_dataframe(
        self, *, keypoints: list[str] | None = None, individuals: Array | None = None
    ) -> Any:
        """Return a pandas table with the columns of movement and of napari's Points features.

        ``viewer.add_points(table[["time", "y", "x"]], features=table)`` shows it.

        Parameters
        ----------
        keypoints : list of str, optional
            Names of the maps along the last of the leading axes; 0, 1, 2, … by default.
        individuals : int array [n], optional
            To which individual of its frame each peak belongs; by default its rank among the peaks
            of its map, 0 for the strongest.

        Returns
        -------
        pandas.DataFrame
            time (flat index of the leading axes but the last), individual, keypoint, y, x,
            confidence (the score), evidence, and the optional columns that there are.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If there is not one name a keypoint or one individual a peak.

        Examples
        --------
        >>> import numpy as np
        >>> import mdn_cupy as mdn
        >>> evidence = np.zeros((2, 4, 5))
        >>> evidence[1, 1, 2] = 2.0
        >>> table = mdn.find_peaks(evidence, threshold=1.0).to_dataframe(keypoints=["nose", "tail"])
        >>> table.loc[0].to_dict()  # doctest: +NORMALIZE_WHITESPACE
        {'time': 0, 'individual': 0, 'keypoint': 'tail', 'y': 1.0, 'x': 2.0, 'confidence': 2.0,
         'evidence': 2.0}
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError(
                "to_dataframe needs pandas, which is not installed: pip install pandas; "
                "to_dict() and to_csv() need nothing"
            ) from error
        columns = self._columns()
        count = self.maps_shape[-1] if self.maps_shape else 1
        if keypoints is not None:
            keypoints = check_sequence("keypoints", keypoints, count, "maps")
        number = columns.pop("map")
        time, keypoint = np.divmod(number, max(count, 1))
        if individuals is None:
            individual = np.arange(len(self)) - np.searchsorted(number, number)
        else:
            individual = np.asarray(self._individuals(individuals), np.int64)
        return pandas.DataFrame(
            {
                "time": time,
                "individual": individual,
                "keypoint": keypoint if keypoints is None else np.asarray(keypoints)[keypoint],
                "y": columns.pop("y"),
                "x": columns.pop("x"),
                "confidence": columns.pop("score"),
                **columns,
            }
        )

    def _columns(self) -> dict[str, Any]:
        """Return the columns that there are, as NumPy arrays."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        del found["maps_shape"]
        return {name: to_numpy(x, name) for name, x in found.items() if x is not None}

    def _individuals(self, individuals: Array | None) -> list[int]:
        if individuals is None:
            return [0] * len(self)
        listed = isinstance(individuals, (list, tuple))
        numbers = np.asarray(individuals) if listed else to_numpy(individuals, "individuals")
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise TypeError(
                f"individuals must be integers, one for each of {len(self)} peaks, got "
                f"{numbers.dtype} of shape {numbers.shape}"
            )
        return check_sequence("individuals", numbers.tolist(), len(self), "peaks")


class Instances(NamedTuple):
    """Which peak each source votes for: what `Votes.instances` returns.

    Attributes
    ----------
    labels : int32 array [..., H, W]
        1 for the first peak of the table, and so on; 0 for none.
    mass : float64 array [n]
        Of each peak the sum of the confidences of its sources.

    Examples
    --------
    >>> import numpy as np
    >>> import mdn_cupy as mdn
    >>> offsets = np.zeros((2, 1, 6))
    >>> offsets[0] = [[1, 0, -1, 9, 1, 0]]  # three vote for column 1, two for 5, one for nothing
    >>> votes = mdn.Votes(np.full((1, 6), 0.5), offsets, 0.5)
    >>> labels, mass = votes.instances(votes.peaks(threshold=0.1))
    >>> labels.tolist(), mass.tolist()
    ([[1, 1, 1, 0, 2, 2]], [1.5, 1.0])
    """

    labels: Array
    mass: Array


def find_peaks(
    evidence: Array,
    *,
    threshold: float,
    min_distance: float = 1.0,
    max_peaks: int | None = None,
    border: int = 0,
    score: Array | None = None,
) -> Peaks:
    """Find all peaks of evidence maps, to a fraction of a pixel.

    A **peak** is a pixel of at least `threshold` that none of its 8 neighbours exceeds. Connected
    pixels of one value (a plateau, by the 8 neighbours) count once, if no neighbour of any of them
    exceeds it: as the pixel of the plateau that is nearest to the mean of its pixels. (The mean is
    rounded to a pixel, halves down; the nearest row is looked for first, then the nearest column
    in it, and of two the upper and the left one is taken.) Pixels that are NaN or −inf are never
    peaks and exceed nothing; what lies beyond the edge of a map does not count either.

    Peaks in the margin of `border` pixels are left out. Of the others, in the order of evidence
    descending and position (row, then column), a peak is kept if no kept one is nearer than
    `min_distance`: so no two peaks of a map are nearer than that, and what is dropped lies near a
    stronger one. The first `max_peaks` of each map stay.

    The position between the pixels is the vertex of the paraboloid through the logarithms of the
    3 × 3 pixels around the peak, which is exact for a Gaussian; the pixel itself where evidence is
    not positive, and along an axis on whose edge the peak lies.

    Parameters
    ----------
    evidence : array [..., H, W]
        −L of the noisy-or, which does not saturate where m is 1, or an additive map; or any other
        map of a floating dtype. Half types are computed in float32.
    threshold : float
        Least evidence of a peak, in the unit of the evidence, rounded to the dtype of the
        computation. Where nothing votes the evidence is 0, which is a plateau like any other:
        choose a threshold above it, such as −log(1 − m): 0.7 for m ≥ 0.5, 4.6 for m ≥ 0.99.
    min_distance : float
        Least Euclidean distance between two peaks of a map, in pixels, measured from pixel to
        pixel; up to 2 drops none, since peaks are never adjacent, and inf leaves one a map. (Votes
        spread alike in all directions, which a Euclidean distance respects. The one of
        `skimage.feature.peak_local_max` is Chebyshev's and drops peaks at exactly that distance,
        too.)
    max_peaks : int, optional
        Most peaks of a map; all of them by default.
    border : int
        Width of the margin without peaks, in pixels. Evidence of what lies outside peaks at the
        edge.
    score : array [..., H, W], optional
        A map of the same shape from which the column `score` is read, such as m; by default the
        evidence.

    Returns
    -------
    Peaks
        A table in arrays of the library and on the device of `evidence`: positions in float64,
        evidence and score in the dtype of the computation. From a torch tensor with a graph the
        columns x, y, score and evidence have one, too; which pixels they belong to is not
        differentiable.

    Raises
    ------
    TypeError
        If an argument has the wrong type or dtype, or `score` is of another library or device.
    ValueError
        If a shape or a number does not fit.

    Notes
    -----
    The result is the same on every backend (`mdn_cupy.reference.find_peaks` is the specification)
    and for any number of threads. On a GPU the peaks stay there; the host waits twice: for
    the number of candidates and for the number of peaks, to allocate arrays of these sizes.

    Examples
    --------
    >>> import mdn_cupy as mdn
    >>> votes = mdn.samples.load("coins").votes()
    >>> len(mdn.find_peaks(votes.evidence(), threshold=4.6))  # coins in the picture
    24
    """
    peaks, _ = located(
        evidence,
        threshold=threshold,
        min_distance=min_distance,
        max_peaks=max_peaks,
        border=border,
        score=score,
    )
    return peaks


def located(
    evidence: Array,
    *,
    threshold: float,
    min_distance: float,
    max_peaks: int | None,
    border: int,
    score: Array | None = None,
) -> tuple[Peaks, tuple[Array, Array, Array]]:
    """Find peaks and their pixels: map, row and column, int64 [n]; see `find_peaks`."""
    limits = limits_of(min_distance, max_peaks, border)
    evidence, score, backend = _arguments(evidence, score)
    maps_shape, (height, width) = tuple(evidence.shape[:-2]), evidence.shape[-2:]
    values, scores = (x.reshape(math.prod(maps_shape), height, width) for x in (evidence, score))
    least = least_evidence(threshold, np.dtype(dtype_name(values)))
    with on_device(values):
        place = backend.find_peaks(values, least, **limits._asdict())
        number, row, column = place // max(height * width, 1), place // max(width, 1), place
        row, column = row % max(height, 1), column % max(width, 1)
        x, y = between(values, number, row, column)
        peaks = Peaks(
            number,
            x,
            y,
            score=scores[number, row, column],
            evidence=values[number, row, column],
            maps_shape=maps_shape,
        )
        return peaks, (number, row, column)


def spread(moments: tuple[Array, ...]) -> dict[str, Array]:
    """Return the columns xx, xy, yy and voters from the backends' `peak_moments`.

    They are 0 where nothing voted.
    """
    whole, squares, x, y, xx, xy, yy = moments
    with on_device(whole):
        xp = namespace(whole)
        voted = whole > 0
        weight = xp.where(voted, whole, 1)
        x, y, xx, xy, yy = (xp.where(voted, moment, 0) / weight for moment in (x, y, xx, xy, yy))
        squares = xp.where(voted, squares, 1)
        return {
            "xx": (xx - x * x).clip(0),
            "xy": xy - x * y,
            "yy": (yy - y * y).clip(0),
            "voters": xp.where(voted, weight * weight / squares, 0),
        }


def _arguments(evidence: Array, score: Array | None) -> tuple[Array, Array, Any]:
    """Check the maps, convert them to the dtype of the computation, and select the backend."""
    named = {"evidence": evidence, **({} if score is None else {"score": score})}
    kind, named = adopt(**named)
    if kind == "torch":
        from mdn_cupy.torch import peaks

        peaks.check_maps(**named)
        backend: Any = peaks
    else:
        backend = module(kind)
    cast = {name: cast_to(array, floating_dtype(name, array)) for name, array in named.items()}
    shape, scores = tuple(cast["evidence"].shape), cast.get("score", cast["evidence"])
    if len(shape) < 2:
        raise ValueError(f"evidence must have the shape (..., H, W), got {shape}")
    if tuple(scores.shape) != shape:
        raise ValueError(
            f"score must have the shape of the evidence {shape}, got {tuple(scores.shape)}"
        )
    return cast["evidence"], scores, backend


def between(
    values: Array,
    number: Array,
    row: Array,
    column: Array,
    corner: tuple[int, int] = (0, 0),
) -> tuple[Array, Array]:
    """Place peaks between the pixels of their maps; x and y in float64.

    Where those are parts of larger maps, from a corner (row, column) on, the places are in these:
    with the corner added afterwards they would be rounded twice.
    """
    xp = namespace(values)
    rows, columns = (
        around(index, size, xp) for index, size in zip((row, column), values.shape[1:], strict=True)
    )
    patch = cast_to(values[number[:, None, None], rows[:, :, None], columns[:, None, :]], "float64")
    dx, dy, _ = vertex(xp.where(xp.isnan(patch), 0, patch).reshape(-1, 9), xp)
    return (column + corner[1]) + dx, (row + corner[0]) + dy


class Limits(NamedTuple):
    """What is not kept of the pixels at which maps peak."""

    reach: int  # least squared distance of two
    max_peaks: int  # of a map
    border: int  # width of the margin without peaks


def limits_of(min_distance: float, max_peaks: int | None, border: int) -> Limits:
    """Check the limits of `find_peaks`."""
    distance = check_not_negative("min_distance", min_distance)
    return Limits(
        math.ceil(min(distance * distance, _UNLIMITED)),
        _UNLIMITED if max_peaks is None else min(check_count("max_peaks", max_peaks), _UNLIMITED),
        min(check_count("border", border, 0), _UNLIMITED),
    )


def least_evidence(threshold: float, dtype: np.dtype[Any]) -> float:
    """Round a threshold to a dtype in which −∞ stays below it."""
    if not is_number(threshold):
        raise TypeError(f"threshold must be a number, got {type(threshold).__name__}")
    if math.isnan(number := as_float(threshold)):
        raise ValueError("threshold must not be NaN; -math.inf takes peaks of any evidence")
    with np.errstate(over="ignore"):
        rounded = dtype.type(number)
    return max(float(rounded), float(np.finfo(dtype).min))
