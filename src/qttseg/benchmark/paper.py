"""The paper's own figures, to print beside ours (QTT-SEG, arXiv 2508.17283, Tables 1 and 2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

BUDGETS = (60.0, 120.0, 180.0)
"""The paper's time budgets in seconds."""

# As printed, the standard deviation 0.382 of leaf (AutoGluon, 180 s) included.
# dataset | zero-shot | AutoGluon 60 120 180 | QTT-SEG 60 120 180
_BINARY = """
polyp    0.495±0.006  0.328±0.183 0.622±0.027 0.711±0.011  0.850±0.031 0.866±0.008 0.867±0.006
lesion   0.573±0.028  0.704±0.046 0.802±0.016 0.806±0.013  0.870±0.008 0.863±0.009 0.882±0.008
leaf     0.377±0.010  0.501±0.024 0.587±0.032 0.633±0.382  0.657±0.009 0.635±0.034 0.646±0.028
covid    0.342±0.005  0.397±0.026 0.447±0.029 0.499±0.021  0.612±0.018 0.647±0.013 0.636±0.017
eyes     0.069±0.002  0.216±0.102 0.323±0.025 0.365±0.013  0.291±0.028 0.314±0.023 0.323±0.012
fiber    0.007±0.000  0.203±0.017 0.241±0.007 0.249±0.009  0.229±0.016 0.196±0.111 0.250±0.017
cardiac  0.764±0.009  0.733±0.040 0.828±0.009 0.835±0.007  0.875±0.012 0.866±0.019 0.886±0.007
chest    0.591±0.002  0.909±0.002 0.914±0.004 0.919±0.003  0.896±0.010 0.902±0.004 0.903±0.014
"""

# dataset | zero-shot | QTT-SEG 60 120 180
_MULTICLASS = """
US             0.304±0.002  0.814±0.012 0.784±0.088 0.831±0.013
human_parsing  0.524±0.006  0.843±0.006 0.853±0.008 0.846±0.014
golf           0.151±0.007  0.362±0.047 0.383±0.034 0.391±0.026
terrain        0.399±0.006  0.466±0.036 0.494±0.030 0.483±0.013
cholec         0.117±0.007  0.196±0.038 0.216±0.011 0.221±0.018
"""


@dataclass(frozen=True, kw_only=True)
class PaperFigure:
    """Mean IoU in [0, 1] over the paper's five seeds, and its standard deviation."""

    mean: float
    std: float


Column = tuple[str, float | None]
"""Method and budget in seconds; no budget for zero-shot."""


def _columns(*methods: str) -> tuple[Column, ...]:
    return (("zero-shot", None), *((method, budget) for method in methods for budget in BUDGETS))


def _read(text: str, columns: tuple[Column, ...]) -> dict[str, Mapping[Column, PaperFigure]]:
    table: dict[str, Mapping[Column, PaperFigure]] = {}
    for line in text.strip().splitlines():
        name, *printed = line.split()
        pairs = (figure.split("±") for figure in printed)
        figures = (PaperFigure(mean=float(mean), std=float(std)) for mean, std in pairs)
        table[name] = MappingProxyType(dict(zip(columns, figures, strict=True)))
    return table


FIGURES: Mapping[str, Mapping[Column, PaperFigure]] = MappingProxyType(
    _read(_BINARY, _columns("autogluon", "qtt-seg")) | _read(_MULTICLASS, _columns("qtt-seg"))
)
"""The figures of each of the paper's 13 datasets, by (method, budget)."""


def counterpart(dataset: str) -> str | None:
    """Return the paper's dataset that stands beside `dataset`, or None.

    The paper's name must open ours, as whole words: `polyp_kvasir` and `procedural-polyp` stand beside `polyp`,
    `neopolyp_bkai` beside nothing. The images are never the same; captions say so.
    """
    words = _words(dataset.removeprefix("procedural-"))
    return next((name for name in FIGURES if words[: len(_words(name))] == _words(name)), None)


def _words(name: str) -> list[str]:
    return re.split(r"[-_ ]", name.lower())
