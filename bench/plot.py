"""The plot: what each subject takes and gives, as parts of the naive view's."""

from __future__ import annotations

from pathlib import Path

import pygal
from pygal.style import CleanStyle

from bench.results import Results
from bench.scenarios import NAIVE

_FIELDS = {"CPU per request": "cpu_us", "requests per second": "requests_per_second", "p50": "p50_ms"}
_BAR_PIXELS = 18


def write_plot(results: Results, path: Path) -> None:
    """One SVG of bars, three for each subject of each scenario; the naive view is 1 everywhere."""
    bars = [
        (f"{name}: {measured.labels[subject]}", measured, subject)
        for name, measured in results.scenarios.items()
        for subject in measured.samples
        if subject != NAIVE
    ]
    chart = pygal.HorizontalBar(
        title="Compared with the naive view of the same round (1 = the naive view)",
        x_title="parts of the naive view's, logarithmic",
        x_labels=[label for label, _, _ in bars],
        height=200 + _BAR_PIXELS * len(_FIELDS) * len(bars),
        width=1200,
        logarithmic=True,
        value_formatter=lambda value: f"{value:.2f}",
        print_values=True,
        style=CleanStyle(label_font_size=11, value_font_size=9),
        js=[],  # nothing is fetched from elsewhere when it is looked at
    )
    for series, field in _FIELDS.items():
        chart.add(series, [measured.ratio(subject, field, to=NAIVE) for _, measured, subject in bars])
    chart.render_to_file(str(path))
