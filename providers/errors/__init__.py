"""Errors in the words of each API, as tables.

``failures`` reads and writes errors and the waits that they state, with their ``reasons``; ``limits`` reads the headers
about rates, ``ended`` finds refused credentials. ``overflow`` finds prompts that are too long, ``rejected`` the members
that a provider refuses; ``named_alone`` finds the one member that a refusal names, ``protected`` lists the members
about privacy and safety.
"""
