"""A run (``running``) and the view that others have of it (``under_way``), its ``early_ends``, the ``readiness`` of
servers before it, and the ``overhead`` of the load tester itself. ``searching`` makes the runs of a scenario, several
or a ``search`` for the highest load that holds, whose steps ``step_watch`` ends.
"""
