"""Runs of a load.

``running`` makes one run, and ``under_way`` is its public view. ``early_ends`` stop it, ``readiness`` checks the
servers before it, and ``overhead`` measures the load tester itself. ``searching`` makes all runs of a scenario,
possibly a ``search`` for the highest sustainable load, whose steps ``step_watch`` ends.
"""
