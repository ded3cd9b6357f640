"""Embeddings: the shapes of clients and providers, each in both roles, and lists longer than a provider takes at once.

``calling`` turns a client's request into those to a provider, cut into pieces, and their answers into the client's;
``filtering`` holds and checks one answer, or counts its vectors where it is long. ``openai`` (with the member names of
its family), ``cohere``, ``gemini`` and ``tei`` read and write a neutral ``request`` and ``answer``; ``shapes`` chooses
among these. ``traits`` lists what is known of a provider, and the words for what a text is embedded for.
"""
