"""A program in a process group of its own, which answers JSON with JSON, line by line, or is killed."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qttseg.errors import BenchmarkError, BudgetError


class Companion:
    """A running program; it and all that it has started end with this object, at the latest.

    Args:
        name: What messages call it.
        command: What to start.
        folder: Where it may write; made for it, and removed with it.
        environment: Environment variables beside those of this process.
        quoted: Last lines of what it wrote to stderr that errors quote.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], quoted: int = 1
    ) -> None:
        self._name, self._log, self._quoted = name, folder / "log.txt", quoted
        self._unread = b""
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen(  # noqa: S603 (our own words)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, **environment},
                start_new_session=True,
            )
        self.close = weakref.finalize(self, _end, self._process, folder)

    def ask(self, request: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises:
            BudgetError: there was none within `seconds`; the program is killed.
            BenchmarkError: it has ended, or its answer is no JSON object.
        """
        stdin = self._process.stdin
        if stdin is not None:
            # One that has ended cannot listen, and tells why where its answer is awaited.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(json.dumps(request).encode() + b"\n")
                stdin.flush()
        return self.receive(seconds=seconds)

    def receive(self, *, seconds: float) -> dict[str, Any]:
        """Return what the program says next, as `ask` does."""
        line = self._line(time.monotonic() + seconds, seconds)
        try:
            answer = json.loads(line)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            said = self._said()
            self.close()
            raise BenchmarkError(f"{self._name} answered {line[:80]!r}, which is no JSON object: {said}")
        return answer

    def _line(self, until: float, seconds: float) -> bytes:
        stdout = self._process.stdout
        while stdout is not None and b"\n" not in self._unread:
            ready, _, _ = select.select([stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                self.close()
                raise BudgetError(f"{self._name} gave no answer within {seconds:.0f} s and was killed")
            piece = os.read(stdout.fileno(), 1 << 16)
            if not piece:
                raise self._ended()
            self._unread += piece
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    def _ended(self) -> BenchmarkError:
        """Return what is known of the program's end: its exit code and the end of its traceback."""
        code, said = self._process.wait(), self._said()
        self.close()
        return BenchmarkError(f"{self._name} ended with exit code {code}: {said}")

    def _said(self) -> str:
        lines = [line for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        return "\n".join(lines[-self._quoted :]) or "it said nothing"


def _end(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kill the whole group, at once: a program in the midst of training does not listen to a polite signal."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
    shutil.rmtree(folder, ignore_errors=True)
