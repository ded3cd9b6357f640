"""What is known beforehand, as rows: ``providers`` and ``models``; of models who takes ``sampling``, which levels of
``effort`` there are, and which JSON Schemas are ``strict``.
"""
