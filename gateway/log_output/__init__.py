"""The process's log on standard error and in files, which a command opens with ``setup``.

``terminal``: the format for people, and its ``colours``; ``standard_error``: the handler that never waits for a reader;
``audit_file``: the file of the audit."""
