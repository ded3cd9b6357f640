"""The clients that ``trigate connect`` knows: programs, SDKs and frameworks, with their settings.

``tests/pages/clients.py`` generates a page in ``docs/clients`` for each of them.
"""

from collections.abc import Mapping
from typing import Final

from gateway import OPEN_KEY
from gateway.commands.client import KEY_VARIABLE, Client, Setting, SettingsFile

WAIT: Final = 1800
"""Seconds of silence after which a client gives up: three times the gateway's default for ``first_byte``.

The gateway ends a silent request earlier, and reports why. A client that gives up after less sends its request again,
and a local model that reads a long prompt starts anew (tale-project/tale#3396)."""

WAIT_MS: Final = str(WAIT * 1000)


def _sdk(
    name: str, title: str, speaks: str, variables: Mapping[str, str], install: str, snippet: str,
    language: str = "python", without: tuple[str, ...] = (),
) -> Client:  # fmt: skip
    """Return an SDK that reads its settings from ``variables``."""
    return Client(
        name, title, speaks, environment=variables, install=install, language=language, snippet=snippet, without=without
    )


_OPENAI = {"OPENAI_BASE_URL": "{base}", "OPENAI_API_KEY": "{key}"}
_ANTHROPIC = {"ANTHROPIC_BASE_URL": "{root}", "ANTHROPIC_API_KEY": "{key}"}
_GOOGLE = {"GOOGLE_GEMINI_BASE_URL": "{root}", "GEMINI_API_KEY": "{key}"}
_BOTH = {**_OPENAI, **_ANTHROPIC}
_UNSIGNED = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


SDKS = (
    _sdk(
        "openai-python", "OpenAI SDK for Python", "Chat and Responses", _OPENAI, "pip install openai", """\
{import_os}from openai import OpenAI

client = OpenAI(base_url="{base}", api_key={python_key})
answer = client.chat.completions.create(model="{model}", messages=[{"role": "user", "content": "Hello"}])
print(answer.choices[0].message.content)
""",
    ),
    _sdk(
        "openai-node", "OpenAI SDK for Node.js", "Chat and Responses", _OPENAI, "npm install openai", """\
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "{base}", apiKey: {node_key} });
const messages = [{ role: "user", content: "Hello" }];
const answer = await client.chat.completions.create({ model: "{model}", messages });
console.log(answer.choices[0].message.content);
""",
        language="js",
    ),
    _sdk(
        "anthropic-python", "Anthropic SDK for Python", "Messages", _ANTHROPIC, "pip install anthropic", """\
{import_os}from anthropic import Anthropic

client = Anthropic(base_url="{root}", api_key={python_key})
answer = client.messages.create(model="{model}", max_tokens=1000, messages=[{"role": "user", "content": "Hello"}])
print(answer.content[0].text)
""",
        without=("ANTHROPIC_AUTH_TOKEN",),
    ),
    _sdk(
        "anthropic-node", "Anthropic SDK for Node.js", "Messages", _ANTHROPIC, "npm install @anthropic-ai/sdk", """\
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ baseURL: "{root}", apiKey: {node_key} });
const messages = [{ role: "user", content: "Hello" }];
const answer = await client.messages.create({ model: "{model}", max_tokens: 1000, messages });
console.log(answer.content[0].text);
""",
        without=("ANTHROPIC_AUTH_TOKEN",),
        language="js",
    ),
    _sdk(
        "google-genai", "Google Gen AI SDK for Python", "Gemini", _GOOGLE, "pip install google-genai", """\
{import_os}from google import genai

client = genai.Client(api_key={python_key}, http_options={"base_url": "{root}"})
print(client.models.generate_content(model="{model}", contents="Hello").text)
""",
        without=("GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI"),
    ),
    _sdk(
        "openai-agents", "OpenAI Agents SDK", "Responses and Chat", _OPENAI, "pip install openai-agents", """\
{import_os}from agents import Agent, OpenAIResponsesModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

set_tracing_disabled(True)  # traces go to OpenAI, with a key of theirs
client = AsyncOpenAI(base_url="{base}", api_key={python_key})
agent = Agent(name="Assistant", model=OpenAIResponsesModel(model="{model}", openai_client=client))
print(Runner.run_sync(agent, "Hello").final_output)
""",
    ),
    _sdk(
        "langchain", "LangChain", "Chat, Responses and Messages", _BOTH,
        "pip install langchain-openai langchain-anthropic", """\
{import_os}from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

key = {python_key}
print(ChatOpenAI(model="{model}", base_url="{base}", api_key=key).invoke("Hello").text)
print(ChatAnthropic(model="{model}", base_url="{root}", api_key=key).invoke("Hello").text)
""",
    ),
    _sdk(
        "pydantic-ai", "PydanticAI", "Chat, Responses and Messages", _BOTH,
        "pip install pydantic-ai-slim[openai,anthropic]", """\
{import_os}from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url="{base}", api_key={python_key})
print(Agent(OpenAIChatModel("{model}", provider=provider)).run_sync("Hello").output)
""",
    ),
    Client(
        "vercel-ai-sdk", "Vercel AI SDK", "Chat, Responses and Messages",
        environment={}, install="npm install ai @ai-sdk/openai-compatible", language="js",
        snippet="""\
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { generateText } from "ai";

const trigate = createOpenAICompatible({
  name: "trigate",
  baseURL: "{base}",
  apiKey: {node_key},
  includeUsage: true,
  supportsStructuredOutputs: true,
});
const { text } = await generateText({ model: trigate("{model}"), prompt: "Hello" });
console.log(text);
""",
        then=("node app.mjs",),
    ),
    _sdk(
        "llama-index", "LlamaIndex", "Chat and embeddings", _OPENAI,
        "pip install llama-index-llms-openai-like llama-index-embeddings-openai-like", """\
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
    ),
    Client(
        "boto3", "boto3, Amazon's SDK for Python", "Bedrock Converse",
        environment={"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "{root}", "AWS_REGION": "us-east-1", **_UNSIGNED},
        install="pip install boto3", language="python",
        snippet="""\
{import_os}import boto3
from botocore.config import Config

bedrock = boto3.client(
    "bedrock-runtime",
    config=Config(read_timeout=1800),
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
    ),
)  # fmt: skip


# With these, Gemini CLI needs no setting for its sign-in at Vertex AI.
_AS_VERTEX = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_VERTEX_BASE_URL": "{root}", "GOOGLE_API_KEY": "{key}"}
CLAUDE_WAITS: Final = {"API_TIMEOUT_MS": WAIT_MS, "CLAUDE_STREAM_IDLE_TIMEOUT_MS": WAIT_MS}
"""Claude Code's limits on the wait for a response, and on the silence between two events. Pings do not count there."""
# Claude Code would send this as x-api-key in addition to the token: two different keys.
_CLAUDE_WITHOUT = ("ANTHROPIC_API_KEY",)
_CLAUDE = {
    "ANTHROPIC_BASE_URL": "{root}",
    "ANTHROPIC_AUTH_TOKEN": "{key}",
    "ANTHROPIC_MODEL": "{pinned}",
    "ANTHROPIC_DEFAULT_FABLE_MODEL": "{fable}",
    "ANTHROPIC_DEFAULT_OPUS_MODEL": "{opus}",
    "ANTHROPIC_DEFAULT_SONNET_MODEL": "{sonnet}",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL": "{haiku}",
    "CLAUDE_CODE_MAX_CONTEXT_TOKENS": "{claude_window}",
    **CLAUDE_WAITS,
}

CODEX_PROVIDER = (
    Setting(("model_provider",), "trigate"),
    Setting(("model_providers", "trigate", "name"), "trigate"),
    Setting(("model_providers", "trigate", "base_url"), "{base}"),
    Setting(("model_providers", "trigate", "wire_api"), "responses"),
    Setting(("model_providers", "trigate", "supports_websockets"), True),
    Setting(("model_providers", "trigate", "stream_idle_timeout_ms"), WAIT * 1000),
)
"""Codex's settings for the gateway, with any credential."""

_ROWS = (
    Client(
        "claude", "Claude Code", "Messages",
        file=SettingsFile(
            "~/.claude", "settings.json", "json",
            (
                *(Setting(("env", name), value) for name, value in _CLAUDE.items()),
                Setting(("apiKeyHelper",), "{token_command}", "session"),
            ),
            variable="CLAUDE_CONFIG_DIR",
        ),
        program="claude", install="npm install -g @anthropic-ai/claude-code",
        environment=_CLAUDE, without=_CLAUDE_WITHOUT, blanks=("env",), whole="--settings", chooses="claude",
        headers_variable=("ANTHROPIC_CUSTOM_HEADERS", "\n"),
        then=('claude -p "Hello"',),
    ),
    Client(
        "codex", "Codex", "Responses",
        file=SettingsFile(
            "~/.codex", "config.toml", "toml",
            (
                Setting(("model",), "{model}"),
                Setting(("model_context_window",), "{window}"),
                *CODEX_PROVIDER,
                Setting(("model_providers", "trigate", "env_key"), KEY_VARIABLE, "keyed"),
                Setting(("model_providers", "trigate", "auth", "command"), "trigate", "session"),
                Setting(("model_providers", "trigate", "auth", "args"), "{token_arguments}", "session"),
            ),
            variable="CODEX_HOME",
        ),
        program="codex", install="npm install -g @openai/codex", environment={}, each="-c", chooses="codex",
        headers=("model_providers", "trigate", "http_headers"),
        then=('codex exec --skip-git-repo-check "Hello"',),
    ),
    Client(
        "opencode", "OpenCode", "Chat",
        file=SettingsFile(
            "~/.config/opencode", "opencode.json", "json",
            (
                Setting(("$schema",), "https://opencode.ai/config.json"),
                Setting(("provider", "trigate", "npm"), "@ai-sdk/openai-compatible"),
                Setting(("provider", "trigate", "name"), "trigate"),
                Setting(("provider", "trigate", "options", "baseURL"), "{base}"),
                Setting(("provider", "trigate", "options", "apiKey"), OPEN_KEY, "open"),
                Setting(("provider", "trigate", "options", "apiKey"), "{env:" + KEY_VARIABLE + "}", "keyed"),
                # It limits the whole answer to five minutes by default. Its limit on silence remains.
                Setting(("provider", "trigate", "options", "timeout"), False),
                Setting(("provider", "trigate", "models"), "{opencode_models}"),
                Setting(("provider", "trigate", "models", "{model}"), {}),
                Setting(("provider", "trigate", "models", "{small}"), {}),
                Setting(("model",), "trigate/{model}"),
                Setting(("small_model",), "trigate/{small}"),
            ),
            # OpenCode's first start creates the .jsonc, and its settings override those of the .json.
            variable="XDG_CONFIG_HOME/opencode", override="opencode.jsonc",
        ),
        program="opencode", install="npm install -g opencode-ai",
        environment={"OPENCODE_CONFIG_CONTENT": "{file}"}, chooses="opencode",
        headers=("provider", "trigate", "options", "headers"),
        then=('opencode run "Hello"',),
    ),
    Client(
        "gemini-cli", "Gemini CLI", "Gemini",
        file=SettingsFile(
            "~/.gemini", ".env", "env",
            (*(Setting((name,), value) for name, value in _GOOGLE.items()), Setting(("GEMINI_MODEL",), "{model}")),
        ),
        beside=SettingsFile(
            "~/.gemini", "settings.json", "json", (Setting(("security", "auth", "selectedType"), "gemini-api-key"),)
        ),
        program="gemini", install="npm install -g @google/gemini-cli",
        environment={**_GOOGLE, **_AS_VERTEX, "GEMINI_MODEL": "{vertex_model}"},
        headers_variable=("GEMINI_CLI_CUSTOM_HEADERS", ", "),
        then=('gemini --skip-trust --prompt "Hello"',),
    ),
    *SDKS,
    Client(
        "llm", "llm", "Chat",
        file=SettingsFile(
            "app:io.datasette.llm", "extra-openai-models.yaml", "yaml_list",
            (
                Setting(("model_id",), "trigate/{model}"),
                Setting(("model_name",), "{model}"),
                Setting(("api_base",), "{base}"),
                Setting(("api_key_name",), "trigate", "keyed"),
                Setting(("supports_tools",), True),
                Setting(("supports_schema",), True),
                Setting(("vision",), True),
            ),
            variable="LLM_USER_PATH",
        ),
        program="llm", install="pip install llm",
        then=("llm -m trigate/{model} Hello",), stores_key="llm keys set trigate",
    ),
    Client(
        "aider", "aider", "Chat",
        file=SettingsFile(
            "~", ".aider.conf.yml", "yaml",
            (
                Setting(("openai-api-base",), "{base}"),
                Setting(("openai-api-key",), "{key}"),
                Setting(("model",), "openai/{model}"),
                Setting(("weak-model",), "openai/{small}"),
            ),
        ),
        program="aider", install="pip install aider-install && aider-install",
        environment={
            "AIDER_OPENAI_API_BASE": "{base}", "AIDER_OPENAI_API_KEY": "{key}",
            "AIDER_MODEL": "openai/{model}", "AIDER_WEAK_MODEL": "openai/{small}",
        },
        then=('aider --message "Hello"',),
    ),
    Client(
        "openai-compatible", "Other OpenAI-compatible programs", "Chat and Responses",
        language="text",
        snippet="""\
Base URL   {base}
API key    {key}
Model      {model}
""",
    ),
)  # fmt: skip

CLIENTS: Final[Mapping[str, Client]] = {row.name: row for row in _ROWS}


def client_list() -> str:
    """Return a line for each client."""
    width = max(map(len, CLIENTS))
    return "".join(f"{row.name:{width}}  {row.title}  ({row.speaks})\n" for row in CLIENTS.values())
