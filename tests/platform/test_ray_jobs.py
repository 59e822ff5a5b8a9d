"""Timed jobs have a process and cores to themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qttseg.errors import CollectionError
from qttseg.platform.cores import own_cores
from qttseg.platform.ray_jobs import Lost, run_apart

pytestmark = [
    pytest.mark.usefixtures("ray_folder"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_jobs_run_in_fresh_processes_on_cores_of_their_own_and_outlive_a_crash(tmp_path):
    def work(job: str) -> tuple[int, tuple[int, ...], str]:
        with (Path(tmp_path) / job).open("a") as log:
            log.write("tried\n")
        tries = len((Path(tmp_path) / job).read_text().split())
        if job == "hopeless" or (job == "unlucky" and tries == 1):
            os.kill(os.getpid(), 9)
        if job == "wrong":
            raise ValueError("no such thing")
        return os.getpid(), tuple(sorted(os.sched_getaffinity(0))), os.environ["OMP_NUM_THREADS"]

    workers = min(2, len(own_cores()))
    jobs = ["fine", "unlucky", "hopeless", "wrong", "also fine"]
    answers = dict(run_apart(work, jobs, workers=workers, retries=1))
    assert isinstance(answers["hopeless"], Lost)
    assert "its process died 2 times" in str(answers["hopeless"])
    assert len((tmp_path / "hopeless").read_text().split()) == 2
    assert str(answers["wrong"]) == "ValueError: no such thing"
    good = [answers[job] for job in ("fine", "unlucky", "also fine")]
    assert len({process for process, _, _ in good}) == 3
    for _, cores, threads in good:
        assert len(cores) == 1
        assert set(cores) <= set(own_cores())
        assert threads == "1"


def test_more_cores_than_there_are_cannot_be_pinned():
    with pytest.raises(CollectionError, match="do not fit on this machine, which has"):
        next(run_apart(str, ["job"], workers=len(own_cores()) + 1))
