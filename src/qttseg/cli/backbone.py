"""`qttseg backbone`: look at a backbone, or make sam-nano's weights again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qttseg.cli import options
from qttseg.cli.console import out, progress_bar, show_pairs

app = typer.Typer(name="backbone", help="Show or pre-train backbones.", no_args_is_help=True)


@app.command(epilog="Example: qttseg backbone show sam-nano")
def show(name: Annotated[str, typer.Argument(help="As in --backbone.")] = "sam-nano") -> None:
    """Load a backbone and describe it."""
    from qttseg.pipelines.loading import load_backbone

    backbone = load_backbone(name)
    parameters = sum(parameter.numel() for parameter in backbone.sam.parameters())
    encoder = sum(parameter.numel() for parameter in backbone.encoder.parameters())
    show_pairs(
        {
            "name": backbone.name,
            "fingerprint": backbone.fingerprint,
            "input": f"{backbone.resolution} × {backbone.resolution} px",
            "parameters": f"{parameters / 1e6:.2f} M, {encoder / 1e6:.2f} M of them in the encoder",
            "LoRA targets": ", ".join(backbone.lora_targets),
        }
    )


@app.command(epilog="Example: qttseg backbone fetch sam-vit-b")
def fetch(name: Annotated[str, typer.Argument(help="sam-vit-b, sam-vit-l or sam-vit-h.")]) -> None:
    """Download an official checkpoint, or what is missing of it, and check it."""
    from qttseg.pipelines.loading import fetch_official

    with progress_bar() as bar:
        task = bar.add_task(name, total=None, rate="")

        def show_progress(done: int, size: int) -> None:
            bar.update(task, completed=done, total=size or None, rate=f"{done / 1e6:.0f} MB")

        file = fetch_official(name, show_progress)
    out.print(f"{file}; use it as --backbone {name}")


@app.command(epilog="Example: qttseg backbone export sam-nano --out sam-nano-hf")
def export(
    name: Annotated[str, typer.Argument(help="As in --backbone; one of segment_anything's classes.")] = "sam-nano",
    folder: Annotated[Path, typer.Option("--out", help="Folder to write to.")] = Path("sam-hf"),
) -> None:
    """Write a backbone as a Hugging Face SamModel, for other tools to fine-tune the very same weights."""
    from qttseg.pipelines.huggingface import export_huggingface
    from qttseg.pipelines.loading import load_backbone

    export_huggingface(load_backbone(name), folder)
    out.print(f"config.json, model.safetensors, preprocessor_config.json → {folder}")


@app.command(epilog="Example: qttseg backbone pretrain --out my-nano.safetensors --device cuda")
def pretrain(
    out_file: Annotated[Path, typer.Option("--out", help="File of the weights.")] = Path("sam-nano.safetensors"),
    steps: Annotated[int | None, typer.Option(help="Steps of the schedule; the recipe's by default.")] = None,
    coarse: Annotated[int | None, typer.Option(help="Steps of those at half size; the recipe's by default.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images of a step; the recipe's by default.")] = None,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    stop_after: Annotated[int | None, typer.Option(help="Stop after this many steps; call again to go on.")] = None,
) -> None:
    """Pre-train sam-nano on drawn images; resumes from its checkpoint, and ends with the weights in --out."""
    from dataclasses import replace

    from qttseg.pipelines.pretraining.recipe import PretrainingRecipe
    from qttseg.pipelines.pretraining.training import PretrainingProgress, pretrain

    recipe = PretrainingRecipe(seed=seed)
    recipe = replace(
        recipe,
        steps=steps or recipe.steps,
        coarse=recipe.coarse if coarse is None else coarse,
        batch=batch or recipe.batch,
    )
    with progress_bar() as bar:
        task = bar.add_task("pre-training", total=recipe.steps, rate="")

        def show_progress(progress: PretrainingProgress) -> None:
            bar.update(task, completed=progress.step, rate=f"loss {progress.loss:.3f}, IoU {progress.iou:.3f}")

        pretrain(out_file, recipe, device=device, stop_after=stop_after, on_progress=show_progress)
    out.print(f"weights → {out_file}; use them as --backbone sam-nano:{out_file}")
