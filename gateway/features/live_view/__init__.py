"""The live view: ``live`` exchanges with ``charts``, ``ended`` ones, ``transcripts`` of streams, and ``prompts``.

``feature``: its row; ``opening`` opens it. ``pages`` serves it at ``routes``. ``gateways`` shares its rows with other
gateways."""
