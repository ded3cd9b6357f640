"""OpenAI's asynchronous client, as tests open it."""

import contextlib
from collections.abc import AsyncIterator

import httpx2
import openai


@contextlib.asynccontextmanager
async def openai_client(url: str, key: str = "none") -> AsyncIterator[openai.AsyncOpenAI]:
    """Open a client of the server at ``url`` that repeats no request."""
    http = httpx2.AsyncClient(verify=False, trust_env=False)  # certificates take longer to read than all else
    async with openai.AsyncOpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0, http_client=http) as client:
        yield client
