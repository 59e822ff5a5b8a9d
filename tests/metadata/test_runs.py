from dataclasses import replace

import pytest

from qttseg.errors import ConfigurationError
from qttseg.metadata.protocol import PAPER, Protocol
from qttseg.metadata.runs import Run


@pytest.fixture
def run(decoder_only, protocol):
    return Run(
        dataset="a",
        dataset_fingerprint="f" * 16,
        configuration=decoder_only,
        space="paper-v1",
        protocol=protocol,
        backbone="sam-nano",
        backbone_fingerprint="b" * 16,
    )


def test_the_id_follows_content_not_names(run):
    assert replace(run, dataset="another name", backbone="other").id == run.id


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_fingerprint": "0" * 16},
        {"backbone_fingerprint": "0" * 16},
        {"seed": 1},
        {"protocol": Protocol(images=10, test_images=4, epochs=4)},
    ],
)
def test_whatever_decides_the_result_changes_the_id(run, change):
    assert replace(run, **change).id != run.id


def test_the_id_is_the_same_on_every_machine(run):
    assert run.id == "18cb178690461558"


def test_protocol_round_trip():
    protocol = Protocol(images=7, prompt="whole-image")
    assert Protocol.from_dict(protocol.to_dict()) == protocol
    points = Protocol(prompt="point", points=3)
    assert Protocol.from_dict(points.to_dict()) == points


def test_protocols_keep_the_ids_that_stores_and_predictors_know_them_by():
    known = {"e313f17c": PAPER, "a5da149b": Protocol(prompt="whole-image")}
    assert all(protocol.id == name for name, protocol in known.items())
    others = {Protocol(prompt="point").id, Protocol(prompt="point", points=2).id}
    assert len(others | known.keys()) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"images": 1}, "at least 2"),
        ({"epochs": 0}, "protocol.epochs"),
        ({"validation_share": 1.0}, "validation_share"),
        ({"prompt_noise": -1}, "prompt_noise"),
        ({"prompt": "scribble"}, "it must be one of box, whole-image, point"),
        ({"points": 0}, "protocol.points"),
        ({"epoch": 3}, "unknown protocol key epoch"),
    ],
)
def test_a_wrong_protocol_is_named(values, message):
    with pytest.raises(ConfigurationError, match=message):
        Protocol.from_dict(values)
