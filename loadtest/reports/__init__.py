"""What is said of runs: ``report_file`` (JSON), ``csv_file``, ``as_vllm`` and ``junit``, ``words`` for all of them,
``live`` while one goes on, ``search_lines``, ``tables`` and ``text`` (``fitting`` a terminal), and a ``page`` with
its ``page_style``, ``page_tables``, ``run_charts`` and ``plots``, each ``written`` whole; ``turns`` of conversations;
``request_log``, a line for each exchange; ``comparing`` of two runs, which ``compared_runs`` reads and
``comparison_text`` tells; ``run_metrics`` for receivers, to which ``otlp`` sends them;
``parts`` of one load by several machines.
"""
