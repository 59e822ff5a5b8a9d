"""quicktunetool in replays: the real one where its environment is, and a small script in its place for the bridge."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qttseg.benchmark.foreign.environment import QUICKTUNETOOL
from qttseg.benchmark.quicktunetool.bridge import quicktunetool
from qttseg.benchmark.replay import Replayed, Task, replay
from qttseg.benchmark.stored_datasets import drawn_candidates, stored_datasets
from qttseg.errors import BenchmarkError, NotSetUpError
from qttseg.metadata.queries import training_set
from qttseg.metadata.store import CurveStore

FOLDER, IS_THERE = QUICKTUNETOOL.folder, QUICKTUNETOOL.is_there
"""Looked up before tests get a cache folder of their own."""

STAND_IN = """
import json, sys
from pathlib import Path

curves = Path(sys.argv[1])
said = Path(sys.argv[0]).with_suffix(".said").open("w")
said.write(curves.read_text() + "\\n")
print(json.dumps({"seconds": 1.5}), flush=True)
for line in sys.stdin:
    said.write(line)
    said.flush()
    request = json.loads(line)
    answer = {}
    if request["do"] == "start":
        left, epoch = list(range(len(request["pipelines"]))), 1
    elif request["do"] == "ask":
        answer = {"candidate": left[0] if left else None, "epoch": epoch, "seconds": 0.25}
    elif request["score"] is None or request["epoch"] == 10:
        left, epoch = left[1:], 1
    else:
        epoch += 1
    print(json.dumps(answer), flush=True)
"""
"""Trains each candidate to the end, in order, and writes down all that it is told."""


def replayed(
    store: CurveStore, *, seed: int = 0, budget: float = 1e6, command: tuple[str, ...] | None = None
) -> Replayed:
    dataset = stored_datasets(store)[0]
    with quicktunetool(
        training_set(store, leave_out=dataset.fingerprint), epochs=dataset.epochs, command=command
    ) as tool:
        candidates = drawn_candidates(dataset, seed)
        task = Task(dataset=dataset, candidates=candidates, seed=seed, predictors=None, foreign=tool)
        done = replay(task, "quicktunetool", budget=budget)
        assert tool.fit_seconds > 0
        assert all(seconds > 0 for seconds in tool.decision_seconds)
        assert len(tool.decision_seconds) >= done.epochs
        return done


def script(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "stand_in.py"
    path.write_text(text)
    return (sys.executable, "-I", str(path))


def test_it_gets_all_curves_but_the_targets_and_is_told_every_score(store: CurveStore, tmp_path: Path):
    done = replayed(store, command=script(tmp_path, STAND_IN))
    curves, start, *requests = map(json.loads, (tmp_path / "stand_in.said").read_text().splitlines())
    dataset = stored_datasets(store)[0]
    others = [curve for other in stored_datasets(store)[1:] for curve in other.curves]
    few = 3
    assert np.array(curves["scores"]["values"]).shape == (len(others) + few, 10)
    assert len(curves["costs"]["values"]) == len(others) + few + 1  # one of them ran out of time
    assert set(curves["costs"]["values"]) == {2.0}
    candidates = drawn_candidates(dataset, 0)
    assert start["pipelines"] == [{**curve.run.configuration, "meta:images": 100.0} for curve in candidates]
    told = [request for request in requests if request["do"] == "tell"]
    expected: list[dict[str, Any]] = []
    for index, curve in enumerate(candidates):
        scores = [*curve.scores, *([None] if len(curve.scores) < 10 else [])]
        expected += [
            {"do": "tell", "candidate": index, "epoch": epoch, "score": score}
            for epoch, score in enumerate(scores, start=1)
        ]
    assert told == expected
    assert done.epochs == sum(len(curve.scores) for curve in candidates)
    assert done.regret == min(dataset.regret(max(curve.scores)) for curve in candidates)


def test_its_clock_is_everybodys(store: CurveStore, tmp_path: Path):
    done = replayed(store, budget=60.0, command=script(tmp_path, STAND_IN))
    assert list(done.times) == sorted(done.times)
    assert done.times[-1] <= 60.0
    # An epoch takes 2 s, a decision 0.02 s however long it took, a start 0.5 s.
    assert 60 / 2.52 - 2 <= done.epochs <= 60 / 2.02
    assert done == replayed(store, budget=60.0, command=script(tmp_path, STAND_IN))


FITTED = 'print(\'{"seconds": 1}\', flush=True)\ninput()\nprint("{}", flush=True)\ninput()\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys\nprint('curves?', file=sys.stderr)\nsys.exit('no memory')", "exit code 1: curves.\nno memory"),
        ("print('Welcome!')", "answered b'Welcome!', which is no JSON object: it said nothing"),
        ("print('[1]')", "no JSON object"),
        ('print(\'{"seconds": "few"}\')', "without a number as seconds"),
        (FITTED + "print('{\"seconds\": 1}')", "without a number as candidate"),
        (
            FITTED + 'print(\'{"seconds": 1, "candidate": 99, "epoch": 1}\')',
            "wants epoch 1 of candidate 99; there are 17",
        ),
        (FITTED + 'print(\'{"seconds": 1, "candidate": 0, "epoch": 2}\')', "wants epoch 2 of candidate 0"),
        (FITTED + "raise KeyError('lost')", "exit code 1: (.*\n)+KeyError: 'lost'"),
    ],
)
def test_a_process_that_goes_wrong_is_told_with_its_last_words(
    store: CurveStore, tmp_path: Path, text: str, message: str
):
    with pytest.raises(BenchmarkError, match=message):
        replayed(store, command=script(tmp_path, text))


def test_without_its_environment_the_command_that_makes_it_is_named(
    store: CurveStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("QTTSEG_QUICKTUNETOOL", str(tmp_path / "nowhere"))
    with pytest.raises(NotSetUpError, match="nowhere; run `qttseg bench setup quicktunetool`"):
        replayed(store)


@pytest.mark.skipif(not IS_THERE, reason="qttseg bench setup quicktunetool has not been run")
@pytest.mark.timeout(900)
def test_the_real_one_fits_searches_and_keeps_to_the_clock(store: CurveStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QTTSEG_QUICKTUNETOOL", str(FOLDER))
    done = replayed(store, budget=60.0)
    assert list(done.regrets) == sorted(done.regrets, reverse=True)
    assert done.times[-1] <= 60.0
    assert done.epochs >= 60 / 2.52 - 2
