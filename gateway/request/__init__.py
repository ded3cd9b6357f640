"""A client's request: read once, and prepared for each provider that is asked.

``client_request`` is its HTTP side, ``parse`` reads its body, of whose ``members`` each may stand once, and
``further_models`` are those that it names beside its own, ``sessions`` what it says it belongs to. ``suitability`` says
which of several targets can take it; what it says of these itself are ``wishes``, also in ``router_bodies``, and
``narrowing`` does as they say; ``repeatable`` says whether two may work on it at a time.
``prepare`` either edits it (``edit``, the byte lane) or translates it (``translate``, the hub lane) into what is
``prepared``, and ``wire`` makes the HTTP request of that. ``refusal`` reads what of it a provider has refused,
``rejections`` remembers that; ``tools_in_chat`` tells whose tools are asked for in another API, ``decompress`` bodies,
``public_errors`` a provider's errors as clients see them.
"""
