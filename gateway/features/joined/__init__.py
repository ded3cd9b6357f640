"""Answers that are not paid twice: they continue without the client that left, and its next attempt joins them.

- ``feature``: the row, with the key ``repeats``; its ``checks``
- ``kept_answers``: the answers whose clients have left, and how long they continue
- ``repeats``: which requests are the same
- ``opening``: opens both for a configuration, with the origin of the answer cache"""
