"""Endpoints besides conversations: embeddings, rerank, images, audio, files and the like.

``endpoint`` lists the endpoints with their client paths, and the type of their location at a provider. ``completions``
reads legacy completions, ``fim`` converts fill-in-the-middle between its two formats, ``rerank`` handles rerank
requests and answers. ``model_types`` derives a model's purpose and voices from its name. ``multipart`` splits
upload bodies into events and replaces their ``model``, ``audio_length`` reads a recording's length,
``media_tokens`` estimates tokens of images and audio and reads usage. ``images`` and ``audio`` read those answers.
``batch_lines`` replaces the models in a batch file.
"""
