"""The predictor registry: MLflow, on SQLite unless told otherwise."""

from __future__ import annotations

import logging
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from qttseg import __version__
from qttseg.errors import PredictorError
from qttseg.metadata.configurations import PAPER_SPACE
from qttseg.metadata.datasets import Identity
from qttseg.predictors.lineage import seen_by_all
from qttseg.predictors.training import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "qttseg-predictors"
CHAMPION = "champion"
"""Alias of the newest predictors that left nothing out; of another search space than the paper's, `SPACE-champion`."""

_FOLDER = "predictor"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A registered version.

    Attributes:
        version: Its number, as text.
        aliases: Names that point at it.
        left_out: Datasets that were left out on purpose.
        datasets: Names of the datasets it has seen.
        fingerprints: Fingerprints of those.
        runs: Number of runs it learnt from.
        space: Id of the search space it knows.
        tags: All of its lineage, as text.
        metrics: Figures of its report.
    """

    version: str
    aliases: tuple[str, ...]
    left_out: tuple[str, ...]
    datasets: tuple[str, ...]
    fingerprints: tuple[str, ...]
    runs: int
    space: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]

    def has_seen(self, target: Identity) -> bool:
        """Return whether a dataset of this name or content is among its training data; twins only its files can tell."""
        return target.name in self.datasets or target.fingerprint in self.fingerprints


def default_uri() -> str:
    """Return the SQLite database below `QTTSEG_HOME`, or below `~/.qttseg`."""
    home = Path(os.environ.get("QTTSEG_HOME") or "~/.qttseg").expanduser()
    return f"sqlite:///{home.absolute() / 'mlflow.db'}"


class Registry:
    """Predictors under version numbers and aliases, with what they were trained on.

    Args:
        tracking_uri: Any MLflow tracking URI; the default is SQLite below the user's home, artifacts beside it.
    """

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.uri = tracking_uri or default_uri()

    @property
    def exists(self) -> bool:
        """Whether anything can be registered there already: false where the SQLite database is not there yet."""
        return not self.uri.startswith("sqlite:///") or Path(self.uri.removeprefix("sqlite:///")).is_file()

    def register(self, trained: Trained) -> str:
        """Store predictors with their lineage and figures, and return their version.

        Aliases move to it: `leave-out-NAME` for each dataset left out, or `champion` if none was; with the search
        space before them where that is not the paper's.
        """
        lineage = trained.lineage
        run = self._client.create_run(self._experiment, run_name=" ".join(("without", *lineage.left_out)))
        for name, value in trained.figures.items():
            self._client.log_metric(run.info.run_id, name, value)
        with tempfile.TemporaryDirectory() as folder:
            trained.save(Path(folder))
            self._client.log_artifacts(run.info.run_id, folder, _FOLDER)
        # Tags are for people and for finding: sketches, which are long, are in the files alone.
        told = {name: _text(value) for name, value in lineage.to_dict().items() if name != "sketched"}
        tags = told | {"qttseg_version": __version__}
        source = f"{run.info.artifact_uri}/{_FOLDER}"
        made = self._client.create_model_version(self._model, source, run.info.run_id, tags=tags)
        self._client.set_terminated(run.info.run_id)
        for name in [f"leave-out-{left_out}" for left_out in lineage.left_out] or [CHAMPION]:
            self._client.set_registered_model_alias(MODEL, _alias(name, lineage.space), made.version)
        return str(made.version)

    def entries(self) -> tuple[Entry, ...]:
        """Return all versions, the newest first."""
        found = self._client.search_model_versions(f"name = '{self._model}'")
        # A search does not tell aliases; only the model itself does.
        aliases: dict[str, list[str]] = {}
        for alias, version in self._client.get_registered_model(MODEL).aliases.items():
            aliases.setdefault(str(version), []).append(alias)
        entries = [self._entry(version, aliases.get(str(version.version), [])) for version in found]
        return tuple(sorted(entries, key=lambda entry: -int(entry.version)))

    def entry(self, name: str) -> Entry:
        """Return the version of this number or alias.

        Raises:
            PredictorError: there is none; the message lists what there is.
        """
        entries = self.entries()
        for entry in entries:
            if name == entry.version or name in entry.aliases:
                return entry
        if not entries:
            raise PredictorError(f"no predictors in {self.uri}; run qttseg train first")
        known = [*(entry.version for entry in entries), *sorted(alias for entry in entries for alias in entry.aliases)]
        raise PredictorError(f"{self.uri} has no version or alias {name!r}; it has {', '.join(known)}")

    def load(self, name: str) -> Trained:
        """Return the predictors of this version or alias.

        Raises:
            PredictorError: there are none, or their files are missing or damaged.
        """
        return self._load(self.entry(name))

    def load_for(self, target: Identity, *, space: str = PAPER_SPACE, allow_seen: bool = False) -> Trained:
        """Return the right predictors for a target: the newest made without it, else the newest that have not seen it.

        Args:
            target: What they are for.
            space: Id of the search space that they are to know.
            allow_seen: Take the champion, whatever it has seen.

        Raises:
            PredictorError: there are no predictors of this search space.
            LeakageError: all of them have learnt from the target or a twin of it.
        """
        if allow_seen:
            return self.load(_alias(CHAMPION, space))
        entries = [entry for entry in self.entries() if entry.space == space]
        if not entries:
            raise PredictorError(f"no predictors of {space} in {self.uri}; train some with qttseg train")
        unseen = [entry for entry in entries if not entry.has_seen(target)]
        twins: tuple[str, ...] = ()
        for entry in sorted(unseen, key=lambda entry: target.name not in entry.left_out):
            trained = self._load(entry)
            if not trained.lineage.has_seen(target):
                return trained
            twins = trained.lineage.twins_of(target)
        raise seen_by_all(f"predictors in {self.uri}", target, twins, command="qttseg train")

    def promote(self, name: str, alias: str) -> Entry:
        """Let `alias` point at the version of this number or alias, and return it.

        Raises:
            PredictorError: there is no such version, or the alias is not one that MLflow allows.
        """
        from mlflow.exceptions import MlflowException

        entry = self.entry(name)
        try:
            self._client.set_registered_model_alias(MODEL, alias, entry.version)
        except MlflowException as error:
            raise PredictorError(f"{alias!r} cannot be an alias: {error.message}") from error
        return self.entry(alias)

    def _load(self, entry: Entry) -> Trained:
        from mlflow.artifacts import download_artifacts
        from mlflow.exceptions import MlflowException

        with tempfile.TemporaryDirectory() as folder:
            try:
                source = self._client.get_model_version_download_uri(MODEL, entry.version)
                path = download_artifacts(artifact_uri=source, dst_path=folder, tracking_uri=self.uri)
            except (MlflowException, OSError) as error:
                raise PredictorError(
                    f"the files of version {entry.version} are not where {self.uri} says: {error}; train it again"
                ) from error
            return Trained.load(Path(path), version=entry.version)

    def _entry(self, version: ModelVersion, aliases: list[str]) -> Entry:
        tags = dict(version.tags)
        return Entry(
            version=str(version.version),
            aliases=tuple(sorted(aliases)),
            left_out=_texts(tags["left_out"]),
            datasets=_texts(tags["datasets"]),
            fingerprints=_texts(tags["fingerprints"]),
            runs=int(tags["runs"]),
            space=tags["space"],
            tags=tags,
            metrics=dict(self._client.get_run(str(version.run_id)).data.metrics),
        )

    @cached_property
    def _client(self) -> MlflowClient:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its own 7 keep a user waiting for minutes
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        for noisy in ("mlflow", "alembic"):  # after the import, which sets them up to chat about tables made
            logging.getLogger(noisy).setLevel(logging.WARNING)
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        try:
            client = MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)
            client.search_experiments(max_results=1)
        except MlflowException as error:
            raise PredictorError(f"the registry at {self.uri} cannot be used: {error}") from error
        return client

    @cached_property
    def _experiment(self) -> str:
        """Id of the experiment, made where it is missing; beside a SQLite database, so are its artifacts."""
        found = self._client.get_experiment_by_name(MODEL)
        if found is not None:
            return str(found.experiment_id)
        location = None
        if self.uri.startswith("sqlite:///"):
            location = (Path(self.uri.removeprefix("sqlite:///")).absolute().parent / "mlflow-artifacts").as_uri()
        return str(self._client.create_experiment(MODEL, artifact_location=location))

    @cached_property
    def _model(self) -> str:
        """Name of the registered model, made where it is missing."""
        if not self._client.search_registered_models(f"name = '{MODEL}'"):
            self._client.create_registered_model(MODEL)
        return MODEL


def _alias(name: str, space: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "-", name if space == PAPER_SPACE else f"{space}-{name}")


def _text(value: object) -> str:
    return "\n".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def _texts(text: str) -> tuple[str, ...]:
    return tuple(text.splitlines())
