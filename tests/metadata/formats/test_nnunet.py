"""nnU-Net, of both versions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from qttseg.errors import DatasetError
from qttseg.metadata.adding import add, open_dataset


def test_nnunet_of_both_versions_and_with_single_channels_is_read(save, ids, tmp_path: Path) -> None:
    for index in range(4):
        for channel in range(3):
            save(ids(200, channel), tmp_path / f"imagesTr/case_{index}_{channel:04d}.png")
        save(ids(3, index), tmp_path / f"labelsTr/case_{index}.png")
    two = {"channel_names": {"0": "R"}, "labels": {"background": 0, "cell": 1, "ignore": 2}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(two))
    dataset = open_dataset(tmp_path, rules={})
    assert dataset.names[0] == "case_0"
    assert dataset.classes == ("background", "cell")
    assert np.array_equal(dataset[1].mask, np.where(ids(3, 1) == 2, 255, ids(3, 1)))
    assert np.array_equal(dataset[0].image[:, :, 2], ids(200, 2))
    one = {"modality": {"0": "RGB"}, "labels": {"0": "background", "1": "cell", "2": "wall"}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(one))
    assert open_dataset(tmp_path, rules={}).classes == ("background", "cell", "wall")
    for change, message in [
        ({"file_ending": ".nii.gz"}, "volumes are not read"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "overlapping regions"),
        ({"labels": {"background": 0, "cell": 1}}, r"the values \[2\] are not among"),
    ]:
        (tmp_path / "dataset.json").write_text(json.dumps({**two, **change}))
        with pytest.raises(DatasetError, match=message):
            add("mine", tmp_path)
