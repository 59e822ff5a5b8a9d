from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from qttseg.errors import StoreError
from qttseg.metadata.configurations import Configuration
from qttseg.metadata.protocol import Protocol
from qttseg.metadata.queries import query, summary, training_set
from qttseg.metadata.runs import EpochRecord, LearningCurve, Outcome, Run
from qttseg.metadata.sketches import Sketch
from qttseg.metadata.store import CurveStore


def curve_of(
    dataset: str,
    fingerprint: str,
    *,
    seed: int = 0,
    scores: tuple[float, ...] = (0.5, 0.75),
    outcome: Outcome = Outcome.COMPLETED,
) -> LearningCurve:
    run = Run(
        dataset=dataset,
        dataset_fingerprint=fingerprint,
        configuration=Configuration({"lora": 1, "lr": 1e-3}),
        space="paper-v1",
        protocol=Protocol(),
        backbone="sam-nano",
        backbone_fingerprint="weights",
        seed=seed,
    )
    records = tuple(
        EpochRecord(
            epoch=epoch,
            score=score,
            train_loss=1.0,
            learning_rate=1e-3,
            train_seconds=3.0,
            validation_seconds=1.0,
            peak_memory=10,
        )
        for epoch, score in enumerate(scores, start=1)
    )
    return LearningCurve(run=run, outcome=outcome, records=records, setup_seconds=2.0, machine="x86_64")


@pytest.fixture
def store(tmp_path: Path) -> CurveStore:
    store = CurveStore(tmp_path)
    store.append(
        [
            curve_of("polyp", "f1", scores=(0.5, 0.75)),
            curve_of("polyp", "f1", seed=1, scores=(0.25,)),
            curve_of("polyp", "f1", seed=2, scores=(), outcome=Outcome.DIVERGED),
            curve_of("polyp", "f2"),
            curve_of("/data/polyp-copy", "f1", seed=3),
            curve_of("leaf", "f3"),
            curve_of("road", "f4"),
        ]
    )
    for fingerprint, name in {"f1": "polyp", "f2": "polyp", "f3": "leaf", "f4": "road"}.items():
        store.add_dataset(name, fingerprint, {"images": 100.0, "area": 0.25})
    return store


def test_the_training_set_has_every_run_with_its_meta_features(store: CurveStore):
    training = training_set(store)
    assert training.left_out == ()
    assert training.datasets == ("leaf", "polyp", "road"), "a path goes by its dataset's name"
    assert training.fingerprints == {"f1", "f2", "f3", "f4"}
    row = next(row for row in training.table.to_pylist() if row["dataset"] == "leaf")
    assert row["scores"] == [0.5, 0.75]
    assert row["epoch_seconds"] == [4.0, 4.0]
    assert Configuration.from_json(row["configuration"]) == Configuration({"lora": 1, "lr": 1e-3})
    assert dict(row["meta_features"]) == {"area": 0.25, "images": 100.0}
    assert row["machine"] == "x86_64"
    assert training.table.num_rows == 7


@pytest.mark.parametrize("name", ["polyp", "f1", "f2", "/data/polyp-copy"])
def test_a_dataset_is_left_out_with_its_twins_and_namesakes(store: CurveStore, name: str):
    training = training_set(store, leave_out=name)
    assert training.datasets == ("leaf", "road")
    assert training.fingerprints == {"f3", "f4"}
    assert training.left_out == ("polyp",)


def test_a_dataset_of_largely_the_same_images_is_left_out_too(store: CurveStore):
    looks = np.random.default_rng(0).bytes(32 * 50)
    store.add_sketch("f3", Sketch(images=40, looks=looks[: 32 * 40]))
    store.add_sketch("f4", Sketch(images=40, looks=looks[32 * 10 :]))
    assert set(training_set(store).sketches) == {"f3", "f4"}
    training = training_set(store, leave_out="leaf")
    assert training.left_out == ("leaf", "road")
    assert training.datasets == ("polyp",)
    assert training.sketches == {}


def test_the_newest_row_of_a_run_is_in_the_training_set(store: CurveStore):
    store.append([curve_of("leaf", "f3", scores=(0.9,))])
    leaf = [row for row in training_set(store).table.to_pylist() if row["dataset"] == "leaf"]
    assert [row["scores"] for row in leaf] == [[0.9]]


def test_an_unknown_dataset_lists_those_there(store: CurveStore):
    with pytest.raises(StoreError, match=r"no dataset lef to leave out; it has .*leaf, polyp, road"):
        training_set(store, leave_out="lef")


def test_nothing_left_and_nothing_measured_are_errors(tmp_path: Path):
    store = CurveStore(tmp_path)
    for ask in (training_set, summary):
        with pytest.raises(StoreError, match="run qttseg collect first"):
            ask(store)
    store.append([curve_of("leaf", "f3")])
    with pytest.raises(StoreError, match="lacks the meta-features of leaf"):
        training_set(store)
    with pytest.raises(StoreError, match="besides those of leaf"):
        training_set(store, leave_out="leaf")


def test_the_summary_counts_scores_and_costs(store: CurveStore):
    row = next(row for row in summary(store).to_pylist() if row["dataset_fingerprint"] == "f1")
    assert row == {
        "dataset": "polyp",
        "dataset_fingerprint": "f1",
        "runs": 4,
        "completed": 3,
        "diverged": 1,
        "out_of_memory": 0,
        "timed_out": 0,
        "failed": 0,
        "score_mean": pytest.approx(1.75 / 3),
        "score_best": 0.75,
        "score_spread": pytest.approx(0.2357, abs=1e-4),
        "seconds_per_epoch": 4.0,
        "hours": pytest.approx((5 * 4 + 4 * 2) / 3600),
    }


def test_users_ask_their_own_questions(store: CurveStore):
    best = query(
        store, "SELECT dataset, max(score) AS best FROM epochs WHERE epoch = 1 GROUP BY dataset ORDER BY dataset"
    )
    assert best.to_pylist()[0] == {"dataset": "leaf", "best": 0.5}
    assert query(store, "SELECT count(*) AS n FROM runs WHERE configuration->>'lora' = '1'").to_pylist() == [{"n": 7}]
    assert query(store, "SELECT meta_features['area'] AS a FROM datasets LIMIT 1").to_pylist() == [{"a": 0.25}]
    assert query(store, "DESCRIBE epochs").column("column_name").to_pylist()[:4] == [
        "run_id",
        "dataset",
        "outcome",
        "epoch",
    ]


def test_queries_work_on_a_store_that_is_no_local_folder():
    store = CurveStore(f"memory://{uuid4().hex}")
    store.append([curve_of("leaf", "f3")])
    assert query(store, "FROM runs SELECT dataset").to_pylist() == [{"dataset": "leaf"}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM store",
        "COPY runs TO '{path}'",
        "ATTACH '{path}'",
        "DROP VIEW runs",
        "SET enable_external_access = true",
        "SELECT 1; SELECT 2",
        "SELEKT",
        "",
    ],
)
def test_a_query_only_reads(store: CurveStore, tmp_path: Path, sql: str):
    path = tmp_path / "stolen"
    with pytest.raises(StoreError, match=r"query"):
        query(store, sql.format(path=path))
    assert not path.exists()
