"""Embeddings: the formats of clients and providers, and lists that exceed a provider's limit.

``calling`` turns a client's request into requests to a provider, and their answers into the client's. ``filtering``
buffers and checks one answer, or counts the vectors of a long one. ``openai`` (with its family's member names),
``cohere``, ``gemini``, ``tei`` and ``invoked`` (of Bedrock and Vertex AI) read and write a neutral ``request`` and
``answer``; ``shapes`` chooses among them. ``traits`` lists features of providers and the names of purposes.
"""
