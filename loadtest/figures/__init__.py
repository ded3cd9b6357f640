"""What many exchanges come to: ``measures`` of one, ``histogram``, ``tally`` and ``timeline`` of many,
``run_figures`` of all, the ``refusals`` among them, ``routes`` that gateways tell of; the ``result`` of a run, its
``steadiness``, ``notes`` with ``prompt_notes`` and ``steady_notes``, the ``conditions`` that it is held against, the
``confidence`` that so many values allow, a ``bootstrap`` of how sure a difference is, and ``numbers`` as people read
them.
"""
