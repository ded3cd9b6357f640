"""The live view: ``live`` exchanges with ``charts``, ``ended`` ones, ``transcripts`` of streams, and ``prompts``.

``pages`` serves it."""
