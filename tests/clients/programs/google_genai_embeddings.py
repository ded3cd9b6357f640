"""The Google Gen AI SDK for Python: vectors of one text and of several."""

import os

from google import genai
from google.genai import types

client = genai.Client(api_key="a-key", http_options=types.HttpOptions(base_url=os.environ["GATEWAY"]))
wide = types.EmbedContentConfig(output_dimensionality=2, task_type="RETRIEVAL_QUERY")
for contents in ("a", ["a", "b"]):
    found = client.models.embed_content(model="vectors", contents=contents, config=wide)
    assert [one.values for one in found.embeddings] == [[0.5, 0.0], [0.5, 1.0]][: len(contents)], found
refused = None
try:
    client.models.embed_content(model="nothing", contents="a")
except genai.errors.ClientError as error:
    refused = error
assert refused.code == 404
assert "nothing" in refused.message, refused
