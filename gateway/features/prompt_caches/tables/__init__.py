"""Tables of the positions of the prompt in requests of each API.

- ``layouts``: one row for each API
- ``kinds``: the kinds of its content blocks"""
