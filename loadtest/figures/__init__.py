"""Figures of many exchanges.

``measures`` computes the values of one exchange. ``histogram``, ``tally`` and ``timeline`` sum them up to the
``result`` of a run, with its ``notes``. ``confidence`` decides how certain a figure is, ``rounds`` compares servers.
"""
