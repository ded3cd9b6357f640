"""The answers of each path.

``inference`` are the requests that have to do with a provider, ``count_tokens`` and ``compact`` those that ask it for
less than an answer; ``models`` (in the ``model_shapes`` of each API's clients), ``voices`` and ``health`` what is here,
``metrics`` the figures; ``responses`` and ``conversations`` what is stored, ``provider_kept`` what a provider keeps
itself.
``door`` and ``hooks`` ask who may come in, ``http_errors`` answers what no route does; ``answers`` is what they share,
``listing`` pages of lists, ``limits_seen`` where limits and budgets stand.
"""
