"""What outlives a request: stored responses, conversations and threads.

``store`` says what a store must be able to do; ``memory``, ``sqlite`` and ``postgres`` are the three, ``sealed`` lays
encryption over any of them, ``opening`` makes the one that the configuration asks for.
"""
