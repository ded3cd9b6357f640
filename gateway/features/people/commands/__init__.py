"""The commands about people.

- ``people``, ``login``, ``me``: commands of that name.
- ``finding``: people by name, for other commands."""
