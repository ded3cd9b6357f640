"""One load by several processes of this machine: a ``channel`` starts them and carries their messages over pipes, each
runs a ``worker``, and a ``shared_run`` is what they make together. ``opening`` has a load made by one process or by
several, within the limits of the machine.
"""
