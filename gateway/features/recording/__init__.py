"""Recordings of exchanges for ``trigate serve --record``.

``feature``: its row; ``opening`` opens it. ``recording`` collects exchanges, which ``recorded`` writes to files and
``buckets`` to the object stores of clouds."""
