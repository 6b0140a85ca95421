"""Make the figures of the README and the docs: `python docs/make_figures.py`."""

from pathlib import Path

from mdn_cupy.__main__ import main

IMAGES = Path(__file__).parent / "images"

if __name__ == "__main__":
    IMAGES.mkdir(exist_ok=True)
    output = str(IMAGES / "compare.png")
    raise SystemExit(main(["compare", "pose", "--part", "nose", "--sigma", "8", "-o", output]))
