"""No thread works on after the gateway has ended: at the exit of the process, OpenSSL frees the memory that it uses."""

import threading

from tests.support.asgi_app import eventually
from tests.support.in_process import gateway
from tests.support.large_files import file_with_keys


async def test_keys_of_providers_are_not_hashed_after_the_end():
    """Two of 60 processes that exited during a hash in a thread died of a segmentation fault."""
    async with gateway(file_with_keys(60, "at the end"), drains=True):
        await eventually(lambda: bool(names_of_threads("hash_keys")))
    assert not names_of_threads("hash_keys")


def names_of_threads(work: str) -> list[str]:
    """Return the names of the threads that run ``work``: trio names them so."""
    return [thread.name for thread in threading.enumerate() if work in thread.name]
