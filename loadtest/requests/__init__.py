"""What is sent: the ``sources`` of requests and the ``mix`` of them, with prompts made here (``made_requests``) from a
file (``file_source``) or sent before (``recorded_source``); their ``bodies``, with whose ``keys``, a
``conversation`` and its ``next_turn``.

What stands in prompts made here: ``texts``, ``images`` and ``sounds``, and ``probes`` beside a load; how long that is
by a server's count: ``calibration``; what all of one run have in common: ``setting``. Files of requests:
``request_file``, whose lines have one of several forms (``file_requests``), and what is told of them before a load:
``found``, and ``estimate`` for what it will take.
"""
