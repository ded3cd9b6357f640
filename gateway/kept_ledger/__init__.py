"""The ledger as the state storage keeps it: ``line`` is what an exchange leaves there, ``table`` holds the lines in a
database and adds them up, ``keeping`` writes those of a process, in batches and in no request's way. ``opening`` finds
the database that a configuration names."""
