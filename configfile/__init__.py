"""YAML files, read into declared classes with every mistake at its place: the gateway's configuration and load
scenarios.

``keys`` declares the keys of a file as attributes of attrs classes, and ``kinds`` their values. ``document`` parses
YAML and finds the position of everything. ``variables`` replaces ``$NAME`` and ``{file: PATH}``, with ``secret_files``,
``stored_secrets`` and ``expanded``. ``reading`` converts the content into the classes, ``json_schema`` describes them
to editors, ``wording`` has the words of messages, and ``users_files`` opens and replaces files.
"""
