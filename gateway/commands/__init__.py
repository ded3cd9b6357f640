"""The command line, a module each: ``check`` also explains. ``clients`` and ``edits`` are what ``connect`` knows and
does, ``probing`` is what ``doctor`` asks."""
