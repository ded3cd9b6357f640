"""The command line, a module each: ``check`` also explains. ``connect`` is made of ``finding`` (where the gateway is),
``offers`` (what it serves), ``choosing`` (which of its models), ``clients`` (whose settings), ``edits`` (put into a
file) and ``undoing`` (taken out again); ``probing`` is what ``doctor`` asks."""
