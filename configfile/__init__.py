"""YAML files that people write, read into declared values with every mistake at its place: for the gateway's
configuration and for load scenarios.

``document`` reads YAML and remembers where everything is. ``variables`` replaces ``$NAME`` and ``{file: PATH}`` in it,
with ``secret_files`` and ``expanded``, the types of such text. ``wording`` has the words of messages."""
