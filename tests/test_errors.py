"""Errors: what pydantic finds wrong is said in one way, and every error crosses a process."""

from __future__ import annotations

import pickle

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from gan_lab import errors


class Pump(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    flow: dict[str, float] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _short(cls, name: str) -> str:
        if len(name) > 9:
            raise ValueError("the name has more than 9 letters")
        return name


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, ["name: is missing; add it"]),
        ({"name": "p", "colour": "red"}, ["colour='red': no such field; remove it"]),
        ({"name": "p" * 200}, [f"name='{'p' * 59}: the name has more than 9 letters"]),
        ([1], ["pump=[1]: Input should be a valid dictionary or instance of Pump"]),
        (
            {"name": 3, "flow": {"in": None}},
            [
                "name=3: Input should be a valid string",
                "flow.in=None: Input should be a valid number",
            ],
        ),
    ],
)
def test_everything_wrong_is_said_field_value_and_reason(given: object, said: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        Pump.model_validate(given)
    assert errors.validation_problems(caught.value, "pump") == said


@pytest.mark.parametrize(
    "kind",
    [kind for kind in vars(errors).values() if isinstance(kind, type)],
    ids=lambda kind: kind.__name__,
)
def test_an_error_survives_the_way_from_a_worker(kind: type[Exception]) -> None:
    sent = kind("What happened.")
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is kind and str(received) == "What happened."


def test_a_bad_profile_keeps_its_problems_on_the_way() -> None:
    received = pickle.loads(pickle.dumps(errors.BadProfile("Correct:", ["life: is missing"])))
    assert received.problems == ["life: is missing"]
    assert str(received) == "Correct:\n- life: is missing"


def test_front_ends_find_status_and_reason_in_the_class() -> None:
    assert (errors.NoModel.exit_status, errors.NoModel.http_status) == (2, 409)
    assert errors.ServiceUnreachable.exit_status == 3
    assert issubclass(errors.TaskRefused, errors.TaskFailed)
    assert errors.TaskRefused.exit_status == errors.RequestError.exit_status


def test_in_a_notebook_an_error_is_its_sentence_with_its_traceback_one_click_away() -> None:
    shell = InteractiveShell.instance()
    try:
        with capture_output() as shown:
            shell.run_cell(
                "import gan_lab.errors as e\nraise e.BadParameter('epochs=0 is too few.')",
                store_history=True,  # as in a notebook: IPython asks for the traceback twice
            )
    finally:
        InteractiveShell.clear_instance()
    assert shown.stdout.strip() == "BadParameter: epochs=0 is too few."
    (folded,) = [output.data["text/html"] for output in shown.outputs]
    assert folded.startswith("<details><summary>Traceback") and "raise e.BadParameter" in folded
