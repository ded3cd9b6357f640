"""Log lines: ``setup``, ``masking`` of credentials, the ``terminal`` form for people; and the ``audit``."""
