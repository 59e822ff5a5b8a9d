from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qttseg.metadata.datasets import Dataset, resolve_dataset
from qttseg.metadata.meta_features import measure
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.spaces import search_space
from qttseg.predictors.registry import Registry
from qttseg.predictors.training import train


def _draw(folder: Path, *, seed: int) -> Path:
    """Write a dataset of 12 images of different sizes with a bright rectangle (1) and a dark one (2)."""
    generator = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for index in range(12):
        height, width = 64 + 8 * (index % 3), 96
        image = generator.integers(90, 140, (height, width, 3)).astype(np.uint8)
        mask = np.zeros((height, width), np.uint8)
        for class_id, shade in ((1, 230), (2, 20)):
            top, left = generator.integers(4, 20), generator.integers(4, 16) + 46 * (class_id - 1)
            inside = np.s_[top : top + generator.integers(12, 30), left : left + generator.integers(12, 26)]
            image[inside], mask[inside] = shade, class_id
        Image.fromarray(image).save(folder / "images" / f"{index}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{index}.png")
    classes = ["background", "light", "dark"]
    (folder / "dataset.json").write_text(json.dumps({"name": folder.name, "task": "multiclass", "classes": classes}))
    return folder


@pytest.fixture(scope="session")
def target(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A small multiclass dataset that no predictor has seen."""
    return resolve_dataset(str(_draw(tmp_path_factory.mktemp("datasets") / "target", seed=0)))


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the dataset that the registry's predictors have learnt from."""
    return _draw(tmp_path_factory.mktemp("datasets") / "seen", seed=1)


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory, seen: Path) -> Registry:
    """A registry with predictors trained on a few curves that rise with the learning rate."""
    root = tmp_path_factory.mktemp("predictors")
    store, dataset = CurveStore(root / "curves"), resolve_dataset(str(seen))
    store.add_dataset(dataset.name, dataset.fingerprint, measure(dataset, range(4)).to_dict())
    store.append(_curves(dataset))
    registry = Registry(f"sqlite:///{root / 'mlflow.db'}")
    registry.register(train(store, evaluate=False))
    return registry


def _curves(dataset: Dataset) -> list[LearningCurve]:
    backbone, space = load_backbone(), search_space()
    curves = []
    for configuration in space.sample(16, seed=0):
        run = Run(
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            configuration=configuration,
            space=space.id,
            protocol=Protocol(images=8, test_images=4, epochs=3),
            backbone=backbone.name,
            backbone_fingerprint=backbone.fingerprint,
        )
        records = tuple(
            EpochRecord(
                epoch=epoch,
                score=0.3 + 50 * float(configuration["lr"]) + 0.05 * epoch,
                train_loss=1.0,
                learning_rate=float(configuration["lr"]),
                train_seconds=0.05 + 0.1 * float(configuration["lora"]),
                validation_seconds=0.01,
                peak_memory=1,
            )
            for epoch in (1, 2, 3)
        )
        curves.append(LearningCurve(run=run, outcome=Outcome.COMPLETED, records=records))
    return curves
