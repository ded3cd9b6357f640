"""One request and its response.

``exchange`` times both over HTTP or a WebSocket. ``content`` reads the events, ``judging`` checks that the answer is
valid, and ``ending`` makes the ``record``. ``masking`` removes credentials, ``plain_text`` removes terminal control
characters.
"""
