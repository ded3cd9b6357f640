"""What is to be done: the ``scenario``, which ``scenario_file`` reads as it is written (``raw_scenario``) unless
there are ``contradictions``, of each kind of ``load_request``, and the ``arrivals``, and how many ``asked_loads`` and
``client_steps`` there are; how long prompts and answers are (``lengths``), ``shared_prefixes``, ``turns`` of
conversations, and ``traces`` of real services; what a gateway has recorded (``recorded_load``); ``objectives`` of a
good answer, the ``comparison`` that each of them is, for which of the load's ``parts``, and ``spellings`` of other
tools. ``shares``: of processes, and of machines as parts. ``connecting``: how it connects. ``load_endpoints``: what is
spoken beside conversations. ``line_mistakes``: what is wrong in files that are read line by line.
``named_secrets``: credentials in bodies. ``converter``: what turns a file into these values.
"""
