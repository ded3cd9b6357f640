"""Log lines: ``setup``, ``masking`` of credentials, the ``terminal`` form for people, ``fields``; and the ``audit``."""
