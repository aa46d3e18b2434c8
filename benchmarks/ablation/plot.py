"""Curves with intervals as an SVG file, written by hand: no library for four lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from meshreg.files import written_whole
from meshreg.metrics import Interval

WIDTH, HEIGHT = 460, 316  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 56, 12, 50, 44  # margins
_LEGEND = 36  # between title and diagram, where no curve is
COLORS = ("#444444", "#d08500", "#1f77b4", "#b0273a")  # told apart also by the colour-blind
_DODGE = 5  # pixels between curves, so that their whiskers do not hide each other


@dataclass(frozen=True)
class Panel:
    """One diagram: curves over the same groups."""

    title: str
    x_label: str
    y_label: str
    groups: Sequence[str]
    curves: dict[str, list[Interval | None]]  # one interval for each group; None: nobody in it


def write_svg(path: Path, panels: Sequence[Panel]) -> None:
    """All panels side by side."""
    width = WIDTH * len(panels)
    parts = [
        f'<g transform="translate({WIDTH * place},0)">{_panel(panel)}</g>'
        for place, panel in enumerate(panels)
    ]
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" '
        f'height="{HEIGHT}" font-family="sans-serif" font-size="12">'
        f'<rect width="{width}" height="{HEIGHT}" fill="white"/>{"".join(parts)}</svg>\n'
    )
    with written_whole(path) as temporary:
        temporary.write_text(text, "utf-8")


def _panel(panel: Panel) -> str:
    known = [i for curve in panel.curves.values() for i in curve if i is not None]
    low, high = min(i.low for i in known), max(i.high for i in known)
    step = _step(high - low)
    low, high = step * int(low // step), step * (int(high // step) + 1)

    def y_of(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    def x_of(group: int) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (group + 0.5) / len(panel.groups)

    lines = [_text(LEFT, 16, panel.title, "start", bold=True)]
    value = low
    while value <= high + 1e-9:
        y = y_of(value)
        lines.append(_line(LEFT, y, WIDTH - RIGHT, y, "#dddddd"))
        lines.append(_text(LEFT - 6, y + 4, f"{value:g}", "end"))
        value += step
    lines += [_text(x_of(k), HEIGHT - 26, name) for k, name in enumerate(panel.groups)]
    lines.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, panel.x_label))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    lines.append(f'<g transform="rotate(-90 14 {middle})">{_text(14, middle, panel.y_label)}</g>')
    for number, (name, curve) in enumerate(panel.curves.items()):
        color, dodge = COLORS[number % len(COLORS)], _DODGE * (number - len(panel.curves) / 2)
        there = [(x_of(k) + dodge, i) for k, i in enumerate(curve) if i is not None]
        points = " ".join(f"{x:.1f},{y_of(i.mean):.1f}" for x, i in there)
        lines.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        for x, interval in there:
            lines.append(_line(x, y_of(interval.low), x, y_of(interval.high), color))
            lines.append(
                f'<circle cx="{x:.1f}" cy="{y_of(interval.mean):.1f}" r="3" fill="{color}"/>'
            )
        x = LEFT + (WIDTH - LEFT - RIGHT) * number / len(panel.curves)
        lines.append(_line(x, _LEGEND - 4, x + 20, _LEGEND - 4, color))
        lines.append(_text(x + 26, _LEGEND, name, "start"))
    return "".join(lines)


def _step(span: float) -> float:
    """The distance of grid lines: 1, 2 or 5 times a power of ten, for about five lines."""
    power = 10.0 ** int(f"{max(span, 1e-9) / 5:e}".split("e")[1])
    return next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= 6)


def _line(x: float, y: float, x_end: float, y_end: float, color: str) -> str:
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x_end:.1f}" y2="{y_end:.1f}" stroke="{color}"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle", *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
