"""The calls over HTTP, against a real Jupyter server whose cluster has no worker: tasks wait."""

from __future__ import annotations

import json
import os
import re
import signal
import uuid
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import yaml

from gan_lab.schema import TaskSpec
from gan_lab.server.routes import ROUTES
from gan_lab.workspace.files import write_beside
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run
from tests.server.conftest import Actor, JupyterProcess, Queue

MACHINE = "motor_siemens_001"


@pytest.fixture
def press(quiet_home: Path, api: httpx.Client) -> str:
    """A machine with a seed table, brought over REST."""
    if not (quiet_home / "data" / "seed" / "press_7.parquet").exists():
        sent = api.post("/api/gan/machines/press_7/data?life=unit&time=hour", content=table_csv())
        assert sent.status_code == 201, sent.text
    return "press_7"


def table_csv(rows: int = 60) -> bytes:
    hours = [row % 20 for row in range(rows)]
    table = pd.DataFrame({"unit": [1 + row // 20 for row in range(rows)], "hour": hours})
    table["pressure_bar"] = [100.0 + hour / 7 for hour in hours]
    table["oil_c"] = [40.0 + (hour * 37 % 11) / 3 for hour in hours]
    return table.to_csv(index=False).encode()


def tasks(home: Path) -> int:
    return len([path for path in (home / "runs").iterdir() if len(path.name) == 36])


def refused(answer: httpx.Response, status: int, reason: str) -> str:
    """The sentence of a refusal of this kind."""
    assert answer.status_code == status, answer.text
    assert answer.json()["reason"] == reason
    return str(answer.json()["message"])


# ---- starting and following tasks


@pytest.mark.slow
def test_a_training_is_accepted_with_the_fields_of_the_interface(
    api: httpx.Client, jupyter: JupyterProcess, press: str
) -> None:
    asked = {"epochs": 300, "compress_dims": [64, 64]}
    answer = api.post(f"/api/gan/machines/{press}/train", json=asked)
    assert answer.status_code == 202
    started = answer.json()
    assert set(started) == {
        "success", "machine_id", "task_id", "epochs", "estimated_time_minutes", "websocket_url",
        "message",
    }  # fmt: skip
    assert (started["success"], started["machine_id"], started["epochs"]) == (True, press, 300)
    assert started["websocket_url"] == f"/lab/ws/gan/training/{started['task_id']}"
    assert 0 < started["estimated_time_minutes"] < 10
    status = api.get(f"/api/gan/tasks/{started['task_id']}").json()
    assert set(status) == {
        "task_id", "status", "state", "progress", "current", "total", "message", "result", "error",
        "metadata",
    }  # fmt: skip
    assert (status["status"], status["state"]) == ("pending", "PENDING")
    assert status["metadata"]["machine_id"] == press


@pytest.mark.slow
def test_seed_and_pipeline_are_accepted(api: httpx.Client) -> None:
    seed = api.post(f"/api/gan/machines/{MACHINE}/seed", json={"rows": 500})
    assert seed.status_code == 202, seed.text
    body = {"seed": {"rows": 500}, "train": {"epochs": 5}, "generate": {"train": 10}}
    chain = api.post(f"/api/gan/machines/{MACHINE}/pipeline", json=body)
    assert chain.status_code == 202, chain.text
    assert chain.json()["epochs"] == 5
    kinds = [task["kind"] for task in chain.json()["tasks"]]
    assert kinds == ["seed", "train", "generate", "report"]
    assert chain.json()["task_id"] == chain.json()["tasks"][-1]["task_id"]


def test_a_task_can_be_cancelled_and_stays_so(api: httpx.Client, press: str) -> None:
    task_id = api.post(f"/api/gan/machines/{press}/train").json()["task_id"]
    for _ in range(2):
        answer = api.delete(f"/api/gan/tasks/{task_id}")
        assert (answer.status_code, answer.json()["status"]) == (200, "revoked")
    assert api.get(f"/api/gan/tasks/{task_id}").json()["state"] == "REVOKED"


def test_who_waits_for_the_cluster_keeps_nobody_from_looking(
    api: httpx.Client, jupyter: JupyterProcess, queue: Queue
) -> None:
    threads = min(32, (os.cpu_count() or 1) + 4)  # of asyncio's own pool
    waiting = [HTTPConnection("127.0.0.1", jupyter.port) for _ in range(threads)]
    headers = {"Authorization": f"token {jupyter.token}"}
    queue.scheduler.send_signal(signal.SIGSTOP)
    try:
        for one in waiting:
            one.request("POST", f"/lab/api/gan/machines/{MACHINE}/seed", "{}", headers)
        assert api.get("/api/gan/openapi.json", timeout=10).status_code == 200
    finally:
        queue.scheduler.send_signal(signal.SIGCONT)
    assert {one.getresponse().status for one in waiting} == {202}


def test_tasks_are_listed_newest_first(api: httpx.Client, actor: Actor) -> None:
    actor.tell("say", "7")
    listed = api.get("/api/gan/tasks", params={"limit": 1}).json()
    assert [task["task_id"] for task in listed] == [actor.run.task_id]
    assert (listed[0]["status"], listed[0]["current"]) == ("running", 7)
    assert api.get("/api/gan/tasks", params={"machine_id": "nobody"}).json() == []


def test_a_task_that_no_cluster_knows_is_unknown(api: httpx.Client, quiet_home: Path) -> None:
    spec = TaskSpec(
        task_id=str(uuid.uuid4()),
        kind="train",
        machine_id=MACHINE,
        config={},
        created="2026-01-01T00:00:00.000Z",
    )
    create_run(spec, quiet_home)
    status = api.get(f"/api/gan/tasks/{spec.task_id}").json()
    assert status["status"] == "unknown"
    assert "gan-lab resume" in status["message"]


def test_machines_are_listed_and_described(api: httpx.Client, press: str) -> None:
    listed = {machine["machine_id"]: machine for machine in api.get("/api/gan/machines").json()}
    assert listed[press]["seed_rows"] == 60
    assert listed[MACHINE]["category"] == "motor"
    one = api.get(f"/api/gan/machines/{press}").json()
    assert (one["can_train"], one["can_generate"]) == (True, False)


# ---- what is refused


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("machines/no_such_machine/train", 404, "unknown_machine"),
        ("machines/pump_grundfos_cr3_004/train", 409, "no_seed_data"),
        ("machines/pump_grundfos_cr3_004/generate", 409, "no_model"),
        ("machines/a%2Fb/train", 422, "bad_parameter"),
        ("machines/..%2F..%2Fetc%2Fpasswd/seed", 422, "bad_parameter"),
        ("machines/%00/train", 422, "bad_parameter"),
        ("machines/Motor.1/pipeline", 422, "bad_parameter"),
        ("machines/%FF%FE/train", 400, "bad_request"),
    ],
)
def test_a_task_that_cannot_be_is_refused(
    api: httpx.Client, quiet_home: Path, path: str, status: int, reason: str
) -> None:
    before = tasks(quiet_home)
    assert len(refused(api.post(f"/api/gan/{path}", content=b"{}"), status, reason)) > 20
    assert tasks(quiet_home) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"epochs": 1000000000}', b'{"epochs": "300"}', b'{"epochs": 1.5}', b'{"epochs": true}',
        b'{"epochs": 0}', b'{"epochs": null}', b'{"epoch": 3}', b'{"l2scale": NaN}',
        b'{"l2scale": 1e999}',
        b"[1, 2]", b'"epochs"', b"null", b"{", b"\xff\xfe", b'{"epochs": 3}{}', b"[" * 100_000,
        b'{"model": "gpt"}', b'{"task_id": "x"}', b'{"reuse": true}',
    ],
)  # fmt: skip
def test_a_bad_body_is_refused_with_a_sentence(
    api: httpx.Client, quiet_home: Path, press: str, body: bytes
) -> None:
    before = tasks(quiet_home)
    sentence = refused(
        api.post(f"/api/gan/machines/{press}/train", content=body), 422, "bad_parameter"
    )
    assert sentence.endswith(".") and len(sentence) < 1000
    assert tasks(quiet_home) == before


def test_a_huge_body_is_refused_announced_or_not(api: httpx.Client, press: str) -> None:
    url = f"/api/gan/machines/{press}/train"
    refused(api.post(url, content=b" " * 2_000_000), 413, "too_large")

    def pieces() -> Any:
        for _ in range(40):
            yield b" " * 50_000

    refused(api.post(url, content=pieces()), 413, "too_large")


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "limit=1&limit=2", "linit=3"])
def test_a_bad_parameter_of_the_url_is_refused(api: httpx.Client, query: str) -> None:
    refused(api.get(f"/api/gan/tasks?{query}"), 422, "bad_parameter")


def test_unknown_tasks_paths_and_methods(api: httpx.Client) -> None:
    refused(api.get(f"/api/gan/tasks/{uuid.uuid4()}"), 404, "unknown_task")
    refused(api.delete("/api/gan/tasks/nonsense"), 404, "unknown_task")
    refused(api.get("/api/gan/nothing/here"), 404, "not_found")
    answer = api.put("/api/gan/tasks", content=b"{}")
    refused(answer, 405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, OPTIONS"


# ---- who may


def every_operation() -> list[tuple[str, str]]:
    return [(route.path, route.method) for route in ROUTES]


@pytest.mark.parametrize(("path", "method"), every_operation())
def test_every_route_denies_without_a_token(
    jupyter: JupyterProcess, quiet_home: Path, path: str, method: str
) -> None:
    before = tasks(quiet_home)
    url = path.format_map({"machine_id": MACHINE, "task_id": str(uuid.uuid4())})
    with jupyter.client(token=False) as stranger:
        refused(stranger.request(method, url, content=b"{}" * (method == "post")), 403, "forbidden")
        wrong = {"Authorization": "token wrong"}
        refused(stranger.request(method, url, headers=wrong), 403, "forbidden")
    assert tasks(quiet_home) == before


@pytest.mark.parametrize(("path", "method"), every_operation())
def test_every_route_allows_with_the_token(api: httpx.Client, path: str, method: str) -> None:
    url = path.format_map({"machine_id": "no_such_machine", "task_id": str(uuid.uuid4())})
    answer = api.request(method, url, content=b"[]" if method == "post" else None)
    assert answer.status_code in (200, 404, 422), answer.text


def test_a_cookie_alone_cannot_start_anything(jupyter: JupyterProcess, press: str) -> None:
    with jupyter.client(token=False) as browser:
        browser.get("/", params={"token": jupyter.token}, follow_redirects=True)
        assert browser.get("/api/gan/machines").status_code == 200
        url = f"/api/gan/machines/{press}/train"
        refused(browser.post(url, json={"epochs": 1}), 403, "forbidden")
        xsrf = {"X-XSRFToken": browser.cookies["_xsrf"]}
        assert browser.post(url, json={"epochs": 1}, headers=xsrf).status_code == 202


# ---- bringing machines


def test_a_profile_can_be_added_once(api: httpx.Client, quiet_home: Path) -> None:
    profile = yaml.safe_load((quiet_home / "data/machines" / f"{MACHINE}.yaml").read_text())
    profile["machine_id"] = name = f"motor_{uuid.uuid4().hex[:8]}"
    text = yaml.safe_dump(profile).encode()
    added = api.post("/api/gan/machines", content=text)
    assert added.status_code == 201, added.text
    refused(api.post("/api/gan/machines", content=text), 409, "machine_exists")
    assert api.post("/api/gan/machines?replace=true", content=text).status_code == 201
    assert api.get(f"/api/gan/machines/{name}").json()["machine_id"] == name


def test_everything_wrong_with_a_profile_is_listed(api: httpx.Client) -> None:
    profile = {"machine_id": "Press 7", "sensors": {"oil": {"minimum": "cold"}}, "colour": "red"}
    answer = api.post("/api/gan/machines", json=profile)
    refused(answer, 422, "bad_profile")
    listed = " ".join(answer.json()["problems"])
    assert all(name in listed for name in ("sensors.oil.minimum", "sensors.oil.typical", "colour"))


def test_a_yaml_bomb_is_refused(api: httpx.Client) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    refused(api.post("/api/gan/machines", content="\n".join(lines).encode()), 422, "bad_profile")


def test_a_table_can_be_brought_as_parquet(api: httpx.Client, tmp_path: Path) -> None:
    import io

    name = f"press_{uuid.uuid4().hex[:8]}"
    parquet = tmp_path / "table.parquet"
    pd.read_csv(io.BytesIO(table_csv())).to_parquet(parquet)
    url = f"/api/gan/machines/{name}/data"
    answer = api.post(url, params={"life": "unit"}, content=parquet.read_bytes())
    assert answer.status_code == 201, answer.text
    assert (answer.json()["rows"], answer.json()["lives"]) == (60, 3)
    refused(api.post(url, content=parquet.read_bytes()), 409, "machine_exists")


@pytest.mark.parametrize(
    ("query", "content"),
    [
        ("", b""),
        ("", b"\x00\x01\x02 this is no table"),
        ("", b"PAR1 broken"),
        ("?life=nobody", table_csv()),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_and_leaves_nothing(
    api: httpx.Client, quiet_home: Path, query: str, content: bytes
) -> None:
    answer = api.post(f"/api/gan/machines/never_made/data{query}", content=content)
    assert answer.status_code == 422, answer.text
    assert answer.json()["message"]
    assert not (quiet_home / "data/machines/never_made.yaml").exists()


def test_a_report_is_served_in_a_sandbox(api: httpx.Client, quiet_home: Path, press: str) -> None:
    refused(api.get(f"/api/gan/machines/{press}/report"), 404, "no_report")
    spec = TaskSpec(task_id=str(uuid.uuid4()), kind="report", machine_id=press, config={})
    run: RunFolder = create_run(spec, quiet_home)
    write_beside(run.path / "report.html", "<script>alert(1)</script>")
    run.finish({"machine_id": press})
    page = api.get(f"/api/gan/machines/{press}/report")
    assert page.text == "<script>alert(1)</script>"
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("sandbox;") and "allow-" not in policy
    (run.path / "DONE").unlink()


def test_the_openapi_document_names_every_operation(api: httpx.Client) -> None:
    document = api.get("/api/gan/openapi.json").json()
    described = [
        (path, method)
        for path, item in document["paths"].items()
        for method in item
        if method != "parameters"
    ]
    assert sorted(described) == sorted(every_operation())
    assert document["servers"] == [{"url": "/lab"}]
    text, schemas = json.dumps(document), document["components"]["schemas"]
    assert set(re.findall(r"#/components/schemas/(\w+)", text)) == set(schemas)
    assert {"TrainConfig", "TaskStatus", "Profile", "Refusal"} <= set(schemas)
