"""The meaning of each key of a configuration, for the page of keys (``docs/configuration.md``) and for the JSON Schema
that editors read. Which keys there are and what each may hold is ``gateway/config/schema.py``'s; a test keeps the two
together.
"""

from collections.abc import Mapping

import attrs

from gateway.config.schema import (
    RawAcceptedKey,
    RawAlias,
    RawAnswerCache,
    RawAwsSignIn,
    RawAzureSignIn,
    RawCacheUse,
    RawCircuit,
    RawClientGroup,
    RawClientKey,
    RawClientLimits,
    RawConfig,
    RawCounters,
    RawEmbeddings,
    RawEndpoint,
    RawEntry,
    RawEntryPreference,
    RawGoogleSignIn,
    RawHedge,
    RawImages,
    RawKeptLedger,
    RawLegacyListeners,
    RawLimits,
    RawListener,
    RawListenerTls,
    RawMetrics,
    RawOverrides,
    RawPreference,
    RawPrice,
    RawProvider,
    RawQueue,
    RawRateLimits,
    RawRealtime,
    RawRealtimeGrant,
    RawRetries,
    RawRootLimit,
    RawRouteTarget,
    RawSelectionPolicy,
    RawSelector,
    RawStateStorage,
    RawTierPrice,
    RawTimeouts,
    RawTokenLimit,
    RawTokenPrice,
    RawTracing,
    RawTraffic,
)
from providers.neutral.quirks import Quirks


@attrs.frozen
class Key:
    """Both in Markdown. ``default`` is ``required`` for a key that has to be given; in backticks it is a value."""

    meaning: str
    default: str = ""


_AS_WITHOUT_TIER = Key("As in [price](#price).", "as in no tier")

KEYS: Mapping[type, Mapping[str, Key]] = {
    RawConfig: {
        "version": Key(
            "`v0.3.0` or `v0.4.0`; the older `v0.1`, `v0.1.0`, `0.1-beta` and `0.2.0` too. It selects nothing: all "
            "of them have the same keys.",
            "required",
        ),
        "listeners": Key("Where to listen; see [below](#listeners).", "one on 127.0.0.1:12000"),
        "model_providers": Key("The models and how to reach them; see [below](#model_providers).", "required"),
        "providers": Key(
            "Providers that trigate does not know, and changes to those that it does; see [below](#providers).",
            "none",
        ),
        "llm_providers": Key("The older name of `model_providers`. Only one of the two may be given."),
        "model_aliases": Key(
            "Names of your own for models, and for several that stand in for one another; see [below](#model_aliases).",
            "none",
        ),
        "routing_preferences": Key("Plano's way to write routes; see [below](#routing_preferences).", "none"),
        "retries": Key(
            "How often and how long providers are asked for one request; see [below](#retries).",
            "for names with several targets alone",
        ),
        "circuit": Key("When a target is left alone; see [below](#circuit)."),
        "client_routing": Key(
            "The forms in which clients may say in a body where their request goes: `openrouter`, `vercel`, `litellm`.",
            "none",
        ),
        "unpriced": Key(
            "Whether a model without a price is asked where a budget limits money: `refuse`, or `allow` as if it cost "
            "nothing; see [costs](costs.md#models-without-a-price).",
            "`refuse`",
        ),
        "client_keys": Key("Who may come in, and what for; see [below](#client_keys).", "everybody may come in"),
        "stored_keys": Key(
            "Let in who shows a key that `trigate keys` has made, too, which keeps them in the state storage. Then "
            "everybody needs a key, also before there is one; see [below](#stored_keys).",
            "`false`",
        ),
        "ratelimits": Key(
            "The [rates](#ratelimits) that all clients share, with a key or without, such as `{requests: 600/m, "
            "concurrent: 20}`. A list is Plano's way to limit tokens by a header; see [below](#limits-by-a-header).",
            "none",
        ),
        "budgets": Key(
            "What all clients together may spend, with a key or without, such as `[5 usd/day]`; see [below](#budgets).",
            "none",
        ),
        "client_groups": Key("What holds for several clients; see [below](#client_groups).", "none"),
        "open": Key(
            "Let everybody in who can connect, from other machines too. Without it `trigate serve` refuses to listen "
            "beyond this machine where there are neither `client_keys` nor `stored_keys` nor a listener's "
            "`tls.client_ca`.",
            "`false`",
        ),
        "state_storage": Key(
            "Where responses, conversations and threads are kept; see [below](#state_storage).",
            "in memory",
        ),
        "signing_key": Key(
            "32 bytes in base64 (`openssl rand -base64 32`) that sign the ids of [files](files.md) and of whatever "
            "else providers keep for clients. Of a list the first key signs, and all of them are believed. Without it "
            "ids are signed with a secret made from the provider's key, and end when that changes.",
            "made from the provider's key",
        ),
        "public_url": Key(
            "Where clients reach the gateway, such as `https://llm.example`: the beginning of the addresses in answers "
            "that clients go on with, such as those of uploads.",
            "what the client dialled (`Host`)",
        ),
        "counters": Key(
            "Where rates, requests at once and budgets are counted; see [below](#counters).",
            "in memory, for all workers of this machine",
        ),
        "cache": Key(
            "Where the answers are kept that are given again, and how many; see [below](#cache).",
            "in memory, and of those names and clients alone that say `cache`",
        ),
        "timezone": Key(
            "Where the hours, days, weeks and months of [budgets](#budgets) begin: a name such as `Europe/Berlin`.",
            "`UTC`",
        ),
        "reserve": Key(
            "How much of a budget a request has to find there before it is sent. `expected`: what an answer like it is "
            "likely to cost; `max`: what the longest answer would.",
            "`expected`",
        ),
        "charge_undelivered": Key(
            "Whether budgets pay for answers that no client got a word of, as providers do. `false` is for those who "
            "resell.",
            "`true`",
        ),
        "metrics": Key("Whether there is `/metrics`, and for whom; see [below](#metrics).", "`true`"),
        "tracing": Key("Where traces go; see [below](#tracing).", "as the environment says"),
        "cors": Key(
            "The web pages that may call from a browser: origins such as `https://app.example`, or `*` for all; see "
            "[below](#browsers).",
            "none",
        ),
        "hosts": Key(
            "The names by which clients call the gateway, as `Host` has them without a port. Where it is given every "
            "other name is a 403 (addresses and, on loopback, `localhost` stay good); see [below](#browsers).",
            "none: on loopback without `client_keys` local names only, else any",
        ),
        "audit": Key(
            "Where the [audit](log.md#audit) goes: `stderr`, or the path of a file, which is made so that its owner "
            "alone may read it, and made anew where it was moved away.",
            "refused keys and pages alone, as warnings in the log",
        ),
        "trusted_proxies": Key(
            "The proxies whose `X-Forwarded-For` is believed: addresses, networks such as `10.0.0.0/8`, and `unix` for "
            "peers on a Unix socket. The last address in it that is none of theirs is the client's, in the "
            "[log](log.md) and wherever something is counted by address.",
            "none",
        ),
        "timeouts": Key("Limits on the silence of providers; see [below](#timeouts)."),
        "limits": Key("Sizes, and how much at once; see [below](#limits)."),
        "overrides": Key("Plano's place for a few settings; see [below](#overrides)."),
        "drain": Key(
            "How long answers under way may go on after SIGTERM; then their clients get an error event.",
            "`25s`",
        ),
        "write_timeout": Key(
            "How long a client may leave what it was sent unacknowledged before it is cut. One that reads slowly, "
            "but reads, is not cut.",
            "`30s`",
        ),
        "drain_delay": Key(
            "How long to go on accepting requests after SIGTERM, while `/readyz` says 503: the time that a load "
            "balancer needs to notice.",
            "`0`",
        ),
        "keep_alive": Key("The longest silence towards a client; a ping, or a comment, is sent then.", "`15s`"),
        "websocket_idle": Key(
            "How long a websocket stays open while nothing is asked on it; then it is closed (1001), and its client "
            "connects again.",
            "`10m`",
        ),
        "strict": Key(
            "Refuse (400) a request of which something cannot be carried to the provider that may change the answer, "
            "and name it. Hints, such as cache marks and user ids, are dropped all the same and named in "
            "`x-trigate-dropped`. The header `x-trigate-strict: 1` or `0` decides for one request.",
            "`false`",
        ),
        "websocket": Key(
            "Serve `/v1/responses` over a WebSocket too, as Codex asks for it. Where it is off an upgrade is a 426, "
            "upon which Codex goes on over HTTP.",
            "`true`",
        ),
        "ui": Key(
            "Serve the [live view](ui.md) at `/ui`: without a key on this machine alone, elsewhere with one.", "`true`"
        ),
        "ui_key": Key(
            "The key that shows everything in the live view. Holders of `client_keys` see their own exchanges there.",
            "none",
        ),
        "metrics_key": Key(
            "The key that reads [`/metrics`](metrics.md#who-may-read-it) and `/readyz?verbose`, which show what all "
            "clients do and spend. The holder of `ui_key` may read them too. With neither of the two keys every client "
            "key without `models` may, and `trigate check` warns of it.",
            "none",
        ),
        "ui_keep": Key(
            "Keep in memory what passed in the last streams, 16 MiB at most, so that the live view can open those that "
            "have ended. Prompts are kept with `ui_prompts` alone.",
            "`true`",
        ),
        "ui_prompts": Key(
            "Keep the bodies of the last requests in memory, too, 8 MiB at most, so that the live view shows them "
            "where a request is opened: to the operator those of all clients, to a client its own.",
            "`false`",
        ),
        "log_level": Key(
            "The least that is logged: `debug`, `info`, `warning` or `error`. Exchanges are `info`. `--log-level` "
            "outranks it.",
            "`info`",
        ),
    },
    RawListener: {
        "type": Key("Only `model` is served.", "`model`"),
        "name": Key("For people.", "`models`"),
        "address": Key(
            "A name, an IPv4 or an IPv6 address; `0.0.0.0` for all IPv4 addresses, `::` for all.",
            "`127.0.0.1`",
        ),
        "port": Key("", "`12000`"),
        "socket": Key("The path of a Unix socket, in place of `address` and `port`."),
        "mode": Key("The permissions of that socket: who may open it may come in.", '`"0600"`: this user alone'),
        "tls": Key("HTTPS; see [below](#tls).", "plain HTTP"),
        "proxy_protocol": Key(
            "A proxy in front says in the PROXY protocol, version 1 or 2, whose connection it is: that address stands "
            "in the log. A connection without that header is closed.",
            "`false`",
        ),
        "timeout": Key(
            "For the first byte of an answer, and for any silence after it; never for a whole answer. Short for "
            "`first_byte` and `idle` in [timeouts](#timeouts); all model listeners share one value.",
        ),
        "max_retries": Key(
            "Plano's name for further attempts: one less than `attempts` in [retries](#retries), which outranks it. "
            "All model listeners share one value.",
            "`0`",
        ),
        "http2": Key(
            "`false`: clients that begin in HTTP/2 without TLS (“prior knowledge”) get a 505 in HTTP/1.1. Programs and "
            "SDKs speak HTTP/1.1 there, unless they are told otherwise.",
            "`true`",
        ),
        "serves": Key(
            "`health`: only `/healthz`, `/readyz` and their like are answered here, anything else is a 404; "
            "connections are not counted in `limits.connections`. For an orchestrator's probes, on their own port.",
            "`all`",
        ),
    },
    RawListenerTls: {
        "certificate": Key(
            "The file of the certificate, in PEM, followed by those that lead to its root.", "required"
        ),
        "key": Key("The file of its key, in PEM, without a passphrase.", "the certificate's file"),
        "client_ca": Key(
            "A file of roots: every client must show a certificate that comes from one of them.",
            "no client is asked for one",
        ),
    },
    RawEntry: {
        "model": Key(
            "`provider/model id`, or `provider/*` for all models of a provider. Everything after the first slash "
            "goes to the provider as it is.",
            "required",
        ),
        "name": Key(
            "The name in `GET /v1/models`; unique. One provider may stand in the list several times under different "
            "names.",
            "the value of `model`",
        ),
        "access_key": Key(
            "The provider's key. Without it, and without `passthrough_auth` and `sign_in`, no credential is sent.",
            "none",
        ),
        "sign_in": Key(
            "In place of a key: requests are from this machine's own identity at a cloud, or from one that is "
            "described. `aws`, `google`, `azure`, or a mapping with one of them as its `type`; `none` for nobody. See "
            "[sign_in](#sign_in) and [signing in](sign-in.md).",
            "that of the provider's cloud, where its own address is asked without a key",
        ),
        "passthrough_auth": Key(
            "Send the client's own key in place of `access_key`: the token of its `Authorization: Bearer`, else its "
            "`x-api-key` or `x-goog-api-key`. In the provider's own API it keeps its header; a login's token is always "
            "a Bearer. See [subscriptions](subscriptions.md).",
            "`false`",
        ),
        "passthrough": Key(
            "Serve any path of the provider's below `/NAME/…`, NAME being the entry's name, or the provider's where "
            "one entry of it passes through: with this entry's credential, and with everything that holds for other "
            "requests. See [pass-through](endpoints.md#pass-through).",
            "`false`",
        ),
        "default": Key(
            "Serves requests that name no model, at the endpoints of the model's `type`. At most one of each type; not "
            "a wildcard.",
            "`false`",
        ),
        "base_url": Key(
            "`http(s)://host[:port][/prefix]`. A path replaces the provider's own prefix (such as `/v1`); a query is "
            "kept, and its values masked as `access_key` is, but for versions (`api-version`). An address for "
            "Anthropic's SDKs works as it is: the gateway adds `/v1` to `…/anthropic`, and to any path on an entry of "
            "`anthropic`, of its interface or with `speaks: [messages]`.",
            "the provider's",
        ),
        "region": Key("Amazon Bedrock: the region, such as `us-east-1`. An ARN as the model id says its own."),
        "project": Key("Vertex AI: the project."),
        "location": Key("Vertex AI: the location, such as `global` or `europe-west1`."),
        "http_host": Key("The `Host` header. The TLS name stays that of the URL.", "the URL's host"),
        "provider_interface": Key(
            "For a provider that trigate does not know: the known one that it behaves like.",
            "`openai`'s Chat",
        ),
        "headers": Key("Set on every request to the provider, over anything else.", "none"),
        "pass_headers": Key(
            "Headers that pass between client and provider, in both directions, beside those that always do; with a "
            "`*` at the end all that begin so. See [what passes](#what-passes).",
            "none",
        ),
        "speaks": Key(
            "The APIs that it is asked in: `chat`, `messages`, `responses`, `gemini`, `converse`; [speaks](#speaks).",
            "the provider's",
        ),
        "quirks": Key("How it departs from its API; see [quirks](#quirks).", "the provider's"),
        "timeouts": Key("As [timeouts](#timeouts), for this entry only.", "the root's"),
        "on_disconnect": Key(
            "When the client leaves: close the provider's connection at once, so that it stops generating; or read "
            "its answer to the end, so that the log line has all of its tokens. `finish` ends with `total` of "
            "[timeouts](#timeouts) (60 s where there is none), with the limit of `answer` in [limits](#limits) and "
            "with the drain.",
            "`cancel`",
        ),
        "state": Key(
            "Who keeps the responses that clients go on from: trigate, in [state_storage](#state_storage), or the "
            "provider. `upstream` where the provider keeps them and is asked in Responses (`openai`), else `ours`. "
            "`upstream` is a mistake where Responses clients are translated for.",
            "by the provider",
        ),
        "usage": Key(
            "Streamed Chat: `counted` asks the provider for the tokens of an answer (`stream_options.include_usage`) "
            "where the client does not, and takes the chunk that this adds out again; `as_asked` leaves the request "
            "alone, and the log has an estimate. A provider that trigate does not know, without a "
            "`provider_interface`, is asked only with `quirks: {stream_usage: true}`.",
            "`counted`",
        ),
        "type": Key(
            "What the model is for: lists of models say it (`GET /v1/models`, with `?type=`), and a request for "
            "moderations, rerank or pictures that names no model means the one entry that is made for it.",
            "by the model's name, else `chat`",
        ),
        "retries": Key("As [retries](#retries), for requests that name this entry.", "the root's"),
        "circuit": Key("As [circuit](#circuit), for this entry only.", "the root's"),
        "routing_preferences": Key(
            "Plano's older way to write routes, as a list of `{name: …}`: the entries under which one name stands are "
            "the targets of a route of this name, in the order of the file. See [below](#routing_preferences).",
            "none",
        ),
        "ratelimits": Key(
            "What this place bears, for all clients together; a wildcard's are for all of its models. Of several "
            "targets one that is full is passed over. See [ratelimits](#ratelimits).",
            "no limit",
        ),
        "queue": Key(
            "Requests wait here for a place of `ratelimits`, before they go on to the next target; see "
            "[queue](#queue).",
            "`0`: none",
        ),
        "probe": Key(
            "A path of a server of your own, such as `/health`, that is asked every 5 seconds: while it fails the "
            "server is left alone.",
            "none",
        ),
        "endpoints": Key(
            "What it has beside conversations, where that is not as the [table](endpoints.md) says: "
            "`{embeddings: /embed, rerank: false}`; see [endpoints](#endpoints).",
            "as the provider has them",
        ),
        "embeddings": Key("How it takes [embeddings](#embeddings), where that is not known.", "as the provider does"),
        "realtime": Key(
            "The limits of [realtime sessions](realtime.md) there, such as `{max_session: 30m}`; see "
            "[below](#realtime).",
            "as the provider has them",
        ),
        "images": Key("How it answers with [pictures](endpoints.md#images).", "as the provider does"),
        "budgets": Key(
            "What may be spent there, such as `[10 usd/day, 100 usd/month]`; see [below](#budgets). Once one is used "
            "up the place is passed over, and the next target is asked.",
            "none",
        ),
        "price": Key(
            "What its tokens cost, in dollars for a million of them; see [price](#price). `free` for what costs "
            "nothing: a server of your own; `subscription` for what a [plan](subscriptions.md) pays for.",
            "that of the [list of prices](costs.md#prices)",
        ),
    },
    RawImages: {
        "inline": Key(
            "`true`: pictures that the provider gives the address of are fetched, without any credential, and stand in "
            "the answer as `b64_json`. For clients that would ask those addresses with the gateway's key, as Open "
            "WebUI does.",
            "`false`",
        ),
    },
    RawEmbeddings: {
        "inputs": Key("How many texts it takes at once. A longer list is cut, and the answers are joined.", "no limit"),
        "tokens": Key("How many tokens it takes at once, of all texts together. They are estimated.", "no limit"),
        "split": Key("`false`: a list is never cut, and the provider judges its length.", "`true`"),
        "token_arrays": Key(
            "`true`: the model takes token ids as input, which have to be of its own vocabulary. LangChain and other "
            "clients send ids of OpenAI's vocabulary. A model with another one reads other words in them.",
            "`true` for models that are called `text-embedding-3-…` or `text-embedding-ada-…`, and at the addresses "
            "of OpenAI and Azure; else `false`",
        ),
        "base64": Key(
            "`false`: it is not asked for base64. Clients that want it get it all the same, made from its numbers. A "
            "refusal is learned from, too.",
            "`true`",
        ),
        "input_type": Key(
            "What texts are embedded for, where a client does not say it and the provider has a word for it: `query`, "
            "`document`, `classification`, `clustering` or `similarity`.",
            "`document` where it is required",
        ),
        "dimensions": Key("How long vectors are, where a client does not say it.", "the model's own length"),
    },
    RawRealtime: {
        "idle": Key("The longest silence of both sides together.", "`websocket_idle`"),
        "max_session": Key("How long one stays open at most.", "as long as the provider lets it"),
    },
    RawRealtimeGrant: {
        "client_secrets": Key(
            "`POST /v1/realtime/client_secrets`: a credential of the provider that lives for minutes, for a browser. "
            "Whoever has it talks to the provider unseen.",
            "`false`",
        ),
        "calls": Key(
            "`POST /v1/realtime/calls`: a call over WebRTC, whose sound goes past the gateway, and what is done with "
            "it.",
            "`false`",
        ),
    },
    RawEndpoint: {
        "path": Key(
            "A path behind `base_url` as it is written there, or a whole URL; `{model}` stands for the model's id.",
            "the provider's",
        ),
        "shape": Key("In whose form bodies are there: `openai`, `cohere`, `jina`, `tei`, …", "the provider's"),
    },
    RawProvider: {
        "base_url": Key("Its address, as on an entry.", "the known one's; else each entry gives it"),
        "provider_interface": Key(
            "The known provider that it behaves like. With it nothing is left of a known provider of its own name.",
            "`openai`'s Chat",
        ),
        "speaks": Key("The APIs that it is asked in, as [on an entry](#speaks).", "the known one's, else `[chat]`"),
        "paths": Key(
            "By API the whole path on its host, where that is not the usual one: `{messages: /anthropic/v1/messages}`. "
            "`{model}` stands for the model's id.",
        ),
        "auth": Key(
            "The header for its key: `bearer`, or the name of another; also by API: `{messages: x-api-key}`.",
            "as the API has it",
        ),
        "sign_in": Key("As [on an entry](#sign_in), for entries that have neither their own nor a key.", "none"),
        "headers": Key("Headers of all of its entries; an entry's own come first.", "none"),
        "quirks": Key("What is different about its APIs; see [quirks](#quirks).", "the known one's"),
        "endpoints": Key("As [on an entry](#endpoints), for all of its entries.", "the known one's, else OpenAI's"),
        "families": Key("Shell patterns of the ids of its models, by which a bare name finds `NAME/*`.", "none"),
        "models": Key("Ids that `GET /v1/models` lists of `NAME/*`, the most able first.", "none"),
        "display_name": Key("What people call it.", "its name"),
    },
    RawAlias: {
        "target": Key("A `name`, a `provider/model id` or a bare model id of the list above."),
        "targets": Key(
            "In place of `target`: several of these, asked in this order until one answers; see [targets](#targets)."
        ),
        "default": Key(
            "Serves requests that name no model, as an entry's `default` does; one of both for each `type`.", "`false`"
        ),
        "balance": Key(
            "Which one of a group is asked: the one with the fewest open answers, each by its `weight`, the one whose "
            "answers begin soonest, or the one that costs least.",
            "`least_busy`",
        ),
        "sticky": Key(
            "Whether the turns of a conversation stay with the one of a group that has them in its prompt cache: "
            "`auto` goes by what clients send anyway, the name of a header by that header's value.",
            "`auto`",
        ),
        "first_content": Key(
            "How long a streamed answer may go without content while there is another target; then that is asked.",
            "no limit of its own",
        ),
        "hedge": Key("Ask the next target as well when the first one is slow; see [hedge](#hedge).", "never"),
        "retries": Key("As [retries](#retries), for this name only.", "the root's"),
        "cache": Key(
            "Give the same answer to the same request again; see [below](#of-a-name-or-a-client).", "never"
        ),
    },
    RawCacheUse: {
        "ttl": Key("How long an answer is given again.", "required"),
        "scope": Key(
            "Who shares an answer: the requests of one client key, of its group (its own where it has none), or of all "
            "keys for which the cache is used with `all`.",
            "`key`",
        ),
        "strict": Key(
            "Let requests share no answer that differ in anything they say: not in `stream`, `user`, `metadata` and "
            "the other members which [no answer depends on](caching.md#what-counts-as-the-same-request).",
            "`false`",
        ),
        "when": Key(
            "`deterministic`: only requests that say `temperature: 0` are answered from the cache.", "`always`"
        ),
        "pace": Key(
            "Whether a cached stream comes at once (`none`), or with the pauses in which it came first (`recorded`).",
            "`none`",
        ),
    },
    RawAwsSignIn: {
        "type": Key("`aws`. It needs `pip install 'trigate[aws]'`.", "required"),
        "region": Key(
            "Where requests go whose address and whose model (an ARN) do not say it.",
            "the entry's own, or as AWS's chain says",
        ),
        "service": Key(
            "The name that is signed for, at an address of your own: `bedrock`, `bedrock-mantle`.",
            "as the address says",
        ),
        "profile": Key("The profile of AWS's shared files to begin with.", "`AWS_PROFILE`, or AWS's chain"),
        "role_arn": Key("A role that is assumed with the credentials that were found.", "none"),
        "external_id": Key("What the role asks for from others' accounts.", "none"),
        "session_name": Key("The name of the role's sessions, which AWS's logs show.", "`trigate`"),
        "access_key_id": Key("Keys of your own, in place of AWS's chain.", "AWS's chain"),
        "secret_access_key": Key("Goes with `access_key_id`.", "none"),
        "session_token": Key("Goes with `access_key_id`, where that ends.", "none"),
    },
    RawGoogleSignIn: {
        "type": Key("`google`. It needs `pip install 'trigate[google]'`.", "required"),
        "credentials_file": Key(
            "A service account's key, or the configuration of a workload identity pool.",
            "application-default credentials",
        ),
        "scopes": Key("What tokens are for.", "`https://www.googleapis.com/auth/cloud-platform`"),
    },
    RawAzureSignIn: {
        "type": Key("`azure`. It needs `pip install 'trigate[azure]'`.", "required"),
        "identity": Key(
            "`managed` for a managed identity, `workload` for that of a Kubernetes pod, `default` for all that "
            "azure-identity tries in turn.",
            "`default`",
        ),
        "tenant_id": Key("The directory of `client_secret` or of a workload's identity.", "`AZURE_TENANT_ID`"),
        "client_id": Key(
            "The application of `client_secret` or of a workload's identity, or a managed identity that a user has "
            "assigned.",
            "`AZURE_CLIENT_ID`, or the system's own identity",
        ),
        "client_secret": Key("The secret of an application; with `tenant_id` and `client_id`.", "none"),
        "scope": Key(
            "What tokens are for.",
            "by the address: `https://cognitiveservices.azure.com/.default`, or `https://ai.azure.com/.default`",
        ),
        "authority": Key("Where Entra is, for other clouds than the public one.", "`AZURE_AUTHORITY_HOST`"),
    },
    RawRouteTarget: {
        "target": Key("A `name`, a `provider/model id` or a bare model id of `model_providers`.", "required"),
        "weight": Key(
            "Its share within its group. With `0` it is asked only when the others are out.",
            "`1`",
        ),
        "when": Key(
            "The failures of those before it that lead here; see [targets](#targets).",
            "`[unavailable]`",
        ),
    },
    RawRateLimits: {
        "requests": Key("Requests in a time, such as `600/m`.", "no limit"),
        "tokens": Key("Tokens in a time, those of requests and of answers together, such as `2M/m`.", "no limit"),
        "input_tokens": Key("Tokens of requests in a time.", "no limit"),
        "output_tokens": Key("Tokens of answers in a time, with what the model thinks.", "no limit"),
        "concurrent": Key("Requests under way at once.", "no limit"),
        "count_cached": Key(
            "Whether tokens that the provider reads from its cache count among `tokens` and `input_tokens`. Most "
            "providers do not count them either.",
            "`false`; of an entry as its provider counts (`counts_cached` of [quirks](#quirks))",
        ),
    },
    RawQueue: {
        "size": Key("The requests that may wait at once; one more goes on to the next target.", "required"),
        "wait": Key("How long each of them waits at most; then it goes on to the next target.", "`5s`"),
    },
    RawRootLimit: {
        "model": Key("The name that requests ask for, or the model that they are for, as `provider/model id` or bare.",
                     "required"),
        "selector": Key("The requests that it holds for.", "required"),
        "limit": Key("What they may take.", "required"),
    },
    RawSelector: {
        "key": Key("The name of a header. Requests without it are not limited.", "required"),
        "value": Key("What stands in that header. Without it, or with `*`, each value has its own.", "any"),
    },
    RawTokenLimit: {
        "tokens": Key("Tokens, of requests and of answers together, as in [ratelimits](#ratelimits).", "required"),
        "unit": Key("The time for which they are.", "required"),
    },
    RawEntryPreference: {
        "name": Key("The name of a route that this entry is a target of.", "required"),
    },
    RawPreference: {
        "name": Key("The name of a route.", "required"),
        "models": Key("Its targets.", "required"),
        "selection_policy": Key("`prefer` says how one of them is chosen.", "in their order"),
    },
    RawSelectionPolicy: {
        "prefer": Key(
            "`cheapest` and `fastest` make a group of them all, with the `balance` that is called so or "
            "`lowest_latency`; `none` keeps their order.",
            "`none`",
        ),
    },
    RawHedge: {
        "after": Key(
            "How long without content: a duration, or `p95` for the time within which 95 of 100 of the target's "
            "answers begin.",
            "required",
        ),
        "at_most": Key("The share of the name's requests that may go out twice.", "`5%`"),
    },
    RawPrice: {
        "input": Key(
            "Tokens of the prompt that were neither read from a cache nor written to one.", "required without `per`"
        ),
        "output": Key("Tokens of the answer, with its reasoning.", "required without `per`"),
        "cached": Key("Tokens that were read from a cache.", "as `input`"),
        "cache_write": Key(
            "Tokens that were written to a cache.", "as `input`; 1.25 times that where Messages is spoken"
        ),
        "cache_write_1h": Key(
            "Those that stay there for an hour.", "as `cache_write`; 2 times `input` where Messages is spoken"
        ),
        "above": Key(
            "Prices of longer prompts, by the tokens that they have more than: `{200k: {input: 6, output: 22.5}}`. The "
            "whole prompt of a request counts, with what was read from a cache and written to one, and all of its "
            "tokens have these prices. Those not given are as for shorter ones.",
            "none",
        ),
        "tiers": Key(
            "Prices by the service tier that the provider says it used (`priority`, `flex`), each with an `above`. "
            "Those not given are as in no tier. `batch` is for [batches](files.md#batches), half of the price without "
            "it.",
            "none",
        ),
        "per": Key(
            "What is billed beside tokens, in dollars for one: `{image: 0.04}`, `{second: 0.0001}`; see [units]"
            "(costs.md#units). With it `input` and `output` may be left out.",
            "none",
        ),
        "tools": Key("Fees for a call of the provider's own tools, by name: `{web_search: 0.01}`.", "none"),
    },
    RawTierPrice: {
        "input": _AS_WITHOUT_TIER,
        "cached": _AS_WITHOUT_TIER,
        "cache_write": _AS_WITHOUT_TIER,
        "cache_write_1h": _AS_WITHOUT_TIER,
        "output": _AS_WITHOUT_TIER,
        "above": Key("As in [price](#price).", "none"),
    },
    RawTokenPrice: dict.fromkeys(
        ("input", "cached", "cache_write", "cache_write_1h", "output"),
        Key("As in [price](#price).", "as for shorter prompts"),
    ),
    RawRetries: {
        "attempts": Key("Requests to providers for one request of a client, the first one and all others.", "`4`"),
        "deadline": Key("From the client's request to the first content of its answer.", "`5m`"),
        "wait": Key("The longest wait between two attempts; a longer one is not begun.", "`20s`"),
        "budget": Key(
            "How many more requests a provider may get by further attempts, of those that it gets anyway.", "`20%`"
        ),
    },
    RawCircuit: {
        "failures": Key("Failures in a row.", "`5`"),
        "error_rate": Key("The share of failures within 30 seconds, from ten requests on.", "`50%`"),
        "cooldown": Key("How long it is left alone at first; the time doubles while it goes on failing.", "`5s`"),
        "longest": Key("The end of that doubling.", "`20s`, or `cooldown` where that is longer"),
    },
    RawClientKey: {
        "name": Key("Who it is: `client` in the log. Unique.", "required"),
        "key": Key("The key, best from a variable."),
        "certificate": Key(
            "In place of a key or beside it, a name in the certificate that the client shows to a listener with "
            "`tls.client_ca`; see [below](#certificates-of-clients)."
        ),
        "sha256": Key(
            "In place of `key`, its digest: `printf %s \"$KEY\" | sha256sum`. The file then holds no secret.",
        ),
        "keys": Key(
            "In place of both, several keys of the one client, each as `{key: …}` or `{sha256: …}`: while one takes "
            "another's place, both are good. See [below](#several-keys).",
        ),
        "until": Key(
            "The end of all its keys: a date, to whose end they are good, or a time as RFC 3339 writes it, both in "
            "UTC. From then on they are a 401 that says so.",
            "never",
        ),
        "models": Key(
            "The models that it may use: names, `provider/model id`s or aliases of this file; a wildcard entry's "
            "name (`groq/*`) is all of its models. Others are a 403 and are not in its `GET /v1/models`, also where a "
            "request names them beside its own (`models`, `fallbacks`, a tool's `model`, …). An alias in the list "
            "allows no other name of its model.",
            "all",
        ),
        "group": Key(
            "The one of [client_groups](#client_groups) that it is of. What that allows, and what the client itself is "
            "allowed, both hold: it may use what is in both lists.",
            "none",
        ),
        "only": Key(
            "The entries that may ever serve it, by their names; `*` stands for any letters, as in `eu-*`. Nothing "
            "else is asked for it, whatever fails and whatever its request says. It may use a name with several "
            "targets by way of those that are among these.",
            "all",
        ),
        "ratelimits": Key(
            "How much it may ask for, and how much at once; see [ratelimits](#ratelimits). One request too many is a "
            "429 that says which limit it is, and when to try again.",
            "no limit",
        ),
        "limits": Key("Its own [shares](#shares), where they are not those of all.", "`limits.per_client`"),
        "budgets": Key(
            "What it may spend, such as `[20 usd/day, 5 usd/run]`; see [below](#budgets). Its group's hold besides.",
            "none",
        ),
        "passthrough": Key(
            "The entries with `passthrough: true` to which it may pass any request, by their names; `*` stands for any "
            "letters.",
            "none",
        ),
        "realtime": Key(
            "What it may have of realtime sessions that go past the gateway, such as `{client_secrets: true}`; see "
            "[realtime sessions](realtime.md#past-the-gateway).",
            "nothing",
        ),
        "foreign_ids": Key(
            "Let it use the provider's own ids of files, vector stores, batches and their like, and see the provider's "
            "lists: all that was made with the provider's key, by whomever. Others see what they have made themselves; "
            "see [files](files.md).",
            "`false`",
        ),
        "cache": Key(
            "Give it the same answer to the same request again, whichever model it asks: in place of what the name "
            "says that it asks for. `false`: never. See [below](#of-a-name-or-a-client).",
            "as the name says",
        ),
    },
    RawClientGroup: {
        "name": Key("What `group` of a client calls it. Unique.", "required"),
        "models": Key("As a client's `models`.", "all"),
        "only": Key("As a client's `only`.", "all"),
        "ratelimits": Key("As a client's `ratelimits`, for all of its clients together.", "no limit"),
        "budgets": Key("What all of its clients together may spend, as a client's `budgets`.", "none"),
    },
    RawAcceptedKey: {
        "key": Key("The key, best from a variable."),
        "sha256": Key("In place of `key`, its digest."),
        "until": Key("The end of this key, as the client's `until` above; of the two, the earlier one holds.", "never"),
    },
    RawCounters: {
        "type": Key(
            "`memory` is one for all workers of this machine, and ends with them. `redis` (Valkey, too) and `postgres` "
            "are for several gateways, which together keep each limit; see [limits](limits.md#several-gateways).",
            "`memory`",
        ),
        "url": Key(
            "`redis`, `postgres`, required: `rediss://user:password@host:6379/0` (`redis://` without TLS, "
            "`unix:///path/socket`), `postgresql://user:password@host:5432/database`. Keys begin with `{trigate}:`, "
            "tables with `trigate_`.",
        ),
        "when_down": Key(
            "While it is away: `share`, each process goes on with its share of what was left; `refuse`, what is "
            "limited is refused with 429.",
            "`share`",
        ),
    },
    RawAnswerCache: {
        "type": Key(
            "`memory`: each worker has its own, which ends with it; `sqlite`: all workers of this machine; `redis` "
            "(Valkey, too): several gateways.",
            "`memory`",
        ),
        "path": Key("`sqlite`, required: the file, readable by its owner alone. Its directory must be there."),
        "url": Key(
            "`redis`, required: `rediss://user:password@host:6379/1` (`redis://` without TLS, `unix:///path/socket`). "
            "Keys begin with `{trigate-answers}:`.",
        ),
        "max_bytes": Key(
            "When there is more, what was used least recently goes. No client's answers take more than half of it.",
            "`memory`: `64MiB`; else `1GiB`",
        ),
        "max_request": Key("Longer requests are not answered from the cache.", "`1MiB`"),
        "max_answer": Key("Longer answers are not kept.", "`4MiB`"),
        "max_ttl": Key("The longest `ttl` that a name or a client may have.", "`1d`"),
    },
    RawStateStorage: {
        "type": Key("`memory` ends with the process, `none` keeps nothing.", "required"),
        "path": Key(
            "`sqlite`, required: the file, readable by its owner alone. Its directory must be there, on a disk of "
            "this machine.",
        ),
        "connection_string": Key(
            "`postgres`, required: a URL (`postgresql://user:password@host:5432/database`) or libpq's parameters. "
            "Its tables `trigate_*` are made on first use.",
        ),
        "ttl": Key(
            "How long a conversation is kept after the last turn that was added to it: all of it, or nothing.",
            "`30d`; `memory`: `24h`",
        ),
        "max_bytes": Key(
            "When there is more, conversations of the client that has most make room, those first that were least "
            "recently added to.",
            "`memory`: `16MiB`; `sqlite`: `1GiB`; `postgres`: no limit",
        ),
        "encryption_key": Key(
            "32 bytes in base64 (`openssl rand -base64 32`): what is said is stored in AES-256-GCM. Ids, the names "
            "of clients, sizes and times stay readable. What was written with another key, or without one, cannot be "
            "read. Of a list the first key writes, and all of them read; see "
            "[state](state.md#encryption).",
            "not encrypted",
        ),
        "ledger": Key(
            "`sqlite` and `postgres`: how much of the ledger is kept there, a line for each exchange; see "
            "[below](#ledger).",
        ),
    },
    RawKeptLedger: {
        "keep": Key("How long. `0`: nothing is kept.", "`400d`"),
        "max_bytes": Key(
            "Beyond it the oldest lines become [sums](costs.md#beyond-its-size), which keep their costs. A line takes "
            "some 256 bytes.",
            "`1GiB`",
        ),
    },
    RawMetrics: {
        "open": Key("Let everybody who can connect read `/metrics`, also where there are `client_keys`.", "`false`"),
    },
    RawTracing: {
        "random_sampling": Key(
            "How many of 100 exchanges are traced, of those whose clients do not say (`traceparent`). `0`: no traces.",
            "`OTEL_TRACES_SAMPLER`, else all",
        ),
        "endpoint": Key(
            "The collector, by its address for OTLP over HTTP, such as `http://localhost:4318`.",
            "`OTEL_EXPORTER_OTLP_ENDPOINT`, else that",
        ),
        "opentracing_grpc_endpoint": Key(
            "Plano's name for a collector. trigate speaks OTLP over HTTP: for port 4317 it asks port 4318.",
        ),
    },
    RawTimeouts: {
        "connect": Key("To open a connection to the provider.", "`5s`"),
        "first_byte": Key("From the request to the head of the answer: reasoning models think before it.", "`10m`"),
        "idle": Key(
            "The longest silence inside an answer. While the client is the slow one, it does not count.",
            "`5m`",
        ),
        "total": Key("A whole answer.", "no limit"),
    },
    RawLimits: {
        "request_body": Key("Of a request, as it comes and once it is decompressed; a larger one is a 413.", "`64MiB`"),
        "elements": Key(
            "Objects, arrays and commas in the JSON of a request or of the conversation that it goes on from, those in "
            "texts not counted; more are a 413. They take far more memory and work than bytes do: a long session has "
            "some ten thousands. What comes compressed may have as many as it has compressed bytes, and 50,000 in any "
            "case.",
            "`200000`; `500000` for embeddings, whose texts may be ids of tokens",
        ),
        "bodies": Key(
            "Memory for the bodies of requests under way in each worker: three bytes for each of theirs and 400 for "
            "each element, from its arrival until the answer begins. One that does not fit beside the others is a 503 "
            "with `retry-after`; alone it always fits. With two client keys or more one client has half of it, beyond "
            "which its requests are a 429. Many agents with long conversations at once want more.",
            "`256MiB`",
        ),
        "spool": Key(
            "Disk for uploads in which a file comes before `model`, in each worker: what comes before is kept until "
            "then, beyond 1 MiB in a file without a name in the directory for temporary files (`TMPDIR`). If "
            "other uploads take the room, the response is a 503 with `retry-after`; a file larger than this is a 413. "
            "Clients that send `model` first need none.",
            "`2GiB`",
        ),
        "event": Key("Of one event in a stream.", "`16MiB`"),
        "answer": Key("Of an answer that is not streamed.", "`64MiB`"),
        "in_flight": Key("Requests at once in each worker; one more is a 503 with `retry-after`.", "`1024`"),
        "connections": Key(
            "Clients' connections at once in each worker. One more takes the place of one that is idle; where all are "
            "busy it is answered 503 with `retry-after`, unless it is a health check, and closed. `0` is no limit.",
            "as many as there are descriptors for (`ulimit -n`), less one for each of `in_flight`; at most 4096, or "
            "four for each of `in_flight`",
        ),
        "connections_per_address": Key(
            "Of these, connections from one address (of IPv6: one /64); one more is a 429, and closed. Loopback, "
            "Unix sockets and `trusted_proxies` are not held to it. `0` is no limit.",
            "half of `connections`, and never less than `in_flight`: a proxy in front is one address",
        ),
        "upstream_connections": Key(
            "Connections to providers in use at once in each worker. One more request waits for up to 5 s, then "
            "gets a 503 with `retry-after`; a free connection goes to the waiting client that has the fewest. `0` is "
            "no limit of its own: `in_flight` is one.",
            "`0`",
        ),
        "per_client": Key(
            "The share of each client in what there is for all; see [below](#shares). `limits` of one of the "
            "`client_keys` goes before it.",
        ),
    },
    RawClientLimits: {
        "in_flight": Key(
            "Requests at once, turns in the background and requests on websockets included; one more is a 429 with "
            "`retry-after`.",
            "half of `limits.in_flight`",
        ),
        "connections": Key(
            "Connections at once, each that of the client whose request was last let in on it; a request on one more "
            "is a 429, and closes it. Behind a proxy, whose connections are everybody's, leave it at `0`.",
            "half of `limits.connections`, where the file gives that",
        ),
        "websockets": Key("Websockets open at once.", "half of `limits.in_flight`"),
        "viewers": Key(
            "Pages of the live view at once, of the 16 that there are; the holder of `ui_key` always gets in.",
            "half of these",
        ),
        "upstream_connections": Key(
            "Connections to providers in use at the same time. One more request waits for up to 5 s, then gets a 429.",
            "half of `limits.upstream_connections`, where the file gives that",
        ),
        "bodies": Key("Memory for the bodies of requests under way; beyond it a 429.", "half of `limits.bodies`"),
        "stored": Key(
            "Bytes in the [state storage](#state_storage); beyond them the client's own oldest conversations go.",
            "no limit of its own",
        ),
    },
    RawOverrides: {
        "upstream_connect_timeout": Key(
            "Plano's name for `connect` in [timeouts](#timeouts), which takes precedence.",
            "`5s`",
        ),
        "upstream_tls_ca_path": Key(
            "The certificates that providers are checked against: a file or a directory.",
            "the system's",
        ),
    },
    RawLegacyListeners: {
        "egress_traffic": Key("The model listener."),
    },
    RawTraffic: {
        "address": Key("", "`127.0.0.1`"),
        "port": Key("", "`12000`"),
        "message_format": Key("Without effect: every API is served."),
        "timeout": Key("As above."),
    },
    Quirks: {
        "max_tokens_field": Key(
            "Chat: the name of the token limit.",
            "`max_completion_tokens`; `max_tokens` for all but OpenAI",
        ),
        "takes_max_tokens": Key(
            "Chat: whether the older name `max_tokens` is taken too; else it goes out as `max_completion_tokens`.",
            "by the model",
        ),
        "default_max_tokens": Key(
            "Messages: the `max_tokens` of requests that give none, which Messages does not allow.",
            "by the model, else `8192`",
        ),
        "developer_role": Key(
            "Chat: whether the role `developer` is known; else `system` is sent.",
            "`true`; `false` for all but OpenAI",
        ),
        "asked_in_responses": Key(
            "Which clients' requests go to Responses, where the provider has that API. `with_tools`: what is "
            "translated anyway, and a Chat client's request with tools while the model thinks, which newer models of "
            "OpenAI refuse in Chat. `to_keep_reasoning`: the same, but only at the maker's own address. `always`: the "
            "model is in Responses alone. `speaks` comes first.",
            "by the model",
        ),
        "stream_usage": Key("Chat: whether `stream_options` is known; else usage may stay unknown.", "`true`"),
        "reasoning_effort": Key("Chat: whether `reasoning_effort` is known.", "`true`"),
        "efforts": Key(
            "The levels of effort that the model takes; for another one the next lower goes out.",
            "by the model",
        ),
        "reasoning_field": Key(
            "Chat: where reasoning is given back to the provider that made it.",
            "`reasoning_content`",
        ),
        "reasoning_replay": Key(
            "Chat: `every_message` where, once one assistant message has reasoning, every later one needs the field.",
            "`own`",
        ),
        "adaptive_thinking": Key(
            "Messages: whether thinking is `adaptive` with an effort, in place of `enabled` with a budget.",
            "by the model",
        ),
        "thinking_off": Key(
            "Messages: how a model is told not to think; `lowest_effort` where it always does.",
            "by the model",
        ),
        "forced_tools": Key(
            "Messages: whether `tool_choice` may force a tool; else `auto` goes out, and `tool_choice` is named in "
            "`x-trigate-dropped`.",
            "by the model",
        ),
        "structured_output": Key(
            "Messages: whether `output_config.format` is known; else the schema is told in words.",
            "`true`",
        ),
        "sampling": Key("When `temperature`, `top_p` and `top_k` are taken.", "by the model"),
        "one_of_temperature_top_p": Key(
            "Whether `temperature` and `top_p` are refused together; `top_p` is left out then.",
            "by the model",
        ),
        "short_call_ids": Key(
            "Chat and Responses: whether ids of tool calls that are longer than 64 characters are shortened, in the "
            "call and its result alike. OpenAI refuses them; a server that makes such ids needs its own back.",
            "`true`; `false` for all but OpenAI and Azure",
        ),
        "cache_breakpoints": Key("Chat and Responses: whether `prompt_cache_breakpoint` is taken.", "by the model"),
        "anthropic_version": Key("Messages: the version in requests that trigate writes.", "`2023-06-01`"),
        "billing_line": Key(
            "Messages: whether the billing line of Claude Code goes along. Only Anthropic wants it, and it changes "
            "with every request, which keeps others' prompt caches from being hit.",
            "`true`; `false` for all but Anthropic",
        ),
        "deferred_tools": Key(
            "Tools with `defer_loading`: `native` where the server searches them itself; `found` sends those that the "
            "client's own search has found, `all` sends all of them at once.",
            "`native`; `found` for all but OpenAI and Anthropic",
        ),
        "counts_cached": Key(
            "Whether tokens that are read from a cache count towards the provider's rates, and so among the entry's "
            "`ratelimits` where these do not say `count_cached`.",
            "`false`; `true` for OpenAI and Azure OpenAI",
        ),
        "refused_fields": Key(
            "Members that the server refuses, such as `store` or `tools[].strict`: left out and named in "
            "`x-trigate-dropped`.",
            "by the provider",
        ),
        "unavailable_statuses": Key(
            "Statuses of errors by which the server says that it is overloaded, such as `[403, 422]`: a route goes on "
            "to its next target, and the client gets a 503.",
            "none beside 503 and 529",
        ),
        "refused_betas": Key(
            "Messages: values of `anthropic-beta` that the server refuses, as shell patterns: left out and named "
            "likewise.",
            "by the provider",
        ),
        "bedrock_family": Key(
            "Converse: whose model it is, which decides how reasoning is asked for, and whether tools are forced and "
            "prompts cached; for names that do not say it, such as that of an inference profile.",
            "by the model, else `other`",
        ),
        "thinking_control": Key(
            "Gemini: how a request says how much the model thinks: by `level`, by `budget`, or `none` where it cannot.",
            "by the model",
        ),
        "thinking_levels": Key("Gemini: the levels of thinking that the model knows.", "by the model"),
        "thinking_budgets": Key(
            "Gemini: the least and the most tokens of thinking that may be asked for, such as `[128, 32768]`.",
            "by the model",
        ),
        "signed_calls": Key(
            "Gemini: whether a history is refused whose calls have no thought signature; where one is missing, the "
            "value that Google documents for that goes out.",
            "by the model",
        ),
        "mixed_tools": Key(
            "Gemini: whether Google's own tools, or a schema for the answer, are taken beside functions; else the "
            "tools are left out, the schema is told in words, and both are named in `x-trigate-dropped`.",
            "by the model",
        ),
        "server_tool_invocations": Key(
            "Gemini: whether `includeServerSideToolInvocations` is known, which Vertex AI does not know.", "`true`"
        ),
        "media_in_results": Key(
            "Gemini: whether images and files may stand in the result of a tool; else they follow all results.",
            "by the model",
        ),
        "schemas": Key(
            "Gemini: `json` where `parametersJsonSchema` and `responseJsonSchema` are known; with `subset` schemas are "
            "reduced to Google's own form, and what is left out is named.",
            "`json`",
        ),
        "wrapped_count": Key(
            "Gemini: whether `countTokens` takes the request in `generateContentRequest`; else its members themselves.",
            "`true`",
        ),
        "context_window": Key(
            "Tokens of the context window, as the server has it. Of a name's several targets, one that is certainly "
            "too small for a prompt is passed over. See [models](models.md#facts).",
            "by the model",
        ),
        "max_output": Key(
            "The most tokens that an answer may have: told to clients in lists of models, and reserved where a budget "
            "says `reserve: max`. No request's own limit is changed by it.",
            "by the model",
        ),
        "can": Key(
            "What lists of models say that it can do, of `images`, `pdf`, `audio`, `video`, `tools`, "
            "`structured_output` and `reasoning`.",
            "by the model",
        ),
        "cannot": Key(
            "What the model or the server cannot do, of `images`, `pdf`, `tools`, `choices` (`n` above 1) and "
            "`structured_output`: of a name's several targets, those that can are asked. With `images` and nobody else "
            "to ask, a request that has some is a 400. `[]` where it can do all, whatever is known of it.",
            "by the model",
        ),
    },
}  # fmt: skip
"""In the order of the page. Keys that are accepted without effect say so themselves, in the class."""
