"""What providers are asked for beside conversations: embeddings, rerank, images, audio, files and the like.

``endpoint`` lists the endpoints that the gateway knows of, with the paths at which clients ask, and says where a
provider has one: its place.

``completions`` and ``fim`` read along in legacy completions and write fill-in-the-middle in its two shapes, ``rerank``
has what puts documents into an order. ``model_types`` tells by a model's name what it is for,
``voices`` what it speaks in.

``multipart`` cuts the body of an upload into events, ``model_field`` replaces its ``model`` while it comes by,
``audio_length`` reads how long a recording is out of the file's own header, ``media_tokens`` estimates the tokens of
pictures and sound from a request. ``images`` and ``audio`` read along in
pictures, speech and transcripts, ``usage`` what answers say that they have taken.

``batch_lines`` replaces the models in a batch's file, line by line.
"""
