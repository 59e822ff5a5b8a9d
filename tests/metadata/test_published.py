from __future__ import annotations

import csv
import math

import pytest

from qttseg.errors import StoreError
from qttseg.metadata.published import read_published
from qttseg.pipelines.spaces import search_space

ROW = {
    "cosine_t0": "3", "cosine_t_mult": "2", "decay_rate": "0.5", "horizontal_flip": "0", "lora": "0",
    "lora_dropout": "0.1", "lora_rank": "16", "lr": "0.005", "onecycle_div_factor": "10",
    "onecycle_final_div_factor": "10", "onecycle_pct_start": "0.06", "patience_epochs": "1", "poly_power": "1.0",
    "random_rotate": "1", "sched": "cosine", "step_size": "3", "vertical_flip": "1", "weight_decay": "0.0",
    "num_samples": "489", "default_resolution": "(288, 384)", "num_channels": "3", "num_classes": "1",
    "dataset": "polyp", "cost": "134.0", **{f"epoch_{epoch}_iou": str(epoch / 10) for epoch in range(10)},
}  # fmt: skip


@pytest.fixture
def write(tmp_path):
    def written(*rows: dict[str, str]):
        path = tmp_path / "published.csv"
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return written


def test_a_row_becomes_a_learning_curve(write):
    read = read_published(write(ROW))
    (curve,), (dataset,) = read.curves, read.datasets
    assert curve.scores == tuple(epoch / 10 for epoch in range(10))
    assert [record.seconds for record in curve.records] == pytest.approx([13.4] * 10)
    assert curve.run.space == "paper-v1"
    assert dataset.meta_features == {
        "images": 489.0, "height": 288.0, "width": 384.0, "channels": 3.0, "foreground_classes": 1.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "conditional"),
    [
        ({}, set()),
        ({"lora": "1"}, {"lora_rank", "lora_dropout"}),
        ({"sched": "cosine_warm"}, {"cosine_t0", "cosine_t_mult"}),
        ({"sched": "onecycle"}, {"onecycle_pct_start", "onecycle_div_factor", "onecycle_final_div_factor"}),
        ({"sched": "plateau"}, {"decay_rate", "patience_epochs"}),
        ({"sched": "poly"}, {"poly_power"}),
        ({"sched": "step"}, {"decay_rate", "step_size"}),
    ],
)
def test_only_active_parameters_are_kept_and_they_form_a_point_of_the_papers_space(write, change, conditional):
    (curve,) = read_published(write(ROW | change)).curves
    free = {"lora", "lr", "weight_decay", "horizontal_flip", "vertical_flip", "random_rotate", "sched"}
    assert set(curve.run.configuration) == free | conditional
    search_space("paper").validate(curve.run.configuration)


def test_zeros_and_missing_scores_are_kept(write):
    (curve,) = read_published(write(ROW | {"epoch_3_iou": "0.0", "epoch_4_iou": ""})).curves
    assert curve.scores[3] == 0
    assert math.isnan(curve.scores[4])


def test_repeated_runs_have_different_ids(write):
    first, second = read_published(write(ROW, ROW)).curves
    assert first.run.id != second.run.id


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("lr", "fast"), ("sched", "linear"), ("cost", "0"), ("cost", "nan"), ("epoch_9_iou", "1.5"),
        ("default_resolution", "288x384"), ("dataset", ""), ("lora", "yes"), ("num_classes", ""),
    ],
)  # fmt: skip
def test_a_bad_value_is_named_with_its_row_and_column(write, column, value):
    with pytest.raises(StoreError, match=f"row 2.*{column}"):
        read_published(write(ROW, ROW | {column: value}))


def test_datasets_must_agree_with_themselves(write):
    with pytest.raises(StoreError, match=r"row 2.*polyp"):
        read_published(write(ROW, ROW | {"num_samples": "3"}))


def test_a_missing_column_or_file_or_row_is_named(write, tmp_path):
    with pytest.raises(StoreError, match="lacks the columns cost"):
        read_published(write({name: value for name, value in ROW.items() if name != "cost"}))
    with pytest.raises(StoreError, match="nowhere"):
        read_published(tmp_path / "nowhere.csv")
    empty = tmp_path / "empty.csv"
    empty.write_text(",".join(ROW) + "\n")
    with pytest.raises(StoreError, match="no rows"):
        read_published(empty)
