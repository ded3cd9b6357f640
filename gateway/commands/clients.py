"""The programs that ``trigate connect`` knows, a row each: where their settings are and what goes there.

SDKs and frameworks come first. ``docs/clients`` has a page for each row, written from it by ``tests/pages/clients.py``.
"""

from collections.abc import Mapping
from types import MappingProxyType

from gateway.commands.client import KEY_VARIABLE, OPEN_KEY, Client, Setting, SettingsFile


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


# Gemini CLI wants no setting that says how it signs in to Vertex AI.
_AS_VERTEX = {"GOOGLE_GENAI_USE_VERTEXAI": "true", "GOOGLE_VERTEX_BASE_URL": "{root}", "GOOGLE_API_KEY": "{key}"}
# Beside the token, Claude Code sends this as x-api-key: two different keys.
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
}
_CLAUDE_TROUBLES = (
    (
        "no key of the gateway, or a wrong one",
        "Failed to authenticate. API Error: 401 the key is none of this gateway's: check it for spaces and missing "
        "characters, or ask who runs the gateway",
        "stops at once",
    ),
    (
        "no such model",
        "There's an issue with the selected model (NAME). It may not exist or you may not have access to it.",
        "tries once more without streaming",
    ),
    (
        "the provider is down",
        "API Error: 502 could not connect to the provider: it refused the connection. This is a server-side issue, "
        "usually temporary — try again in a moment. If it persists, check your inference gateway (127.0.0.1:12000).",
        "tries again for about three minutes; `CLAUDE_CODE_MAX_RETRIES=2` makes that less",
    ),
    (
        "the conversation is too long for the model",
        "Prompt is too long",
        "compacts the conversation, if there is one, and goes on",
    ),
    (
        "the provider limits the rate",
        "API Error: Request rejected (429) · the provider's own words",
        "waits as long as the provider says, and tries again",
    ),
)
_CODEX_TROUBLES = (
    (
        "no key of the gateway, or a wrong one",
        "unexpected status 401 Unauthorized: a key of this gateway is required: send it as Authorization: Bearer, …",
        "tries for about 15 seconds",
    ),
    ("no such model", "model 'NAME' is not configured here; GET /v1/models lists the models", "stops at once"),
    (
        "the provider is down",
        "unexpected status 502 Bad Gateway: could not connect to the provider: it refused the connection",
        "tries for about 30 seconds, over its websocket and then over HTTP",
    ),
    (
        "the conversation is too long for the model",
        "Codex ran out of room in the model's context window. Start a new thread or clear earlier history before "
        "retrying.",
        "stops at once",
    ),
    (
        "the provider limits the rate",
        "exceeded retry limit, last status: 429 Too Many Requests",
        "tries again, after what the provider says if it says so",
    ),
)

_ROWS = (
    Client(
        "claude", "Claude Code", "Messages",
        file=SettingsFile(
            "~/.claude", "settings.json", "json",
            tuple(Setting(("env", name), value) for name, value in _CLAUDE.items()), variable="CLAUDE_CONFIG_DIR",
        ),
        program="claude", install="npm install -g @anthropic-ai/claude-code",
        environment=_CLAUDE, without=_CLAUDE_WITHOUT, blanks=("env",), whole="--settings", chooses="claude",
        then=('claude -p "Hello"',),
        notes=(
            "That is all where the gateway serves Claude's models under their own names, as the demo does, and as an "
            "entry `anthropic/*` does: Fable, Opus, Sonnet and Haiku are those of Anthropic, also next year's.",
            "Else `ANTHROPIC_DEFAULT_FABLE_MODEL`, `…_OPUS_MODEL`, `…_SONNET_MODEL` and `…_HAIKU_MODEL` are set: each "
            "to a Claude model that is served, or to `smart`, for Haiku to `fast`, where the config has these aliases, "
            "or to its default. Haiku writes titles and summaries, too. `--model` names the large ones, `--small` "
            "Haiku.",
            "A model that Claude Code does not know is one of a million tokens to it, so it is told how many there are "
            "(`CLAUDE_CODE_MAX_CONTEXT_TOKENS`). For models of your own that is a guess: correct it.",
            "Claude Code sends an `ANTHROPIC_API_KEY` of your environment in addition to the token, and the gateway "
            "refuses two different keys. Where the variable is set, `connect` writes it as empty into these settings, "
            "which hides it from Claude Code; started by trigate, Claude Code does not see it either. If you export "
            "it later, run `connect` again.",
            "The `env` of a settings file outranks the environment that Claude Code is started in. Started by trigate "
            "it gets the settings as `--settings` too, which outranks the file, but not the key, which all users of "
            "the machine could see there.",
            "`CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1` beside these, if you wish, leaves out what it asks of other "
            "hosts, and the request for a title.",
        ),
        troubles=_CLAUDE_TROUBLES,
    ),
    Client(
        "codex", "Codex", "Responses",
        file=SettingsFile(
            "~/.codex", "config.toml", "toml",
            (
                Setting(("model",), "{model}"),
                Setting(("model_context_window",), "{window}"),
                Setting(("model_provider",), "trigate"),
                Setting(("model_providers", "trigate", "name"), "trigate"),
                Setting(("model_providers", "trigate", "base_url"), "{base}"),
                Setting(("model_providers", "trigate", "wire_api"), "responses"),
                Setting(("model_providers", "trigate", "supports_websockets"), True),
                Setting(("model_providers", "trigate", "env_key"), KEY_VARIABLE, "keyed"),
            ),
            variable="CODEX_HOME",
        ),
        program="codex", install="npm install -g @openai/codex", environment={}, each="-c", chooses="codex",
        then=('codex exec --skip-git-repo-check "Hello"',),
        notes=(
            "The model is one that Codex knows, if the gateway serves one (`gpt-6.1-sol` with an entry `openai/*`): "
            "the config's default, or the one that Codex itself prefers. Of all others Codex knows nothing, and says "
            "so: then it is told how many tokens the model takes in. `model_context_window` is a guess where trigate "
            "does not know either, as for models of your own: correct it.",
            "Where the config says `websocket: false`, leave `supports_websockets` out; Codex goes on over HTTP.",
        ),
        troubles=_CODEX_TROUBLES,
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
                Setting(("provider", "trigate", "models"), "{opencode_models}"),
                Setting(("provider", "trigate", "models", "{model}"), {}),
                Setting(("provider", "trigate", "models", "{small}"), {}),
                Setting(("model",), "trigate/{model}"),
                Setting(("small_model",), "trigate/{small}"),
            ),
        ),
        program="opencode", install="npm install -g opencode-ai",
        environment={"OPENCODE_CONFIG_CONTENT": "{file}"}, chooses="opencode",
        then=('opencode run "Hello"',),
        notes=(
            "The file has every model that the gateway serves, with its window (`limit`) and its price in dollars for "
            "a million tokens (`cost`). OpenCode compacts a conversation by the first and shows the second. Where "
            "trigate knows no window, it guesses one by the model's name: correct it. Run `--write` again after you "
            "add models.",
            'In place of `@ai-sdk/openai-compatible`, `@ai-sdk/openai` speaks Responses and `@ai-sdk/anthropic` '
            "Messages, with the same `baseURL`.",
        ),
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
        environment={**_GOOGLE, **_AS_VERTEX, "GEMINI_MODEL": "{model}"},

        then=('gemini --skip-trust --prompt "Hello"',),
        notes=(
            "Without `selectedType` Gemini CLI expects a gateway that signs in for it at this address, and stops with "
            "`Invalid auth method selected.` Started by trigate, it gets the gateway as its Vertex AI, too, for "
            "which it needs no such setting.",
            "`--skip-trust` is for folders that Gemini CLI has not been told to trust: without a terminal it "
            "stops there.",
            "It asks some small models of Google's by their own names for titles, summaries and checks of its own: "
            "aliases for `gemini-2.5-flash` and `gemini-2.5-flash-lite` have them served by any model.",
        ),
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
        then=("llm -m trigate/{model} Hello",),
        notes=("Where the gateway asks for a key: `llm keys set trigate`.",),
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
        notes=(
            "`openai/` before the model's name is aider's own word for an OpenAI-compatible server, and is not sent.",
        ),
    ),
    Client(
        "openai-compatible", "anything else that is OpenAI-compatible", "Chat and Responses",
        language="text",
        snippet="""\
Base URL   {base}
API key    {key}
Model      {model}
""",
        notes=(
            "`GET {base}/models` lists the models, for programs that ask for them.",
            "Cursor, Continue, Cline, Zed, Open WebUI and many others have a form for these three, mostly under "
            "“OpenAI compatible” or “custom provider”; the base URL may be called API host or endpoint.",
            "A program that runs elsewhere (Cursor asks from its own servers) needs an address that it can reach, and "
            "then the gateway needs `client_keys`.",
            "A program in a container reaches the machine that it runs on as `host.docker.internal` in place of "
            "`127.0.0.1`.",
        ),
    ),
)  # fmt: skip

CLIENTS: Mapping[str, Client] = MappingProxyType({row.name: row for row in _ROWS})
