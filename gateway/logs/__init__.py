"""Log lines: their ``setup``, ``masking`` of credentials, the ``terminal`` format for people, and the ``audit``."""
