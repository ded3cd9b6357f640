"""One answer with the members of every API and endpoint."""

import json
from typing import Final

from tests.support.hostile_bodies import HostileAnswer

ANSWER: Final = HostileAnswer(json.dumps({
    "id": "answer-1", "object": "x", "created": 1, "model": "m", "name": "x", "type": "message", "role": "assistant",
    "stop_reason": "end_turn", "status": "completed", "text": "Hi", "embeddings": [[0.1]], "responseId": "answer-1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "text": "Hi", "finish_reason": "stop"}],
    "content": [{"type": "text", "text": "Hi"}],
    "steps": [{"type": "model_output", "content": [{"type": "text", "text": "Hi"}]}],
    "output": [{"type": "message", "id": "m1", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": "Hi", "annotations": []}]}],
    "candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}, "finishReason": "STOP"}],
    "data": [{"object": "embedding", "index": 0, "embedding": [0.1], "url": "http://x"}],
    "results": [{"index": 0, "relevance_score": 1}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "input_tokens": 1, "output_tokens": 1},
}).encode())  # fmt: skip
