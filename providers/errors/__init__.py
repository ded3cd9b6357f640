"""Tables and readers of errors in the formats of all APIs.

``failures`` reads and writes errors and their retry delays, with ``reasons``; ``limits`` reads rate limit headers
and finds rejected credentials. ``answer_form`` finds failures with a success status. ``overflow`` finds prompts
that are too long, ``rejected`` the members that a provider rejects, and lists members about privacy and safety;
``member_paths`` removes them. The ``words`` of rejections are in two tables: ``unknown_members`` has those of members,
and ``other_shapes``, which finds all, those that require a request in another shape:
``rejected_turns`` of the conversation and labels of its images, ``converse_turns`` of Converse, ``gemini_turns`` and
``call_signatures`` of Gemini, ``rejected_settings`` of thinking, streams, token limits, the answer's schema, the end
user and tools, ``effort_levels`` of effort, ``system_place`` of system messages, ``long_tool_names`` of names of tools.
"""
