from __future__ import annotations

import pytest

from qttseg.metadata.datasets import resolve_dataset
from qttseg.metadata.meta_features import measure
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.store import CurveStore
from qttseg.pipelines.backbones import load_backbone
from qttseg.pipelines.spaces import search_space
from qttseg.predictors.registry import Registry
from qttseg.predictors.training import train

SEEN = ("procedural-polyp", "procedural-chest")
"""Datasets from whose curves the registry's predictors have learnt."""


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A registry with predictors trained on a few curves that rise with the learning rate."""
    root = tmp_path_factory.mktemp("predictors")
    store = CurveStore(root / "curves")
    protocol, backbone, space = Protocol(images=8, test_images=4, epochs=3), load_backbone(), search_space()
    for name in SEEN:
        dataset = resolve_dataset(name)
        store.add_dataset(name, dataset.fingerprint, measure(dataset, range(4)).to_dict())
        for configuration in space.sample(8, seed=0):
            run = Run(
                dataset=name,
                dataset_fingerprint=dataset.fingerprint,
                configuration=configuration,
                space=space.id,
                protocol=protocol,
                backbone=backbone.name,
                backbone_fingerprint=backbone.fingerprint,
            )
            records = tuple(
                EpochRecord(
                    epoch=epoch,
                    score=min(0.9, 0.3 + 50 * float(configuration["lr"]) + 0.1 * epoch),
                    train_loss=1.0,
                    learning_rate=float(configuration["lr"]),
                    train_seconds=0.05 + 0.1 * float(configuration["lora"]),
                    validation_seconds=0.01,
                    peak_memory=1,
                )
                for epoch in (1, 2, 3)
            )
            store.append([LearningCurve(run=run, outcome=Outcome.COMPLETED, records=records)])
    registry = Registry(f"sqlite:///{root / 'mlflow.db'}")
    registry.register(train(store, evaluate=False))
    return registry
