"""Paths of an object store: what lies under `s3://bucket/...`, as `pathlib` has it for files.

A store has no folders, no appends, no moves and no locks. It has whole objects, and writes that
are refused where somebody else has written meanwhile: what the workspace needs beyond files stands
on these two. Nothing is cached, and no listing decides who may write.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import SimpleNamespace
from typing import Any, NamedTuple, Self

from gan_lab.errors import BadParameter, ServiceUnreachable

SCHEME = "s3://"
CONNECTIONS = 32  # at once, of a process


class Conflict(FileExistsError):
    """Somebody else has written this object meanwhile; nothing was written."""


def of_each(ask: Callable[[Any], Any], several: Sequence[Any]) -> list[Any]:
    """Return the answers of paths, or of what has a `path`; at once in a store, which is slow."""
    if not several or not isinstance(getattr(several[0], "path", several[0]), StorePath):
        return [ask(one) for one in several]
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return list(threads.map(ask, several))


class Found(NamedTuple):
    """What an object holds, and the tag that the store gave this state of it."""

    data: bytes
    tag: str


@contextmanager
def _as_files_say_it(path: StorePath) -> Iterator[None]:
    """Raise what the same trouble with a file would raise, naming the object."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

    try:
        yield
    except ClientError as error:
        status, said = error.response["ResponseMetadata"]["HTTPStatusCode"], str(error)
        if status == 404:
            raise FileNotFoundError(errno.ENOENT, said, str(path)) from None
        if status in (409, 412):
            raise Conflict(errno.EEXIST, said, str(path)) from None
        if status in (401, 403):
            raise PermissionError(errno.EACCES, said, str(path)) from error
        raise OSError(errno.EIO, said, str(path)) from error
    except NoCredentialsError as error:
        raise PermissionError(errno.EACCES, str(error), str(path)) from error
    except BotoCoreError as error:  # no answer, or one that was cut off
        raise ConnectionError(errno.EHOSTUNREACH, str(error), str(path)) from error


@lru_cache(maxsize=1)
def _client_of(_process: int) -> Any:
    """Return this process's client, which its threads share and which no fork inherits."""
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=5,
        read_timeout=30,
        retries={"mode": "standard", "max_attempts": 5},
        max_pool_connections=CONNECTIONS,
        # Stores other than Amazon's know no checksums behind a body.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return boto3.session.Session().client("s3", config=config)


class StorePath(PurePosixPath):
    """`s3://bucket/key`, with those methods of `pathlib.Path` that the workspace uses."""

    @classmethod
    def of(cls, url: str) -> Self:
        """Return the path that a URL names; raises `BadParameter` for other stores than S3's."""
        path = cls(f"/{url.removeprefix(SCHEME)}")
        if not url.startswith(SCHEME) or len(path.parts) < 2:
            raise BadParameter(f"{url} is no workspace: give a folder, or s3://bucket/folder.")
        return path

    def __str__(self) -> str:
        return SCHEME + super().__str__().lstrip("/")

    def check(self) -> None:
        """Raise `BadParameter` where there is no such bucket or no right to read it, or
        `ServiceUnreachable`."""
        try:
            self.is_dir()
        except FileNotFoundError:
            raise BadParameter(
                f"{self}: there is no such bucket. Make it, or correct it."
            ) from None
        except PermissionError as error:
            raise BadParameter(
                f"{self} refuses us ({error.strerror}): set AWS_ACCESS_KEY_ID, "
                "AWS_SECRET_ACCESS_KEY and, for another store than Amazon's, AWS_ENDPOINT_URL."
            ) from None
        except OSError as error:
            raise ServiceUnreachable(f"{self} does not answer: {error.strerror}.") from None

    def check_guards(self) -> None:
        """Raise `BadParameter` where the store writes over what it was told not to: no lease would
        hold there."""
        probe = self / f".guards-{uuid.uuid4().hex}"
        try:
            probe.put(b"first", None)
            for over in (None, '"another"'):
                with suppress(Conflict):
                    probe.put(b"second", over)
                    raise BadParameter(
                        f"{self}: this store does not know conditional writes (If-None-Match and "
                        "If-Match), on which leases stand. Use another, or a common folder."
                    )
        finally:
            probe.unlink()

    # ---- one object

    def _ask(self, method: str, **words: Any) -> Any:
        with _as_files_say_it(self):
            at = {"Bucket": self.parts[1], "Key": "/".join(self.parts[2:])}
            return getattr(_client_of(os.getpid()), method)(**at, **words)

    def exists(self) -> bool:
        """Whether there is this object."""
        try:
            self._ask("head_object")
        except FileNotFoundError:
            return False
        return True

    is_file = exists

    def stat(self) -> Any:
        """Return size and time as `os.stat` has them; `st_ino` is another for other content."""
        found = self._ask("head_object")
        changed = found["LastModified"].timestamp()
        return SimpleNamespace(
            st_size=found["ContentLength"],
            st_mtime=changed,
            st_mtime_ns=int(changed * 1e9),
            st_ino=hash(found["ETag"]),
        )

    def age_s(self) -> float:
        """Return for how long at least nobody has written it, by the store's own clock, which
        tells whole seconds."""
        found = self._ask("head_object")
        now = parsedate_to_datetime(found["ResponseMetadata"]["HTTPHeaders"]["date"])
        return max(0.0, (now - found["LastModified"]).total_seconds() - 1)

    def get(self) -> Found | None:
        """Return what it holds, None where there is none."""
        try:
            answer = self._ask("get_object")
            with _as_files_say_it(self):
                return Found(answer["Body"].read(), answer["ETag"])
        except FileNotFoundError:
            return None

    def read_bytes(self) -> bytes:
        """Return what it holds; raises `FileNotFoundError`."""
        if (found := self.get()) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        return found.data

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return what it holds as text."""
        return self.read_bytes().decode(encoding)

    def read_end(self, size: int) -> bytes:
        """Return its last bytes, so many or all there are."""
        answer = self._ask("get_object", Range=f"bytes=-{size}")
        with _as_files_say_it(self):
            return bytes(answer["Body"].read())

    def open(self, mode: str = "rb") -> io.BytesIO:
        """Return what it holds as a file that can be read."""
        return io.BytesIO(self.read_bytes())

    def write_bytes(self, data: bytes) -> None:
        """Write it whole: no reader ever sees half of it."""
        self._ask("put_object", Body=data)

    def put(self, data: bytes, over: str | None) -> str:
        """Write it where it is still in the state of this tag, None: where there is none.

        Returns the new tag; raises `Conflict`, also where the answer to a first try was lost.
        """
        only = {"IfNoneMatch": "*"} if over is None else {"IfMatch": over}
        try:
            return str(self._ask("put_object", Body=data, **only)["ETag"])
        except FileNotFoundError:  # it is gone
            raise Conflict(errno.EEXIST, "It has been removed", str(self)) from None

    def upload(self, file: Path) -> None:
        """Write what a file holds, in parts where it is large, whole or not at all."""
        with _as_files_say_it(self), file.open("rb") as data:
            _client_of(os.getpid()).upload_fileobj(data, self.parts[1], "/".join(self.parts[2:]))

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove it; one that is not there is as good as removed."""
        self._ask("delete_object")

    # ---- what lies below; folders are only beginnings of names

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Do nothing: folders need not be made."""

    def _pages(self, beginning: str = "", **words: Any) -> Iterator[dict[str, Any]]:
        prefix = "/".join([*self.parts[2:], beginning])
        with _as_files_say_it(self):
            pages = _client_of(os.getpid()).get_paginator("list_objects_v2")
            yield from pages.paginate(Bucket=self.parts[1], Prefix=prefix, **words)

    def is_dir(self) -> bool:
        """Whether anything lies below."""
        page = next(self._pages(PaginationConfig={"MaxItems": 1, "PageSize": 1}))
        return "Contents" in page

    def glob(self, pattern: str) -> Iterator[StorePath]:
        """Yield the objects and folders directly below whose names match."""
        for page in self._pages(pattern.partition("*")[0], Delimiter="/"):
            keys = [each["Key"] for each in page.get("Contents", ())]
            keys += [each["Prefix"] for each in page.get("CommonPrefixes", ())]
            for name in (key.rstrip("/").rpartition("/")[2] for key in keys):
                if fnmatch.fnmatchcase(name, pattern):
                    yield self / name

    def walk(self) -> Iterator[tuple[StorePath, int, int]]:
        """Yield every object below: its path, its size, and when it was written (ns)."""
        for page in self._pages():
            for each in page.get("Contents", ()):
                changed_ns = int(each["LastModified"].timestamp() * 1e9)
                yield type(self)("/", self.parts[1], each["Key"]), each["Size"], changed_ns

    def remove_below(self) -> None:
        """Remove every object below."""
        for path, _, _ in list(self.walk()):
            path.unlink()
