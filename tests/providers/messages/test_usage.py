"""Token counts of a Messages stream in progress."""

import tracemalloc

from providers.messages.usage import Counts
from streams.events import Usage


def test_counts_with_other_names_are_dropped():
    """A provider may send any names: 12 MB of them were 15 MB of memory until the end of the stream."""
    counts = Counts()
    tracemalloc.start()
    try:
        for event in range(50):
            inner = {f"inner_{event}_{number}": number for number in range(200)}
            counts.add({f"name_{event}_{number}": number for number in range(200)} | {"cache_creation": inner})
        counts.add({"input_tokens": 5, "output_tokens": 7, "cache_creation": {"ephemeral_5m_input_tokens": 0}})
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 50_000
    assert counts.usage() == Usage(5, cache_write_5m=0, output=7)
