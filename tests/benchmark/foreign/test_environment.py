"""Environments of their own: complete or not there at all."""

from __future__ import annotations

import pytest

from qttseg.benchmark.foreign.environment import AUTOGLUON, QUICKTUNETOOL
from qttseg.errors import BenchmarkError, NotSetUpError


@pytest.mark.parametrize("environment", [AUTOGLUON, QUICKTUNETOOL])
def test_every_package_is_pinned_and_what_comes_first_is_too(environment):
    lines = [line for line in environment.lock.read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    assert {line.split("==")[0] for line in lines} >= {*environment.first}


def test_an_installation_that_breaks_off_is_explained_and_counts_for_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("QTTSEG_QUICKTUNETOOL", str(tmp_path / "own"))

    def without_network(*_: object, **__: object) -> None:
        QUICKTUNETOOL.python.parent.mkdir(parents=True)
        QUICKTUNETOOL.python.write_text(
            "#!/bin/sh\necho 'ERROR: No matching distribution found for torch' >&2\nexit 1\n"
        )
        QUICKTUNETOOL.python.chmod(0o755)

    monkeypatch.setattr("venv.create", without_network)
    with pytest.raises(BenchmarkError, match=r"cannot be installed .* No matching distribution .* disk space"):
        QUICKTUNETOOL.set_up()
    with pytest.raises(NotSetUpError, match="own; run `qttseg bench setup quicktunetool`"):
        QUICKTUNETOOL.check()
