"""A provider's Chat answer, read by kind of content.

``answer`` is what all kinds share while an answer comes in, ``deltas`` takes a delta apart. Each kind has a module with
a function for each member that holds it: ``texts``, ``reasoning`` with ``details``, ``calls`` with ``fragments``.
``endings`` says why an answer ended, ``values`` reads with care.
"""
