"""One sealed file: tensors and JSON in safetensors format, with the SHA-256 of every byte
inside."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from gan_lab.errors import BadParameter
from gan_lab.workspace.files import write_beside

FORMAT = 20
T = TypeVar("T")
_SEAL = re.compile(rb"gan-lab-sha256:([0-9a-f]{64})")
_OPEN = b"gan-lab-sha256:" + b"0" * 64


def pack(tensors: dict[str, Tensor], meta: dict[str, Any]) -> bytes:
    """Return tensors and metadata as the bytes of a sealed file (no pickle: nothing in it can
    run)."""
    from safetensors.torch import save

    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = {"seal": _OPEN.decode(), "format": FORMAT, "meta": meta}
    data = save(kept, metadata={"gan_lab": json.dumps(header)})
    seal = b"gan-lab-sha256:" + hashlib.sha256(data).hexdigest().encode()
    return data.replace(_OPEN, seal, 1)


def unpack(data: bytes, what: str = "The model file") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and metadata of sealed bytes; raises `BadParameter` if a byte was
    altered."""
    from safetensors.torch import load

    found = _SEAL.search(data, 0, len(data))
    opened = data if found is None else data.replace(found.group(0), _OPEN, 1)
    if found is None or hashlib.sha256(opened).hexdigest().encode() != found.group(1):
        raise BadParameter(
            f"{what} was altered or is damaged: its checksum does not fit. Train anew."
        )
    header = _header(data)
    if header["format"] != FORMAT:
        raise BadParameter(
            f"{what} has format {header['format']}; this version reads {FORMAT}. Train anew."
        )
    return load(data), header["meta"]


def readable(data: bytes) -> bool:
    """Whether sealed bytes are of the format that this version reads."""
    return bool(_header(data)["format"] == FORMAT)


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["gan_lab"])
    return header


def save_file(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write a sealed file beside `path` and move it into place."""
    write_beside(path, pack(tensors, meta))


def load_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a sealed file; raises `BadParameter` naming a file that is missing, foreign or
    altered."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadParameter(f"There is no model file {path}. Train the machine first.") from None
    return unpack(data, f"The model file {path}")


def part(tensors: dict[str, T], prefix: str) -> dict[str, T]:
    """Return the tensors (or arrays) whose names begin so, by the rest of their names."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
