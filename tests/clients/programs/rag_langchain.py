"""Retrieval with LangChain: embeddings of three makers' classes, rerank and the answer, all through one address."""

import os

from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_google_genai import GoogleGenerativeAIEmbeddings
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

ROOT, KEY = os.environ["GATEWAY"], "a-key"
FACTS = [f"The town of number {number} lies by the sea." for number in range(150)]
FACTS += ["Carson City is the capital of Nevada.", "Saipan is the largest island of its group."]
QUESTION = "What is the capital of Nevada?"

embedders = {
    "openai": OpenAIEmbeddings(
        model="vectors", api_key=KEY, base_url=f"{ROOT}/v1", check_embedding_ctx_length=False, chunk_size=1000
    ),
    "cohere": CohereEmbeddings(model="vectors", cohere_api_key=KEY, base_url=ROOT),
    "google": GoogleGenerativeAIEmbeddings(model="vectors", google_api_key=KEY, base_url=ROOT, transport="rest"),
}
vectors = {}
for name, embedder in embedders.items():
    store = InMemoryVectorStore(embedder)
    store.add_documents([Document(text) for text in FACTS])
    found = store.similarity_search(QUESTION, k=5)
    assert "Carson City is the capital of Nevada." in [one.page_content for one in found], name
    vectors[name] = embedder.embed_query(QUESTION)
assert vectors["openai"] == vectors["cohere"] == vectors["google"]

ranked = CohereRerank(model="ranks", cohere_api_key=KEY, base_url=ROOT, top_n=2).compress_documents(found, QUESTION)
assert ranked[0].page_content == "Carson City is the capital of Nevada."

chat = ChatOpenAI(model="talks", api_key=KEY, base_url=f"{ROOT}/v1")
said = chat.invoke(f"{ranked[0].page_content}\n\n{QUESTION}").text
assert "Carson City" in said, said
