"""Recipes from TOML: unknown and missing keys are refused, messages name the place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from qttseg.errors import DatasetError
from qttseg.metadata.recipes.recipe import Groups, MaskCode, Recipe, Source, Variant

T = TypeVar("T")


def read_recipe(file: Path) -> Recipe:
    """Return the recipe in a TOML file; its name is the file's stem.

    What stands at the top and is no field of `Recipe` holds for all variants that do not say otherwise.

    Raises:
        DatasetError: the file is no TOML, holds an unknown key or contradicts itself; the message names the place.
    """
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file} cannot be read as a recipe: {error}") from error
    own = {entry.name for entry in fields(Recipe)}
    shared = {key: value for key, value in values.items() if key not in own}
    variants = {
        name: make(Variant, {**shared, **_table(variant, file.name)}, f"{file.name}, variants.{name}")
        for name, variant in _table(values.get("variants", {}), file.name).items()
    }
    about = {key: value for key, value in values.items() if key in own}
    return make(Recipe, {**about, "name": file.stem, "variants": variants}, file.name)


_NESTED: Mapping[str, type[Any]] = {"mask": MaskCode, "groups": Groups, "sources": Source}


def make(cls: type[T], values: Mapping[str, Any], where: str) -> T:
    """Return a dataclass of TOML values: lists become tuples, tables the values' own classes.

    Raises:
        DatasetError: a key is unknown or missing, or a value is malformed; the message begins with `where`.
    """
    known = {entry.name: entry for entry in fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    missing = [
        name
        for name, entry in known.items()
        if name not in values and entry.default is MISSING and entry.default_factory is MISSING
    ]
    if unknown or missing:
        faults = [f"unknown key {key}" for key in unknown] + [f"missing key {key}" for key in missing]
        raise DatasetError(f"{where}: {', '.join(faults)}; known are {', '.join(sorted(known))}")
    try:
        return cls(**{key: _value(key, value, f"{where}, {key}") for key, value in values.items()})
    except DatasetError as error:
        if str(error).startswith(where):
            raise
        raise DatasetError(f"{where}: {error}") from error


def _value(key: str, value: Any, where: str) -> Any:  # noqa: ANN401 (TOML)
    nested = _NESTED.get(key)
    if nested is not None and isinstance(value, list):
        return tuple(make(nested, _table(item, where), where) for item in value)
    if nested is not None and isinstance(value, dict):
        return make(nested, value, where)
    if key == "values" and isinstance(value, dict):
        return {int(raw): label for raw, label in value.items()}
    return _frozen(value)


def _frozen(value: Any) -> Any:  # noqa: ANN401 (TOML)
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


def _table(value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DatasetError(f"{where}: {value!r} must be a table")
    return value
