"""Retrieval with LlamaIndex: embeddings, rerank and the answer, all through one address."""

import os

from llama_index.core import Document, Settings, VectorStoreIndex
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.llms.openai_like import OpenAILike
from llama_index.postprocessor.cohere_rerank import CohereRerank

ROOT, KEY = os.environ["GATEWAY"], "a-key"
FACTS = [f"The town of number {number} lies by the sea." for number in range(150)]
FACTS += ["Carson City is the capital of Nevada.", "Saipan is the largest island of its group."]
QUESTION = "What is the capital of Nevada?"

chat = OpenAILike(model="talks", api_key=KEY, api_base=f"{ROOT}/v1", is_chat_model=True, context_window=8000)
Settings.llm = chat
embedder = OpenAILikeEmbedding(model_name="vectors", api_key=KEY, api_base=f"{ROOT}/v1", embed_batch_size=100)
index = VectorStoreIndex.from_documents([Document(text=text) for text in FACTS], embed_model=embedder)
ranks = CohereRerank(model="ranks", api_key=KEY, base_url=ROOT, top_n=1)
engine = index.as_query_engine(similarity_top_k=5, node_postprocessors=[ranks])
answer = engine.query(QUESTION)
assert [node.text for node in answer.source_nodes] == ["Carson City is the capital of Nevada."], answer.source_nodes
assert "Carson City" in str(answer), answer
