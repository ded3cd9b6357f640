"""Endpoints other than conversations: ``completions``, ``embeddings``, ``rerank``, ``images``, ``audio``.

``plain_json`` has those in which only the name of the model changes, ``openai_own`` those that only OpenAI has.
``routes`` has the paths of all."""
