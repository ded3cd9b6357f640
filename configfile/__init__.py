"""YAML files that people write, read into declared classes with every mistake at its place: for the gateway's
configuration and for load scenarios.

``keys`` declares the keys of a file as attributes of attrs classes, and ``kinds`` the values that files of any purpose
have. ``document`` reads YAML and remembers where everything is. ``variables`` replaces ``$NAME`` and ``{file: PATH}``
in it, with ``secret_files`` and ``expanded``, the types of such text. ``reading`` turns the content into the classes,
``json_schema`` describes them to editors, and ``wording`` has the words of messages."""
