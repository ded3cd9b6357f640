"""What an operator sees of exchanges: metrics, traces, recordings, the board of the live view, the log. All of them
look on by the ledger's ``Observer`` or as a tap, and none is in the way."""
