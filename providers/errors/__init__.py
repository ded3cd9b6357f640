"""Errors: ``failures`` in the words of each API, with their ``reasons``, the ``waits`` that they tell, and the
``limits`` that headers speak of; prompts that ``overflow``, members that are ``rejected``, those among them that a
refusal has ``named_alone``, and those that are ``protected`` from being left out; the ``log_message`` of an error."""
