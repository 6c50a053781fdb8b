"""The page of an evaluation: goals with their intervals, operating curves, peers beside ours, model cards."""

from __future__ import annotations

import importlib
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from devices.models import ModelError, load
from devices.models.pins import PINS
from service.tools.bench import commit, machine
from service.tools.evaluation.common import SEED, Curve

WORDS = {True: "met", False: "not met", None: "not measured"}
Rows = Sequence[dict[str, Any]]
SEEN = re.compile(r"seen: (\d+ of \d+)(?:; )?")

# Ink of the plots: in the page each becomes a variable, so that the plots follow light and dark.
INK, MUTED, GRID = "#1d2733", "#5c6a79", "#dbe2e9"
SERIES = ("#0b6e69", "#b4531a", "#5b4bb3", "#9a1f5e", "#3f7d1f", "#7a5b00", "#1769aa")
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--line"} | {c: f"--s{i}" for i, c in enumerate(SERIES)}


def number(value: float | None) -> str:
    """A figure as people read it: three significant digits or the whole number."""
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) < 1e6:
        return f"{value:.0f}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 10 else f"{value:.3g}"


def interval(row: dict[str, Any]) -> str:
    low, high = row["ci_low"], row["ci_high"]
    return "" if low is None or high is None else f"({number(low)} to {number(high)})"


def _counted(measure: str) -> str:
    """What a row counts under `n_positive`: a share of those without the sign rests on these, a rate on false ones."""
    if "specificity" in measure.partition(" at ")[0]:
        return "negative"
    return "false" if measure.startswith(("false alarms ", "false questions ")) else "true"


def basis(row: dict[str, Any]) -> str:
    """What a figure rests on."""
    parts = []
    if row["n_positive"] is not None:
        parts.append(f"{row['n_positive']} {_counted(row['measure'])}")
    if row["n_subjects"] is not None:
        parts.append(f"{row['n_subjects']} people")
    if row["negative_hours"] is not None:
        parts.append(f"{row['negative_hours']:,.0f} h without")
    return ", ".join(parts)


def gauge(row: dict[str, Any]) -> Markup:
    """Figure, interval and goal of a row on one small scale."""
    limit = re.search(r"-?\d+(?:\.\d*)?", row["goal"] or "")
    if row["value"] is None or limit is None:
        return Markup("")
    goal = float(limit[0]) / (100 if "%" in row["goal"] and abs(row["value"]) <= 1 else 1)
    low = row["value"] if row["ci_low"] is None else row["ci_low"]
    high = row["value"] if row["ci_high"] is None else row["ci_high"]
    least, most = min(low, row["value"], goal), max(high, row["value"], goal)
    span = (most - least) or max(abs(most), 1.0)
    left, right, dot, mark = (8 + 144 * (v - least) / span for v in (low, high, row["value"], goal))
    state = {True: "yes", False: "no"}.get(row["met"], "none")
    return Markup(
        '<svg class="gauge {}" viewBox="0 0 160 20" role="img" aria-label="goal {}, measured {}">'
        '<line class="rail" x1="4" y1="10" x2="156" y2="10"/>'
        '<line class="span" x1="{:.1f}" y1="10" x2="{:.1f}" y2="10"/>'
        '<line class="goal" x1="{:.1f}" y1="2" x2="{:.1f}" y2="18"/><circle cx="{:.1f}" cy="10" r="4.5"/></svg>'
    ).format(state, row["goal"], number(row["value"]), left, right, mark, mark, dot)


def side_by_side(rows: Rows) -> tuple[list[str], list[dict[str, Any]]]:
    """Detectors as columns, measures as lines: ours first."""
    detectors = sorted(dict.fromkeys(r["detector"] for r in rows), key=lambda name: not name.startswith("ansim"))
    lines: dict[str, dict[str, Any]] = {}
    for row in rows:
        lines.setdefault(row["measure"], {"measure": row["measure"], "cells": {}})["cells"][row["detector"]] = row
    return detectors, list(lines.values())


def _drawn(curves: Sequence[Curve], ordinal: int) -> tuple[str, bytes]:
    """Curves that share axes as one plot: SVG for the page, PNG for a slide."""
    matplotlib = importlib.import_module("matplotlib")
    figures = importlib.import_module("matplotlib.figure")
    style = {
        "svg.fonttype": "none", "svg.hashsalt": f"ansim{ordinal}", "font.family": "sans-serif", "font.size": 10.5,
        "axes.edgecolor": MUTED, "axes.labelcolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
        "text.color": INK, "axes.spines.top": False, "axes.spines.right": False, "grid.color": GRID,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        figure = figures.Figure(figsize=(5.2, 3.6), layout="constrained")
        axes = figure.subplots()
        _plot(axes, curves)
        vector, raster = io.StringIO(), io.BytesIO()
        figure.savefig(vector, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        figure.savefig(raster, format="png", dpi=160, facecolor="white")
    return _themed(vector.getvalue()), raster.getvalue()


def _plot(axes: Any, curves: Sequence[Curve]) -> None:
    first = curves[0]
    for i, curve in enumerate(sorted(curves, key=lambda c: not c.detector.startswith("ansim"))):
        x, y = np.asarray(curve.x, dtype=np.float64), np.asarray(curve.y, dtype=np.float64)
        color, few = SERIES[i % len(SERIES)], x.size <= 30
        ours = curve.detector.startswith("ansim")
        axes.plot(
            x, y, color=color, lw=2.2 if ours else 1.6, ls="-" if ours else "--", label=curve.detector,
            marker="o" if few else None, ms=3.5,
        )  # fmt: skip
        if curve.mark is not None:
            axes.plot(*curve.mark, "o", ms=10, mfc="none", mec=color, mew=2, zorder=5)
            axes.annotate("works here", curve.mark, xytext=(9, -14), textcoords="offset points", color=color, size=9.5)
    if "calibration" in first.title.lower():
        most = max((float(np.nanmax([*c.x, *c.y])) for c in curves if len(c.x)), default=1.0)
        axes.plot([0, most], [0, most], color=MUTED, lw=1, ls=":")
    if first.log_x and all((np.asarray(c.x, dtype=np.float64) > 0).any() for c in curves):
        axes.set_xscale("log")
    axes.set(xlabel=first.x_label, ylabel=first.y_label)
    axes.grid(visible=True, lw=0.8)
    if len(curves) > 1 or first.detector != "ansim":
        axes.legend(frameon=False, fontsize=9.5)


def _themed(svg: str) -> str:
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*"', r"<svg \1", svg, count=1)
    svg = re.sub(r'<svg ([^>]*?)height="[^"]*"', r"<svg \1", svg, count=1)
    # The page's own font, and its ink for whatever has no colour of its own.
    return re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px; font-family: inherit", svg)


def _plots(curves: Sequence[Curve], folder: Path) -> dict[str, list[dict[str, Any]]]:
    groups: dict[tuple[str, ...], list[Curve]] = {}
    for curve in curves:
        if len(curve.x) and len(curve.x) == len(curve.y):
            groups.setdefault((curve.set, curve.title, curve.x_label, curve.y_label), []).append(curve)
    drawn: dict[str, list[dict[str, Any]]] = {}
    for i, ((name, title, *_), group) in enumerate(groups.items()):
        svg, png = _drawn(group, i)
        file = re.sub(r"[^a-z0-9]+", "-", f"{name} {title}".lower()).strip("-")[:80] + ".png"
        (folder / file).write_bytes(png)
        drawn.setdefault(name, []).append({"title": title, "svg": Markup(svg), "png": file})  # noqa: S704
    return drawn


def _cards() -> list[dict[str, Any]]:
    found = []
    for name in sorted(PINS):
        try:
            card = load(name).card
        except ModelError:
            continue
        given = card.get("figures")
        figures = {str(k): v for k, v in given.items() if isinstance(v, (str, int, float))} if given else {}
        bands = [band for band in card.get("calibration") or () if {"bin", "predicted", "observed", "n"} <= set(band)]
        found.append({"name": name, "card": card, "figures": figures, "bands": bands, "pin": PINS[name]})
    return found


def write(folder: Path, rows: Rows, curves: Sequence[Curve], data: Path, mode: str) -> Path:
    """Write index.html, complete in itself, and each plot as PNG beside it; returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    goals = [row for row in rows if row["goal"]]
    plots = _plots(curves, folder)
    sets = []
    for name in dict.fromkeys([*(row["set"] for row in rows), *plots]):
        own = [row for row in rows if row["set"] == name]
        detectors, lines = side_by_side(own)
        told = [(r, SEEN.sub("", r["note"] or "")) for r in own]
        notes = [f"{r['measure']}, {r['detector']}: {note}" for r, note in told if note]
        fitted = next((found[1] for r in own if (found := SEEN.match(r["note"] or ""))), None)
        anchor = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        sets.append(
            {"name": name, "anchor": anchor, "detectors": detectors, "lines": lines, "plots": plots.get(name, []),
             "notes": notes, "fitted": fitted}
        )  # fmt: skip
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals |= {"number": number, "interval": interval, "basis": basis, "gauge": gauge, "words": WORDS}
    template = environment.from_string(Path(__file__).with_name("report.html").read_text("utf-8"))
    page = template.render(
        goals=goals, met=sum(row["met"] is True for row in goals), sets=sets, cards=_cards(), mode=mode,
        data=data.name or str(data), machine=machine(), commit=commit(), seed=SEED,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )  # fmt: skip
    path = folder / "index.html"
    path.write_text(page, "utf-8")
    return path
