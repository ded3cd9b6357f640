"""Parts of messages written in Chat's words, each kind in a module: ``content`` (text), ``media``, ``calls``,
``results``, ``reasoning``, and the ``marks`` of cached prefixes that most of them may have. ``target`` is what all of
them know of the request and its provider.
"""
