"""AutoGluon MultiModal on the same weights and images, the one competitor from outside (the paper's baseline)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import TYPE_CHECKING, Any

from qttseg.benchmark.foreign.companion import Companion
from qttseg.benchmark.foreign.environment import AUTOGLUON
from qttseg.benchmark.methods.interface import BenchmarkTask, MethodOutcome
from qttseg.benchmark.methods.sessions import budget_of
from qttseg.errors import BenchmarkError

if TYPE_CHECKING:
    from qttseg.pipelines.backbones import Backbone

RUNNER = Path(__file__).parents[1] / "autogluon" / "runner.py"

_START = 600.0
"""Most seconds until it is ready: imports, and the weights from the hub where they are named so."""

_SETTING_UP = 3.0
"""Seconds that AutoGluon takes before and after what its time limit covers, the last validation aside."""

_PER_IMAGE = 1.5
"""What a validation image takes, in times of what the encoder takes for it."""


@dataclass(frozen=True, kw_only=True)
class AutoGluon:
    """`MultiModalPredictor` with its own settings for semantic segmentation: LoRA and the mask decoder, no prompts.

    Its time limit is soft: it ends an epoch's training, and a last validation follows. It is given the budget without
    what that should take; what is over shows in the result's overrun. Far beyond the budget it is killed.

    Attributes:
        boxes: Whether it is shown the prompt boxes, cut out, as the others are told them; without, it sees whole
            images, which is the paper's comparison.
        checkpoint: Folder of a Hugging Face `SamModel`, or its name on the hub; by default the task's backbone.
        runner: The script that is run in AutoGluon's environment.
        python: Its interpreter; by default that of the environment which `qttseg bench setup autogluon` makes.
        grace: Seconds beyond twice the budget after which it is killed.
    """

    name: str = "autogluon"
    budgeted: bool = True
    boxes: bool = False
    checkpoint: str = ""
    runner: Path = RUNNER
    python: Path | None = None
    grace: float = 60.0

    def check(self) -> None:
        """Look whether AutoGluon is there.

        Raises:
            NotSetUpError: it is not.
        """
        if self.python is None:
            AUTOGLUON.check()

    def run(self, task: BenchmarkTask) -> MethodOutcome:
        """Fine-tune in another process, which goes on to predict.

        Raises:
            NotSetUpError: AutoGluon is not there.
            BudgetError: it was killed, being far too late.
            BenchmarkError: it failed; the message has its last words.
        """
        from qttseg.benchmark.autogluon.pictures import write_examples
        from qttseg.benchmark.autogluon.segmenter import AutoGluonSegmenter

        budget, called = budget_of(task), task.clock()
        self.check()
        folder = Path(mkdtemp(prefix="qttseg-autogluon-"))
        companion = self._start(task, folder)
        ready = companion.receive(seconds=_START)
        started = task.clock()
        train, validation = (
            write_examples(folder, task.dataset, part, task.protocol, seed=task.seed, crop=self.boxes)
            for part in (task.split.train, task.split.validation)
        )
        spent = task.clock() - started
        request = {
            "do": "fit",
            "train": train,
            "validation": validation,
            "classes": 1 if task.dataset.task == "binary" else len(task.dataset.classes),
            "seconds": max(1.0, budget - spent - self._reserve(ready, len(validation))),
            "seed": task.seed,
            "gpu": task.device.startswith("cuda"),
            "folder": str(folder / "fit"),
        }
        fitted = companion.ask(request, seconds=2 * budget + self.grace - spent)
        trajectory = _incumbents(fitted, spent)
        return MethodOutcome(
            segmenter=AutoGluonSegmenter(companion, folder, crop=self.boxes),
            validation_score=trajectory[-1][1] if trajectory else None,
            trajectory=trajectory,
            warm_start_seconds=started - called,
            versions={f"autogluon/{name}": str(version) for name, version in ready.get("versions", {}).items()},
        )

    def _start(self, task: BenchmarkTask, folder: Path) -> Companion:
        import torch

        checkpoint = self.checkpoint or str(_exported(task.backbone))
        environment = {"OMP_NUM_THREADS": str(torch.get_num_threads()), "OMP_WAIT_POLICY": "PASSIVE"}
        if Path(checkpoint).is_dir():
            environment["HF_HUB_OFFLINE"] = "1"
        python = self.python or AUTOGLUON.python
        return Companion(
            "AutoGluon", [str(python), str(self.runner), checkpoint], folder=folder, environment=environment
        )

    @staticmethod
    def _reserve(ready: dict[str, Any], images: int) -> float:
        """Return the seconds that AutoGluon will take beyond its time limit."""
        try:
            return _SETTING_UP + _PER_IMAGE * images * float(ready["image_seconds"])
        except (KeyError, TypeError, ValueError) as error:
            raise BenchmarkError(f"AutoGluon's runner said {ready} instead of how fast it is ({error!r})") from error


def _exported(backbone: Backbone) -> Path:
    """Return the folder that holds `backbone` in Hugging Face's format, written once."""
    from qttseg.metadata.caching import cache_folder
    from qttseg.pipelines.huggingface import export_huggingface

    folder = cache_folder() / "huggingface" / backbone.fingerprint
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent) as aside:
            written = export_huggingface(backbone, Path(aside) / "model")
            with suppress(OSError):  # another worker was quicker
                written.rename(folder)
    return folder


def _incumbents(fitted: dict[str, Any], spent: float) -> tuple[tuple[float, float], ...]:
    """Return (seconds since the start, validation score) of each epoch that was better than all before, by its own IoU."""
    best: list[tuple[float, float]] = []
    try:
        for seconds, score in fitted["trajectory"]:
            if isfinite(score) and (not best or score > best[-1][1]):
                best.append((float(seconds) + spent, float(score)))
    except (KeyError, TypeError, ValueError) as error:
        raise BenchmarkError(f"AutoGluon's runner answered without its learning curve ({error!r})") from error
    return tuple(best)
