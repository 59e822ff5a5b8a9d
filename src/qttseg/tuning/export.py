"""A tuning result on disk: the model, how it came about, and what it looks like at work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from qttseg import __version__
from qttseg.errors import StoreError
from qttseg.metadata.aside import appearing, check_free
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.models import save_model
from qttseg.pipelines.scoring import evaluate
from qttseg.tuning.card import model_card
from qttseg.tuning.previews import side_by_side
from qttseg.tuning.session import PREVIEWS, TuningResult


def check_target(folder: Path) -> None:
    """Check that a result can be written to `folder`; worth doing before an hour of tuning.

    Raises:
        StoreError: it exists and is no empty folder.
    """
    check_free(folder, refusal=StoreError)


def write_result(folder: Path, result: TuningResult, dataset: Dataset) -> None:
    """Write everything about `result` into `folder`, which appears whole or not at all.

    `model.json` and the weights beside it are the model (`pipelines.models.load_model(folder)`),
    `config.json` says how it was made, `curves/` holds the learning curves (`metadata.store.CurveStore(folder)`),
    `trajectory.json` the incumbents over time, `previews/` validation images, `MODEL_CARD.md` the plain words.

    Raises:
        StoreError: `folder` is not empty, or writing fails.
    """
    with appearing(folder, refusal=StoreError) as aside:
        _write_all(aside, result, dataset)


def _write_all(folder: Path, result: TuningResult, dataset: Dataset) -> None:
    save_model(folder, result.segmenter, classes=dataset.classes, prompt=result.protocol.prompt)
    _write_json(folder / "config.json", _description(result))
    _write_json(folder / "trajectory.json", [{"seconds": at, "score": score} for at, score in result.trajectory])
    CurveStore(folder).append(result.curves)
    previews = _write_previews(folder / "previews", result, dataset)
    (folder / "MODEL_CARD.md").write_text(model_card(result, dataset, previews), encoding="utf-8")


def _description(result: TuningResult) -> Mapping[str, object]:
    backbone = result.segmenter.backbone
    return {
        "configuration": None if result.configuration is None else dict(result.configuration),
        "epoch": result.epoch,
        "finish_steps": result.finish_steps,
        "validation_score": result.score,
        "zero_shot_validation_score": result.zero_shot_score,
        "dataset": result.dataset,
        "dataset_fingerprint": result.dataset_fingerprint,
        "protocol": result.protocol.to_dict(),
        "protocol_id": result.protocol.id,
        "space": result.space,
        "backbone": backbone.name,
        "backbone_fingerprint": backbone.fingerprint,
        "seed": result.seed,
        "budget_seconds": result.budget,
        "used_seconds": result.seconds,
        "overrun_seconds": result.overrun,
        "reserved_seconds": result.reserve,
        "warm_start_seconds": result.warm_start_seconds,
        "ending": result.ending,
        "notes": list(result.notes),
        "versions": {"qttseg": __version__, **{name: version(name) for name in ("torch", "peft", "numpy")}},
    }


def _write_json(file: Path, document: object) -> None:
    file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _write_previews(folder: Path, result: TuningResult, dataset: Dataset) -> Mapping[str, str]:
    """Write a picture for each of a few validation images; return file name → item name."""
    indices = result.split.validation[:PREVIEWS]
    evaluation = evaluate(result.segmenter, dataset, indices, result.protocol, seed=result.seed)
    folder.mkdir()
    written: dict[str, str] = {}
    for place, index in enumerate(indices):
        picture = side_by_side(dataset[index], evaluation.label_maps[place], evaluation.scores[place])
        file = folder / f"validation-{place + 1}.png"
        picture.save(file, compress_level=1)  # the user waits; a few kilobytes do not matter
        written[file.name] = dataset.names[index]
    return written
