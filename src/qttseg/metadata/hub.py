"""What can go wrong when Hugging Face's clients are asked, and how it is told."""

from __future__ import annotations

_UNREACHED = frozenset({"ConnectionError", "ConnectError", "Timeout", "TimeoutError", "LocalEntryNotFoundError"})
"""Names by which the clients' own libraries call it that a server does not answer."""


def hub_failures() -> tuple[type[Exception], ...]:
    """Return what Hugging Face's clients raise when the hub, a proxy, an address in the environment or a disk fails.

    Their HTTP library differs from version to version; it raises `HTTPError` for what is broken off or malformed,
    ImportError for proxies that it needs more packages for. RuntimeError is how `hf_xet` says anything.
    """
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    return OSError, ValueError, RuntimeError, ImportError, HTTPError


def in_a_line(error: BaseException) -> str:
    """Return an error of a client in a line: clients add advice of their own."""
    if _UNREACHED & {base.__name__ for base in type(error).__mro__}:
        return "it cannot be reached from here"
    text = str(error).strip().splitlines()
    return text[0][:300] if text else type(error).__name__
