"""Tables and readers of errors in the formats of all APIs.

``failures`` reads and writes errors and their retry delays, with ``reasons``; ``limits`` reads rate limit headers,
``ended`` finds rejected credentials. ``overflow`` finds prompts that are too long, ``rejected`` the members that a
provider rejects; ``named_alone`` finds the one member that a rejection names, and lists members about privacy and
safety. ``system_place`` finds rejections of later system messages and moves these, ``text_lists`` those of lists of
texts and joins them, ``missing_reasoning`` those of turns without reasoning and adds it.
"""
