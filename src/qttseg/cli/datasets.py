"""`qttseg datasets`: what there is, whether it is sound, what it looks like in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qttseg.cli.console import err, out, show_pairs, show_rows

app = typer.Typer(name="datasets", help="List, verify and describe datasets.", no_args_is_help=True)


@app.command("list", epilog="Example: qttseg datasets list --suite folders:/data/segmentation")
def list_(
    suite: Annotated[str, typer.Option(help="A suite, folders:PATH, or names and paths.")] = "procedural13",
) -> None:
    """List the datasets of a suite."""
    from qttseg.metadata.datasets import resolve_dataset, resolve_suite

    rows = []
    for name in resolve_suite(suite):
        dataset = resolve_dataset(name)
        rows.append((name, dataset.task, len(dataset), ", ".join(dataset.classes[1:])))
    show_rows(("dataset", "task", "images", "classes"), rows)


@app.command(epilog="Example: qttseg datasets verify my-data")
def verify(path: Annotated[Path, typer.Argument(help="Folder with images/ and masks/.")]) -> None:
    """Read every file of a dataset folder and name each one that is wrong; exit code 1 if there are errors."""
    from qttseg.metadata.verification import verify as verify_folder

    report = verify_folder(path)
    if report.problems:
        rows = [(problem.severity, problem.kind, problem.file, problem.detail) for problem in report.problems]
        show_rows(("", "problem", "file", "detail"), rows)
    if report.description is not None:
        show_pairs(
            {
                "dataset": report.description.name,
                "task": report.description.task,
                "sound pairs": f"{report.sound} of {report.pairs}",
                "groups": report.groups,
            }
        )
        classes = zip(report.description.classes, report.class_images, report.class_shares, strict=False)
        show_rows(("class", "images", "share of pixels"), classes)
    if not report.usable:
        err.print(f"[bold red]{len(report.errors)} errors[/]: mend or remove these files and verify again")
        raise typer.Exit(1)
    out.print(f"[bold green]usable[/] ({len(report.warnings)} warnings)")


@app.command(epilog="Example: qttseg datasets features procedural-polyp")
def features(
    dataset: Annotated[str, typer.Argument(help="Name or folder.")],
    images: Annotated[int, typer.Option(help="Images to measure, from the first.")] = 100,
) -> None:
    """Measure the meta-features by which predictors know a dataset."""
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.metadata.meta_features import measure

    found = resolve_dataset(dataset)
    show_pairs({"fingerprint": found.fingerprint, **measure(found, range(min(images, len(found)))).to_dict()})
