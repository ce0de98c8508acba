"""The plot: the CPU and the time that a request takes of each subject, as parts of the naive view's."""

from __future__ import annotations

from pathlib import Path

import pygal
from pygal.style import CleanStyle

from bench.results import Results
from bench.scenarios import NAIVE

_FIELDS = {"CPU per request": "cpu_us", "time until its answer (p50)": "p50_ms"}
_MARGIN_PIXELS, _BAR_PIXELS = 220, 18


def write_plot(results: Results, path: Path) -> None:
    """One SVG of bars, for each subject of each scenario; the naive view is 1 everywhere."""
    bars = [
        (f"{name}: {measured.labels[subject]}", measured, subject)
        for name, measured in results.scenarios.items()
        for subject in measured.samples
        if subject != NAIVE
    ]
    bars.reverse()  # pygal begins at the bottom
    chart = pygal.HorizontalBar(
        title="Parts of what the naive view takes (1) in the same rounds: less is better",
        x_labels=[label for label, _, _ in bars],
        height=_MARGIN_PIXELS + _BAR_PIXELS * len(_FIELDS) * len(bars),
        width=1200,
        include_x_axis=True,  # bars from zero: their lengths are what is compared
        value_formatter=lambda value: f"{value:.2f}",
        print_values=True,
        legend_at_bottom=True,
        style=CleanStyle(label_font_size=11, value_font_size=9),
        js=[],  # nothing is fetched from elsewhere when it is looked at
    )
    for series, field in _FIELDS.items():
        chart.add(series, [measured.ratio(subject, field, to=NAIVE) for _, measured, subject in bars])
    chart.render_to_file(str(path))
