"""The published formats of secrets: rows with their sources, for the kind ``secrets``."""

import re
from collections.abc import Callable
from typing import Final

import attrs


@attrs.frozen(eq=False)
class SecretRow:
    """The published format of a secret.

    The secret has one of the texts ``marks``, at one of the positions ``lead``. ``is_valid`` decides about a match of
    ``pattern``. ``before`` must match the text before it. ``is_strict``: no ``-`` or ``_`` precedes it."""

    label: str
    marks: str
    pattern: str
    source: str
    is_valid: Callable[[str], bool] | None = None
    before: re.Pattern[str] | None = None
    is_strict: bool = False
    lead: tuple[int, ...] = (0,)


def _is_random(text: str) -> bool:
    """Return whether ``text`` is too irregular for words: it has digits and letters, and no character too often."""
    body = text.partition("-")[2] or text
    return len(set(body)) >= 10 and sum(one.isdigit() for one in body) >= 3 and any(one.isalpha() for one in body)


_AWS_NAME: Final = re.compile(r"(?i)(?:aws|secret)[a-z_.-]{0,24}key[a-z_.-]{0,8}[\"'\s:=>,]{1,8}\Z")

_GITHUB: Final = "https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/"
_GITLAB: Final = "https://docs.gitlab.com/security/tokens/"
_SLACK: Final = "https://docs.slack.dev/authentication/tokens/"
_AWS: Final = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html"
_GOOGLE: Final = "https://docs.cloud.google.com/docs/authentication/api-keys"
_OAUTH: Final = "https://developers.google.com/identity/protocols/oauth2"
_OPENROUTER: Final = "https://openrouter.ai/docs/guides/features/guardrails/secret-formats"
_PARTNERS: Final = (
    "https://docs.github.com/en/code-security/reference/secret-security/supported-secret-scanning-patterns"
)

ROWS: Final[tuple[SecretRow, ...]] = (
    SecretRow("anthropic_key", "sk-ant-", r"sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,}+", _OPENROUTER),
    SecretRow("openai_key", "sk-", r"sk-(?:proj|svcacct|admin|None)-[A-Za-z0-9_-]{20,}+", _OPENROUTER),
    SecretRow("openrouter_key", "sk-or-v1-", r"sk-or-v1-[0-9a-f]{32,}+", _OPENROUTER),
    SecretRow("openai_key", "sk-", r"sk-[A-Za-z0-9]{20}T3BlbkFJ[A-Za-z0-9]{20}", _OPENROUTER),
    SecretRow("api_key", "sk-", r"sk-[A-Za-z0-9_-]{24,}+",
              "https://platform.openai.com/docs/api-reference/authentication", _is_random),
    SecretRow("stripe_key", "sk_ rk_", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}+", "https://docs.stripe.com/keys"),
    SecretRow("stripe_key", "whsec_", r"whsec_[A-Za-z0-9+/=]{24,}+", "https://docs.stripe.com/webhooks"),
    SecretRow("aws_access_key", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}(?![A-Za-z0-9])", _AWS),
    SecretRow("aws_secret_key", "", r"[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=])", _AWS, before=_AWS_NAME),
    SecretRow("aws_bedrock_key", "ABSK", r"ABSK[A-Za-z0-9+/]{60,}+={0,2}",
              "https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html"),
    SecretRow("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9_.-]{36,}+", _GITHUB),
    SecretRow("github_token", "github_pat_", r"github_pat_[A-Za-z0-9_]{30,}+", _GITHUB),
    SecretRow("gitlab_token", "gl GR1348941",
              r"(?:gl(?:pat|rt|rtr|cbt|ptt|dt|soat|imt|agent|ft|oas|wt|ffct)-|GR1348941)[A-Za-z0-9_.-]{20,}+", _GITLAB),
    SecretRow("google_api_key", "AIza", r"AIza[A-Za-z0-9_-]{35}(?![A-Za-z0-9_-])", _GOOGLE),
    SecretRow("google_oauth_secret", "GOCSPX-", r"GOCSPX-[A-Za-z0-9_-]{20,}+", _OAUTH),
    SecretRow("google_oauth_token", "ya29.", r"ya29\.[A-Za-z0-9_-]{20,}+", _OAUTH),
    SecretRow("slack_token", "xox", r"xox[abeoprs](?:\.xox[bp])?-[A-Za-z0-9-]{10,}+", _SLACK),
    SecretRow("slack_token", "xapp-", r"xapp-\d-[A-Za-z0-9-]{20,}+", _SLACK),
    SecretRow("slack_webhook", "hooks.slack.com/",
              r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/_-]{20,}+",
              "https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks/"),
    SecretRow("npm_token", "npm_", r"npm_[A-Za-z0-9]{36,}+",
              "https://github.blog/changelog/2021-09-23-npm-has-a-new-access-token-format/"),
    SecretRow("pypi_token", "pypi-AgE", r"pypi-AgE[A-Za-z0-9_-]{50,}+", "https://pypi.org/help/#apitoken"),
    SecretRow("huggingface_token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z]{34,}+",
              "https://huggingface.co/docs/hub/security-tokens"),
    SecretRow("azure_client_secret", "Q~", r"[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}(?![A-Za-z0-9_~.-])",
              "https://learn.microsoft.com/en-us/purview/sit-defn-azure-ad-client-secret", lead=(4,)),
    SecretRow("azure_storage_key", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{86}==",
              "https://learn.microsoft.com/en-us/azure/storage/common/storage-configure-connection-string"),
    SecretRow("azure_key", "SharedAccessKey=", r"SharedAccessKey=[A-Za-z0-9+/]{43}=",
              "https://learn.microsoft.com/en-us/azure/service-bus-messaging/service-bus-sas"),
    SecretRow("sendgrid_key", "SG.", r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}",
              "https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys"),
    SecretRow("twilio_key", "SK", r"SK[0-9a-f]{32}(?![A-Za-z0-9])", "https://www.twilio.com/docs/iam/api-keys"),
    SecretRow("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", r"do[opr]_v1_[0-9a-f]{64}", _PARTNERS),
    SecretRow("databricks_token", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?(?![A-Za-z0-9])", _PARTNERS),
    SecretRow("shopify_token", "shpat_ shpca_ shppa_ shpss_ shptka_",
              r"shp(?:at|ca|pa|ss|tka)_[0-9a-fA-F]{32}", _PARTNERS),
    SecretRow("groq_key", "gsk_", r"gsk_[A-Za-z0-9]{32,}+", _PARTNERS),
    SecretRow("xai_key", "xai-", r"xai-[A-Za-z0-9]{60,}+", _PARTNERS),
    SecretRow("perplexity_key", "pplx-", r"pplx-[A-Za-z0-9]{40,}+", _PARTNERS),
    SecretRow("replicate_token", "r8_", r"r8_[A-Za-z0-9]{30,}+", _PARTNERS),
    SecretRow("fireworks_key", "fw_", r"fw_[A-Za-z0-9]{20,}+", _PARTNERS, _is_random),
    SecretRow("nvidia_key", "nvapi-", r"nvapi-[A-Za-z0-9_-]{50,}+", _PARTNERS),
    SecretRow("langfuse_key", "sk-lf-", r"sk-lf-[0-9a-f-]{36}", "https://langfuse.com/docs"),
    SecretRow("langsmith_key", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f_]{32,}+", _PARTNERS),
    SecretRow("vault_token", "hvs. hvb. hvr.", r"hv[bsr]\.[A-Za-z0-9_-]{24,}+",
              "https://developer.hashicorp.com/vault/docs/concepts/tokens"),
    SecretRow("terraform_token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}+",
              "https://developer.hashicorp.com/terraform/cloud-docs/users-teams-organizations/api-tokens", lead=(14,)),
    SecretRow("doppler_token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9_.-]{40,}+", _PARTNERS),
    SecretRow("grafana_token", "glsa_ glc_", r"gl(?:sa|c)_[A-Za-z0-9+/=_]{32,}+", _PARTNERS),
    SecretRow("sentry_token", "sntrys_ sntryu_", r"sntry[su]_[A-Za-z0-9+/=_]{60,}+", _PARTNERS),
    SecretRow("atlassian_token", "ATATT3", r"ATATT3[A-Za-z0-9_=+/-]{100,}+", _PARTNERS),
    SecretRow("linear_key", "lin_api_ lin_oauth_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}+", _PARTNERS),
    SecretRow("notion_token", "ntn_ secret_", r"(?:ntn_|secret_)[A-Za-z0-9]{43,}+",
              "https://developers.notion.com/reference/authentication"),
    SecretRow("figma_token", "figd_", r"figd_[A-Za-z0-9_-]{40,}+", _PARTNERS),
    SecretRow("postman_key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}", _PARTNERS),
    SecretRow("dockerhub_token", "dckr_pat_ dckr_oat_", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}+",
              "https://docs.docker.com/security/access-tokens/"),
    SecretRow("telegram_token", ":AA", r"[0-9]{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])",
              "https://core.telegram.org/bots/api#authorizing-your-bot", lead=(10, 9, 8)),
    SecretRow("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}", "https://age-encryption.org/v1"),
    SecretRow("jwt", "eyJ", r"eyJ[A-Za-z0-9_-]{10,}+\.eyJ[A-Za-z0-9_-]{5,}+\.[A-Za-z0-9_-]{10,}+",
              "https://www.rfc-editor.org/rfc/rfc7519", is_strict=True),
)  # fmt: skip
"""The formats, of several that match the first one."""
