"""The record of the embedded services."""

from __future__ import annotations

from pathlib import Path

from gan_lab.schema import ServiceRecord
from gan_lab.workspace.service_record import (
    forget_services,
    read_services,
    services_folder,
    write_services,
)


def test_services_are_recorded_for_their_owner_only(tmp_path: Path) -> None:
    assert read_services(tmp_path) is None
    record = ServiceRecord(
        pid=7, host="here", redis_url="redis://:secret@127.0.0.1:1/2", redis_pid=8,
        scheduler_address="tls://127.0.0.1:2", dashboard_link="", workers=1,
    )  # fmt: skip
    write_services(record, tmp_path)
    assert read_services(tmp_path) == record
    assert "secret" not in repr(record)
    folder = services_folder(tmp_path)
    for path in (folder, *folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0
    forget_services(tmp_path)
    assert read_services(tmp_path) is None
