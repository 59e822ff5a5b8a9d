"""The published meta-dataset of QTT-SEG (arXiv 2508.17283): one CSV row for each fine-tuning of ten epochs."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from qttseg.errors import StoreError
from qttseg.metadata.configurations import PAPER_SPACE, Configuration, Value
from qttseg.metadata.hashing import content_id
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run

_T = TypeVar("_T")

BACKBONE = "sam2.1-hiera-tiny"
MACHINE = "NVIDIA GeForce RTX 2080 Ti"
PROTOCOL = Protocol(epochs=10, batch_size=1, split="ungrouped", metric="pooled-binary-iou")
"""The paper's conditions, with the batch size and the metric of the published code."""

_ALWAYS: dict[str, Callable[[str], Value]] = {
    "lora": int,
    "lr": float,
    "weight_decay": float,
    **dict.fromkeys(("horizontal_flip", "vertical_flip", "random_rotate"), int),
    "sched": str,
}
_UNDER_LORA: dict[str, Callable[[str], Value]] = {"lora_rank": int, "lora_dropout": float}
_UNDER_SCHEDULE: dict[str, dict[str, Callable[[str], Value]]] = {
    "cosine": {},
    "cosine_warm": {"cosine_t0": int, "cosine_t_mult": int},
    "onecycle": {"onecycle_pct_start": float, "onecycle_div_factor": int, "onecycle_final_div_factor": int},
    "plateau": {"decay_rate": float, "patience_epochs": int},
    "poly": {"poly_power": float},
    "step": {"decay_rate": float, "step_size": int},
}
_SCORES = tuple(f"epoch_{epoch}_iou" for epoch in range(PROTOCOL.epochs))
_META = ("num_samples", "default_resolution", "num_channels", "num_classes")
_COLUMNS = frozenset(
    {*_ALWAYS, *_UNDER_LORA, *(name for names in _UNDER_SCHEDULE.values() for name in names)}
    | {*_META, "dataset", "cost", *_SCORES}
)


@dataclass(frozen=True, kw_only=True)
class PublishedDataset:
    """What the published CSV tells of one dataset.

    Attributes:
        name: As published.
        fingerprint: Hash of the name, since the pixels are not published; no real dataset has it.
        meta_features: The published meta-features under the names of `MetaFeatures`.
    """

    name: str
    fingerprint: str
    meta_features: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class PublishedCurves:
    """The published learning curves, in file order, and the datasets they are of, sorted by name."""

    curves: tuple[LearningCurve, ...]
    datasets: tuple[PublishedDataset, ...]


def read_published(path: str | Path) -> PublishedCurves:
    """Read a CSV file in the layout of the published meta-dataset.

    Parameters that are inactive under a row's schedule or without LoRA are dropped: the published code sampled them,
    but nothing read them. Scores are kept as they are, zeros and NaN included. The file holds one total cost for each
    run, so every epoch gets a tenth of it (seconds on one RTX 2080 Ti, the paper's section 4); training loss, learning
    rate and peak memory are unknown: NaN, NaN and 0. Rows of one dataset and one configuration are told apart by seeds
    counted from 0.

    Raises:
        StoreError: the file cannot be read, lacks a column, or a row holds a value of the wrong kind; the message
            names the row, the first below the header being 1.
    """
    path = Path(path)
    curves: list[LearningCurve] = []
    datasets: dict[str, PublishedDataset] = {}
    repeats: dict[tuple[str, Configuration], int] = {}
    for number, row in enumerate(_rows(path), start=1):
        where = f"{path}, row {number}"
        dataset = _dataset(row, where)
        if datasets.setdefault(dataset.name, dataset) != dataset:
            raise StoreError(f"{where}: meta-features of {dataset.name} differ from those in an earlier row")
        configuration = _configuration(row, where)
        seed = repeats.get((dataset.name, configuration), 0)
        repeats[dataset.name, configuration] = seed + 1
        run = Run(
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            configuration=configuration,
            space=PAPER_SPACE,
            protocol=PROTOCOL,
            backbone=BACKBONE,
            backbone_fingerprint=_fingerprint(BACKBONE),
            seed=seed,
        )
        curves.append(LearningCurve(run=run, outcome=Outcome.COMPLETED, records=_records(row, where), machine=MACHINE))
    if not curves:
        raise StoreError(f"{path} has a header but no rows")
    return PublishedCurves(curves=tuple(curves), datasets=tuple(datasets[name] for name in sorted(datasets)))


def _rows(path: Path) -> list[dict[str, str | None]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = sorted(_COLUMNS - set(reader.fieldnames or ()))
            if missing:
                raise StoreError(f"{path} is not the published meta-dataset: it lacks the columns {', '.join(missing)}")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StoreError(f"cannot read the published meta-dataset {path}: {error}") from error


def _value(row: Mapping[str, str | None], column: str, kind: Callable[[str], _T], where: str) -> _T:
    text = row[column]
    try:
        return kind(text or "")
    except ValueError as error:
        raise StoreError(f"{where}: column {column} is {text!r}; it must be {_KINDS[kind]}") from error


def _configuration(row: Mapping[str, str | None], where: str) -> Configuration:
    schedule = row["sched"]
    if schedule not in _UNDER_SCHEDULE:
        raise StoreError(f"{where}: column sched is {schedule!r}; it must be one of {', '.join(_UNDER_SCHEDULE)}")
    active = _ALWAYS | _UNDER_SCHEDULE[schedule]
    if _value(row, "lora", int, where):
        active |= _UNDER_LORA
    return Configuration({name: _value(row, name, kind, where) for name, kind in active.items()})


def _dataset(row: Mapping[str, str | None], where: str) -> PublishedDataset:
    name = row["dataset"]
    if not name:
        raise StoreError(f"{where}: column dataset is empty")
    resolution = re.fullmatch(r"\((\d+), (\d+)\)", row["default_resolution"] or "")
    if not resolution:
        raise StoreError(
            f"{where}: column default_resolution is {row['default_resolution']!r}; it must read '(height, width)'"
        )
    meta_features = {
        "images": float(_value(row, "num_samples", int, where)),
        "height": float(resolution[1]),
        "width": float(resolution[2]),
        "channels": float(_value(row, "num_channels", int, where)),
        "foreground_classes": float(_value(row, "num_classes", int, where)),
    }
    return PublishedDataset(name=name, fingerprint=_fingerprint(name), meta_features=meta_features)


def _records(row: Mapping[str, str | None], where: str) -> tuple[EpochRecord, ...]:
    seconds = _value(row, "cost", float, where) / PROTOCOL.epochs
    if not seconds > 0:
        raise StoreError(f"{where}: column cost is {row['cost']!r}; it must be a positive number of seconds")
    return tuple(
        EpochRecord(
            epoch=epoch,
            score=_value(row, column, _score, where),
            train_loss=float("nan"),
            learning_rate=float("nan"),
            train_seconds=seconds,
            validation_seconds=0.0,
            peak_memory=0,
        )
        for epoch, column in enumerate(_SCORES, start=1)
    )


def _score(text: str) -> float:
    """Return the IoU in [0, 1], or NaN; an empty cell is how pandas writes NaN."""
    score = float(text or "nan")
    if score < 0 or score > 1:
        raise ValueError(text)
    return score


_KINDS: dict[object, str] = {int: "a whole number", float: "a number", _score: "a number in [0, 1] or NaN"}


def _fingerprint(name: str) -> str:
    return content_id({"published": name})
