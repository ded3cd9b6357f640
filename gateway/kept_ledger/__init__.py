"""The ledger as the state storage keeps it: ``line`` is what an exchange leaves there, ``table`` holds the lines in a
database and adds them up, ``columns`` are those of the table, ``folding`` turns lines beyond the size into sums,
``keeping`` writes those of a process, in batches and in no request's way, and ``overflow`` holds their sums while the
database is away."""
