"""A runner that speaks AutoGluon's runner's language and knows nothing: bright is class 1, dark is class 2."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from qttseg.benchmark.arena import Arena
from qttseg.benchmark.methods.autogluon import AutoGluon
from qttseg.benchmark.results import Job, Result
from qttseg.metadata.datasets import Dataset
from qttseg.metadata.protocol import Protocol

RUNNER = """
import json, os, sys, time
from pathlib import Path

import numpy as np
from PIL import Image


def say(answer):
    print(json.dumps(answer), flush=True)


def segment(path, folder):
    grey = np.asarray(Image.open(path).convert("L"))
    mask = Path(folder) / (Path(path).stem + "-mask.png")
    Image.fromarray(np.where(grey > 150, 1, np.where(grey < 55, 2, 0)).astype(np.uint8)).save(mask)
    return str(mask)


say({"ready": True, "image_seconds": 0.001, "versions": {"torch": "0.0"}})
for line in sys.stdin:
    request = json.loads(line)
    if request["do"] == "fit":
        FIT
        print("epoch 1 of 30", file=sys.stderr)
        for pairs in (request["train"], request["validation"]):
            for image, mask in pairs:
                assert Image.open(image).size == Image.open(mask).size
        Path(sys.argv[1]).exists() and say({"trajectory": [[0.1, 0.4], [0.2, 0.3], [0.3, 0.6]]})
    else:
        say({"masks": [segment(path, request["folder"]) for path in request["images"]]})
"""


@pytest.fixture
def run(tmp_path: Path, discs: Callable[[int], Dataset]) -> Callable[..., Result]:
    """Run the method on drawn discs (class 1) and squares (class 2) with a runner that does `fit` when it is to fit."""

    def run(fit: str = "pass", *, classes: int = 3, boxes: bool = False, **changes: float) -> Result:
        script = tmp_path / "runner.py"
        script.write_text(RUNNER.replace("FIT", fit))
        dataset = discs(classes)
        arena = Arena.load("sam-nano", device="cpu", registry=None, gallery=None)
        job = Job(
            method="autogluon",
            dataset=dataset.name,
            dataset_fingerprint=dataset.fingerprint,
            task=dataset.task,
            budget=changes.pop("budget", 5.0),
            seed=0,
            protocol=Protocol(images=6, test_images=3),
            backbone=arena.backbone.name,
            backbone_fingerprint=arena.backbone.fingerprint,
        )
        method = AutoGluon(boxes=boxes, runner=script, python=Path(sys.executable))
        return arena.run(job, replace(method, **changes), dataset)

    return run
