"""Large uploads and downloads through a real gateway, and the memory that it takes for them.

    python -m tests.media_memory [--megabytes 500]

Prints by how much the gateway grew while a picture went up (its model first, and last: then it is kept in a file) and
while speech came down, or 100 MB of vectors, and after how long the first of them was there; fails where it grew by 16
MiB or more. Where as many bytes go up in 200 requests at once, they take what their connections do.
"""

import argparse
import sys

from tests.support.media_traffic import BLOCK, VECTOR, Passage, download, media_gateway, upload, vectors

MOST = 16
"""MiB by which the gateway may grow, whatever passes."""


TOGETHER = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=500)
    megabytes = parser.parse_args().megabytes
    blocks = megabytes * 10**6 // len(BLOCK)
    with media_gateway() as (gateway, upstream):
        upload(gateway, 8, model_first=True)  # what is loaded at the first request is no memory of the others
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
        sys.stdout.write(told(name, passage) + "\n")
    assert max(passage.grown for name, passage in passages.items() if "at once" not in name) < MOST


def told(name: str, passage: Passage) -> str:
    first = f", first byte after {1000 * passage.first_byte:.0f} ms" if name == "down" else ""
    return f"{name}: grew by {passage.grown:.1f} MiB in {passage.seconds:.1f} s{first}"


if __name__ == "__main__":
    main()
