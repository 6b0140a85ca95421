"""Draw what trained networks say about persons: the figures of docs/training.md.

    python samples/train_lsp.py --data lsp --out trained
    python docs/make_training_figures.py --trained trained --data lsp

Two photographs come with scikit-image and may be shown. Those of Leeds Sports Pose Extended may
not: of these, the marked joints are drawn in place of the photograph.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from skimage import data

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "samples"))

from keypoints.networks import TITLES, WAYS  # noqa: E402
from keypoints.photographs import EDGES, PARTS, LeedsSportsPose  # noqa: E402
from keypoints.results import draw_map  # noqa: E402
from keypoints.training import PICTURES_SEED, to_tensors  # noqa: E402
from person_cutouts import cut_out  # noqa: E402
from trained_network import TrainedNetwork, to_tensor  # noqa: E402

from mdn_cupy.files import replacing  # noqa: E402

PERSONS = {
    "astronaut": (data.astronaut, (30, 10, 380, 502), ("neck", "right shoulder", "right elbow")),
    "camera": (data.camera, (0, 60, 310, 452), ("neck", "right shoulder", "left elbow")),
}
"""By name the photograph, the person's box (left, top, width, height) and parts to show."""

ATHLETES = 3  # of the test photographs, with the joint of which the networks disagree most


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--trained", type=Path, required=True, metavar="DIR", help="where train_lsp.py wrote to")
    add("--data", type=Path, metavar="DIR", help="Leeds Sports Pose Extended; its page is last")
    add("--out", type=Path, default=HERE / "images", metavar="DIR", help="folder of the pictures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks = {way: TrainedNetwork(options.trained / f"{way}-0.pt").network for way in WAYS}
    for name, (photograph, box, parts) in PERSONS.items():
        image = photograph()
        colours = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        picture = to_tensor(cut_out(colours, box)[0])
        rows = [(picture, None, PARTS.index(part)) for part in parts]
        draw(options.out / f"vote_maps_{name}.png", rows, networks)
    if options.data:
        rows = _athletes(LeedsSportsPose(options.data), networks)
        draw(options.out / "vote_maps_athletes.png", rows, networks)


def draw(path, rows, networks):
    """Draw a page: a row for each picture and part, a column for each network.

    Parameters
    ----------
    path : Path
    rows : list of (picture (1, 3, S, S), joints (P, 2) or None, part)
        With the joints, these are shown in place of the picture.
    networks : dict of str to keypoints.networks.Network
        By the way; that within parts shows its votes on the picture.
    """
    columns = 1 + len(networks)
    figure = Figure(figsize=(2.1 * columns, 2.2 * len(rows) + 0.2), layout="constrained")
    for axes, (picture, joints, part) in zip(
        figure.subplots(len(rows), columns, squeeze=False), rows, strict=True
    ):
        axes[0].set_ylabel(PARTS[part], fontsize=9)
        _draw_picture(axes[0], picture, joints)
        _draw_votes(axes[0], networks["within"], picture, part)
        for axis, network in zip(axes[1:], networks.values(), strict=True):
            peak = draw_map(axis, network, picture, part)
            if joints is not None:
                axis.set_xlabel(f"{np.hypot(*(joints[part] - peak)):.0f} px off", fontsize=9)
        for axis in axes:
            if joints is not None:
                axis.plot(*joints[part], "o", color="tab:green", markersize=10, fillstyle="none")
            axis.set(xticks=[], yticks=[])
    for axis, title in zip(
        figure.axes[:columns], ["votes within parts", *(TITLES[w] for w in networks)], strict=True
    ):
        axis.set_title(title, fontsize=9)
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=80)


def _draw_picture(axis, picture, joints):
    size = picture.shape[-1]
    if joints is None:
        axis.imshow(picture[0].permute(1, 2, 0).numpy())
    else:
        for edge in EDGES:
            axis.plot(*joints[list(edge)].T, color="tab:gray", linewidth=2)
        axis.set_aspect("equal")
    axis.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))


def _draw_votes(axis, network, picture, part, count=40):
    """Arrows of the most confident cells, from there to where they vote; the surer, the darker."""
    with torch.inference_mode():
        confidence, offsets, _ = network.head.head.fields(network.features(picture))
    cell, finer = network.head.cell, network.head.finer
    c, o = confidence[0, part].numpy(), offsets[0, part].numpy() * cell / finer
    rows, columns = np.unravel_index(np.argsort(-c, axis=None)[:count], c.shape)
    x, y = (cell * it + (cell - 1) / 2 for it in (columns, rows))
    strength = c[rows, columns] / c.max()
    axis.quiver(
        *(x, y, o[0][rows, columns], o[1][rows, columns]),
        color=[(0.1, 0.9, 1.0, s) for s in strength],
        angles="xy",
        scale_units="xy",
        scale=1,
        width=0.008,
    )


def _athletes(photographs, networks):
    """The first test photographs in which a joint is found by votes and missed by the heatmap.

    And as many in which it is the other way round would be as easily found: they say how the maps
    look where the two differ, and not how often.
    """
    rows = []
    for index in range(0, photographs.count("test"), 10):
        batch = photographs.draw("test", PICTURES_SEED, range(index, index + 1))
        pictures, _ = to_tensors(batch)
        joints = batch.joints[0]
        with torch.inference_mode():
            off = [
                np.linalg.norm(networks[way].locate(pictures)[0].numpy() - joints, axis=1)
                for way in ("heatmap", "within", "across")
            ]
        gain = np.nan_to_num(off[0] - np.maximum(off[1], off[2]), nan=0.0)
        near = (off[1] < 10) & (off[2] < 10) & (gain > 20)
        if near.any():
            rows.append((pictures, joints, int(np.argmax(near * gain))))
        if len(rows) == ATHLETES:
            break
    return rows


if __name__ == "__main__":
    main()
