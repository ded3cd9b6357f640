"""One exchange with its times.

``exchange`` sends a request and times its answer, ``content`` reads and ``judging`` judges the answer, and ``record``
is the result, with ``masking`` and ``plain_text`` for texts from servers.
"""
