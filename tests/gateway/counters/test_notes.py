"""Notes of one process, without a store. ``test_remote`` has them with stores."""

from gateway.counters.notes import SharedNotes


def test_another_process_note_replaces_one_that_waits_to_be_sent():
    """A step was on its way when the process wrote: a conversation's turns went to two providers."""
    notes = SharedNotes(lambda: None)
    read: list[tuple[bytes, str, float]] = []
    notes.add_reader("pin", lambda *note: read.append(note))
    notes.write("pin", b"one", "here", 600)
    notes.write("pin", b"two", "here", 600)
    notes.receive([(f"pin:{b'one'.hex()}", "there", 5000)], read_to=1)
    assert read == [(b"one", "there", 5.0)]
    assert notes.take() == [(f"pin:{b'two'.hex()}", "here", 600_000)]
