"""The reports of a load: ``text`` in 80 columns, a ``live`` screen, the ``report_file`` in JSON, a web ``page`` with
``plots``, and the ``request_log``."""
