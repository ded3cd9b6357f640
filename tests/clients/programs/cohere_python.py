"""The Cohere SDK for Python, both versions: rerank, embeddings and a transcript, at a base with and without ``/v1``."""

import os

import cohere

ROOT, KEY = os.environ["GATEWAY"], "a-key"
DOCUMENTS = ["Carson City", "Saipan", "Washington"]

for base in (ROOT, f"{ROOT}/v1"):
    newer, older = cohere.ClientV2(KEY, base_url=base), cohere.Client(KEY, base_url=base)
    ranked = newer.rerank(model="ranks", query="Which is the capital?", documents=DOCUMENTS, top_n=2)
    assert [(one.index, one.relevance_score) for one in ranked.results] == [(2, 0.9), (0, 0.25)]
    objects = [{"text": text} for text in DOCUMENTS]
    told = older.rerank(model="ranks", query="Which is the capital?", documents=objects, top_n=2, return_documents=True)
    assert [one.document.text for one in told.results] == ["Washington", "Carson City"]
    asked = {"model": "vectors", "texts": ["a", "b"], "input_type": "search_document"}
    assert newer.embed(**asked, embedding_types=["float"]).embeddings.float_ == [[0.5, 0.0], [0.5, 1.0]]
    assert older.embed(**asked).embeddings == [[0.5, 0.0], [0.5, 1.0]]
    heard = newer.audio.transcriptions.create(model="hears", language="en", file=("a.wav", b"RIFF", "audio/wav"))
    assert heard.text == "hello"
    for model, error in (("nothing", cohere.NotFoundError), ("talks", cohere.BadRequestError)):
        message = None
        try:
            newer.rerank(model=model, query="q", documents=DOCUMENTS)
        except error as refused:
            message = refused.body["message"]
        assert message, f"{model} ranks, or nobody says why not"
