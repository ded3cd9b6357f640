"""Whole answers that are given again to the same request, for those who have asked for that in the configuration.

``key`` says which requests are the same, ``eligible`` which may be answered so at all, and which answers are good
enough to be kept. ``uses`` says for whom there is a cache, and what a client's ``cache-control`` asks of it.
``stored_answer`` is what is kept, which ``replay`` gives again, in a ``store``: ``memory``, ``sqlite`` or ``redis``,
``encrypted`` where it is to be, made in ``opening``. ``flight`` is an answer that several requests follow while it
comes, ``cache`` finds both.
"""
