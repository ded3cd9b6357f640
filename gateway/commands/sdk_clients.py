"""The SDKs and frameworks that ``trigate connect`` knows, a row each, as ``clients`` has the programs."""

from collections.abc import Mapping

from gateway.commands.client import KEY_VARIABLE, Client, Setting, SettingsFile


def _env_file(values: Mapping[str, str]) -> SettingsFile:
    """SDKs have no settings file; what they read is the environment, which many programs load from here."""
    return SettingsFile(".", ".env", "env", tuple(Setting((name,), value) for name, value in values.items()))


_OPENAI = {"OPENAI_BASE_URL": "{base}", "OPENAI_API_KEY": "{key}"}
_ANTHROPIC = {"ANTHROPIC_BASE_URL": "{root}", "ANTHROPIC_API_KEY": "{key}"}
_GOOGLE = {"GOOGLE_GEMINI_BASE_URL": "{root}", "GEMINI_API_KEY": "{key}"}
_BOTH = {**_OPENAI, **_ANTHROPIC}
_UNSIGNED = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
_ENV_FILE_NOTE = (
    "`--write` merges the variables into `.env` in the current directory. The SDK itself reads the environment alone: "
    "{loads}, or start the program as above."
)
_PYTHON_NOTE = _ENV_FILE_NOTE.format(loads="load the file with python-dotenv or `uv run --env-file .env`")
_NODE_NOTE = _ENV_FILE_NOTE.format(loads="load the file with `node --env-file=.env`")


SDKS = (
    Client(
        "openai-python", "OpenAI SDK for Python", "Chat and Responses",
        file=_env_file(_OPENAI), environment=_OPENAI, install="pip install openai",
        language="python",
        snippet="""\
{import_os}from openai import OpenAI

client = OpenAI(base_url="{base}", api_key={python_key})
answer = client.chat.completions.create(model="{model}", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)
""",
        then=("trigate connect openai-python -- python app.py",), notes=(_PYTHON_NOTE,),
    ),
    Client(
        "openai-node", "OpenAI SDK for Node.js", "Chat and Responses",
        file=_env_file(_OPENAI), environment=_OPENAI, install="npm install openai",
        language="js",
        snippet="""\
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "{base}", apiKey: {node_key} });
const messages = [{ role: "user", content: "Hello" }];
const answer = await client.chat.completions.create({ model: "{model}", messages });
console.log(answer.choices[0].message.content);
""",
        then=("trigate connect openai-node -- node app.mjs",), notes=(_NODE_NOTE,),
    ),
    Client(
        "anthropic-python", "Anthropic SDK for Python", "Messages",
        file=_env_file(_ANTHROPIC), environment=_ANTHROPIC, without=("ANTHROPIC_AUTH_TOKEN",),
        install="pip install anthropic", language="python",
        snippet="""\
{import_os}from anthropic import Anthropic

client = Anthropic(base_url="{root}", api_key={python_key})
answer = client.messages.create(model="{model}", max_tokens=1000, messages=[{"role": "user", "content": "Hello"}])
print(answer.content[0].text)
""",
        then=("trigate connect anthropic-python -- python app.py",), notes=(_PYTHON_NOTE,),
    ),
    Client(
        "anthropic-node", "Anthropic SDK for Node.js", "Messages",
        file=_env_file(_ANTHROPIC), environment=_ANTHROPIC, without=("ANTHROPIC_AUTH_TOKEN",),
        install="npm install @anthropic-ai/sdk", language="js",
        snippet="""\
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "{root}", apiKey: {node_key} });
const messages = [{ role: "user", content: "Hello" }];
const answer = await client.messages.create({ model: "{model}", max_tokens: 1000, messages });
console.log(answer.content[0].text);
""",
        then=("trigate connect anthropic-node -- node app.mjs",), notes=(_NODE_NOTE,),
    ),
    Client(
        "google-genai", "Google Gen AI SDK for Python", "Gemini",
        file=_env_file(_GOOGLE), environment=_GOOGLE, without=("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"),
        install="pip install google-genai", language="python",
        snippet="""\
{import_os}from google import genai

client = genai.Client(api_key={python_key}, http_options={"base_url": "{root}"})
print(client.models.generate_content(model="{model}", contents="Hello").text)
""",
        then=("trigate connect google-genai -- python app.py",),
        notes=(
            "`ChatGoogleGenerativeAI` of langchain-google-genai takes the same address as `base_url`.", _PYTHON_NOTE,
        ),
    ),
    Client(
        "openai-agents", "OpenAI Agents SDK", "Responses and Chat",
        file=_env_file(_OPENAI), environment=_OPENAI, install="pip install openai-agents",
        language="python",
        snippet="""\
{import_os}from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)  # traces go to OpenAI, with a key of theirs
client = AsyncOpenAI(base_url="{base}", api_key={python_key})
agent = Agent(name="Assistant", model=OpenAIResponsesModel(model="{model}", openai_client=client))
print(Runner.run_sync(agent, "Hello").final_output)
""",
        then=("trigate connect openai-agents -- python app.py",),
        notes=("`OpenAIChatCompletionsModel` in place of `OpenAIResponsesModel` speaks Chat.", _PYTHON_NOTE),
    ),
    Client(
        "langchain", "LangChain", "Chat, Responses and Messages",
        file=_env_file(_BOTH), environment=_BOTH, install="pip install langchain-openai langchain-anthropic",
        language="python",
        snippet="""\
{import_os}from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

key = {python_key}
print(ChatOpenAI(model="{model}", base_url="{base}", api_key=key).invoke("Hello").text)
print(ChatAnthropic(model="{model}", base_url="{root}", api_key=key).invoke("Hello").text)
""",
        then=("trigate connect langchain -- python app.py",),
        notes=("`use_responses_api=True` makes `ChatOpenAI` speak Responses.", _PYTHON_NOTE),
    ),
    Client(
        "pydantic-ai", "PydanticAI", "Chat, Responses and Messages",
        file=_env_file(_BOTH), environment=_BOTH, install="pip install pydantic-ai-slim[openai,anthropic]",
        language="python",
        snippet="""\
{import_os}from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="{base}", api_key={python_key})
print(Agent(OpenAIChatModel("{model}", provider=provider)).run_sync("Hello").output)
""",
        then=("trigate connect pydantic-ai -- python app.py",),
        notes=(
            "`OpenAIResponsesModel` speaks Responses with the same provider; `AnthropicModel` speaks Messages with "
            "`AnthropicProvider(base_url=…)`, whose address has no `/v1`.",
            _PYTHON_NOTE,
        ),
    ),
    Client(
        "vercel-ai-sdk", "Vercel AI SDK", "Chat, Responses and Messages",
        file=SettingsFile(".", ".env", "env", (Setting((KEY_VARIABLE,), "{key}", "keyed"),)),
        environment={}, install="npm install ai @ai-sdk/openai-compatible", language="js",
        snippet="""\
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const trigate = createOpenAICompatible({ name: "trigate", baseURL: "{base}", apiKey: {node_key} });
const { text } = await generateText({ model: trigate("{model}"), prompt: "Hello" });
console.log(text);
""",
        then=("node app.mjs",),
        notes=(
            "`createOpenAI` from `@ai-sdk/openai` speaks Responses (`.chat()`: Chat) and `createAnthropic` from "
            "`@ai-sdk/anthropic` Messages, both with the same `baseURL`, `/v1` included.",
        ),
    ),
    Client(
        "llama-index", "LlamaIndex", "Chat and embeddings",
        file=_env_file(_OPENAI), environment=_OPENAI,
        install="pip install llama-index-llms-openai-like llama-index-embeddings-openai-like",
        language="python",
        snippet="""\
{import_os}from llama_index.llms.openai_like import OpenAILike

llm = OpenAILike(
    model="{model}",
    api_base="{base}",
    api_key={python_key},
    is_chat_model=True,
    is_function_calling_model=True,
    context_window=128_000,
)
print(llm.complete("Hello"))
""",
        then=("trigate connect llama-index -- python app.py",),
        notes=(
            "`OpenAILike` takes every model name. LlamaIndex' own `OpenAI` class knows OpenAI's models alone and stops "
            "at any other with `Unknown model`.",
            "LlamaIndex fits prompts into `context_window`: give it that of your model, which `trigate explain MODEL` "
            "shows.",
            "`OpenAILikeEmbedding(model_name=…, api_base=\"{base}\", api_key=…)` asks the gateway for embeddings, and "
            "`CohereRerank(model=…, base_url=\"{root}\", api_key=…)` for rerank.",
            _PYTHON_NOTE,
        ),
    ),
    Client(
        "boto3", "boto3, Amazon's SDK for Python", "Bedrock Converse",
        environment={"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "{root}", "AWS_REGION": "us-east-1", **_UNSIGNED},
        install="pip install boto3", language="python",
        snippet="""\
{import_os}import boto3

bedrock = boto3.client(
    "bedrock-runtime",
    endpoint_url="{root}",
    region_name="us-east-1",
    aws_access_key_id="any",
    aws_secret_access_key="any",
)
{boto3_key}messages = [{"role": "user", "content": [{"text": "Hello"}]}]
answer = bedrock.converse(modelId="{model}", messages=messages)
print(answer["output"]["message"]["content"][0]["text"])
""",
        then=("trigate connect boto3 -- python app.py",),
        notes=(
            "boto3 signs each request with credentials of AWS. The gateway does not look at the signature, and no "
            "provider gets it: any words will do.",
            "Where the gateway asks for a key, add it as `x-trigate-key` after boto3 has signed, because boto3 sends a "
            "Bedrock API key over TLS alone: `bedrock.meta.events.register(\"before-send\", lambda request, **_: "
            "request.headers.update({\"x-trigate-key\": key}))`. `trigate connect boto3` prints that line.",
            "A `modelId` may be any name that the gateway serves, for providers of all APIs. `converse_stream` works "
            "alike, and so do LangChain's `ChatBedrockConverse` (`endpoint_url`, `region_name`) and Strands.",
            "Calls of other services of AWS still go to AWS: `AWS_ENDPOINT_URL_BEDROCK_RUNTIME` is for this one alone.",
        ),
    ),
)  # fmt: skip
