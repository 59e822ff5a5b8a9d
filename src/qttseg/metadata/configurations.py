"""Configurations and the search spaces they are points of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, Self

from qttseg.errors import ConfigurationError
from qttseg.metadata.hashing import content_id

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace
    from ConfigSpace.hyperparameters import Hyperparameter

Value = bool | int | float | str

PAPER_SPACE = "paper-v1"
"""Id of the search space of QTT-SEG, which is everything's default."""


class Configuration(Mapping[str, Value]):
    """One point of a search space: active parameters only, immutable, hashable, ordered by name."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._values = tuple(sorted((name, _plain(name, value)) for name, value in values.items()))

    def __getitem__(self, name: str) -> Value:
        for known, value in self._values:
            if known == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Configuration) and self._values == other._values

    def __repr__(self) -> str:
        return f"Configuration({dict(self._values)})"

    @property
    def id(self) -> str:
        """Eight hexadecimal digits that name this point."""
        return content_id(dict(self), length=8)

    def to_json(self) -> str:
        """Return the parameters as canonical JSON."""
        return json.dumps(dict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Return the configuration that `to_json` wrote.

        Raises:
            ConfigurationError: `text` is not a JSON object.
        """
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ConfigurationError(f"a configuration is a JSON object of parameters; got {text[:80]!r}")
        return cls(values)


def _plain(name: str, value: object) -> Value:
    """Return `value` as a Python scalar (ConfigSpace hands out numpy ones)."""
    item = getattr(value, "item", None)
    plain = item() if callable(item) else value
    if not isinstance(plain, bool | int | float | str):
        raise ConfigurationError(f"parameter {name} is {value!r}; it must be a bool, a number or a text")
    return plain


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """A named, versioned ConfigSpace; everything downstream takes it as a value.

    Attributes:
        name: What `--space` and the store call it.
        version: Rises when a parameter, choice or condition changes.
        space: The parameters with their conditions.
    """

    name: str
    version: int
    space: ConfigurationSpace

    def sample(self, count: int, *, seed: int, where: Mapping[str, Value] | None = None) -> tuple[Configuration, ...]:
        """Return `count` distinct configurations, the same for the same seed.

        Args:
            count: How many.
            seed: Of the draw.
            where: Values that all of them have, of parameters without conditions, as `{"lora": 0}`.

        Raises:
            ConfigurationError: fewer than `count` points have these values, or a name or value is not of this space.
        """
        fixed = dict(where or {})
        size = self._size(fixed)
        if count > size:
            among = f" with {fixed}" if fixed else ""
            raise ConfigurationError(f"search space {self.name} has {size} points{among}; {count} were asked for")
        space = self._seeded(seed)
        found: dict[Configuration, None] = {}
        while len(found) < count:
            drawn = (Configuration(dict(point)) for point in space.sample_configuration(max(2, count - len(found))))
            found.update(dict.fromkeys(point for point in drawn if fixed.items() <= point.items()))
        return tuple(found)[:count]

    def _seeded(self, seed: int) -> ConfigurationSpace:
        from copy import deepcopy

        space = deepcopy(self.space)
        space.seed(seed)
        return space

    def validate(self, configuration: Configuration) -> None:
        """Check that `configuration` is a point of this space.

        Raises:
            ConfigurationError: a parameter is unknown, missing, inactive or out of its range.
        """
        from ConfigSpace import Configuration as Point

        unknown = sorted(set(configuration) - set(self.space))
        if unknown:
            raise ConfigurationError(
                f"search space {self.name} has no parameter {', '.join(unknown)}; it has {', '.join(self.space)}"
            )
        try:
            Point(self.space, values=dict(configuration)).check_valid_configuration()
        except ValueError as error:
            raise ConfigurationError(f"not a point of search space {self.name}: {error}") from error

    @cached_property
    def size(self) -> int:
        """Number of distinct configurations, inactive parameters counted once.

        Conditions must be equality or membership tests on one discrete parent, as in the paper's Table 3.
        """
        return self._size({})

    def _size(self, fixed: Mapping[str, Value]) -> int:
        """Number of distinct configurations that have these values of parameters without conditions."""
        roots = [self.space[name] for name in self.space if not self.space.parents_of[name]]
        for name, value in fixed.items():
            known = {root.name: root for root in roots}
            if name not in known:
                raise ConfigurationError(
                    f"search space {self.name} cannot be held to a value of {name}; it can to one of {', '.join(known)}"
                )
            if not known[name].legal_value(value):
                raise ConfigurationError(f"{value!r} is no value in search space {self.name} of {known[name]}")
        return prod(self._count(root, [fixed[root.name]] if root.name in fixed else None) for root in roots)

    def _count(self, parameter: Hyperparameter[Any, Any], values: Sequence[Value] | None = None) -> int:
        """Points of `parameter`, or of some of its values, and of everything below it that they make active."""
        children = self.space.children_of[parameter.name]
        if not children:
            return int(parameter.size) if values is None else len(values)
        total = 0
        for value in _values_of(parameter) if values is None else values:
            active = [
                child
                for child in children
                if all(
                    condition.satisfied_by_value({parameter.name: value})
                    for condition in self.space.parent_conditions_of[child.name]
                )
            ]
            total += prod(self._count(child) for child in active)
        return total

    @property
    def id(self) -> str:
        """Name and version, as in `paper-v1`."""
        return f"{self.name}-v{self.version}"


def _values_of(parameter: Hyperparameter[Any, Any]) -> tuple[Value, ...]:
    for attribute in ("choices", "sequence"):
        values = getattr(parameter, attribute, None)
        if values is not None:
            return tuple(values)
    raise ConfigurationError(f"parameter {parameter.name} has children and must be categorical or ordinal")
