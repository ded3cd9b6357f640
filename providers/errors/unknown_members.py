"""The words with which providers reject members and betas of a request as unknown: the table of all vendors."""

import re
from collections.abc import Callable, Collection, Iterable
from typing import Final

import attrs

from providers.errors.member_paths import BETA, CACHE_POINTS, OTHER_API, ROUTE, TOOL_CHOICE, Path, parse_path
from providers.errors.words import NEVER, Words

# Patterns search texts that a client may have written, so none may backtrack over a long word: a name matches only
# whole, from its start.
_PLAIN: Final = r"[\w\-]++(?:[.\[\]]++[\w\-]++)*+\]?"
_QUOTED: Final = rf"""[`'"]?{_PLAIN}[`'"]?"""
_NAME: Final = rf"""[`'"]?(?P<name>{_PLAIN})[`'"]?"""
_AT: Final = rf"""'(?P<at>{_PLAIN})'"""


@attrs.frozen(repr=False)
class Rejection:
    """A rejection of members or of a request's shape: its words, and the paths that a match names.

    ``params`` are the members that an error must name for words that name none."""

    words: Words
    paths: Callable[[re.Match[str]], Iterable[Path]]
    params: Collection[str] = ()


def _named_path(found: re.Match[str]) -> Iterable[Path]:
    """Read the groups ``name`` and ``at``, the place of the member."""
    return ((*parse_path(found.groupdict().get("at") or ""), *parse_path(found["name"])),)


def _listed_paths(found: re.Match[str]) -> Iterable[Path]:
    return map(parse_path, re.findall(_PLAIN, found["names"]))


def _stepwise_path(found: re.Match[str]) -> Iterable[Path]:
    return (parse_path(".".join(re.findall(r"[\w\-]+", found["steps"].replace("->", " ")))),)


def _snake_paths(found: re.Match[str]) -> Iterable[Path]:
    """Read a member that xAI names in its own spelling (``reasoningEffort``)."""
    snake = re.sub(r"(?<=[a-z0-9])[A-Z]", lambda capital: f"_{capital[0].lower()}", found["name"])
    return (("reasoning_effort",), ("reasoning", "effort")) if snake == "reasoning_effort" else (parse_path(snake),)


def _sampling_paths(found: re.Match[str]) -> Iterable[Path]:
    return (found["name"],), ("inferenceConfig", "topP" if found["name"] == "top_p" else found["name"])


def _converse_path(found: re.Match[str]) -> Iterable[Path]:
    """Read a field that Converse names with the parts of its value (``toolConfig.toolChoice.any``)."""
    names = parse_path(found["name"])
    return (names[:2] if names[:2] == TOOL_CHOICE else ("inferenceConfig", *names[-1:]),)


def _penalties(found: re.Match[str]) -> Iterable[Path]:
    native = (("generationConfig", "frequencyPenalty"), ("generationConfig", "presencePenalty"))
    return (("frequency_penalty",), ("presence_penalty",), *native)


def _betas(found: re.Match[str]) -> Iterable[Path]:
    return [(BETA, name) for name in re.findall(r"[\w\-]+", found["betas"])]


def always(path: Path) -> Callable[[re.Match[str]], Iterable[Path]]:
    """Return a function that returns ``path`` for each match."""
    return lambda found: (path,)


_WHAT: Final = r"(?:request )?(?:parameter|argument|field)s?(?:\(s\))?"
_UNSUPPORTED: Final = rf"(?:Unsupported|Unknown|Unrecognized|Model incompatible) {_WHAT}(?: supplied)?: "
_OTHER_LIMIT: Final = r"[`'\"]?max_(?:completion_)?tokens[`'\"]?"

UNKNOWN_MEMBERS: Final = (
    # Anthropic, Vertex AI, FastAPI (anthropics/claude-code#51700, #33180)
    Rejection(
        Words(
            rf"(?<![\w\-.\[\]])[.\[\]]*+(?P<name>{_PLAIN}): Extra inputs are not permitted",
            r"(?:Validation error at #/|The model returned the following errors: )?"
            rf"{_NAME}: Extra inputs are not permitted",
        ),
        _named_path,
    ),
    # Fireworks (web-infra-dev/midscene#1322)
    Rejection(
        Words.of(rf"Extra inputs are not permitted, field: {_NAME}", after=r"(?:, value: '?[\w.\-]{0,100}'?)?\.?"),
        _named_path,
    ),
    # NVIDIA (BerriAI/litellm#4558)
    Rejection(
        Words.of(
            r"\bbody(?P<steps>(?: -> [\w\-]{1,100}){1,10}+)\s{1,20}Extra inputs are not permitted",
            after=r"(?: \(type=extra_forbidden\))?",
        ),
        _stepwise_path,
    ),
    # Servers that print FastAPI's list, or its JSON (mistralai/client-ts#65, mistralai/platform-docs-public#7)
    Rejection(
        Words(
            r"""['"]loc['"]: ?[(\[]['"]body['"],(?P<steps>(?: ?(?:['"][\w\-]{1,100}['"]|\d{1,9}),?){1,10}+)[)\]], ?"""
            r"""['"]msg['"]: ?['"]Extra inputs are not permitted""",
            NEVER,
        ),
        _stepwise_path,
    ),
    # xAI (BerriAI/litellm#16265, open-webui/open-webui#21266)
    Rejection(Words.of(r"\bModel [\w.\-/:]{1,200}+ does not support parameter (?P<name>\w{1,100})"), _snake_paths),
    Rejection(  # huggingface/smolagents#1765
        Words.of(r"Argument not supported on this model: (?P<name>\w{1,100})"), _named_path
    ),
    # Claude from 4.7 (The-PR-Agent/pr-agent#2456), also at Bedrock
    Rejection(
        Words.of(
            r"[`']?(?P<name>temperature|top_p)[`']? is deprecated for this model",
            r"(?:The model returned the following errors: )?",
        ),
        _sampling_paths,
    ),
    # OpenAI's reasoning models
    Rejection(
        Words.of(
            rf"Unsupported value: {_NAME} does not support [\w.\-]{{1,40}} with this model\. Only the default",
            after=r" \([\w.\-]{1,20}\) value is supported\.?",
        ),
        _named_path,
    ),
    # Azure (OpenHands/software-agent-sdk#2295), Copilot (router-for-me/CLIProxyAPIPlus#437)
    Rejection(
        Words.of(
            r"(?<![\w.`'\"])(?P<name>service_tier|prompt_cache_(?:key|retention|options)) is not supported(?![\w'])",
            after=r"(?: (?:on|with|by|for) this model)?\.?",
        ),
        _named_path,
    ),
    # Kimi (NoFxAiOS/nofx#1415, MoonshotAI/Kimi-K2#141)
    Rejection(Words.of(rf"\binvalid {_NAME}: only (?:type=)?[\w.]{{1,20}} is allowed for this model"), _named_path),
    # OpenAI and Azure (Gitlawb/openclaude#739), NVIDIA (MoonshotAI/kimi-cli#2534)
    Rejection(
        Words(
            rf"{_UNSUPPORTED}(?P<names>{_QUOTED}(?:, {_QUOTED})*)",
            rf"(?:Validation: )?{_UNSUPPORTED}(?P<names>{_QUOTED})(?: is not supported with this model)?\.?"
            rf"(?: Use {_OTHER_LIMIT} instead\.?)?",
        ),
        _listed_paths,
    ),
    # Groq
    Rejection(
        Words.of(
            rf"(?:{_AT} ?: )?property '(?P<name>{_PLAIN})' is unsupported",
            after=r"(?:, did you mean '[\w\-]{1,100}'\?)?",
        ),
        _named_path,
    ),
    Rejection(Words(NEVER, rf"(?P<name>{_PLAIN}): property '(?P=name)' is unsupported"), _named_path),
    # Gemini
    Rejection(
        Words.of(
            rf"Unknown name {_NAME}(?: at {_AT})?: Cannot find field", before=r"(?:Invalid JSON payload received\. )?"
        ),
        _named_path,
    ),
    # Converse, which differs by model (strands-agents/harness-sdk#1241, vercel/ai#4396, maximhq/bifrost#3196). A model
    # without one choice of tools may have another.
    Rejection(
        Words(
            rf"This model doesn't support the (?P<name>{_PLAIN}) field",
            rf"This model doesn't support the (?!toolConfig\.)(?P<name>{_PLAIN}) field"
            r"(?:\. Remove [\w.]{1,100} and try again)?\.?",
        ),
        _converse_path,
    ),
    # Bedrock
    Rejection(
        Words.of(
            r"#(?P<at>[/\w]*): extraneous key \[(?P<name>\w{1,200})\] is not permitted",
            before="(?:Malformed input request: )?",
            after=r"(?:, please reformat(?: your input and try again)?)?\.?",
        ),
        _named_path,
    ),
    # Servers in Rust
    Rejection(
        Words.of(
            rf"unknown field {_NAME}",
            before="(?:Failed to deserialize(?: the JSON body into the target type)?: )?",
            after=r"(?:, (?:expected|there are no fields)[\w`, \-]*)?(?: at line \d+ column \d+)?",
        ),
        _named_path,
    ),
    # Vertex AI and other gateways (anthropics/claude-code#21767, QuantumNous/new-api#2975), Bedrock, which names none
    # (quarkiverse/quarkus-langchain4j#2132)
    Rejection(
        Words.of(
            r"Unexpected value\(s\) (?P<betas>[\w\-`'\", ]{1,500}) for the [`'\"]?anthropic-beta[`'\"]? header",
            after=r"(?:\. Please consult [\w :/.\-\u2026]*)?\.?",
        ),
        _betas,
    ),
    Rejection(Words.of("invalid beta flag"), always((BETA,))),
    # Bedrock, of models that cache nothing (BerriAI/litellm#39210, anomalyco/opencode#782)
    Rejection(
        Words.of(
            "your request did not allow prompt caching",
            before="You invoked an unsupported model or ",
            after=r"\.(?: See the documentation for more information\.)?",
        ),
        always(CACHE_POINTS),
    ),
    # Bedrock, whose OpenAI paths differ by model
    # (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-responses-api.html)
    Rejection(
        Words.of(
            r"isn['\u2019]t supported on this route",
            before=r"(?:The )?model [`'\"]?[\w.:/\-]{1,300}[`'\"]? ",
        ),
        always(ROUTE),
    ),
    # Gemini, whose later models have no penalties (vercel/ai#8943, BerriAI/litellm#32273)
    Rejection(Words.of(r"Penalty is not enabled for (?:models/[\w.\-]{1,200}|this model)"), _penalties),
    # Gemini and Vertex AI (BerriAI/litellm#38229, mlcommons/modelbench#1655)
    Rejection(
        Words.of(
            r"only support(?:s|ed in) (?:the )?Interactions API",
            before=r"(?:(?:models/)?[\w.\-]{1,200} is |This model )",
            after=r"(?: and cannot be called directly via \w{1,60})?\.?",
        ),
        always((OTHER_API, "interactions")),
    ),
)
