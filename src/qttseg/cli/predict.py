"""`qttseg predict`: masks for new images from a tuned model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import out, progress_bar
from qttseg.errors import ConfigurationError


def add_commands(app: typer.Typer) -> None:
    """Add `predict` to the command line."""
    app.command(epilog="Example: qttseg predict my-model new-images --boxes boxes.json --out masks")(predict)


def predict(
    model: Annotated[Path, typer.Argument(help="Folder that `qttseg tune` wrote.")],
    images: Annotated[Path, typer.Argument(help="An image, or a folder of images.")],
    boxes: Annotated[
        Path | None,
        typer.Option(help='JSON: {"a.jpg": {"polyp": [x0, y0, x1, y1]}}; for one class the box alone will do.'),
    ] = None,
    points: Annotated[
        Path | None,
        typer.Option(help='JSON: {"a.jpg": {"polyp": [[x, y]]}}; for one class a list of points alone will do.'),
    ] = None,
    whole_image: Annotated[bool, typer.Option("--whole-image", help="Prompt with the whole image instead.")] = False,
    out_folder: Annotated[Path, typer.Option("--out", help="Folder of the masks.")] = Path("masks"),
    overlays: Annotated[bool, typer.Option(help="Write images with the masks painted on, too.")] = True,
    device: options.Device = "cpu",
) -> None:
    """Segment images; each mask is a PNG of class ids with a palette to look at."""
    from qttseg.tuning.prediction import predict_images

    if (boxes is not None) + (points is not None) + whole_image != 1:
        raise ConfigurationError("say where to look: give either --boxes FILE, --points FILE or --whole-image")
    with progress_bar() as bar:
        task = bar.add_task("segmenting", total=None, rate="")
        written = predict_images(
            model,
            images,
            out_folder,
            boxes=boxes,
            points=points,
            overlays=overlays,
            device=device,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    out.print(f"{len(written)} masks → {out_folder}")
