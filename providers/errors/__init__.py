"""Errors: ``failures`` in the words of each API, prompts that ``overflow``, members that are ``rejected``."""
