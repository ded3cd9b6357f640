"""One request and its response: the ``exchange`` as it is timed, over HTTP or a websocket, the ``content`` of its
events, ``judging`` whether it is whole, and the ``ending`` that makes its ``record``. ``masking`` removes credentials,
and ``plain_text`` what a terminal would obey.
"""
