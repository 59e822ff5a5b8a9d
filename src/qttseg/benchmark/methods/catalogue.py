"""Competitors by name: ours, and those that other packages register."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import entry_points

from qttseg.benchmark.methods.asha import Asha
from qttseg.benchmark.methods.autogluon import AutoGluon
from qttseg.benchmark.methods.baselines import BoxFilling, ZeroShot
from qttseg.benchmark.methods.fixed import DECODER, FULL, Fixed
from qttseg.benchmark.methods.interface import Method
from qttseg.benchmark.methods.sessions import QuickTune, RandomSearch, WithoutMetaLearning
from qttseg.errors import BenchmarkError
from qttseg.metadata.adapters import EXTENDED_ADAPTERS

ENTRY_POINTS = "qttseg.methods"
"""Entry-point group under which other packages register a callable that returns a `Method`."""

_BUILT_IN: tuple[Method, ...] = (
    ZeroShot(),
    QuickTune(),
    RandomSearch(),
    BoxFilling(),
    Fixed(),
    Asha(),
    AutoGluon(),
    AutoGluon(name="autogluon-boxes", boxes=True),
    WithoutMetaLearning(),
    QuickTune(name="qtt-seg-no-cost", cost_aware=False),
    QuickTune(name="qtt-seg-no-warm-start", warm_start=False),
    QuickTune(name="qtt-seg-no-finish", finishing=False),
    QuickTune(name="qtt-seg-no-lora", where={"lora": 0}),
    QuickTune(name="qtt-seg-extended", space="extended"),
    *(QuickTune(name=f"qtt-seg-only-{name}", space="extended", where={"adapter": name}) for name in EXTENDED_ADAPTERS),
    Fixed(name="default-no-lora", configuration=DECODER),
    Fixed(name="default-full", configuration=FULL),
)


def method_names() -> tuple[str, ...]:
    """Return the names of all registered methods, built-in ones first."""
    plugins = sorted(entry.name for entry in entry_points(group=ENTRY_POINTS))
    return tuple(dict.fromkeys([*_built_in(), *plugins]))


def method(name: str) -> Method:
    """Return the method registered under `name`, built in or from an entry point of the group `qttseg.methods`.

    `autogluon:CHECKPOINT` and `autogluon-boxes:CHECKPOINT` start from a Hugging Face folder, or a name on the hub,
    instead of the benchmark's backbone.

    Raises:
        BenchmarkError: there is none, or its plug-in cannot be loaded or carries another name.
    """
    kind, _, checkpoint = name.partition(":")
    built_in = _built_in().get(kind)
    if isinstance(built_in, AutoGluon) and checkpoint:
        return replace(built_in, name=name, checkpoint=checkpoint)
    if built_in is not None and not checkpoint:
        return built_in
    found = entry_points(group=ENTRY_POINTS, name=name)
    if not found:
        raise BenchmarkError(f"there is no method {name!r}; there are {', '.join(method_names())}")
    entry = next(iter(found))
    try:
        made: Method = entry.load()()
    except (ImportError, AttributeError) as error:
        raise BenchmarkError(f"the plug-in {entry.value} of method {name} cannot be loaded: {error}") from error
    if made.name != name:
        raise BenchmarkError(f"the plug-in {entry.value} is registered as {name} but calls itself {made.name}")
    return made


def _built_in() -> Mapping[str, Method]:
    return {one.name: one for one in _BUILT_IN}
