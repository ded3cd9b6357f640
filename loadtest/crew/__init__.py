"""One load made by several processes of this machine.

``channel`` starts the processes and carries messages over pipes. Each process runs a ``worker``. A ``shared_run``
combines their results. ``opening`` makes a load in one process or in several, within the limits of the machine.
"""
