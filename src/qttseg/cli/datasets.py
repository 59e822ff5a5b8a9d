"""`qttseg datasets`: what there is, whether it is sound, what it looks like in numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qttseg.cli import options, recipes
from qttseg.cli.console import err, out, progress_bar, show_pairs, show_rows
from qttseg.cli.options import rules_of
from qttseg.errors import DatasetError

if TYPE_CHECKING:
    from qttseg.metadata.datasets import Dataset
    from qttseg.metadata.twins import Twin

app = typer.Typer(name="datasets", help="Fetch, add, list, verify, describe and export datasets.", no_args_is_help=True)
recipes.add_commands(app)

_SHOWN = 10

Twins = Annotated[
    str, typer.Option("--store", help="Learning curves whose datasets may be the same; the shipped ones are, too.")
]


@app.command("list", epilog="Example: qttseg datasets list --suite folders:/data/segmentation")
def list_(
    suite: Annotated[
        str | None,
        typer.Option(help="A suite, folders:PATH, or names and paths; by default the library and all known datasets."),
    ] = None,
) -> None:
    """List datasets: those of a suite, or those of the library and those that could be fetched."""
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.metadata.library import library
    from qttseg.metadata.recipes.catalogue import NAMES, recipe_of
    from qttseg.metadata.suites import open_suite

    opened = None if suite is None else open_suite(suite)
    rows: list[tuple[object, ...]] = []
    for name in library() if opened is None else opened.members:
        dataset = resolve_dataset(name)
        rows.append((name, dataset.task, len(dataset), ", ".join(dataset.classes[1:])))
    show_rows(("dataset", "task", "images", "classes"), rows)
    if opened is not None:
        if opened.missing:
            show_rows(("not here", "how to get it"), opened.missing.items())
        return
    known = [recipe_of(name) for name in NAMES if name not in library()]
    show_rows(
        ("could be fetched", "pairs", "how sure", "licence", "what"),
        [
            (recipe.name, " or ".join(map(str, recipe.main.pairs)) or None, recipe.trust, recipe.licence, recipe.title)
            for recipe in known
        ],
    )
    out.print("`qttseg datasets info NAME` tells more; procedural13 is drawn on demand", markup=False, highlight=False)


@app.command(epilog="Example: qttseg datasets verify my-data --page quality.html")
def verify(
    dataset: Annotated[str, typer.Argument(help="Name in the library, or a folder with images/ and masks/.")],
    page: Annotated[Path | None, typer.Option(help="Write the quality report to this HTML file, too.")] = None,
    store: Twins = options.STORE,
) -> None:
    """Read every file of a dataset folder and name each one that is wrong; exit code 1 if there are errors.

    Files that have not changed since the last time are not read again.
    """
    from qttseg.metadata.datasets import Dataset, dataset_folder
    from qttseg.metadata.verification import verify as verify_folder

    folder = dataset_folder(dataset)
    with progress_bar() as bar:
        task = bar.add_task("verify", total=None, rate="")
        report = verify_folder(folder, on_progress=lambda done, total: bar.update(task, completed=done, total=total))
    if page is not None:
        from qttseg.metadata.quality_page import page_of_report

        twins = _twins(Dataset.from_folders(folder), store) if report.usable else ()
        _write_page(page, page_of_report(report, twins))
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


@app.command(epilog="Example: qttseg datasets stats procedural-polyp --page quality.html")
def stats(
    dataset: Annotated[str, typer.Argument(help="Name or folder.")],
    page: Annotated[Path | None, typer.Option(help="Write all of it with pictures to this HTML file, too.")] = None,
    store: Twins = options.STORE,
) -> None:
    """Show what a dataset is like: class shares, sizes, areas, empty and tiny masks, images that look the same."""
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.metadata.quality import quality_of

    found = resolve_dataset(dataset)
    quality = quality_of(found)
    show_pairs(
        {
            "dataset": found.name,
            "task": found.task,
            "images": quality.images,
            "without foreground": len(quality.empty),
            "tiny foreground": len(quality.tiny),
        }
    )
    rows = [(row.name, row.images, row.share, row.components) for row in quality.classes]
    show_rows(("class", "images", "share of pixels", "areas per image"), rows)
    show_rows(("foreground of an image", "images"), [(bar.label, bar.count) for bar in quality.shares])
    show_rows(("connected areas", "images"), [(bar.label, bar.count) for bar in quality.components])
    show_rows(("size", "images"), [(bar.label, bar.count) for bar in quality.frequent_sizes()])
    if quality.near:
        show_rows(("look the same, in", "pairs"), quality.near_counts.items())
    twins = _twins(found, store)
    if twins:
        show_rows(("counts as the same as", "in", "images in common"), [(t.name, t.store, t.share) for t in twins])
    if page is not None:
        from qttseg.metadata.quality_page import page_of

        _write_page(page, page_of(found, twins))


@app.command(epilog="Example: qttseg datasets preview procedural-polyp --out polyps.png")
def preview(
    dataset: Annotated[str, typer.Argument(help="Name or folder.")],
    file: Annotated[Path | None, typer.Option("--out", help="PNG to write; NAME-preview.png by default.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Images to show, evenly spread.")] = 24,
) -> None:
    """Write a sheet of images with their masks painted on."""
    from qttseg.metadata.datasets import resolve_dataset
    from qttseg.metadata.overlays import contact_sheet
    from qttseg.metadata.quality_page import spread

    found = resolve_dataset(dataset)
    file = file or Path(f"{found.name}-preview.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet([found[index] for index in spread(len(found), images)]).save(file, "PNG")
    out.print(f"preview → {file}", markup=False, soft_wrap=True)


def _twins(dataset: Dataset, store: str) -> tuple[Twin, ...]:
    from qttseg.metadata.shipped import shipped_stores, store_of
    from qttseg.metadata.twins import twins_in

    # The shipped stores share most of their datasets: each is named once.
    shipped = {
        twin.name: twin for uri in reversed(shipped_stores()) for twin in twins_in(store_of(uri), dataset.identity)
    }
    own = () if store in shipped_stores() else twins_in(store_of(store), dataset.identity)
    return (*own, *shipped.values())


def _write_page(file: Path, page: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page, encoding="utf-8", errors="replace")  # file names need not be valid Unicode
    err.print(f"quality report → {file}", markup=False, soft_wrap=True)


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


@app.command(epilog="Example: qttseg datasets add tiles instances.json --rule images=photos")
def add(
    name: Annotated[str, typer.Argument(help="What to call it from now on.")],
    path: Annotated[
        str | None, typer.Argument(help="Folder, file or archive; owner/name of the hub with --format hf.")
    ] = None,
    got: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", help="Archive or folder of a known dataset (NAME), got by hand; may come several times."
        ),
    ] = None,
    format: Annotated[  # noqa: A002
        str, typer.Option(help="auto, coco, nnunet, supervisely, hf, palette or folders.")
    ] = "auto",
    rule: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE, what the format cannot tell, as in images=photos; may come several times."),
    ] = None,
    link: Annotated[
        bool, typer.Option("--link/--copy", help="Link to the images where they are, or copy them.")
    ] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave damaged pairs out.")] = False,
) -> None:
    """Take a dataset in any known format, or the files of a known dataset, into the library, whole or not at all."""
    from qttseg.metadata.adding import add as add_dataset
    from qttseg.metadata.datasets import Dataset
    from qttseg.metadata.recipes.catalogue import recipe_of

    if got and path is None:
        if format != "auto" or link or skip_bad:
            raise DatasetError(
                "a recipe says how to read what --from names: leave out --format, --link and --skip-bad "
                "(--rule accept=… goes on where files differ)"
            )
        by_hand = f"by hand: {', '.join(archive.name for archive in got)}"
        recipes.add_known(recipe_of(name), got, rules=rules_of(rule or []), origin=by_hand)
        return
    if path is None or got:
        raise DatasetError("give either PATH, or --from with the files of a known dataset (`qttseg datasets info`)")
    with progress_bar() as bar:
        task = bar.add_task(f"adding {name}", total=None, rate="")
        added = add_dataset(
            name,
            path,
            format=format,
            rules=rules_of(rule or []),
            link=link,
            skip_bad=skip_bad,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    for text in added.left_out[:_SHOWN]:
        err.print(f"left out: {text}", markup=False, soft_wrap=True)
    if len(added.left_out) > _SHOWN:
        err.print(f"and {len(added.left_out) - _SHOWN} more")
    dataset = Dataset.from_folders(added.folder)
    show_pairs(
        {
            "read as": f"{added.format}: {added.reason}",
            "dataset": f"{len(dataset)} images, {dataset.task}, {', '.join(dataset.classes[1:])}",
            "groups": len(set(dataset.groups)) if dataset.groups else None,
            "folder": added.folder,
        }
    )


@app.command(epilog="Example: qttseg datasets export procedural-polyp --format coco --out polyp-coco")
def export(
    dataset: Annotated[str, typer.Argument(help="Name or folder.")],
    format: Annotated[str, typer.Option(help="coco, hf, nnunet, folders or palette.")],  # noqa: A002
    out: Annotated[Path | None, typer.Option(help="Folder to make; NAME-FORMAT by default.")] = None,
) -> None:
    """Write a dataset in another format; adding it again gives the same masks."""
    from qttseg.metadata.adding import export as export_dataset
    from qttseg.metadata.datasets import resolve_dataset

    found = resolve_dataset(dataset)
    folder = out or Path(f"{found.name}-{format}")
    export_dataset(found, folder, format=format)
    show_pairs({"images": len(found), "format": format, "folder": folder})


@app.command(epilog="Example: qttseg datasets remove tiles")
def remove(name: Annotated[str, typer.Argument(help="A dataset of the library.")]) -> None:
    """Delete a dataset from the library; images that were linked to stay where they are."""
    from qttseg.metadata.library import remove as remove_dataset

    show_pairs({"removed": remove_dataset(name)})
