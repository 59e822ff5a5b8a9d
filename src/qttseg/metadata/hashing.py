"""Content hashes: the same content has the same id on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def content_id(content: Mapping[str, object], *, length: int = 16) -> str:
    """Return the first `length` hexadecimal digits of the SHA-256 of `content` as canonical JSON.

    Raises:
        TypeError: `content` holds something that JSON cannot express.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:length]
