"""The quality report as one HTML file that needs nothing else: pictures are within it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qttseg import __version__
from qttseg.errors import DatasetError
from qttseg.metadata.colours import palette
from qttseg.metadata.datasets import Dataset, Sample
from qttseg.metadata.folders import FolderSource
from qttseg.metadata.listing import list_files
from qttseg.metadata.overlays import overlay
from qttseg.metadata.quality import NearPair, Quality, assess, quality_of
from qttseg.metadata.twins import Twin
from qttseg.metadata.verification import Problem, Severity, VerificationReport

EXAMPLES = 24
"""Images on a contact sheet."""

_MOST_ROWS = 200
_MOST_PAIRS = 12
_PICTURE_SIDE = 280

Load = Callable[[str], Sample]


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """An item as the page has it: its name and its picture, a data URI, empty where it cannot be read."""

    name: str
    picture: str


def page_of(dataset: Dataset, twins: Sequence[Twin] = ()) -> str:
    """Return the page of a dataset.

    Args:
        dataset: Any dataset.
        twins: What counts as the same dataset in stores of learning curves.

    Raises:
        DatasetError: an item cannot be read.
    """
    about: dict[str, object] = {"task": dataset.task, "images": len(dataset), "fingerprint": dataset.fingerprint}
    if dataset.groups is not None:
        about["groups"] = len(set(dataset.groups))
    places = {name: place for place, name in enumerate(dataset.names)}
    return _page(
        dataset.name, about, quality_of(dataset), dataset.names, lambda name: dataset[places[name]], twins=twins
    )


def page_of_report(report: VerificationReport, twins: Sequence[Twin] = ()) -> str:
    """Return the page of a dataset folder that was verified, whatever is wrong with it; see `page_of`."""
    about: dict[str, object] = {"folder": report.path, "pairs": report.pairs, "sound": report.sound}
    if report.groups is not None:
        about["groups"] = report.groups
    found = report.description
    if found is None:
        return _page(report.path.name, about, assess(report.facts, ()), (), _nothing, report.problems)
    dataset = Dataset.from_folders(report.path) if report.usable else None
    quality = assess(report.facts, found.classes, dataset)
    # The sound pairs of a folder that is not fit for use are worth a look, too.
    source = FolderSource(pairs=list_files(report.path).pairs, task=found.task, classes=len(found.classes))
    places = {name: place for place, name in enumerate(source.names)}
    about["task"] = found.task
    return _page(
        found.name, about, quality, list(report.facts), lambda name: source.load(places[name]), report.problems, twins
    )


def spread(count: int, most: int) -> list[int]:
    """Return at most `most` of the first `count` indices, evenly spread."""
    return [count * place // min(count, most) for place in range(min(count, most))]


def _page(
    title: str,
    about: Mapping[str, object],
    quality: Quality,
    names: Sequence[str],
    load: Load,
    problems: Sequence[Problem] = (),
    twins: Sequence[Twin] = (),
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("qttseg.metadata"), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("quality.html").render(
        title=title,
        about=about,
        quality=quality,
        problems=problems,
        errors=sum(problem.severity is Severity.ERROR for problem in problems),
        examples=[_shown(names[place], load) for place in spread(len(names), EXAMPLES)],
        twins=twins,
        pairs=[_pair(pair, load) for pair in quality.near[:_MOST_PAIRS]],
        sizes=quality.frequent_sizes(),
        lists={
            "Without foreground": quality.empty,
            "Tiny foreground": [f"{name} ({share:.3%})" for name, share in quality.tiny],
        },
        colours=["rgb({:.0f} {:.0f} {:.0f})".format(*colour) for colour in palette()],
        most=_MOST_ROWS,
        version=__version__,
    )


def _shown(name: str, load: Load) -> _Shown:
    """Return a picture of an item; without one where it has become unreadable since it was examined."""
    try:
        sample = load(name)
    except DatasetError:
        return _Shown(name=name, picture="")
    file = io.BytesIO()
    overlay(sample, side=_PICTURE_SIDE).save(file, "JPEG", quality=80)
    return _Shown(name=name, picture=f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}")


def _pair(pair: NearPair, load: Load) -> dict[str, object]:
    note = f"{' / '.join(pair.sides)} · {pair.bits} of 256 bits differ{' · same group' if pair.same_group else ''}"
    return {
        "first": _shown(pair.first, load),
        "second": _shown(pair.second, load),
        "across": pair.across,
        "note": note,
    }


def _nothing(name: str) -> Sample:
    raise DatasetError(f"{name} cannot be shown: nothing tells the classes")
