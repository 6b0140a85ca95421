"""Plot time against votes, of what `python benchmarks/cpu.py --json bench.json` wrote."""

import argparse
import json
from pathlib import Path

from matplotlib.figure import Figure

OUTPUT = Path(__file__).parent.parent / "docs" / "images" / "scaling.png"
OURS = "mdn-cupy"


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("report", type=Path, help="what `benchmarks/cpu.py --json` wrote")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="a .png file")
    arguments = parser.parse_args(argv)
    report = json.loads(arguments.report.read_text("utf-8"))
    draw(report).savefig(arguments.output, dpi=110)
    print(f"written to {arguments.output}")


def draw(report):
    """Fastest times of the growth table, and how long the registers alone would take."""
    rows = report["speeds"]["growth"]
    names = dict.fromkeys(name for row in rows for name in row["seconds"])
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name in names:
        known = [row for row in rows if name in row["seconds"]]
        votes = [row["votes"] for row in known]
        seconds = [row["seconds"][name]["fastest"] for row in known]
        ours = name == OURS
        axes.plot(
            votes, seconds, "o-", label=name, lw=2.5 if ours else 1.2, zorder=3 if ours else 2
        )
    votes = [row["votes"] for row in rows]
    limit = [n / report["limits"]["pairs_per_second"] for n in votes]
    axes.plot(votes, limit, "k:", lw=1, label="register roofline")
    axes.set(xscale="log", yscale="log", xlabel="votes (pixel and source)", ylabel="seconds")
    axes.set_title(f"noisy-or, forward, σ = 2\n{report['machine']['machine']}", fontsize=10)
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)
    return figure


if __name__ == "__main__":
    main()
