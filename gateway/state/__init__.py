"""What outlives a request: stored responses, conversations and threads.

``store`` says what a store must be able to do, ``nodes`` what all know of what they keep, ``bodies`` what is in it, and
``conversations`` are made of it; ``memory``, ``sqlite`` and ``postgres`` are the three, ``sealed`` lays encryption over
any of them, ``layered`` what lives as long as a connection, ``links`` are connections that threads use; ``opening``
makes the one that the configuration asks for.
"""
