"""Shadow traffic: a sample of a name's requests also goes to another target, once their clients have their answers.

``feature``: its row and its key; ``opening`` opens it. ``sampling`` keeps the texts of a sampled exchange, ``sending``
sends its request to the other target, and compares the answers."""
