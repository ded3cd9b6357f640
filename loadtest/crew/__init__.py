"""One load by several processes of this machine: their messages go over a ``channel`` of pipes. ``members`` are such
processes as the leading one has them, each runs a ``worker``, and a ``shared_run`` is what they make together.
``opening`` has a load made by one process or by several, within the limits of the machine.
"""
