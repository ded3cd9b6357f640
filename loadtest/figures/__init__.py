"""The figures of many exchanges: ``measures`` of one, ``histogram``, ``tally`` and ``timeline`` of many, and
``run_figures`` of all; the ``result`` of a run with its ``notes`` and ``conditions``; the ``confidence`` that so many
values allow, and a ``bootstrap`` for how sure a difference is.
"""
