"""A provider's Messages stream, read by kind of content block.

``wire`` decodes the most frequent event. ``answer`` is what all kinds share while an answer comes in. Each kind has a
module with its ``KIND``, a row that says what its start, its deltas and its end do: ``texts``, ``thinking``, ``calls``,
``native``. ``blocks`` chooses among them.
"""
