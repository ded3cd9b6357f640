"""The requests of a load. ``sources`` says what a source is, and ``mix`` has those of files, recordings and endpoints;
``made_requests`` writes prompts and images, ``conversation`` holds several turns. ``bodies`` and ``keys`` make a prompt
a request of an API, ``calibration`` learns how many tokens a prompt has, and ``setting`` is what all requests of a run
have in common. ``request_file`` reads files of requests, whose lines have one of several forms (``file_requests``).
``estimate`` says before a load what it will take.
"""
