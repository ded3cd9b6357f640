"""Files that a request links: ``feature`` has the row, ``opening`` puts contents in the place of the ``links``."""
