"""What flows: events, server-sent-event framing, folding, pipes. No HTTP and no providers in here."""
