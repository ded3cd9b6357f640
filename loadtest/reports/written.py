"""Files that appear whole or not at all."""

import contextlib
import os
from pathlib import Path
from typing import Final

_BESIDE: Final = ".part"


def write_whole(path: Path, data: bytes) -> None:
    """Write beside the file, then take its place: who reads it meanwhile finds the old one, or the new one. What is no
    plain file (``/dev/stdout``, a pipe) is written to as it is. Raises ``OSError``, and leaves nothing then."""
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    place = path.resolve()  # a link stays one
    beside = place.with_name(f".{place.name}.{os.getpid()}{_BESIDE}")
    try:
        beside.write_bytes(data)
        if place.exists():
            beside.chmod(place.stat().st_mode & 0o777)
        beside.replace(place)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
