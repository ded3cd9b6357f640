"""What each path answers.

``answers`` is what they share, ``listing`` pages of lists. ``count_tokens`` and ``compact`` ask a provider for less
than an answer; ``responses`` and ``conversations`` are what is stored, ``provider_kept`` what a provider keeps itself;
``metrics`` serves the figures.
"""
