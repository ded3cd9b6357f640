"""One load by several processes, on this machine or on others.

The ``messages`` that they exchange go over a ``channel``, frozen ``values`` and ``plan_files`` in them as data;
``handshake`` says who may command a worker, ``clocks`` when all of them begin, ``capacity`` what a machine cannot do.
``children`` starts processes here, each of which is a ``worker``; ``worker_port`` does so for another machine.
``members`` are such processes as the commanding one has them, and a ``shared_run`` is what they make together;
``opening`` has a load made by one process or by several: nobody else has to know.
"""
