"""Advice on unknown keys about people, and on other gateways' spellings of theirs."""

from typing import Final

from gateway.config.parts import Absent, Instead
from gateway.config.settings import Config
from gateway.features.people.settings import AdmitRule, TrustedIssuer

ADVICE: Final = (
    Instead("write it as `role`: `user`, `lead`, `auditor` or `admin`",
            "admin roles scope scopes permissions", (AdmitRule,)),
    Instead("write it as `issuers`: `[{name: okta, issuer: URL, audience: [trigate], admit: […]}]`",
            "sso oidc oauth oauth2 jwt jwt_auth idp identity_provider identity_providers issuer login", (Config,),
            words="oidc jwt sso"),
    Instead("put a provider such as Dex or Keycloak between, and write that as `issuers`", "saml ldap", (Config,)),
    Instead("write it as `issuer`, the exact `iss` of its tokens", "iss url issuer_url", (TrustedIssuer,)),
    Instead("write it as `jwks`", "jwks_uri jwks_url keys key_set public_key", (TrustedIssuer,)),
    Instead("write it as `audience`, a list", "aud audiences", (TrustedIssuer,)),
    Instead("write them as `admit`, a list of `{when: …, group: …}`", "rules policies mappings roles groups allow",
            (TrustedIssuer,)),
    Instead("trigate does not introspect opaque tokens: configure the issuer to send signed access tokens (JWT), or "
            "let people sign in with `login`", "introspection introspection_url", (TrustedIssuer,)),
    Instead("write it in `login`", "client_id client_secret scopes scope params", (TrustedIssuer,)),
    Instead("write it in `claims`", "name_claim username_claim groups_claim label email groups", (TrustedIssuer,)),
    Instead("write it as `when`, a mapping of claims to values", "if match claims condition conditions", (AdmitRule,)),
    Instead("write it as `group`, with the name of one of `client_groups`", "team team_id teams groups", (AdmitRule,)),
    Absent(
        "User accounts",
        "people sign in with the identity provider in `issuers`, and other clients have keys, from `client_keys` or "
        "`trigate keys`",
        "users user organizations governance virtual_keys customers rbac roles permissions admin_key custom_auth",
        (Config,),
    ),
)  # fmt: skip
