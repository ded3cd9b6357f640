"""Log lines: their ``setup``, ``masking`` of credentials, the ``terminal`` format for people and its ``colours``, their
way to ``standard_error``, and the ``audit``, with its ``audit_file``."""
