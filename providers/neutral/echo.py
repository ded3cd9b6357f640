"""The members with which a response object of the Responses API repeats its request, and what stands there where the
request did not say. Open Responses requires all of them but ``user``, most of them not as null (openresponses.org)."""

from collections.abc import Mapping
from typing import Any

ECHO: Mapping[str, Any] = {
    "frequency_penalty": 0.0,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0.0,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}

# What holds, whatever was asked for, where nothing is kept: nothing can then be asked for by its id later.
NOT_DONE: Mapping[str, Any] = {"background": False, "previous_response_id": None, "store": False}
