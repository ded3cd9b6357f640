"""Figures of many exchanges.

``measures`` computes the values of one exchange. ``histogram``, ``tally``, ``timeline`` and ``run_figures`` sum them
up. ``result`` is the result of a run, with its ``notes`` and ``conditions``. ``confidence`` and ``bootstrap`` decide
how certain a figure or a difference is.
"""
