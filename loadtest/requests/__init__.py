"""The requests of a load.

``sources`` defines the interface of a source. ``mix`` has the sources for files, recordings and endpoints,
``made_requests`` generates prompts and images, and ``conversation`` makes sessions of several turns. ``bodies`` and
``keys`` turn a prompt into a request of an API. ``file_requests`` reads files of requests. ``estimate`` predicts the
tokens of a load.
"""
