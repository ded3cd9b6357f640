"""The last requests, and the last failed exchanges with their texts, for ``trigate log`` and ``trigate replay``.

``feature``: its row. ``kept`` observes and stores exchanges, and opens the feature; ``views`` returns one exchange."""
