"""What the REST interface does under load, beside the bare Jupyter server in the same run.

`python -m bench.server [--quick]`. Two trainings run and twenty wait; 200 status requests a second;
200 WebSocket clients on one task; a thousand idle sockets; how good the estimate of time was.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import numpy as np
import psutil

from gan_lab.cluster import services
from gan_lab.schema import TaskSpec
from gan_lab.settings import load_settings
from gan_lab.wire.announce import Announcer
from gan_lab.workspace.run_folder import RunFolder
from gan_lab.workspace.runs import create_run
from tests.conftest import make_workspace
from tests.server.conftest import JupyterProcess

MACHINE = "motor_siemens_001"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory(prefix="gan-lab-bench-") as name:
        home = Path(name) / "home"
        home.mkdir()
        make_workspace(home)
        os.environ["GAN_LAB_HOME"] = str(home)
        services.ensure_services()
        jupyter = JupyterProcess(home).start().wait()
        try:
            measure(jupyter, 10 if quick else 30, 200 if quick else 1000)
        finally:
            jupyter.stop()
            services.stop_services()


def measure(jupyter: JupyterProcess, seconds: int, idle: int) -> None:
    with jupyter.client() as api:
        show("estimated_over_taken", estimate(api))
        posts, queued = [], []
        for _ in range(22):
            started = time.perf_counter()
            answer = api.post(f"/api/gan/machines/{MACHINE}/train", json=LONG)
            posts.append(time.perf_counter() - started)
            queued.append(answer.raise_for_status().json()["task_id"])
        show("post_while_training_ms", spread(posts))
        paths = {
            "status_ms": f"/api/gan/tasks/{queued[0]}",
            "waiting_ms": f"/api/gan/tasks/{queued[-1]}",
        }
        for label, path in {**paths, "bare_jupyter_ms": "/api/status"}.items():
            show(label, asyncio.run(steady(jupyter, path, seconds)))
        show("websocket", asyncio.run(broadcast(jupyter, idle)))
        for task_id in queued:
            api.delete(f"/api/gan/tasks/{task_id}")


def show(name: str, value: Any) -> None:
    print(name, json.dumps(value), flush=True)


LONG = {"epochs": 100_000, "model": "tabular", "decoder": "network"}


def estimate(api: httpx.Client) -> dict[str, float]:
    """Minutes that were estimated over minutes that it took, for a first and a second training."""
    wait(api, api.post(f"/api/gan/machines/{MACHINE}/seed", json={"rows": 10_000}).json())
    ratios = {}
    for label, options in {
        "first_tabular": {"model": "tabular"},
        "second_tabular": {"model": "tabular", "decoder": "network"},
        "first_sequential": {"model": "sequential"},
        "second_sequential": {"model": "sequential", "epochs": 200, "seed": 1},
    }.items():
        answer = api.post(f"/api/gan/machines/{MACHINE}/train", json=options).json()
        status = wait(api, answer)
        took = status["result"]["training_time_seconds"]
        ratios[f"{label} ({took:.0f} s)"] = round(60 * answer["estimated_time_minutes"] / took, 2)
    return ratios


def wait(api: httpx.Client, answer: dict[str, Any]) -> dict[str, Any]:
    while True:
        status = api.get(f"/api/gan/tasks/{answer['task_id']}").json()
        if status["status"] in ("success", "failure", "revoked"):
            assert status["status"] == "success", status
            return status
        time.sleep(0.2)


async def steady(jupyter: JupyterProcess, path: str, seconds: int) -> dict[str, float]:
    """Send 200 requests a second, whether or not the earlier ones have been answered."""
    took: list[float] = []
    headers = {"Authorization": f"token {jupyter.token}"}
    connections = aiohttp.TCPConnector(limit=64)  # httpx would take more of a core than the server
    async with aiohttp.ClientSession(headers=headers, connector=connections) as client:

        async def one(due: float) -> None:
            async with client.get(jupyter.url + path) as answer:
                assert answer.status == 200
                await answer.read()
            took.append(time.perf_counter() - due)

        begun, sent = time.perf_counter(), []
        for number in range(200 * seconds):
            due = begun + number / 200
            await asyncio.sleep(max(0, due - time.perf_counter()))
            sent.append(asyncio.create_task(one(due)))
        await asyncio.gather(*sent)
        rate = len(took) / (time.perf_counter() - begun)
    return {"requests_per_s": round(rate, 1), **spread(took)}


async def broadcast(jupyter: JupyterProcess, idle: int) -> dict[str, Any]:
    """Say 100 events to 200 clients while many more follow a task that says nothing."""
    run, silent = held_run(), held_run()
    headers = {"Authorization": f"token {jupyter.token}"}
    late: list[float] = []
    seen: list[list[int]] = []

    async def follow(client: Any) -> None:
        mine = []
        async for frame in client:
            arrived, message = datetime.now(UTC), frame.json()
            if message["type"] == "progress":
                mine.append(message["seq"])
                said = datetime.fromisoformat(message["timestamp"])
                late.append((arrived - said).total_seconds())
        seen.append(mine)

    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connections) as session:

        async def listen(task: RunFolder, number: int) -> list[Any]:
            return [
                await session.ws_connect(jupyter.websocket(task.task_id)) for _ in range(number)
            ]

        clients = await listen(run, 200)
        following = [asyncio.create_task(follow(client)) for client in clients]
        before = memory(jupyter)
        sleeping = await listen(silent, idle)
        grown = (memory(jupyter) - before) / idle
        announcer = Announcer(run, load_settings())
        for number in range(100):
            await asyncio.to_thread(announcer.say, "training", number, 100, f"Epoch {number}")
            await asyncio.sleep(0.2)
        for client in sleeping:
            await client.close()
        run.finish({"machine_id": MACHINE})
        await asyncio.to_thread(announcer.say, "completed", 100, 100, "Done")
        await asyncio.gather(*following)
    whole = seen == [list(range(1, 102))] * 200
    return {
        "clients": 200,
        "idle": idle,
        "every_event_in_order": whole,
        "kb_per_idle_socket": round(grown / 1e3, 1),
        "latency_ms": spread(late),
    }


def held_run() -> RunFolder:
    """Return a training that is at work as far as anybody can see."""
    spec = TaskSpec(task_id=new_id(), kind="train", machine_id=MACHINE, config={})
    run = create_run(spec)
    run.lease.take("bench", 600)
    return run


def memory(jupyter: JupyterProcess) -> int:
    return int(psutil.Process(jupyter.pid).memory_info().rss)


def new_id() -> str:
    import uuid

    return str(uuid.uuid4())


def spread(seconds: list[float]) -> dict[str, float]:
    p50, p95, p99 = np.percentile(np.array(seconds) * 1e3, [50, 95, 99]).round(1)
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99)}


if __name__ == "__main__":
    main()
