"""What is known of the places that requests go to: ``health`` of all of them, for all requests of the process."""
