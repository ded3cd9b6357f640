"""One request and its answer: the ``exchange`` as it is timed, the ``content`` of its events and the ``reading`` of all
of them after the end, ``judging`` whether it is whole, and its ``ending`` (in ``plain_text``, ``masking`` credentials),
which makes the ``record`` of it; ``endpoint_answers`` are those of no
conversation, and ``spoken_websocket`` asks over one. ``retry_after``: how long it asks to wait.
"""
