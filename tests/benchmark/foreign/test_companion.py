"""A foreign program is held at arm's length: it answers in time, or it and all its children are gone."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from qttseg.benchmark.foreign.companion import Companion
from qttseg.errors import BenchmarkError, BudgetError


@pytest.fixture
def start(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()

    def start(code: str) -> Companion:
        return Companion("the program", [sys.executable, "-c", code], folder=folder, environment={"GREETING": "hello"})

    return start


def test_it_answers_line_by_line_and_keeps_its_noise_to_itself(start, tmp_path):
    program = start(
        "import json, os, sys\n"
        "for line in sys.stdin:\n"
        "    print('noise', file=sys.stderr)\n"
        "    print(json.dumps({'greeting': os.environ['GREETING'], 'length': len(json.loads(line)['long'])}), flush=True)"
    )
    for length in (3, 200_000):
        assert program.ask({"long": "x" * length}, seconds=30) == {"greeting": "hello", "length": length}
    assert "noise" in (tmp_path / "own" / "log.txt").read_text()
    program.close()
    assert not (tmp_path / "own").exists()


def test_one_that_does_not_answer_is_killed_with_its_children_even_if_it_will_not_listen(start, tmp_path):
    pids = tmp_path / "pids"
    program = start(
        "import os, pathlib, signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{child.pid}}')\n"
        "print('{}', flush=True)\n"
        "time.sleep(60)"
    )
    program.receive(seconds=30)
    with pytest.raises(BudgetError, match="the program gave no answer within 0 s and was killed"):
        program.ask({}, seconds=0.2)
    for pid in map(int, pids.read_text().split()):
        until = time.monotonic() + 10
        while is_alive(pid) and time.monotonic() < until:
            time.sleep(0.05)
        assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_the_end_of_the_object_is_the_end_of_the_program(start):
    program = start("import time; print('{}', flush=True); time.sleep(60)")
    program.receive(seconds=30)
    process = program._process
    del program
    assert process.returncode is not None


def test_one_that_has_ended_is_quoted(start):
    program = start("import sys; sys.exit('the disk is full')")
    with pytest.raises(BenchmarkError, match="the program ended with exit code 1: the disk is full"):
        program.ask({"do": "anything"}, seconds=30)
