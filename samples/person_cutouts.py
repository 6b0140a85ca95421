"""Persons cut out of photographs for the network, and the way back."""

from dataclasses import dataclass

import numpy as np
import posenet

SIDE = 385  # of the network's input, in pixels
MARGIN = 1.25  # of the cutout, times the box; usual for networks that see one person at a time


@dataclass(frozen=True)
class Crop:
    """A square cut out of an image and resized to the network's input: left, top and side."""

    left: int
    top: int
    side: int

    @property
    def scale(self):
        """Pixels of the input in one of the image."""
        return SIDE / self.side

    def to_image(self, points):
        """Points of the network's input, in pixels of the image."""
        return (np.asarray(points) + 0.5) / self.scale - 0.5 + [self.left, self.top]

    def to_input(self, points):
        """Points of the image, in pixels of the network's input."""
        return (np.asarray(points) - [self.left, self.top] + 0.5) * self.scale - 0.5

    def box_to_input(self, box):
        """Return a box (left, top, width, height), as the input's left, top, right and bottom."""
        left, top, width, height = box
        return self.to_input([[left, top], [left + width, top + height]]).ravel()


def cut_out(image, box):
    """Cut one person's box, with a margin, out of an image.

    What is beyond the margin is black, and so is what is beyond the image: the sides' ratio is
    kept, and the neighbours are kept out.

    Parameters
    ----------
    image : (H, W, 3) uint8 array
    box : (float, float, float, float)
        Left, top, width and height.

    Returns
    -------
    pixels : (385, 385, 3) uint8 array
    crop : Crop
        How to get from there to the image and back.

    Raises
    ------
    ValueError
        If the box is outside the image.
    """
    limits = np.array(image.shape[1::-1])
    low = np.clip(np.array(box[:2]), 0, limits)
    high = np.clip(np.array(box[:2]) + box[2:], 0, limits)
    if not (high > low).all():
        raise ValueError(f"the box {list(box)} is outside the image")
    centre, extent = (low + high) / 2, (high - low) * MARGIN
    side = int(np.ceil(extent.max()))
    corner = np.rint(centre - side / 2).astype(int)
    low = np.clip(np.rint(centre - extent / 2).astype(int), np.maximum(corner, 0), limits - 1)
    high = np.clip(np.rint(centre + extent / 2).astype(int), low + 1, limits)
    high = np.minimum(high, corner + side)
    square = np.zeros((side, side, 3), np.uint8)
    (left, top), (right, bottom) = low - corner, high - corner
    square[top:bottom, left:right] = image[low[1] : high[1], low[0] : high[0]]
    return posenet.resize(square, (SIDE, SIDE)), Crop(int(corner[0]), int(corner[1]), side)
