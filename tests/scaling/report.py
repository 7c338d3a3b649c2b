"""docs/scaling.md and its figure, from runs."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from pathlib import Path

from tests.scaling import runs

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FIGURE = DOCS / "scaling.md", DOCS / "scaling.svg"
BEGIN = "<!-- measured: written by `python -m tests.scaling --write`, do not edit -->"
END = "<!-- end of the measured part -->"
PREFILL_CORES = (1, 2, 4, 8, 16)
DECODE_CORES = (1, 2, 4, 8, 16, 32)
ORDERS = ((0, 32), (2, 0), (2, 32), (2, 100), (5, 32), (20, 32))  # turns of ns, cycles ahead
REORDERED = (
    (runs.prefill, (2,)),
    (runs.prefill, (8,)),
    (runs.decode, (2,)),
    (runs.decode, (8,)),
    (runs.decode, (8, runs.FEW_CHANNELS)),
)
STREAM_CORES = 4


def prefill_row(cores: int) -> str:
    """Cores, ms, speed-up over one core, and the part of all slots spent waiting for others."""
    one, run = runs.prefill(1), runs.prefill(cores)
    waiting = run.account.causes["waiting for other cores"] / run.cycles
    speedup = one.seconds / run.seconds
    return f"| {cores} | {run.seconds * 1e3:.2f} | {speedup:.2f} | {waiting:.1%} |"


def decode_row(cores: int) -> str:
    """Cores, tokens/s, speed-up over one core, GB/s of weights and of the stream, their ratio."""
    one, step = runs.step(1), runs.step(cores)
    return (
        f"| {cores} | {1 / step.seconds:.1f} | {one.seconds / step.seconds:.2f} | "
        f"{step.weights:.1f} | {step.stream:.1f} | {step.weights / step.stream:.3f} |"
    )


def order_row(turn: int, ahead: int) -> str:
    """By how much such an order of work changes the time of prompts, of tokens, and of a stream."""
    order, exact = runs.order(turn, ahead), runs.order(0, 0)
    changes = [run(*on, *order).cycles / run(*on, *exact).cycles - 1 for run, on in REORDERED]
    changes.append(runs.stream(STREAM_CORES, *exact) / runs.stream(STREAM_CORES, *order) - 1)
    return f"| {turn} | {ahead} | {' | '.join(f'{change:+.2%}' for change in changes)} |"


def tables() -> str:
    """The measured part of the page."""
    lines = [
        f"### Prefill of {runs.ROWS} tokens",
        "",
        "| cores | ms | times as fast | waiting for other cores |",
        "| --: | --: | --: | --: |",
        *map(prefill_row, PREFILL_CORES),
        "",
        f"### One token behind {runs.CONTEXT}, DRAM of {runs.pins():.1f} GB/s",
        "",
        "| cores | tokens/s | times as fast | weights, GB/s | stream, GB/s | weights / stream |",
        "| --: | --: | --: | --: | --: | --: |",
        *map(decode_row, DECODE_CORES),
        "",
        "### Other orders of work: time, against cycle by cycle",
        "",
        "| turn, ns | loads ahead, cycles | prefill, 2 cores | 8 cores | token, 2 cores | 8 cores "
        f"| 8 cores, DRAM of {runs.pins():.1f} GB/s | stream there, {STREAM_CORES} cores |",
        "| --: | --: | --: | --: | --: | --: | --: | --: |",
        *(order_row(*each) for each in ORDERS),
    ]
    return "\n".join(lines)


def renewed(page: str) -> str:
    """The page with fresh figures between its marks; ValueError where it has none."""
    begin, end = page.index(BEGIN), page.index(END)
    return f"{page[:begin]}{BEGIN}\n\n{tables()}\n\n{page[end:]}"


# --- the figure -----------------------------------------------------------------------------------

WIDTH, HEIGHT = 640, 400  # pixels
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 24, 48
DOUBLINGS = 5  # both axes are logarithmic, from 1 to 32


def _place(cores: float, speedup: float) -> tuple[float, float]:
    across = (WIDTH - LEFT - RIGHT) / DOUBLINGS
    up = (HEIGHT - TOP - BOTTOM) / DOUBLINGS
    return LEFT + log2(cores) * across, HEIGHT - BOTTOM - log2(speedup) * up


def _line(points: Sequence[tuple[float, float]], style: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_place(*point) for point in points))
    return f'<polyline points="{places}" fill="none" {style}/>'


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{words}</text>'


def figure() -> str:
    """Speed-up over cores as SVG: prefill, decode, and where the pins of DRAM end the latter."""
    prefill = [(c, runs.prefill(1).seconds / runs.prefill(c).seconds) for c in PREFILL_CORES]
    decode = [(c, runs.step(1).seconds / runs.step(c).seconds) for c in DECODE_CORES]
    ceiling = runs.pins() * 1e9 * runs.step(1).seconds / runs.weight_bytes()
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for doubling in range(DOUBLINGS + 1):
        number = 2**doubling
        x, y = _place(number, number)
        out += [
            _text(x, HEIGHT - BOTTOM + 18, str(number), 'text-anchor="middle"'),
            _text(LEFT - 8, y + 4, str(number), 'text-anchor="end"'),
            _line([(1, number), (32, number)], 'stroke="#ddd"'),
        ]
    out += [
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "cores", 'text-anchor="middle"'),
        _text(LEFT - 40, TOP - 8, "times as fast as one core"),
        _line([(1, 1), (32, 32)], 'stroke="#999" stroke-dasharray="2 4"'),
        _line([(1, ceiling), (32, ceiling)], 'stroke="#555" stroke-dasharray="6 4"'),
    ]
    beside = WIDTH - RIGHT + 8
    curves = ((prefill, "#d95f02", "prefill"), (decode, "#1f78b4", "decode"))
    for points, colour, name in curves:
        out.append(_line(points, f'stroke="{colour}" stroke-width="2"'))
        for point in points:
            x, y = _place(*point)
            out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>')
        x, y = _place(*points[-1])
        out.append(_text(x + 8, y + 14, name, f'fill="{colour}"'))
    out += [
        _text(beside, _place(32, 32)[1] + 4, "as many as cores", 'fill="#777"'),
        _text(beside, _place(32, ceiling)[1] - 4, f"DRAM: {runs.pins():.1f} GB/s", 'fill="#555"'),
        "</svg>",
    ]
    return "\n".join(out) + "\n"
