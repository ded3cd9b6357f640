"""The requests of a load. ``sources`` defines a source and what all sources of a run share, and ``mix`` has those of
files, recordings and endpoints; ``made_requests`` writes prompts and images, ``conversation`` holds several turns.
``bodies`` and ``keys`` make a prompt a request of an API. ``file_requests`` reads files of requests. ``estimate`` says
before a load how many tokens it will take.
"""
