"""Figures in the text format of Prometheus (prometheus.io/docs/instrumenting/exposition_formats)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from connrunner.lazy_dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure, for each of its labels: what it is, and its samples."""

    name: str
    help: str
    samples: Iterable[tuple[Mapping[str, str], float]]  # read once


def format_metrics(metrics: Iterable[Metric]) -> str:
    """Return *metrics*, all of them gauges, as the page that Prometheus reads; one without samples is left out."""
    return "".join(iter_metric_lines(metrics))


def iter_metric_lines(metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the lines of that page."""
    return (line for metric in metrics for line in _lines(metric))


def _lines(metric: Metric) -> Iterator[str]:
    for place, (labels, value) in enumerate(metric.samples):
        if not place:
            yield f"# HELP {metric.name} {_escaped(metric.help)}\n"
            yield f"# TYPE {metric.name} gauge\n"
        said = ",".join([f'{name}="{_escaped(text, quoted=True)}"' for name, text in labels.items()])
        yield f"{metric.name}{f'{{{said}}}' if said else ''} {_number(value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str, *, quoted: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quoted else text
