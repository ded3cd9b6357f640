"""Measures the memory of a real gateway for large uploads and downloads.

    python -m tests.media_memory [--megabytes 500]

Prints the growth of the gateway during an upload of a picture (with its model first, or last, which requires a file),
and during a download of speech or 100 MB of vectors, with the time to the first byte. Fails at a growth of 16 MiB. With
200 simultaneous uploads of the same total size, the memory is that of their connections.
"""

import argparse
import sys

from tests.support.media_traffic import BLOCK, VECTOR, Passage, download, media_gateway, upload, vectors

MOST = 16
"""The most MiB by which the gateway may grow, whatever the size of a body."""


TOGETHER = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    megabytes = parser.parse_args().megabytes
    blocks = megabytes * 10**6 // len(BLOCK)
    with media_gateway() as (gateway, upstream):
        upload(gateway, 8, model_first=True)  # loads everything that the first request needs
        download(gateway, upstream, 8)
        vectors(gateway, upstream, 50)
        passages = {
            "up, model first": upload(gateway, blocks, model_first=True),
            "up, model last": upload(gateway, blocks, model_first=False),
            "down": download(gateway, upstream, blocks),
            f"up, {TOGETHER} at once": upload(gateway, max(1, blocks // TOGETHER), model_first=True, together=TOGETHER),
            "vectors": vectors(gateway, upstream, min(2000, megabytes * 10**6 // len(VECTOR))),
        }
    for name, passage in passages.items():
        sys.stdout.write(describe_passage(name, passage) + "\n")
    assert max(passage.grown for name, passage in passages.items() if "at once" not in name) < MOST


def describe_passage(name: str, passage: Passage) -> str:
    first = f", first byte after {1000 * passage.first_byte:.0f} ms" if name == "down" else ""
    return f"{name}: grew by {passage.grown:.1f} MiB in {passage.seconds:.1f} s{first}"


if __name__ == "__main__":
    main()
