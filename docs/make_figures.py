"""Make the figures of the README and the docs: `python docs/make_figures.py [name ...]`.

`compare` is the README's; the others are those of the gallery, by samples/examples. The window of
`false_peak` needs a display, or Xvfb:

    xvfb-run -s "-screen 0 1600x1000x24" python docs/make_figures.py false_peak
"""

import runpy
import sys
from pathlib import Path

from mdn_cupy.__main__ import main

IMAGES = Path(__file__).parent / "images"
EXAMPLES = Path(__file__).parents[1] / "samples" / "examples"


def make(name):
    """Make one figure."""
    if name == "compare":
        output = str(IMAGES / "compare.png")
        main(["compare", "pose", "--part", "nose", "--sigma", "8", "-o", output])
        return
    script = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    arguments = ["-o", str(IMAGES / f"example-{name}.png")]
    if name == "false_peak":
        arguments += ["--screenshot", str(IMAGES / "example-false_peak-viewer.png")]
    script["main"](arguments)


if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    for each in sys.argv[1:] or ["compare", *sorted(path.stem for path in EXAMPLES.glob("*.py"))]:
        make(each)
