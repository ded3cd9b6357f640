"""Embeddings: the shapes in which clients ask for them and providers are asked, each in both roles, and lists that are
longer than a provider takes at once.

``calling`` turns a client's request into those to a provider and their answers into the client's; ``filtering`` is the
way of one answer, which is held and checked, or counted by ``passing`` where it is long. A ``request`` and an
``answer`` in no API's words are what ``openai`` (with the ``member_names`` of those who are like it), ``cohere``,
``gemini`` and ``tei`` read into and write from; ``shapes`` chooses among these. ``traits`` are what is known of a
provider, ``refusals`` what it cannot be given, ``purposes`` what a text is embedded for, ``pieces`` the parts of a
list, ``vectors`` numbers and base64.
"""
