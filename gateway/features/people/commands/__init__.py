"""The commands about people.

- ``people``, ``login``, ``me``: commands of that name.
- ``client_by_name``: people by name, for other commands."""
