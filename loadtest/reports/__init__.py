"""Reports of runs.

Formats: ``report_file`` (JSON), ``other_files`` (CSV, JUnit XML, vLLM's JSON), ``text`` for a terminal, ``page`` with
``plots`` (HTML), and ``live`` during a run. ``words`` and ``tables`` serve all of them. ``request_log`` writes a line
per exchange, and ``otlp`` sends metrics. ``parts`` merges the reports of several machines. ``compared_runs`` reads two
runs, ``comparing`` tests their differences, and ``comparison_text`` shows them.
"""
