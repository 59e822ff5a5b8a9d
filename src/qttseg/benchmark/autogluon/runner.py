"""Fine-tunes and predicts with AutoGluon MultiModal; runs in AutoGluon's own environment, so it imports nothing of qttseg.

    python runner.py CHECKPOINT      # a folder of a Hugging Face SamModel, or its name on the hub

Speaks JSON, a line for a message: when it is ready it says so, then requests come on stdin and one reply for each goes to
stdout; images and masks are files. Whatever AutoGluon prints goes to stderr. An error ends it with a traceback there, the
end of stdin ends it quietly.

    {"ready": true, "image_seconds": ..., "versions": {...}}
    {"do": "fit", "train": [[IMAGE, MASK], ...], "validation": [...], "classes": ..., "seconds": ..., "seed": ...,
     "gpu": ..., "folder": ...}      → {"trajectory": [[seconds, IoU], ...]}
    {"do": "predict", "images": [IMAGE, ...], "folder": ...}      → {"masks": [PNG of class ids, ...]}
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer requests until there are no more."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # AutoGluon prints to stdout, which belongs to the replies
    declare_missing_operators()
    checkpoint = sys.argv[1]
    answer(replies, warm_up(checkpoint))
    predictor: Any = None
    for line in sys.stdin:
        request = json.loads(line)
        if request.pop("do") == "fit":
            predictor, reply = fit(checkpoint, **request)
        else:
            reply = predict(predictor, **request)
        answer(replies, reply)


def answer(replies: Any, reply: dict[str, Any]) -> None:  # noqa: ANN401 (an open file)
    """Send one reply."""
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


def declare_missing_operators() -> None:
    """Declare the two operators that torchvision's import looks at, where its compiled library does not load."""
    from importlib.util import find_spec

    import torch

    spec = find_spec("torchvision")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else Path()
    for compiled in folder.glob("_C*.so"):
        try:
            torch.ops.load_library(compiled)
        except OSError:
            continue
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in (
        "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
        "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    ):
        library.define(schema)
    declare_missing_operators.library = library  # type: ignore[attr-defined]  # forgotten with its object


def warm_up(checkpoint: str) -> dict[str, Any]:
    """Import what AutoGluon imports, load the weights once, and say what the encoder takes for an image."""
    from importlib.metadata import version

    import autogluon.multimodal.learners.semantic_segmentation  # noqa: F401 (imported only when it fits, otherwise)
    import tensorboard  # noqa: F401
    import torch
    from transformers import SamModel

    model: Any = SamModel.from_pretrained(checkpoint)
    model.eval()
    side = model.config.vision_config.image_size
    seconds = []
    with torch.inference_mode():
        for _ in range(2):  # the first is slower
            started = time.perf_counter()
            model.get_image_embeddings(torch.zeros(1, 3, side, side))
            seconds.append(time.perf_counter() - started)
    versions = {name: version(name) for name in ("autogluon.multimodal", "torch", "transformers")}
    return {"ready": True, "image_seconds": seconds[-1], "versions": versions}


def fit(
    checkpoint: str,
    *,
    train: list[list[str]],
    validation: list[list[str]],
    classes: int,
    seconds: float,
    seed: int,
    gpu: bool,
    folder: str,
) -> tuple[Any, dict[str, Any]]:
    """Fine-tune with AutoGluon's own settings for the task, for `seconds`, which it takes for a wish.

    Args:
        checkpoint: Folder of a Hugging Face `SamModel`, or its name on the hub.
        train: Paths of image and mask; masks are 0/255 where `classes` is 1, else class ids.
        validation: Likewise; they choose the epoch.
        classes: 1 for one foreground class, else all classes, the background included.
        seconds: AutoGluon's `time_limit`.
        seed: Of its random numbers.
        gpu: Whether to use one.
        folder: Where it may write.
    """
    import pandas as pd
    from autogluon.multimodal import MultiModalPredictor

    settings: dict[str, Any] = {"model.sam.checkpoint_name": checkpoint, "env.num_workers": 0, "env.batch_size": 4}
    settings |= {"env.per_gpu_batch_size": 1, "env.inference_batch_size_ratio": 1, "env.num_gpus": int(gpu)}
    if not gpu:
        settings["env.precision"] = "32"
    if classes > 1:
        settings |= {"optim.loss_func": "mask2former_loss", "model.sam.num_mask_tokens": 10}
    frames = [pd.DataFrame(pairs, columns=["image", "label"]) for pairs in (train, validation)]
    predictor = MultiModalPredictor(
        problem_type="semantic_segmentation",
        label="label",
        num_classes=classes,
        path=folder,
        hyperparameters=settings,
        enable_progress_bar=False,
        verbosity=1,
    )
    started = time.time()
    predictor.fit(train_data=frames[0], tuning_data=frames[1], time_limit=seconds, seed=seed)
    return predictor, {"trajectory": _trajectory(Path(folder), started)}


def _trajectory(folder: Path, started: float) -> list[list[float]]:
    """Return (seconds since the start, validation IoU) of each epoch, from AutoGluon's own TensorBoard events."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    points: list[list[float]] = []
    for file in folder.rglob("events.out.tfevents.*"):
        events = EventAccumulator(str(file))
        events.Reload()
        if "val_iou" in events.Tags()["scalars"]:
            points += [[event.wall_time - started, float(event.value)] for event in events.Scalars("val_iou")]
    return sorted(points)


def predict(predictor: Any, *, images: list[str], folder: str) -> dict[str, Any]:  # noqa: ANN401
    """Write the label map of each image, at its own size, as a PNG of class ids below `folder`."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    found = predictor.predict(pd.DataFrame({"image": images}))
    masks = []
    for index, labels in enumerate(found):
        path = Path(folder) / f"mask-{index}.png"
        Image.fromarray(np.squeeze(np.asarray(labels)).astype(np.uint8)).save(path)
        masks.append(str(path))
    return {"masks": masks}


if __name__ == "__main__":
    main()
