"""The reports of a load: ``text`` in 80 columns, a ``live`` screen, and the ``request_log``.

``report_files`` writes JSON, and HTML with ``plots``.
"""
