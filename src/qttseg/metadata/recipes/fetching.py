"""Getting a recipe's files from their source, by the client that the source's own people keep."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tarfile import TarError
from urllib.error import HTTPError, URLError
from zipfile import BadZipFile

from qttseg.errors import DatasetError
from qttseg.metadata.archives import is_archive, is_packed
from qttseg.metadata.caching import cache_folder
from qttseg.metadata.downloads import resume, sha256_of
from qttseg.metadata.hub import hub_failures, in_a_line
from qttseg.metadata.recipes.recipe import Client, Recipe, Source, Variant

Progress = Callable[[str, int, int], None]
"""Called with a file's name, its bytes on disk and its size, for plain addresses; the clients show their own."""


class SourceError(DatasetError):
    """A source gives nothing: it cannot be reached, refuses, or its client is not installed."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """Files that were got.

    Attributes:
        paths: Folders and archives, in the client's own cache.
        origin: Where from and which version, for `dataset.json`.
    """

    paths: tuple[Path, ...]
    origin: str


def fetch(
    recipe: Recipe,
    variant: Variant,
    *,
    rules: Mapping[str, str] | None = None,
    on_progress: Progress = lambda _name, _done, _size: None,
) -> Fetched:
    """Return the files of a recipe from the first of its sources that gives them.

    Args:
        recipe: What to get.
        variant: Which of its variants.
        rules: What the user said, to be said again where files have to be got by hand.
        on_progress: Told how far a download is.

    Raises:
        SourceError: none does; the message says which page to open, what to get there and how to go on.
    """
    reasons = []
    for source in variant.sources:
        try:
            return _FETCHERS[source.client](source, on_progress)
        except SourceError as error:
            reasons.append(f"{source.page}: {error}")
    raise SourceError(
        f"{recipe.name} could not be fetched.\n"
        + "\n".join(f"  {reason}" for reason in reasons)
        + "\n"
        + _by_hand(recipe.name, variant.sources, rules or {})
    )


def adding_command(name: str, source: Source, rules: Mapping[str, str]) -> str:
    """Return the command that goes on with files got by hand from `source`."""
    named = [file.rsplit("/", 1)[-1] for file in source.files]
    archives = ["folder"] if any("*" in file for file in named) else named or ["archive.zip"]
    words = ["qttseg", "datasets", "add", name]
    words += [word for archive in archives for word in ("--from", archive)]
    words += [word for key, value in rules.items() for word in ("--rule", f"{key}={value}")]
    return shlex.join(words)


def _by_hand(name: str, sources: Sequence[Source], rules: Mapping[str, str]) -> str:
    first, *others = sources
    also = f" (or {', '.join(source.page for source in others)})" if others else ""
    return (
        f"By hand: open {first.page}{also}, get {first.files_wanted}, and go on with "
        f"`{adding_command(name, first, rules)}` (a folder will do too)"
    )


def _from_kaggle(source: Source, _on_progress: Progress) -> Fetched:
    try:
        import kagglehub
        from kagglehub import exceptions
    except ImportError as error:
        raise SourceError("its client is not installed; pip install 'qttseg[fetch]'") from error
    refusals = (
        exceptions.BackendError,
        exceptions.CredentialError,
        exceptions.DataCorruptionError,
        exceptions.KaggleEnvironmentError,
        exceptions.NotFoundError,
        exceptions.UnauthenticatedError,
    )
    handle = source.id + (f"/versions/{source.version}" if source.version else "")
    try:
        folder = Path(kagglehub.dataset_download(handle))
    except (OSError, ValueError, BadZipFile, TarError, *refusals) as error:
        raise SourceError(in_a_line(error)) from error
    return Fetched(paths=(folder,), origin=f"Kaggle {source.id}, version {folder.name}")


def _from_huggingface(source: Source, _on_progress: Progress) -> Fetched:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                source.id,
                repo_type="dataset",
                revision=source.version or None,
                allow_patterns=list(source.files) or None,
            )
        )
    except hub_failures() as error:
        raise SourceError(in_a_line(error)) from error
    return Fetched(paths=(folder,), origin=f"Hugging Face {source.id}, revision {folder.name}")


def _from_web(source: Source, on_progress: Progress) -> Fetched:
    """Download plain addresses into our own cache; each file gets its name only when it is whole."""
    files, hashes = [], []
    for index, url in enumerate(source.files):
        name = url.rsplit("/", 1)[-1]
        file = cache_folder() / "downloads" / name
        expected = source.sha256[index] if source.sha256 else ""
        if not file.is_file():
            _download(url, file, partial(on_progress, name))
            if is_packed(name) and not is_archive(file):
                file.unlink()
                raise SourceError(f"{url} sent something else than an archive; it was deleted")
        found = sha256_of(file)
        if expected and found != expected:
            file.unlink()
            raise SourceError(f"{url} sent a file of SHA-256 {found} instead of {expected}; it was deleted: try again")
        files.append(file)
        hashes.append(f"{url} (SHA-256 {found})")
    return Fetched(paths=tuple(files), origin=", ".join(hashes))


def _download(url: str, file: Path, on_progress: Callable[[int, int], None]) -> None:
    part = file.with_name(file.name + ".part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        resume(url, part, on_progress)
        part.replace(file)
    except (URLError, TimeoutError, ConnectionError) as error:
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", error)
        raise SourceError(f"{url} cannot be downloaded ({reason}); what had come is kept") from error
    except OSError as error:
        raise DatasetError(f"{part} cannot be written ({error}); make room there, or set QTTSEG_CACHE") from error


_FETCHERS: dict[Client, Callable[[Source, Progress], Fetched]] = {
    "kaggle": _from_kaggle,
    "huggingface": _from_huggingface,
    "web": _from_web,
}
