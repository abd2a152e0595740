#!/usr/bin/python3
"""Draws the rows of tutti-perf --json: time and bandwidth against size, all systems on one picture.

    plot.py ROWS.json PICTURE.{png,pdf,svg}

One line of two panels per collective. Systems differ in marker and line style as well as in colour,
so that the picture survives a black-and-white printer.
"""
import json
import sys

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator  # noqa: E402

# (colour, marker, line style, width), one per system; the colours differ in lightness too.
STYLES = {
    "tutti": ("#000000", "o", "-", 2.2),
    "openmpi": ("#d55e00", "s", "--", 1.4),
    "mpich": ("#0072b2", "^", "-.", 1.4),
    "gloo": ("#009e73", "D", (0, (5, 1, 1, 1, 1, 1)), 1.4),
    "limit": ("#8a8a8a", "x", ":", 1.4),
}
NAMES = {"tutti": "Tutti", "openmpi": "Open MPI", "mpich": "MPICH", "gloo": "Gloo",
         "limit": "limit of the host"}


def size_text(size, _=None):
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:g} {unit}"
        size /= 1024
    return f"{size:g} GiB"


def label(row):
    name = NAMES.get(row["system"], row["system"])
    return f"{name} ({row['transport']})" if row["system"] == "tutti" else name


def title(row):
    parts = [row["collective"].replace("_", "-")]
    parts += [row[key] for key in ("dtype", "op") if row[key]]
    return f"{' '.join(parts)}, {row['ranks']} ranks"


def draw_bars(axes, rows):
    """A collective without sizes: one bar a system."""
    names = [label(row) for row in rows]
    times = [row["p50_us"] for row in rows]
    hatches = ["", "//", "\\\\", "xx", ".."]
    for i, (name, time) in enumerate(zip(names, times)):
        axes.bar(name, time, color="white", edgecolor="black", hatch=hatches[i % len(hatches)])
        axes.annotate(f"{time:.3g}", (i, time), ha="center", va="bottom", fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel("time of a call, median (µs)")
    axes.tick_params(axis="x", labelsize=8)
    axes.margins(y=0.15)


def draw_lines(axes, rows, key):
    for system in dict.fromkeys(row["system"] for row in rows):
        mine = sorted((row for row in rows if row["system"] == system), key=lambda r: r["bytes"])
        colour, marker, style, width = STYLES.get(system, ("#555555", "*", "-", 1.4))
        axes.plot([row["bytes"] for row in mine], [row[key] for row in mine], color=colour,
                  marker=marker, linestyle=style, linewidth=width, markersize=5,
                  markerfacecolor="white" if system != "tutti" else colour, label=label(mine[0]))
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=16, numticks=12))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(size_text))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_xlabel("size")
    axes.grid(True, which="major", color="#cccccc", linewidth=0.6)


def draw_collective(left, right, rows):
    left.set_title(title(rows[0]) + ": time", fontsize=10, loc="left")
    if all(row["bytes"] == 0 for row in rows):
        draw_bars(left, rows)
        right.set_axis_off()
        return
    right.set_title("bandwidth (busbw)", fontsize=10, loc="left")
    draw_lines(left, rows, "p50_us")
    left.set_ylabel("time of a call, median (µs)")
    left.legend(fontsize=8, framealpha=1)
    draw_lines(right, rows, "busbw_gbs")
    right.set_ylabel("GB/s")


def system_text(name, version):
    known = NAMES.get(name, name)
    return version if known in version else f"{known} {version}"


def foot(meta):
    host = meta["host"]
    versions = ", ".join(system_text(name, version)
                         for name, version in meta["versions"].items() if name != "limit")
    return f"{host['cpu']}, {host['online_cpus']} CPUs; {versions}; {meta['time']}"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    with open(sys.argv[1], encoding="utf-8") as file:
        document = json.load(file)
    rows = document["rows"]
    if not rows:
        sys.exit("plot.py: there are no rows")
    collectives = list(dict.fromkeys(row["collective"] for row in rows))
    figure, grid = pyplot.subplots(len(collectives), 2, squeeze=False,
                                   figsize=(11, 0.6 + 3.9 * len(collectives)))
    for (left, right), collective in zip(grid, collectives):
        draw_collective(left, right, [row for row in rows if row["collective"] == collective])
    figure.tight_layout(rect=(0, 0.25 / figure.get_figheight(), 1, 1))
    figure.text(0.01, 0.08 / figure.get_figheight(), foot(document["meta"]), fontsize=7)
    figure.savefig(sys.argv[2], dpi=150)


if __name__ == "__main__":
    main()
