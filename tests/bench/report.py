"""Shows and keeps what was measured: a table, build/bench.json, and a plot."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measurement import Measurement

Series = Mapping[str, Sequence[Mapping[str, Any]]]
_VERDICTS = {True: "ok", False: "MISSED", None: ""}


def lines(measurements: Sequence[Measurement]) -> list[str]:
    """Return a part's lines of the table; a reason that several figures share stands there once."""
    reasons = dict.fromkeys(measurement.reason for measurement in measurements if measurement.reason)
    return [*map(line, measurements), *(f"  not measured: {reason}" for reason in reasons)]


def line(measurement: Measurement) -> str:
    """Return a figure's line of the table."""
    figure, value = measurement.figure, measurement.value
    target = f"{figure.target}" if figure.target else ""
    if value is None:
        return f"  {figure.name:<66} not measured"
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"  {figure.name:<66} {shown:>8} {figure.unit:<16} {target:<14} {_VERDICTS[measurement.ok]}".rstrip()


def save(measurements: Sequence[Measurement], path: Path) -> None:
    """Write bench.json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [measurement.as_json() for measurement in measurements]
    path.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def plot(measurements: Sequence[Measurement], series: Series, path: Path) -> None:
    """Draw how each value stands against its target, and what the burst used over time."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    judged = [m for m in measurements if m.value is not None and m.figure.target is not None]
    burst = series.get("burst", ())
    rows = 3 if burst else 1
    figure = pyplot.figure(figsize=(9, 1 + 3 * rows), layout="constrained")
    # Figures of their own, so that the names of the first do not narrow the others.
    axes = [part.subplots() for part in figure.subfigures(rows, 1, squeeze=False)[:, 0]]
    _plot_targets(axes[0], judged)
    if burst:
        _plot_burst(axes[1], axes[2], burst)
    figure.savefig(path)
    pyplot.close(figure)


def margin(measurement: Measurement) -> float:
    """Return how many times better than its target a value is; below 1 it is worse."""
    target = measurement.figure.target
    if target is None or not measurement.value:
        raise ValueError(f"{measurement.figure.name} has no target, or no value")
    ratio = measurement.value / target.limit
    return ratio if target.at_least else 1 / ratio


def _plot_targets(axes: Any, judged: Sequence[Measurement]) -> None:
    shown = [m for m in reversed(judged) if m.value]
    names = [f"{m.figure.name} ({m.figure.target} {m.figure.unit})" for m in shown]
    bars = axes.barh(names, [margin(m) for m in shown], color=["tab:green" if m.ok else "tab:red" for m in shown])
    axes.bar_label(bars, [f" {m.value:.3g}" for m in shown])
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.1)
    axes.set_xlabel("times better than the target")
    axes.tick_params(axis="y", labelsize=7)


def _plot_burst(top: Any, bottom: Any, burst: Sequence[Mapping[str, Any]]) -> None:
    seconds = [sample["seconds"] for sample in burst]
    for key in ("made", "finished"):
        top.plot(seconds, [sample[key] for sample in burst], label=f"Tasks {key}")
    top.set_ylabel("Tasks")
    top.legend(loc="lower right")
    memory = top.twinx()
    memory.plot(seconds, [sample["controller"]["rss"] / 1e6 for sample in burst], color="tab:gray")
    memory.set_ylabel("controller, MB RSS (grey)")
    memory.set_ylim(bottom=0)
    for group in ("controller", "api", "kubelet"):
        bottom.plot(seconds[1:], _cores(burst, group), label=group)
    bottom.set_ylabel("cores")
    bottom.set_xlabel("seconds")
    bottom.legend(loc="upper right")


def _cores(samples: Sequence[Mapping[str, Any]], group: str) -> list[float]:
    """Return how many cores a group kept busy between each sample and the next."""
    pairs = itertools.pairwise(samples)
    return [(b[group]["cpu"] - a[group]["cpu"]) / max(b["seconds"] - a["seconds"], 0.01) for a, b in pairs]
