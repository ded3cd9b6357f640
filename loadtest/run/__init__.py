"""A run (``running``) and what others see of it (``under_way``), its ``early_ends``, the ``readiness`` of servers
before it, and the ``overhead`` of the loader itself; the ``search`` for the highest load that a server holds, and the
``step_watch`` that ends each of its steps; ``searching``, which runs them by a ``load_rule``, and the
``search_report``; the ``series`` of runs that a scenario asks for.
"""
