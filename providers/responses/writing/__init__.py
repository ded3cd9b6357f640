"""Items of a Responses stream that are open, each kind in a module: ``messages``, ``reasoning``, ``calls``.

Each writes the events of its item from its first to its last, and says what is left of it if the answer ends early.
"""
