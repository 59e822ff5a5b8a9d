"""What was got from a source, as files: folders are walked, archives unpacked, pictures taken out of Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from qttseg.errors import DatasetError
from qttseg.metadata.archives import is_archive, is_packed, unpack
from qttseg.metadata.formats.items import is_hidden, walk
from qttseg.metadata.images import read_header
from qttseg.metadata.recipes.pairing import Files
from qttseg.metadata.recipes.recipe import Variant
from qttseg.metadata.recipes.templates import Template


def files_of(paths: Sequence[Path], variant: Variant, scratch: Path) -> tuple[Files, Variant]:
    """Return all files of folders, archives and Parquet files, and the variant that reads them.

    Archives that lie in a folder are unpacked where none of its files is an image of the variant; where the variant
    reads rows of Parquet files, their pictures are written out, and the returned variant reads these.

    Of an archive only what the variant needs is unpacked; its other files are named, and lie where the archive lies.

    Args:
        paths: Folders and archives that belong together.
        variant: Says what is looked for.
        scratch: A folder to unpack into.

    Raises:
        DatasetError: a path is neither folder nor archive, or an archive or a Parquet file cannot be read.
    """
    files: dict[str, Path] = {}
    for path in paths:
        files |= _unpacked(path, variant, scratch) if path.is_file() and is_archive(path) else _named(path)
    wanted = variant.rows[0] if variant.rows else variant.images
    template = Template(wanted) if wanted else None
    if template is None or not any(template.match(name) for name in files):
        for file in [file for name, file in files.items() if is_packed(name) and is_archive(file)]:
            files |= _unpacked(file, variant, scratch)
    return _rows_written(files, variant, scratch) if variant.rows else (files, variant)


def _named(path: Path) -> dict[str, Path]:
    """Return the files below a folder, or the one file, named from the folder's own name on."""
    root = path.absolute()
    if path.is_file():
        return {root.name: root}
    if not path.is_dir():
        raise DatasetError(f"{path} is neither a folder nor an archive; name what you got from the source")
    return {file.relative_to(root.parent).as_posix(): file for file in walk(root)}


def _unpacked(archive: Path, variant: Variant, scratch: Path) -> dict[str, Path]:
    """Return the files of an archive, named from the archive's own name on: some hold no folder of their own."""
    place = scratch / str(len(list(scratch.iterdir()))) / archive.name.split(".")[0]
    place.mkdir(parents=True)

    def is_shown(name: str) -> bool:
        return not any(map(is_hidden, name.split("/")))

    def is_wanted(name: str) -> bool:
        return is_shown(name) and (is_packed(name) or variant.needs(f"{place.name}/{name}"))

    names = unpack(archive, place, wanted=is_wanted)
    return {f"{place.name}/{name}": archive for name in names if is_shown(name)} | _named(place)


def _rows_written(files: Files, variant: Variant, scratch: Path) -> tuple[Files, Variant]:
    import pyarrow.parquet as pq
    from pyarrow import ArrowException

    template, image, mask = variant.rows
    written: dict[str, Path] = {}
    for name in sorted(files):
        if Template(template).match(name) is None:
            continue
        try:
            for batch in pq.ParquetFile(files[name]).iter_batches(batch_size=64, columns=[image, mask]):
                for row in batch.to_pylist():
                    number = f"{len(written) // 2:06d}"
                    written |= _written(row[image], f"images/{number}", scratch)
                    written |= _written(row[mask], f"masks/{number}", scratch)
        except (ArrowException, OSError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{files[name]} cannot be read as a table of pictures in the columns {image} and {mask}: {error}"
            ) from error
    return written or files, replace(variant, rows=(), images="images/{n}.{imageend}", masks=("masks/{n}.{maskend}",))


def _written(cell: Any, name: str, scratch: Path) -> dict[str, Path]:  # noqa: ANN401 (an Arrow cell)
    """Write the bytes of a picture as they are; Hugging Face keeps them as `{bytes, path}`."""
    content: bytes = cell["bytes"] if isinstance(cell, dict) else cell
    suffix = ".png"
    with suppress(DatasetError):  # an unreadable one is named later, with all others
        suffix = read_header(Path(name), content)[2]
    file = scratch / "rows" / (name + suffix)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return {name + suffix: file}
