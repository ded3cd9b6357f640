"""Errors: ``failures`` in the words of each API, prompts that ``overflow``, members that are ``rejected``; those among
them that a refusal has ``named_alone``, and those that are ``protected`` from being left out."""
