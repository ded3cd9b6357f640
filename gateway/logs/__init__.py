"""Log lines: their ``setup``, ``masking`` of credentials, the ``terminal`` format for people and its ``colours``, and
the ``audit``, with its ``audit_file``."""
