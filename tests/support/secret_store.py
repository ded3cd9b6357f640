"""Secret stores for tests on one real socket: Vault (KV version 2, the sign-in of Kubernetes, tokens) as its API
documentation states it (https://developer.hashicorp.com/vault/api-docs), and AWS Secrets Manager, which verifies
signatures.

```python
with open_stores() as stores:
    stores.secrets["secret/trigate"] = {"openai": "sk-1"}      # a path of Vault, and an id of AWS
    stores.down = 503                                          # the status of every response during an outage
    stores.revoke_tokens()                                     # all tokens of Vault
```
"""

import contextlib
import json
import secrets
import time
from collections.abc import Iterator
from typing import Any, Final

from tests.support.aws_signature import fault_of
from tests.support.http_servers import QuietHandler, http_server

ROLE: Final = "trigate"
POD_TOKEN: Final = "pod.jwt.signature"
FIXED_TOKEN: Final = "hvs.fixed-token-of-the-operator"
AWS_KEYS: Final = {"AKIAOWNOWNOWNOWNOWN1": "own/secret/of+the+machine"}
AWS_ENV: Final = {
    "AWS_ACCESS_KEY_ID": "AKIAOWNOWNOWNOWNOWN1",
    "AWS_SECRET_ACCESS_KEY": "own/secret/of+the+machine",
    "AWS_REGION": "eu-central-1",
    "AWS_DEFAULT_REGION": "eu-central-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NAMESPACE: Final = "team-a"


class SecretStoreServer:
    """The state of the stores. ``lease`` is the lifetime of Vault's tokens in seconds; ``calls`` are the paths.

    With ``echoes``, errors while it is ``down`` repeat the credential of the request."""

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        self.created = time.time() - 86400
        self.deleted: set[str] = set()
        self.down = 0
        self.echoes = False
        self.lease = 3600
        self.renewable = True
        self.namespace: str | None = None
        self.calls: list[str] = []
        self._tokens: dict[str, float] = {FIXED_TOKEN: float("inf")}
        self.url = ""

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    def count(self, path: str) -> int:
        return self.calls.count(path)

    def reply(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Return the status and the object of the response to a request."""
        self.calls.append(path)
        if self.down and self.echoes:
            return self.down, {"errors": [f"refused: {headers.get('x-vault-token', '')} {body.decode()}"]}
        if self.down:
            return self.down, {"errors": ["the store is sealed"]}
        if "x-amz-target" in headers:
            return self._reply_as_aws(method, path, headers, body)
        if self.namespace is not None and headers.get("x-vault-namespace") != self.namespace:
            return 404, {"errors": ["no handler for route"]}
        content = json.loads(body) if body else {}
        if path == "/v1/auth/kubernetes/login":
            if content != {"role": ROLE, "jwt": POD_TOKEN}:
                return 403, {"errors": ["permission denied"]}
            return 200, {"auth": self._issue("hvs." + secrets.token_hex(16))}
        token = headers.get("x-vault-token", "")
        if self._tokens.get(token, 0) < time.monotonic():
            return 403, {"errors": ["permission denied"]}
        if path == "/v1/auth/token/renew-self":
            return 200, {"auth": self._issue(token)}
        if path == "/v1/auth/token/lookup-self":
            return 200, {"data": {"ttl": self.lease, "renewable": self.renewable}}
        mount, _, rest = path.removeprefix("/v1/").partition("/data/")
        return self._read_version(f"{mount}/{rest}")

    def _issue(self, token: str) -> dict[str, Any]:
        self._tokens[token] = time.monotonic() + self.lease
        return {"client_token": token, "lease_duration": self.lease, "renewable": self.renewable}

    def _read_version(self, name: str) -> tuple[int, Any]:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S.123456789Z", time.gmtime(self.created))
        metadata = {"created_time": stamp, "deletion_time": "", "destroyed": False, "version": 1}
        if name in self.deleted:
            return 404, {"data": {"data": None, "metadata": {**metadata, "deletion_time": stamp}}}
        if name not in self.secrets:
            return 404, {"errors": []}
        return 200, {"data": {"data": self.secrets[name], "metadata": metadata}}

    def _reply_as_aws(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        scope = AWS_ENV["AWS_REGION"], "secretsmanager"
        if fault := fault_of(method, path, headers, body, AWS_KEYS, scope):
            return 400, {"__type": f"com.amazon.coral.service#{fault}", "message": "refused"}
        id = json.loads(body)["SecretId"]
        if id not in self.secrets:
            kind = "com.amazonaws.secretsmanager#ResourceNotFoundException"
            return 400, {"__type": kind, "Message": "Secrets Manager can't find the specified secret."}
        return 200, {"Name": id, "SecretString": json.dumps(self.secrets[id]), "CreatedDate": self.created}


@contextlib.contextmanager
def open_stores() -> Iterator[SecretStoreServer]:
    """Serve the stores until the end of the block."""
    state = SecretStoreServer()

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, value = state.reply(self.command, self.path, headers, self.read_body())
            self.respond(status, json.dumps(value).encode())

        do_POST = do_GET

    with http_server(Handler) as host:
        state.url = f"http://{host}"
        yield state
