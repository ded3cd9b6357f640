"""The text of the sign-in pages. Each returns the content of a page; all of them work without JavaScript."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

import attrs

from gateway.endpoints.html import Html, html, join_html
from gateway.endpoints.oauth.paths import LOGIN


@attrs.frozen(repr=False)
class ShownGrant:
    """The shown part of a program's request. All of it comes from the program or the network."""

    user_code: str
    program: str
    address: str


def login_link(path: str, issuer: str | None = None) -> str:
    """Return the address that starts a sign-in, to return to ``path``."""
    return f"{LOGIN}?{urlencode({**({'issuer': issuer} if issuer else {}), 'return': path})}"


def issuer_choice(issuers: Sequence[str], path: str, *, offers_key: bool) -> Html:
    """Return the issuer_choice between several issuers, and the operator's key if there is one."""
    links = [
        html('<a class="button" href="{to}">Sign in with {name}</a>', to=login_link(path, name), name=name)
        for name in issuers
    ]
    if offers_key:
        links.append(html('<a class="button second" href="/ui?sign_in=key">Use a key</a>'))
    return html(
        '<p>Choose the account to sign in with.</p>\n<div class="actions stack">\n{links}\n</div>',
        links=join_html(links),
    )


def code_form(user_code: str = "", problem: str = "", grant: ShownGrant | None = None) -> Html:
    """Return the form for the code that a program shows, filled with ``user_code``, and the program if it is known."""
    return html(
        """{problem}<p>{question}</p>
{details}
<form method="post" action="/device">
<label for="user_code">Code</label>
<input id="user_code" name="user_code" value="{code}" required maxlength="20" autocomplete="off"
 autocapitalize="characters" spellcheck="false" aria-describedby="hint"{focus}>
<p id="hint" class="soft">Eight letters, such as WDJB-MJHT.</p>
{warning}
<div class="actions"><button>Continue</button></div>
</form>""",
        problem=_problem(problem),
        question=_ENTER if grant is None else _COMPARE,
        details=_details(grant, with_code=False) if grant else Html(""),
        code=user_code,
        focus=Html("" if user_code else " autofocus"),
        warning=_WARNING,
    )


def approval(grant: ShownGrant, person: str) -> Html:
    """Return the question whether a program may use the gateway as ``person``."""
    return html(
        """<p>A program asks to use this gateway with your access. Compare the code with the one that your
program shows.</p>
{details}
{warning}
<p class="soft">You are signed in as {person}.</p>
<div class="actions">
{approve}
{deny}
</div>""",
        details=_details(grant, with_code=True),
        warning=_WARNING,
        person=person,
        approve=_decision(grant, "approve", html("<button>Approve</button>")),
        deny=_decision(grant, "deny", html('<button class="second">Deny</button>')),
    )


def _decision(grant: ShownGrant, decision: str, button: Html) -> Html:
    return html(
        """<form method="post" action="/device"><input type="hidden" name="user_code" value="{code}">
<input type="hidden" name="decision" value="{decision}">{button}</form>""",
        code=grant.user_code,
        decision=decision,
        button=button,
    )


_ENTER: Final = "Enter the code that your program shows."
_COMPARE: Final = "A program asks to sign in. Compare the code with the one that your program shows."
_WARNING: Final = html(
    '<p class="notice">Continue only if you started this sign-in yourself, a moment ago. If somebody sent you the code '
    "or the link, close this page.</p>"
)


def _details(grant: ShownGrant, *, with_code: bool) -> Html:
    code = html('<dt>Code</dt><dd class="code">{code}</dd>', code=grant.user_code) if with_code else Html("")
    return html(
        "<dl>{code}<dt>Program</dt><dd>{program}</dd><dt>Address</dt><dd>{address}</dd></dl>",
        code=code,
        program=grant.program or "unknown",
        address=grant.address or "unknown",
    )


def _problem(text: str) -> Html:
    return html('<p class="error" role="alert">{text}</p>\n', text=text[:1].upper() + text[1:]) if text else Html("")


APPROVED: Final = html("<p>The program is signed in. You can close this page and return to it.</p>")
DENIED: Final = html("<p>The program was not signed in. If you did not start this, nothing else is necessary.</p>")


def failure(
    message: str, retry: str | None, *, issuer_logout: tuple[str, str] | None = None, offers_key: bool = False
) -> Html:
    """Return the explanation of a failed sign-in, with a link to try again at ``retry``.

    ``issuer_logout`` is an issuer's name and sign-out page, for people who are signed in there with a wrong account."""
    links = []
    if retry is not None:
        links.append(html('<a class="button" href="{to}">Try again</a>', to=retry))
    if issuer_logout is not None:
        name, to = issuer_logout
        links.append(html('<a class="button second" href="{to}">Sign out at {name}</a>', to=to, name=name))
    if offers_key:
        links.append(html('<a class="button second" href="/ui?sign_in=key">Use a key</a>'))
    actions = html('<div class="actions">{links}</div>', links=join_html(links)) if links else Html("")
    return html("{problem}{actions}", problem=_problem(message), actions=actions)


def sign_out_question(person: str) -> Html:
    return html(
        """<p>You are signed in as {person}.</p>
<form method="post" action="/oauth/logout"><div class="actions"><button>Sign out</button></div></form>""",
        person=person,
    )


NOT_SIGNED_IN: Final = html(
    '<p>You are not signed in.</p>\n<div class="actions"><a class="button" href="/ui">Sign in</a></div>'
)


def signed_out(issuer: str | None, issuer_logout: str | None) -> Html:
    """Return the end of a session, with the link to the issuer's own sign-out."""
    if issuer_logout is None:
        return html("<p>Your session at this gateway has ended.</p>")
    return html(
        """<p>Your session at this gateway has ended. Your session at {issuer} continues, so the next sign-in here may
need no password.</p>
<div class="actions"><a class="button second" href="{to}" rel="noreferrer">Sign out at {issuer} too</a></div>""",
        issuer=issuer or "the issuer",
        to=issuer_logout,
    )
