"""A small SAM with the parts of an official one."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
from safetensors.torch import save_file

from qttseg.pipelines.backbones import Backbone
from qttseg.pipelines.loading import load_backbone
from qttseg.pipelines.nano import NanoArchitecture, nano_sam


@pytest.fixture(scope="session")
def small_vit(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    """A backbone like vit_b, with windows, whole-image attention and relative positions, of random weights on 64 px."""
    architecture = NanoArchitecture(
        resolution=64,
        width=32,
        heads=2,
        prompt_width=32,
        relative_positions=True,
        depth=2,
        window=6,
        global_blocks=(1,),
    )
    file = tmp_path_factory.mktemp("small") / "vit.safetensors"
    weights = nano_sam(architecture, seed=1).state_dict()
    save_file(weights, file, metadata={"architecture": json.dumps(asdict(architecture))})
    return load_backbone(f"sam-nano:{file}")
