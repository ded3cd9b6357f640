"""What outlives a request: trees of nodes that belong to somebody. Stores know nothing of what is in them.

``store`` is the contract, ``nodes`` what all know of what they keep; ``memory``, ``sqlite`` and ``postgres`` implement
it, ``encrypted`` lays encryption over any of them, ``overlay`` what lives as long as a connection, ``pool`` holds
connections that threads use.
"""
