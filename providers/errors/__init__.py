"""Tables and readers of errors in the formats of all APIs.

``failures`` reads and writes errors and their retry delays, with ``reasons``; ``limits`` reads rate limit headers,
``ended`` finds rejected credentials. ``overflow`` finds prompts that are too long, ``rejected`` the members that a
provider rejects, by the words of ``unknown_members``, and lists members about privacy and safety; ``member_paths``
removes them.

Some rejections, recognized by their ``words``, require a request in another shape, which ``other_shapes`` lists:
``system_place`` of system messages, ``text_lists`` of lists of texts, ``reasoning_turns`` of reasoning that is missing
or has ``null``, ``json_schemas`` of a schema for the answer, ``tool_schemas`` of tools, ``tool_turns`` of calls,
results and a last message of the model, ``thinking_support`` of settings for thinking and of forced calls,
``output_limits`` of token limits above the model's, ``user_ids`` of the end user, ``agent_items`` of Codex's agents,
``long_tool_names`` of names of tools, ``image_labels`` of images. Many use ``changed_items``.
"""
