"""The answers of each path.

``inference`` are the requests that have to do with a provider, ``count_tokens`` and ``compact`` those that request less
than an answer from it; ``models`` (in the ``model_shapes`` of each API's clients) and ``health`` report what is here,
``metrics`` the figures; ``responses`` and ``conversations`` what is stored, ``provider_kept`` what a provider keeps
itself. A request becomes an exchange at the ``border``.
``door`` refuses pages of browsers, ``hooks`` check the keys of clients on views of Quart's; ``http_errors`` and
``unknown_paths`` answer what no route does. Shared by several: ``bodies`` of requests, ``plain_answers`` without Quart,
``answers`` with it.
"""
