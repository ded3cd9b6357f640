"""Restrictions on a configuration that was found in the current directory.

Its author may be a stranger (a cloned repository, an extracted archive) who names any variable and host. Such a file
may send variables with known owners only to these, and may read secrets from and write its audit to files in its
directory only. A file on the command line, in ``$TRIGATE_CONFIG`` or in the user's own folder is trusted."""

import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path as FilePath
from typing import Any, Final
from urllib.parse import urlsplit

from configfile.document import Path, spell
from configfile.variables import Use, Variables
from gateway.config.findings import Findings
from gateway.config_files.packages import SIGN_IN_MODULES
from gateway.config_files.providers import id_of
from gateway.config_files.sign_ins import is_of_vendor
from gateway.features.known import imported_features
from gateway.http.urls import is_loopback
from gateway.named_imports import import_named
from providers.catalog import providers as catalog

_NOBODYS: Final = """
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SECURITY_TOKEN AWS_SESSION_TOKEN AZURE_CLIENT_SECRET
    ARM_CLIENT_SECRET AZURE_STORAGE_* GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CREDENTIALS GCP_* GITLAB_TOKEN
    CI_JOB_TOKEN CI_REGISTRY_PASSWORD ACTIONS_ID_TOKEN_REQUEST_TOKEN ACTIONS_RUNTIME_TOKEN BITBUCKET_TOKEN
    CIRCLE_TOKEN NPM_TOKEN NODE_AUTH_TOKEN PYPI_TOKEN TWINE_PASSWORD UV_PUBLISH_TOKEN CARGO_REGISTRY_TOKEN
    GEM_HOST_API_KEY DOCKER_PASSWORD DOCKER_AUTH_CONFIG KUBE* VAULT_TOKEN CONSUL_HTTP_TOKEN NOMAD_TOKEN
    OP_SERVICE_ACCOUNT_TOKEN BW_SESSION DOPPLER_TOKEN TF_TOKEN_* TFE_TOKEN PULUMI_ACCESS_TOKEN CLOUDFLARE_* CF_API_*
    DIGITALOCEAN_ACCESS_TOKEN DO_TOKEN HCLOUD_TOKEN LINODE_TOKEN HEROKU_API_KEY VERCEL_TOKEN NETLIFY_AUTH_TOKEN
    FLY_API_TOKEN RAILWAY_TOKEN SUPABASE_* DATABASE_URL PGPASSWORD MYSQL_PWD REDIS_URL MONGODB_URI SLACK_* DISCORD_TOKEN
    TELEGRAM_BOT_TOKEN TWILIO_* SENDGRID_API_KEY MAILGUN_API_KEY STRIPE_* PAYPAL_* SENTRY_AUTH_TOKEN DATADOG_API_KEY
    DD_API_KEY NEW_RELIC_* GRAFANA_TOKEN SNOWFLAKE_* DATABRICKS_TOKEN WANDB_API_KEY KAGGLE_KEY LANGFUSE_SECRET_KEY
    LANGSMITH_API_KEY LANGCHAIN_API_KEY LINEAR_API_KEY NOTION_TOKEN JIRA_API_TOKEN SSH_* GPG_* SUDO_PASSWORD
""".split()  # noqa: SIM905  # a list of so many is harder to read
"""Patterns of variables with credentials that belong to no model provider."""

_THEIRS: Final[Mapping[str, str]] = {
    "ANTHROPIC_AUTH_TOKEN": "anthropic",
    "CLAUDE_CODE_OAUTH_TOKEN": "anthropic",
    "OPENAI_ADMIN_KEY": "openai",
    "GOOGLE_API_KEY": "gemini",
    "AZURE_API_KEY": "azure_openai",
    "GH_TOKEN": "github",
    **{row.key_env: row.id for row in reversed([*catalog.CATALOG.values()]) if row.key_env},
}
"""Providers by the variables of their keys, also as other programs call them."""

_HOSTS: Final[Mapping[str, str]] = {
    "azure_openai": r"[a-z0-9-]+\.(openai|services\.ai|cognitiveservices)\.azure\.(com|us|cn)",
    "amazon_bedrock": r"bedrock-runtime\.[a-z0-9-]+\.amazonaws\.com|bedrock-mantle\.[a-z0-9-]+\.api\.aws",
    "gemini": r"([a-z0-9-]+\.)?generativelanguage\.googleapis\.com|([a-z0-9-]+-)?aiplatform\.googleapis\.com",
    "cloudflare": r"api\.cloudflare\.com",
    "databricks": r"[a-z0-9-]+\.(cloud|gcp)\.databricks\.com|adb-[0-9.]+\.azuredatabricks\.net",
    "foundry": r"[a-z0-9-]+\.services\.ai\.azure\.com",
    "minimax": r"api\.minimaxi?\.(io|com)",
    "moonshotai": r"api\.moonshot\.(ai|cn)",
    "qwen": r"dashscope(-[a-z]+)?\.aliyuncs\.com",
    "snowflake": r"[a-z0-9_.-]+\.snowflakecomputing\.com",
    "stepfun": r"api\.stepfun\.(com|ai)",
    "zhipu": r"open\.bigmodel\.cn|api\.z\.ai",
}
"""Hosts of providers beyond that of their row and its subdomains."""

_HARMLESS: Final = frozenset(("type", "region"))
"""Keys of a sign-in that do not identify anyone."""

_SIGNS_IN: Final = (
    "trigate found this file in the current directory, and it signs in at another place or as another user"
)
_UNSENT: Final = ("client_keys", "ui_key", "metrics_key")
_DATABASE: Final = ("state_storage", "connection_string")


def check_untrusted(content: Mapping[str, Any], variables: Variables, file: FilePath, findings: Findings) -> None:
    """Report forbidden contents of a ``file`` that trigate found in the current directory, and that no user named.

    ``content`` is its content with expanded ``variables``. If the address of an entry has a mistake, that is reported
    already: the destination of its variables is unknown."""
    reported = {mistake.path for mistake in findings.mistakes}
    advice = f"if you trust this file, give it explicitly: `--config ./{file.name}`, or TRIGATE_CONFIG={file.name}"
    for use in variables.used:
        whose = _owner_of_variable(use.name)
        if whose is not None and not _may_receive(whose, use, content) and not _address_of(use) & reported:
            owner = f"a credential for {catalog.CATALOG[whose].display_name}" if whose else "a credential"
            found = (
                f"{use.name} is {owner}, and this file, which trigate found in the current directory, would send it "
                "elsewhere"
            )
            findings.wrong(use.path, found, advice)
    for place, entry in _entries(content):
        if not _may_sign_in(entry, content):
            findings.wrong((*place, "sign_in"), _SIGNS_IN, advice)
    for place in _sign_in_paths(content):
        findings.wrong(place, _SIGNS_IN, advice)
    for place, reason in _unsafe_contents(content):
        findings.wrong(place, f"trigate found this file in the current directory, and {reason}", advice)
    folder = os.path.realpath(file.parent)
    files = [(use.path, use.name, "reads a secret from outside it") for use in variables.files]
    if isinstance(audit := content.get("audit"), str) and audit != "stderr":
        # Lines of the audit quote strangers: at the end of ~/.bashrc they are commands.
        files.append((("audit",), audit, "writes a file outside it"))
    for path, name, act in files:
        if not FilePath(os.path.realpath(name)).is_relative_to(folder):
            findings.wrong(path, f"trigate found this file in the current directory, and it {act}", advice)
    for path, _ in variables.stored:
        found = "trigate found this file in the current directory, and it reads a secret from a store"
        findings.wrong(path, found, advice)


def _unsafe_contents(content: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield the places of features that the file must not use, with the reasons."""
    if content.get("features"):
        yield ("features",), "it loads code"
    for feature in imported_features():
        if feature.unsafe and feature.has_keys_in(content):
            yield from import_named(feature.unsafe)(content)


def _address_of(use: Use) -> set[str]:
    """Return the places of the address of an entry, for a variable that it uses."""
    return {spell((*use.path[:2], *key)) for key in ((), ("model",), ("base_url",))}


def _sign_in_paths(content: Mapping[str, Any]) -> Iterator[Path]:
    """Yield the paths of providers that sign in."""
    providers = content.get("providers")
    for name, own in providers.items() if isinstance(providers, dict) else ():
        if isinstance(own, dict) and own.get("sign_in") not in (None, "none"):
            yield "providers", str(name), "sign_in"


def _entries(content: Mapping[str, Any]) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the entries with their paths."""
    for key in ("model_providers", "llm_providers"):
        items = content.get(key)
        for i, item in enumerate(items if isinstance(items, list) else ()):
            if isinstance(item, dict):
                yield (key, i), item


def _may_sign_in(entry: Mapping[str, Any], content: Mapping[str, Any]) -> bool:
    """Return whether this machine's identity is sent only to its own cloud: other sign-ins may name files and
    servers."""
    given = entry.get("sign_in")
    if given in (None, "none"):
        return True
    described = set(given) - _HARMLESS if isinstance(given, dict) else set()
    wanted, url = given.get("type") if isinstance(given, dict) else given, _entry_url(entry, content)
    vendors = (name for name in SIGN_IN_MODULES if name == wanted)
    return not described and url.scheme == "https" and any(is_of_vendor(name, url.hostname or "") for name in vendors)


def _owner_of_variable(variable: str) -> str | None:
    """Return the id of the provider whose credential the variable has, "" if it is another service's, ``None`` if
    unknown."""
    if variable in _THEIRS:
        return _THEIRS[variable]
    return "" if any(fnmatchcase(variable, pattern) for pattern in _NOBODYS) else None


def _may_receive(whose: str, use: Use, content: Mapping[str, Any]) -> bool:
    """Return whether a secret goes only to its owner or stays on this machine; a database URL contains its
    destination."""
    path = use.path
    if path[0] in _UNSENT or (path == _DATABASE and use.is_whole):
        return True
    if path[0] not in ("model_providers", "llm_providers"):
        return False
    url = _entry_url(_entry_at(content, path), content)
    host = (url.hostname or "").lower()
    return is_loopback(host) or (url.scheme == "https" and bool(whose) and _is_host_of(whose, host))


def _entry_at(content: Any, path: Path) -> Mapping[str, Any]:
    entry = content[path[0]][path[1]] if len(path) > 1 else {}
    return entry if isinstance(entry, dict) else {}


def _own_description(content: Mapping[str, Any], id: str) -> Mapping[str, Any]:
    """Return the file's own description of a provider."""
    providers = content.get("providers")
    found = providers.items() if isinstance(providers, dict) else ()
    return next((own for name, own in found if id_of(str(name)) == id and isinstance(own, dict)), {})


def _entry_url(entry: Mapping[str, Any], content: Mapping[str, Any]) -> Any:
    """Return the URL of an entry, without a host if unknown."""
    name = str(entry.get("model", "")).partition("/")[0]
    given = entry.get("base_url") or _own_description(content, id_of(name)).get("base_url")
    if given is None:
        row = catalog.find(name)
        said = {name: value for name, value in entry.items() if isinstance(value, str)}
        given = (row.with_settings(said).base_url if row is not None else None) or ""
    try:
        return urlsplit(str(given))
    except ValueError:
        return urlsplit("")


def _is_host_of(provider: str, host: str) -> bool:
    if (pattern := _HOSTS.get(provider)) is not None:
        return re.fullmatch(pattern, host) is not None
    own = urlsplit(catalog.CATALOG[provider].base_url or "").hostname or ""
    return bool(own) and (host == own or host.endswith(f".{own}"))
