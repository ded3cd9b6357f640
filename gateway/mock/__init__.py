"""The stand-in provider of ``trigate serve --demo`` and ``trigate mock``: it speaks all APIs, knows nothing, and
says so.

One concept a module: ``server`` (what is served), ``script`` (which answer), ``words`` (what it says), ``tools`` (which
tool it calls, and with what), ``schemas`` and ``filling`` (a JSON Schema's meaning, and a value for it), ``faults``
(what goes wrong with an answer), ``failures`` (faults by reason, to try routes on, and a model for each). What is no
conversation is ``called`` at the paths of ``endpoints``: ``endpoint_answers`` in each maker's shape, with vectors and
``media``, what is ``kept`` while it runs, and ``realtime`` sessions.
"""
