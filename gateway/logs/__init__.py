"""Log lines, as the kernel writes them: ``masking`` of credentials, the ``audit``, and the ``loggers`` with a format of
their own. ``gateway.log_output`` has the format of lines and their way out of the process."""
