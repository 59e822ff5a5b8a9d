"""Path templates: `data/images/{n}.jpg` matches every path that ends so, at any depth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from qttseg.errors import DatasetError

# {name} or {name:regular expression}; the expression may hold quantifiers such as {4}
_PLACE = re.compile(r"\{([A-Za-z]\w*)(?::((?:[^{}]|\{[\d,]+\})+))?\}")


@dataclass(frozen=True)
class Template:
    """A path with places: `{n}` is part of one name, `{n:REGEX}` what the expression matches.

    Only the end of a path has to match, because archives nest a folder in a folder of the same name; whole names have
    to, so `data/{n}.png` does not match `aug_data/1.png`. Case does not count.

    Attributes:
        text: The template as written.
    """

    text: str

    def __post_init__(self) -> None:
        """Reject a template that is no valid expression.

        Raises:
            DatasetError: an expression is malformed, or there is no place.
        """
        try:
            places = self.places
        except re.error as error:
            raise DatasetError(f"the template {self.text!r} holds a malformed expression: {error}") from error
        if not places:
            raise DatasetError(f"the template {self.text!r} has no place; write one such as images/{{n}}.png")

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        parts, last, seen = [], 0, set()
        for place in _PLACE.finditer(self.text):
            name, expression = place.groups()
            parts += [re.escape(self.text[last : place.start()])]
            parts += [f"(?P={name})" if name in seen else f"(?P<{name}>{expression or '[^/]+?'})"]
            last = place.end()
            seen.add(name)
        return re.compile("(?:^|/)" + "".join(parts) + re.escape(self.text[last:]) + "$", re.IGNORECASE)

    @property
    def places(self) -> tuple[str, ...]:
        """The names of the places, in order."""
        return tuple(self._pattern.groupindex)

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return what stands in the places of a POSIX path; None where it does not match."""
        found = self._pattern.search(path)
        return None if found is None else {name: text or "" for name, text in found.groupdict().items()}


def fill(text: str, places: Mapping[str, str]) -> str:
    """Return `text` with each `{name}` replaced by what stands there; unknown names stay as they are."""
    return _PLACE.sub(lambda place: places.get(place[1], place[0]), text)
