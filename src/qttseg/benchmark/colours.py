"""One colour for each method, the same in all figures and in the report."""

from __future__ import annotations

from collections.abc import Iterable

from qttseg.benchmark.tables import BASELINE, CONTENDER

_FIXED = {BASELINE: "#8a8f98", "box-filling": "#bcbfc5", CONTENDER: "#0072b2", "autogluon": "#d55e00"}
_OTHERS = (
    "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b5ea7", "#a6761d", "#b5bd00", "#1b4f4a", "#332288", "#882255",
    "#ddcc77", "#cc6677", "#117733", "#aa4499", "#44aa99",
    "#6699cc", "#661100", "#999933",
)  # fmt: skip
"""Okabe and Ito's palette, which colour-blind readers can tell apart, many of Paul Tol's, and four more."""


def colours(methods: Iterable[str]) -> dict[str, str]:
    """Return the colour of each method as `#rrggbb`: grey for what is not tuned."""
    names = sorted(set(methods))
    others = [name for name in names if name not in _FIXED]
    return {name: _FIXED.get(name) or _OTHERS[others.index(name) % len(_OTHERS)] for name in names}
