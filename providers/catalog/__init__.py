"""What is known: ``providers`` as rows, ``models``, who takes ``sampling``, ``effort`` levels, ``strict`` schemas."""
