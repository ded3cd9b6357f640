"""The reports of runs: ``report_file`` (JSON), ``other_files`` (CSV, JUnit's XML, vLLM's JSON), ``text`` for a
terminal, a ``page`` with ``plots``, and ``live`` while a run goes on. ``words`` and ``tables`` serve all of them.
``request_log`` has a line for each exchange, and ``otlp`` sends metrics. ``parts`` merges the reports of several
machines. ``compared_runs`` reads two runs, ``comparing`` finds how sure their differences are, and ``comparison_text``
shows them.
"""
