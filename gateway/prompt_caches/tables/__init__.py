"""Where the prompt is in a request of each API.

- ``layouts``: one row for each API
- ``kinds``: the kinds of its content blocks"""
