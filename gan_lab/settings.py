"""Every setting, read from the environment and from `.env` in the workspace."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, Field, ValidationError, WrapValidator
from pydantic_settings import BaseSettings, SettingsConfigDict

from gan_lab.errors import BadParameter, validation_problems
from gan_lab.store import StorePath

WORKSPACE_FOLDERS = ("data", "runs", "notebooks")


def _stored_or_file(given: Any, as_file: Any) -> Any:
    return given if isinstance(given, StorePath) else as_file(given)


class Settings(BaseSettings):
    """The settings of one workspace; the environment wins over the workspace's `.env`."""

    model_config = SettingsConfigDict(env_prefix="GAN_LAB_", extra="ignore", env_ignore_empty=True)

    home: Annotated[Path, WrapValidator(_stored_or_file)] = Field(
        description="The workspace: a folder with data/, runs/, notebooks/, or s3://bucket/folder"
    )
    redis_url: str | None = Field(
        None,
        repr=False,
        pattern="^(rediss?|unix)://",
        description="A Redis to use instead of the embedded one, such as redis://host:6379/2",
    )
    scheduler_address: str | None = Field(
        None,
        validation_alias=AliasChoices("DASK_SCHEDULER_ADDRESS", "scheduler_address"),
        description="A Dask scheduler to use instead of the embedded one (Dask's own variable)",
    )
    workers: int = Field(
        default_factory=lambda: os.cpu_count() or 1,
        ge=1,
        description="Embedded worker processes, one thread each; by default one per core",
    )
    worker_memory: str = Field(
        "auto",
        pattern=r"^(auto|\d+(\.\d+)? ?[kMGT]i?B)$",
        description="What each embedded worker may use, such as 4GB; by default an equal share",
    )
    worker_nice: int = Field(
        10, ge=0, le=19, description="How far workers step back behind people's own processes"
    )
    dashboard: Literal["on", "off"] = Field(
        "on", description="Whether the embedded cluster serves Dask's dashboard, on loopback"
    )
    idle_timeout_s: float = Field(
        3600, gt=0, description="Embedded services end after this long without client and work (s)"
    )
    connect_timeout_s: float = Field(
        10, gt=0, description="How long to wait for a service to answer (s)"
    )
    event_every_epochs: int = Field(
        10, ge=1, description="A progress event goes out every so many epochs"
    )
    event_every_s: float = Field(
        1.0, gt=0, description="and at least this often while epochs are slow (s)"
    )
    event_ttl_s: int = Field(
        3600, ge=1, description="How long Redis keeps a task's events after its end (s)"
    )
    cancel_grace_s: float = Field(
        10, ge=0, description="How long a running task has to stop before its worker restarts (s)"
    )
    checkpoint_every_s: float = Field(
        30, gt=0, description="A training saves its state at least this often (s)"
    )
    checkpoint_every_epochs: int = Field(50, ge=1, description="and at least every so many epochs")
    lease_s: float = Field(
        30, gt=0, description="A task whose lease was not renewed for so long is lost (s)"
    )
    retries: int = Field(
        2, ge=0, description="How often a task is tried again after a lost worker or a full disk"
    )
    retry_pause_s: float = Field(
        2,
        ge=0,
        description="Pause before the second attempt (s); each later is four times it, up to 60 s",
    )
    notify: str = Field(
        "", description="Apprise URLs, separated by spaces: told when a long task or fleet ends"
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        repr=False,
        validation_alias=AliasChoices("MLFLOW_TRACKING_URI", "mlflow_tracking_uri"),
        description="An MLflow in which each training is a run (MLflow's own variable)",
    )
    fleet_kernels: int | None = Field(
        None, ge=1, description="Notebooks a fleet runs at once; by default workers + 1"
    )


def workspace_path(text: str) -> Path:
    """Return the folder that this names, or the place in an object store."""
    return cast(Path, StorePath.of(text)) if "://" in text else Path(text).expanduser()


@lru_cache(maxsize=4)
def _reachable(url: str) -> Path:
    """Return a place in an object store that answers; it is asked once."""
    path = StorePath.of(url)
    path.check()
    return cast(Path, path)


def find_workspace(start: Path | None = None) -> Path:
    """Return the workspace: `GAN_LAB_HOME`, else the nearest parent that has its three folders.

    Raises `BadParameter` where there is none, `ServiceUnreachable` where a store is silent.
    """
    if home := os.environ.get("GAN_LAB_HOME"):
        if "://" in home:
            return _reachable(home)
        folder = Path(home).expanduser().resolve()
        if not folder.is_dir():
            raise BadParameter(f"GAN_LAB_HOME names {folder}, no folder: make it, or correct it.")
        return folder
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if all((folder / name).is_dir() for name in WORKSPACE_FOLDERS):
            return folder
    raise BadParameter(
        f"No workspace found from {here}: no parent folder holds data/, runs/ and notebooks/. "
        "Change into one, set GAN_LAB_HOME, or make one here with `gan-lab init`."
    )


def load_settings() -> Settings:
    """Read the settings afresh, so that a change of environment or folder is seen at once.

    Raises `BadParameter` naming every setting that has a wrong value.
    """
    home = find_workspace()
    try:
        return Settings(home=home, _env_file=None if isinstance(home, StorePath) else home / ".env")
    except ValidationError as error:
        wrong = "; ".join(validation_problems(error))
        raise BadParameter(f"A setting has a wrong value: {wrong}.") from None
