"""One request and its response: the ``exchange`` as it is timed, the ``content`` of its events, ``judging`` whether it
is whole, and the ``ending`` that makes its ``record``. ``endpoint_answers`` are those of no conversation,
``spoken_websocket`` sends a request over a websocket. ``masking`` removes credentials, and ``plain_text`` what a
terminal would obey.
"""
