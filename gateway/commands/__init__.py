"""The commands of ``trigate``, each in its own module.

- ``check``, ``doctor``, ``init``, ``lint``, ``replay``, ``schema``, ``translate``: commands of that name.
  ``secrets_in_stores`` reads those secrets for ``check``.
- ``help`` has the groups and the form of ``--help``, and options of several commands. ``judging`` asks the features
  about a configuration.
- ``plans`` finds a person's plans for ``init``.
- ``serve``: ``serve``; ``serve_messages`` has its banner, ``listening`` opens the sockets, with
  ``certificate_warnings``; ``served_config`` reloads the configuration. ``stand_in``: its demo, and ``mock``; ``demo``
  has the demo's configuration.
- ``request_story``: ``log``, the story of one request.
- ``own_gateways``: ``status``, ``reload``, ``stop`` and ``logs``, by the ``registry`` of the user's gateways.
- ``users_environment`` has the user's variables for all commands; ``dotenv`` advises on those of other programs.
- ``explaining``: ``explain``; ``client_names`` finds clients by name.
- ``storage_changes``: the parts of the commands that change the state storage.
- ``connect``: ``running_gateways`` locates the gateway, ``background`` starts it, ``payers`` states who pays,
  ``choosing`` selects models; ``client``, ``clients`` and
  ``logins`` describe programs; ``edits``, ``notation`` and ``edit_json`` change their files, ``undoing``
  reverts the changes.
- ``importing``: ``import``, with the package ``imports``.
- ``sessions``: ``token``, and the file of the user's sessions.
- ``tables`` draws the tables of all commands.
- ``load``: ``load``; ``load_options`` has the options, ``load_plan`` builds the plan of a load.
- ``compare``: ``compare``; ``compare_options`` has the options, ``compared_requests`` reads the requests,
  ``compared_answers`` the responses, ``answer_differences`` finds their differences, ``compare_report`` prints them.
- ``probing`` has the requests of ``doctor``, which ``compare`` sends too; ``server_requests`` sends them.
- ``fetching`` is the HTTP client of commands. ``terminal`` wraps lines, and ends commands at Ctrl-C.
"""
