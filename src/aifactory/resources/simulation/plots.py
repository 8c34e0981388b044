"""Plots as SVG, written by hand: lines, shares, bars. They follow a light or a dark page. Pure."""

import math
from collections.abc import Mapping, Sequence
from html import escape

import msgspec

WIDTH, HEIGHT = 860, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 168, 48, 44
_LIGHT = ("#0072b2", "#b5560b", "#00795a", "#a8397a", "#6b5b00", "#4a4a4a")
_DARK = ("#56b4e9", "#e69f00", "#2fbf92", "#e38bc0", "#d9cf3f", "#b5bdc6")
_STYLE = (
    "svg{{font:12px system-ui,sans-serif;background:#fff}}.ink{{fill:#1b2330}}.muted{{fill:#566172}}"
    ".grid{{stroke:#d5dae1}}.title{{font-size:15px;font-weight:600}}"
    ".before{{opacity:.45;stroke-dasharray:5 4}}{light}"
    "@media(prefers-color-scheme:dark){{svg{{background:#161b22}}.ink{{fill:#e6edf3}}"
    ".muted{{fill:#9aa7b5}}.grid{{stroke:#343c47}}{dark}}}"
)
_HUES = len(_LIGHT)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A named line of points; ``hue`` is its colour, ``before``: drawn paler, as what was."""

    name: str
    points: Sequence[tuple[float, float]]
    hue: int
    before: bool = False


class Axes(msgspec.Struct, frozen=True, kw_only=True):
    """What a plot says around its lines; ``log``: decades upwards; ``top``: at least so high."""

    title: str
    said: str
    across: str
    upwards: str
    log: bool = False
    top: float | None = None


def _style() -> str:
    def colours(hues: Sequence[str]) -> str:
        return "".join(f".h{n}{{stroke:{hue}}}.f{n}{{fill:{hue}}}" for n, hue in enumerate(hues))

    return "<style>" + _STYLE.format(light=colours(_LIGHT), dark=colours(_DARK)) + "</style>"


class _Frame:
    """Where values are on the paper."""

    def __init__(self, axes: Axes, across: tuple[float, float], upwards: tuple[float, float]) -> None:
        self.axes = axes
        self.left, self.right = across
        self.low, self.high = upwards

    def x(self, value: float) -> float:
        span = (self.right - self.left) or 1.0
        return _LEFT + (value - self.left) / span * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        share = (self._scaled(max(value, self.low)) - low) / ((high - low) or 1.0)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self.axes.log else value

    def marks(self) -> list[str]:
        """Return the grid with its figures, and the names of the axes."""
        parts = []
        for value in _decades(self.low, self.high) if self.axes.log else _steps(self.low, self.high):
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(_text(_LEFT - 8, y + 4, _short(value), anchor="end"))
        parts += [
            _text(self.x(value), HEIGHT - _BOTTOM + 18, _short(value), anchor="middle")
            for value in _steps(self.left, self.right)
        ]
        parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, self.axes.across, anchor="middle"))
        parts.append(_text(_LEFT, _TOP - 10, self.axes.upwards))
        return parts


def _text(x: float, y: float, words: str, *, kind: str = "muted", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def line_chart(axes: Axes, lines: Sequence[Line]) -> str:
    """Return lines over a common axis."""
    points = [point for line in lines for point in line.points] or [(0.0, 0.0)]
    ys = [y for _, y in points if y > 0] or [1.0]
    low = 10 ** math.floor(math.log10(min(ys))) if axes.log else 0.0
    high = 10 ** math.ceil(math.log10(max(ys))) if axes.log else max(max(ys), axes.top or 0.0) * 1.04
    frame = _Frame(axes, (min(x for x, _ in points), max(x for x, _ in points)), (low, max(high, low * 10)))
    drawn = []
    for line in lines:
        kind = f"h{line.hue % _HUES}{' before' if line.before else ''}"
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line.points)
        drawn.append(
            f'<polyline class="{kind}" fill="none" stroke-width="2" stroke-linejoin="round" points="{path}"/>'
        )
    names = list(dict.fromkeys((line.name, line.hue) for line in lines if not line.before))
    return _page(axes, [*frame.marks(), *drawn, *_legend(names)])


def share_chart(axes: Axes, shares: Mapping[str, Sequence[float]], across: Sequence[float]) -> str:
    """Return parts of a whole over time, stacked, in the order given; each moment's sum is the whole."""
    totals = [sum(column) for column in zip(*shares.values(), strict=True)]
    frame = _Frame(axes, (min(across, default=0.0), max(across, default=1.0)), (0.0, 100.0))
    below = [0.0] * len(totals)
    drawn = []
    for hue, values in enumerate(shares.values()):
        above = [
            low + (100 * value / total if total else 0.0)
            for low, value, total in zip(below, values, totals, strict=True)
        ]
        edge = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(across, above, strict=True)]
        back = [f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in zip(across, below, strict=True)][::-1]
        opacity = 0.9 if hue < _HUES else 0.5
        drawn.append(
            f'<polygon class="f{hue % _HUES}" opacity="{opacity}" points="{" ".join(edge + back)}"/>'
        )
        below = above
    return _page(axes, [*frame.marks(), *drawn, *_legend([(name, hue) for hue, name in enumerate(shares)])])


def _legend(names: Sequence[tuple[str, int]]) -> list[str]:
    parts = []
    for place, (name, hue) in enumerate(names):
        y = _TOP + 8 + 20 * place
        look = f'class="f{hue % _HUES}" opacity="{0.5 if hue >= _HUES else 1}"'
        x = WIDTH - _RIGHT + 16
        parts.append(f'<rect {look} x="{x}" y="{y - 9}" width="12" height="12" rx="2"/>')
        parts.append(_text(x + 18, y + 1, name[:20], kind="ink"))
    return parts


def _page(axes: Axes, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        f"<title>{escape(axes.title)}</title><desc>{escape(axes.said)}</desc>{_style()}"
        f"{_text(_LEFT, 22, axes.title, kind='ink title')}{''.join(parts)}</svg>\n"
    )


def _steps(low: float, high: float, wanted: int = 6) -> list[float]:
    """Return round values between two, about as many as wanted."""
    span = high - low
    if span <= 0:
        return [low]
    rough = span / wanted
    size = 10 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    return [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value / (1e3 if letter == 'k' else size):g}{letter}"
    return f"{value:g}" if abs(value) < 1 else f"{round(value, 2):g}"
