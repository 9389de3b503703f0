"""Whether the effect of an operation is understood: read off its method, its path, and what is offered beside it.

A document tells what an operation takes, and hardly ever what it does. So only this counts as understood: reading,
making a thing for whose deletion there is an operation, changing and deleting what was made, and what Netra's own
routes are known to do. Everything else may stop an index, wipe an archive or write to all users, and is not sent
unless the target's owner names it in ``target.allow``; the lab that was started here has nobody to be harmed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from netra_probe.openapi.objects import collection_of
from netra_probe.target.deployment import Mode, Target

#: Method and path as a service describes them: ``("DELETE", "/api/threads/{id}")``.
Operation = tuple[str, str]
#: What one may look at without changing anything.
LOOKING = frozenset({"GET", "HEAD", "OPTIONS"})

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORDS = re.compile(r"[^A-Za-z0-9]+")
_BRACE = re.compile(r"\{[^{}]*\}")
#: Reading routes with such a word in them do something.
_DOES = frozenset((
    "logout", "signout", "logoff", "export", "import", "rebuild", "reindex", "reset", "sync", "pull", "trigger",
    "execute", "start", "stop", "restart", "shutdown", "delete", "remove", "clear", "purge", "wipe", "flush", "revoke",
    "regenerate", "rotate", "enable", "disable", "unsubscribe", "approve", "reject", "accept", "cancel", "confirm",
    "migrate", "backup", "restore", "lock", "unlock", "deactivate",
))  # fmt: skip
#: Writing routes with such a word in them reach further than the thing that they name.
_REACHES = _DOES | frozenset((
    "exports", "imports", "index", "indexes", "indices", "reindexing", "embed", "embeddings", "push", "webhook",
    "webhooks", "hook", "hooks", "config", "configs", "configuration", "configurations", "admin", "administration",
    "permission", "permissions", "role", "roles", "grant", "grants", "policy", "policies", "all", "bulk", "batch",
    "everything", "job", "jobs", "task", "tasks", "cron", "schedule", "schedules", "pipeline", "pipelines", "run",
    "runs", "deploy", "deployments", "publish", "install", "uninstall", "upgrade", "train", "crawl", "invite",
    "invites", "invitations", "transfer", "merge", "send", "email", "emails", "sms", "notify", "broadcast", "pay",
    "payment", "payments", "charge", "purchase", "checkout", "share", "shares", "clone", "archive", "internal",
    "system", "server", "maintenance", "database", "db", "cache", "plugins", "extensions", "models", "tools",
    "functions", "impersonate", "ban", "suspend",
))  # fmt: skip
#: State of an account as a whole, or of all that it has.
_ACCOUNT = frozenset((
    "profile", "profiles", "setting", "settings", "preference", "preferences", "password", "passwd", "avatar",
    "account", "accounts", "me", "key", "keys", "apikey", "apikeys", "secret", "secrets", "token", "tokens",
    "credential", "credentials", "mfa", "2fa", "totp", "session", "sessions", "subscription", "billing", "quota", "all",
    "everything", "disable", "deactivate", "suspend", "close",
))  # fmt: skip
_PERSON = re.compile(r"/(users?|accounts?|members?)/(\{[^}]*\}|[^/]+)(/|$)", re.IGNORECASE)

#: What Netra's own routes do (netra-wire §2 and §7): sessions and tokens come and go, a thread gets messages and runs.
_SESSIONS = re.compile(
    r"(/api(/v\d+)?)?/auth/(register|login|dev[/_]login|refresh|logout|validate|verify|service-token|create-token"
    r"|check-blacklist|check-permission|check-authorization|validate-service-token|validate-token-and-get-user)"
)
_TICKET = re.compile(r"/api/websocket/ticket")
_CHAT = {
    "POST": re.compile(
        r"/api/threads(/[^/]+/messages)?|/api/chat/(messages|stream)"
        r"|/api/agents?/(execute|run|start|stop|stream|cancel|chat|message)"
    ),
    "PUT": re.compile(r"/api/threads/[^/]+"),
    "PATCH": re.compile(r"/api/threads/[^/]+"),
    "DELETE": re.compile(r"/api/threads/[^/]+|/api/chat/messages/[^/]+"),
}
#: How an account removes itself, and only itself.
_LEAVING = re.compile(r"/api/users?/(me|\{[^}]*\})|/auth/(users/(me|\{[^}]*\})|me|account)")


class Effect(StrEnum):
    """What is known of what an operation does."""

    READS = "reads"
    SESSION = "session"
    CHAT = "chat"
    LEAVES = "leaves"
    MAKES = "makes"
    CHANGES = "changes"
    ACCOUNT = "account"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """Whether an operation is sent, and why."""

    sent: bool
    why: str
    effect: Effect

    def __bool__(self) -> bool:
        return self.sent


@dataclass
class Rules:
    """What may be sent to one target.

    Arguments:
        lab: whether it is a lab that was started here.
        offered: what its services say they offer.
        tried: the making operations whose deletion was tried on one thing, and whether that worked.
    """

    target: Target
    lab: bool = False
    offered: frozenset[Operation] = frozenset()
    tried: dict[str, bool] = field(default_factory=dict)

    def learn(self, operations: Iterable[Operation]) -> None:
        """Take in what a service offers."""
        self.offered |= frozenset(operations)

    def of(self, method: str, path: str, *, sent_to: str = "") -> Ruling:
        """Whether an operation is sent; ``sent_to`` is its path with the braces filled, where that is known.

        >>> target = Target.model_validate({"auth_url": "http://a.example", "backend_urls": ["http://b.example"]})
        >>> Rules(target).of("POST", "/api/v1/index/rebuild").why
        'its effect is not understood ("index", "rebuild"): name it in target.allow'
        """
        effect, why = self._effect(method, path)
        names = (path, sent_to) if sent_to else (path,)
        if forbidding := self._named(self.target.never, method, names):
            return Ruling(sent=False, why=f"target.never: {forbidding}", effect=effect)
        if effect is Effect.ACCOUNT and self.target.accounts:
            return Ruling(sent=False, why="accounts that existed before are read and never changed", effect=effect)
        if effect is Effect.LEAVES and self.target.accounts:
            return Ruling(sent=False, why="accounts that existed before are neither removed nor locked", effect=effect)
        if self.lab:
            return Ruling(sent=True, why="a lab that was started here", effect=effect)
        if allowing := self._named(self.target.allow, method, names):
            return Ruling(sent=True, why=f"target.allow: {allowing}", effect=effect)
        if effect is Effect.ACCOUNT:
            if self.target.mode is Mode.ATTACK:
                return Ruling(sent=True, why="account-level state of an account of the run's, in attack", effect=effect)
            why = "account-level state: needs mode attack, or an entry in target.allow"
            return Ruling(sent=False, why=why, effect=effect)
        if effect is Effect.UNKNOWN:
            return Ruling(sent=False, why=f"{why}: name it in target.allow", effect=effect)
        if self.tried.get(f"{method} {path}") is False:
            return Ruling(sent=False, why="the deletion of the first one that was made failed", effect=effect)
        return Ruling(sent=True, why=why, effect=effect)

    def is_public(self, method: str, path: str, *, sent_to: str = "") -> bool:
        """Whether the target's owner says that everybody may read what comes from here."""
        return method in LOOKING and bool(self._named(self.target.public, method, (path, sent_to or path)))

    def deletion(self, path: str) -> str:
        """The path of the operation that deletes what is made at ``path``; "" where there is none."""
        kind = _collection(path)
        candidates = [
            offered
            for method, offered in self.offered
            if method == "DELETE" and _ends_in_brace(offered) and _collection(offered) == kind
        ]
        within = [one for one in candidates if one.rpartition("/")[0] == collection_of(path)]
        return min(within or candidates, key=len, default="")

    def _effect(self, method: str, path: str) -> tuple[Effect, str]:
        bare = path.partition("?")[0].rstrip("/") or "/"
        words = _words(bare)
        if _SESSIONS.fullmatch(bare) or _TICKET.fullmatch(bare):
            return Effect.SESSION, "Netra's own route: a session or a token of the run's own"
        if method in LOOKING:
            does = [word for word in words if word in _DOES]
            if does:
                return Effect.UNKNOWN, f"a {method} that may do something ({_quoted(does)})"
            return Effect.READS, "reads"
        if (known := _CHAT.get(method)) is not None and known.fullmatch(bare):
            return Effect.CHAT, "Netra's own route: a thread of the run's own, its messages and runs"
        if method == "DELETE" and _LEAVING.fullmatch(bare):
            return Effect.LEAVES, "removes an account that the run has registered"
        if any(word in _ACCOUNT for word in words) or _PERSON.search(bare):
            return Effect.ACCOUNT, "account-level state"
        if reaches := [word for word in words if word in _REACHES]:
            return Effect.UNKNOWN, f"its effect is not understood ({_quoted(reaches)})"
        if method in ("PUT", "PATCH", "DELETE"):
            if _ends_in_brace(bare):
                return Effect.CHANGES, f"{'deletes' if method == 'DELETE' else 'changes'} what the run has made"
            if method == "DELETE":
                return Effect.UNKNOWN, "its effect is not understood: it names nothing, and may take everything"
            return Effect.UNKNOWN, "its effect is not understood"
        if _ends_in_brace(bare):
            return Effect.UNKNOWN, "its effect is not understood"
        removal = self.deletion(bare)
        if not removal:
            return Effect.UNKNOWN, "no operation deletes what it makes, or it makes nothing"
        return Effect.MAKES, f"makes what DELETE {removal} deletes"

    @staticmethod
    def _named(patterns: Iterable[str], method: str, paths: Iterable[str]) -> str:
        return next((one for one in patterns if any(fits(one, method, path) for path in paths)), "")


def fits(pattern: str, method: str, path: str) -> bool:
    """Whether an operation is one that a pattern names.

    >>> fits("* /api/v1/configs/**", "POST", "/api/v1/configs/a/b"), fits("GET /a/{id}", "GET", "/a/{name}")
    (True, True)
    >>> fits("GET /a/*", "GET", "/a/b/c"), fits("GET /a", "POST", "/a")
    (False, False)
    """
    wanted, _, form = pattern.partition(" ")
    if wanted.upper() not in ("*", method):
        return False
    expression = ""
    for part in form.strip().strip("/").split("/"):
        if part == "**":
            expression += "(/[^/]+)*"
        elif part:
            pieces = re.split(r"(\*|\{[^{}]*\})", part)
            expression += "/" + "".join(
                "[^/]*" if piece == "*" else "[^/]+" if piece.startswith("{") else re.escape(piece) for piece in pieces
            )
    return re.fullmatch(expression, path.partition("?")[0].rstrip("/")) is not None


def _words(path: str) -> list[str]:
    """The words of a path without what stands in braces, lower case, in order."""
    found: list[str] = []
    for part in path.split("/"):
        if "{" in part:
            part = _BRACE.sub("", part)
        pieces = [piece.lower() for piece in _WORDS.split(_CAMEL.sub("-", part)) if piece]
        found += pieces
        if len(pieces) == 2 and (joined := "".join(pieces)) in _DOES | _ACCOUNT:
            found.append(joined)  # sign-out, api_keys
    return list(dict.fromkeys(found))


def _collection(path: str) -> str:
    """What the objects of a collection, or of one of its items, are called: the last part that is no brace."""
    parts = [part for part in collection_of(path).split("/") if part and not _BRACE.fullmatch(part)]
    return parts[-1].lower() if parts else ""


def _ends_in_brace(path: str) -> bool:
    return _BRACE.fullmatch(path.rstrip("/").rpartition("/")[2]) is not None


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f'"{word}"' for word in words)
