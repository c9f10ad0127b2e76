"""Requests: what a configuration makes of what was asked for, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from gan_lab.errors import BadParameter
from gan_lab.schema import GenerateConfig, TaskSpec, TrainConfig, configure


def test_lives_are_shared_out_in_proportion_to_rows() -> None:
    config = configure("generate", {"lives": 10, "train": 70, "val": 15, "test": 15})
    assert isinstance(config, GenerateConfig)
    shares = config.lives_of_splits
    assert shares is not None and sum(shares.values()) == 10
    assert shares["train"] == 6 and min(shares.values()) >= 1


def test_fewer_lives_than_splits_are_refused() -> None:
    said = r"lives=2 for 3 splits \(train, val, test\).*ask for 3 lives or more"
    with pytest.raises(BadParameter, match=said):
        configure("generate", {"lives": 2})
    configure("generate", {"lives": 2, "val": 0})


def test_rows_in_all_are_shared_as_the_splits_are() -> None:
    config = configure("generate", {"rows": 1_001, "train": 70, "val": 15, "test": 15})
    assert isinstance(config, GenerateConfig)
    assert config.splits == {"train": 701, "val": 150, "test": 150}
    assert configure("generate", {"rows": 10, "val": 0, "test": 0}).splits == {"train": 10}


@pytest.mark.parametrize(
    ("options", "dims", "steps"),
    [
        ({}, 32, 1_200),
        ({"epochs": 20}, 32, 0),
        ({"max_steps": 500}, 32, 500),
        ({"epochs": 20, "max_steps": 500}, 32, 500),
        ({"embedding_dim": 8}, 8, 1_200),
    ],
)
def test_who_asks_for_epochs_gets_them(options: dict[str, Any], dims: int, steps: int) -> None:
    config = configure("train", options)
    assert isinstance(config, TrainConfig)
    assert (config.embedding_dim, config.max_steps) == (dims, steps)
    again = TrainConfig.model_validate_json(config.model_dump_json())  # as a record keeps it
    assert again == config


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("train", {"embedding_dim": 0}, "embedding_dim"),
        ("generate", {"conditions": {"a": {"x": 0.7, "y": 0.6}}}, "add up to 1.3"),
        ("generate", {"conditions": {"a": {}}}, "there are no shares"),
    ],
)
def test_what_contradicts_itself_is_refused(
    kind: str, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadParameter, match=sentence):
        configure(kind, options)


def test_a_request_of_an_earlier_version_is_one_still() -> None:
    gone: dict[str, Any] = {"kl_warmup": 0.1, "precision": "auto", "prior": "gmm"}
    made = {**TrainConfig(epochs=7).model_dump(mode="json"), **gone, "embedding_dim": None}
    spec = TaskSpec(task_id="a", kind="train", machine_id="press", config=made)
    assert configure("train", spec.config) == TrainConfig(epochs=7)
    asked = TaskSpec(task_id="a", kind="train", machine_id="press", config={"prior": "normal"})
    with pytest.raises(BadParameter, match="prior"):
        configure("train", asked.config)
