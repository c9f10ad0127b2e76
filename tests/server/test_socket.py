"""The WebSocket: past, present and end of a task, for whoever comes, goes and comes back."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from tests.server.conftest import Actor, JupyterProcess

pytestmark = pytest.mark.slow


def headers(jupyter: JupyterProcess) -> dict[str, str]:
    return {"Authorization": f"token {jupyter.token}"}


def opened(jupyter: JupyterProcess, task_id: str, query: str = "") -> Any:
    return connect(jupyter.websocket(task_id, query), additional_headers=headers(jupyter))


def take(client: Any, count: int) -> list[dict[str, Any]]:
    return [json.loads(client.recv(timeout=20)) for _ in range(count)]


def rest(client: Any) -> tuple[list[dict[str, Any]], int, str]:
    """Everything until the end, the code of the close and its reason."""
    messages = []
    try:
        while True:
            messages.append(json.loads(client.recv(timeout=20)))
    except ConnectionClosed as closed:
        assert closed.rcvd is not None
        return messages, closed.rcvd.code, closed.rcvd.reason


@pytest.mark.parametrize(
    ("word", "end"), [("end", "success"), ("fail", "failure"), ("revoke", "revoked")]
)
def test_history_then_live_then_closing(
    jupyter: JupyterProcess, actor: Actor, word: str, end: str
) -> None:
    actor.tell("say", "3")
    with opened(jupyter, actor.run.task_id) as client:
        hello, *past = take(client, 4)
        assert (hello["type"], hello["task_id"], hello["status"]) == (
            "connected",
            actor.run.task_id,
            "running",
        )
        actor.tell("say", "2")
        live = take(client, 2)
        actor.tell(word)
        last, code, reason = rest(client)
    progress = [*past, *live, last[0]]
    assert [message["type"] for message in progress] == ["progress"] * 6
    assert [message["seq"] for message in progress] == [1, 2, 3, 4, 5, 6]
    assert progress[4]["epoch"] == 5
    assert progress[4]["message"].startswith("Epoch 5/1000, Loss: 0.2")
    assert [message["type"] for message in last] == ["progress", "closing"]
    assert last[1]["reason"] == f"Task {end}"
    assert (code, reason) == (1000, f"Task {end}")


def test_coming_back_continues_without_gap_or_repeat(jupyter: JupyterProcess, actor: Actor) -> None:
    actor.tell("say", "4")
    with opened(jupyter, actor.run.task_id) as client:
        seen = [message["seq"] for message in take(client, 5)[1:]]
    actor.tell("say", "3")  # while nobody listens
    with opened(jupyter, actor.run.task_id, f"?from={seen[-1]}") as client:
        seen += [message["seq"] for message in take(client, 4)[1:]]
        actor.tell("end")
        seen += [m["seq"] for m in rest(client)[0] if m["type"] == "progress"]
    assert seen == list(range(1, 9))


def test_a_task_that_ended_long_ago_is_told_whole(jupyter: JupyterProcess, actor: Actor) -> None:
    actor.tell("say", "500")
    actor.tell("end")
    with opened(jupyter, actor.run.task_id) as client:
        messages, code, _ = rest(client)
    assert [m["seq"] for m in messages[1:-1]] == list(range(1, 502))
    assert code == 1000


@pytest.mark.slow
def test_two_hundred_clients_each_get_every_event_in_order(
    jupyter: JupyterProcess, actor: Actor
) -> None:
    async def follow(client: ClientConnection) -> list[int]:
        messages = [json.loads(text) async for text in client]
        assert messages[-1]["reason"] == "Task success"
        return [message["seq"] for message in messages if message["type"] == "progress"]

    async def all_of_them() -> list[list[int]]:
        where = jupyter.websocket(actor.run.task_id)
        clients = await asyncio.gather(
            *(connect_async(where, additional_headers=headers(jupyter)) for _ in range(200))
        )
        following = [asyncio.create_task(follow(client)) for client in clients]
        await asyncio.to_thread(actor.tell, "say", "50")
        await asyncio.to_thread(actor.tell, "end")
        return await asyncio.gather(*following)

    with ThreadPoolExecutor(1) as elsewhere:  # pytest's own thread may have a loop
        seen = elsewhere.submit(asyncio.run, all_of_them()).result()
    assert seen == [list(range(1, 52))] * 200


def test_who_reads_late_gets_everything(jupyter: JupyterProcess, actor: Actor) -> None:
    actor.tell("say", "1")
    with opened(jupyter, actor.run.task_id) as client:
        take(client, 2)
        actor.tell("shout", "3000", "8000")  # more than all buffers between us hold
        actor.tell("end")
        messages, code, _ = rest(client)
    assert [message["seq"] for message in messages] == [*range(2, 3003), 3002]
    assert code == 1000


@pytest.mark.parametrize(
    "task_id", ["7b0c2f5e-1f0a-4d6e-9a53-0c9d3f1e8a11", "nonsense", "..%2F..%2Fetc", "%00"]
)
def test_an_unknown_task_is_closed_with_4404(jupyter: JupyterProcess, task_id: str) -> None:
    with opened(jupyter, task_id) as client:
        messages, code, reason = rest(client)
    assert (messages, code) == ([], 4404)
    assert "No task" in reason


@pytest.mark.parametrize("start", ["-1", "x", "1.5", "9" * 40, "²"])
def test_a_bad_from_is_closed_with_a_sentence(
    jupyter: JupyterProcess, actor: Actor, start: str
) -> None:
    with opened(jupyter, actor.run.task_id, f"?from={start}") as client:
        messages, code, reason = rest(client)
    assert (messages, code) == ([], 4422)
    assert "is not the number of an event" in reason


@pytest.mark.parametrize("token", [None, "wrong"])
def test_without_the_token_there_is_no_upgrade(
    jupyter: JupyterProcess, actor: Actor, token: str | None
) -> None:
    sent = {"Authorization": f"token {token}"} if token else {}
    with pytest.raises(InvalidStatus) as refused:
        connect(jupyter.websocket(actor.run.task_id), additional_headers=sent)
    assert refused.value.response.status_code == 403


def test_another_origin_is_refused(jupyter: JupyterProcess, actor: Actor) -> None:
    where = f"{jupyter.websocket(actor.run.task_id)}?token="
    with pytest.raises(InvalidStatus) as refused:
        connect(where, origin="http://elsewhere.example")  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403
