"""A reproducer as text: the acts of a slice as Python, in the recorded order, with names for what has to be fresh."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from netra_probe.checkers.verdict import Finding, checker_name
from netra_probe.display.controls import visible
from netra_probe.forgery import BY_NAME
from netra_probe.history import actions
from netra_probe.history.canary import WHOLE
from netra_probe.history.frames import frame_of
from netra_probe.history.operation import Operation
from netra_probe.history.untrusted import decoded
from netra_probe.report.reproducers.forged import CHANGED, presented
from netra_probe.report.reproducers.slicing import Claim, NoReproducerError, Slice, is_shared
from netra_probe.report.reproducers.tape import REDACTED, Tape, spoken

#: Rounds where the outcome depends on what happens at the same moment.
ROUNDS = 8
#: Columns of a line of code.
WIDTH = 116
#: Seconds that a recorded pause is kept at most.
LONGEST_PAUSE = 6.0
#: Acts from which on a shell is no place to carry them out.
MOST_CURL = 3
_LINE = "# ---- what follows is the same in every reproducer"
_TEXTS = ("content", "message", "user_request", "text")


@dataclass(kw_only=True)
class Event:
    """Something that happens in a reproducer: an act begins, or what it came to is awaited."""

    index: int
    act: int
    ends: bool = False


@dataclass
class Names:
    """What stands for the recorded values: secrets, ids, addresses, tokens, nonces."""

    tape: Tape
    known: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tape = self.tape
        self.known |= {id: f"{identifier(user)}.id" for id, user in tape.user_ids.items() if id}
        self.known |= {email: f"{identifier(user)}.email" for email, user in tape.emails.items() if email}
        self.known |= {token: _user_first(shown) for token, shown in tape.tokens.items() if token}
        self.known |= {nonce: f"world.mark}}-{_escaped(nonce)}" for nonce in tape.asks}
        if tape.mark:
            self.known[tape.mark] = "world.mark"

    def text(self, text: str) -> str:
        """A text as an expression.

        Raises NoReproducerError where it holds a credential that nothing stands for.
        """
        pieces, position, named = [], 0, False
        candidates = sorted((one for one in self.known if one in text), key=len, reverse=True)
        pattern = "|".join(map(re.escape, candidates))
        for match in re.finditer(pattern, text) if pattern else ():
            pieces.append(_escaped(text[position : match.start()]))
            shown = self.known[match[0]]
            pieces.append(f"{{{shown}" if "}" in shown else f"{{{shown}}}")
            position, named = match.end(), True
        rest = text[position:]
        if REDACTED.search(rest) or any(REDACTED.search(piece) for piece in pieces):
            raise NoReproducerError("a request presents a credential that the recording does not hold")
        if not named:
            return _quoted(text)
        whole = "".join([*pieces, _escaped(rest)])
        only = re.fullmatch(r"\{([\w.]+)\}", whole)
        return only[1] if only else f'f"{whole}"'

    def value(self, value: Any, fresh: bool = False, indent: int = 0) -> str:
        """A JSON value as an expression; ``fresh`` marks questions, so that no earlier answer is found again."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            told = [f"{_quoted(name)}: {self._entry(name, inner, fresh, indent)}" for name, inner in value.items()]
            return _wrapped("{", told, "}", indent)
        if isinstance(value, list):
            return _wrapped("[", [self.value(inner, fresh, indent + 4) for inner in value], "]", indent)
        return repr(value)

    def _entry(self, name: str, value: Any, fresh: bool, indent: int) -> str:
        if fresh and name in _TEXTS and isinstance(value, str):
            told = self.text(value)
            return f'f"{_escaped(value)} ({{world.mark}})"' if told.startswith('"') else told
        return self.value(value, fresh, indent + 4)


def _user_first(shown: str) -> str:
    user, _, name = shown.partition(".")
    return f"{identifier(user)}.{name}"


def _quoted(text: str) -> str:
    """A text as Python has it; what would not be seen in an editor is written out."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _escaped(text: str) -> str:
    return _quoted(text)[1:-1].replace("{", "{{").replace("}", "}}")


def _wrapped(opening: str, entries: list[str], closing: str, indent: int) -> str:
    line = f"{opening}{', '.join(entries)}{closing}"
    if len(line) + indent <= WIDTH - 20 and "\n" not in line:
        return line
    inner = " " * (indent + 4)
    return f"{opening}\n" + "".join(f"{inner}{entry},\n" for entry in entries) + f"{' ' * indent}{closing}"


def identifier(name: str | None) -> str:
    """A name that Python takes."""
    made = re.sub(r"\W+", "_", name or "world.nobody") if name else "world.nobody"
    return made


class Script:
    """The acts of a slice, written down."""

    def __init__(self, tape: Tape, made: Slice) -> None:
        self.tape, self.made, self.names = tape, made, Names(tape)
        self.lines: list[str] = []
        self._sessions: set[str] = set()
        self._secrets = self._name_secrets()
        self._wanted = self._name_learned()
        self.rounds = 1
        self.curl: list[str] = []
        self._curl_is_safe = True

    # What has to be fresh

    def _name_secrets(self) -> list[str]:
        lines = []
        texts = [spoken(self._said(self.tape.operations[index])) for index in sorted(self.made.acts)]
        found = dict.fromkeys(token for text in [*texts, " ".join(self.made.marks)] for token in WHOLE.findall(text))
        for number, token in enumerate(found, start=1):
            owner = self.tape.owners.get(token, self.made.owner)
            self.names.known[token] = f"secret_{number}"
            lines.append(f"secret_{number} = {identifier(owner)}.secret()")
        return lines

    def _name_learned(self) -> dict[int, list[tuple[str, tuple[str | int, ...]]]]:
        """Values that later acts name: by the act whose answer gives them."""
        wanted: dict[int, list[tuple[str, tuple[str | int, ...]]]] = {}
        numbers: dict[str, int] = {}
        acts = sorted(self.made.acts)
        texts = [spoken(self._said(self.tape.operations[index])) for index in acts]
        for text in [*texts, " ".join(self.made.marks)]:
            for value in self.tape.values_in(text):
                if value in self.names.known:
                    continue
                if (asked := self.tape.ask_of_run.get(value)) is not None:
                    self.names.known[value] = f"run_{asked.index}.run_id"
                    continue
                known = self.tape.learned[value]
                call = self.tape.operations[known.source].call
                if call not in self.made.acts:
                    continue
                stem = re.sub(r"\W", "_", value.partition("_")[0] if "_" in value else str(known.path[-1]))
                stem = stem if stem.isidentifier() else "value"
                numbers[stem] = numbers.get(stem, 0) + 1
                name = f"{stem}_{numbers[stem]}"
                self.names.known[value] = name
                wanted.setdefault(call, []).append((name, known.path))
        return wanted

    def _said(self, operation: Operation) -> Operation:
        """What an act puts on the wire."""
        return (self.tape.send_of(operation) or operation) if operation.action == actions.ASK else operation

    # The acts

    def write(self) -> str:
        """The function that carries the acts out and judges what came of them."""
        users = self._users()
        for user in users:
            name = self._registered_name(user)
            given = f"{_quoted(user)}, {name}" if name else _quoted(user)
            self.lines.append(f"{identifier(user)} = await world.user({given})")
        # The secret in a name has to be there before the user.
        self.lines = [*[_as_helper(line) for line in self._secrets], *self.lines, ""]
        self._acts()
        self._judge()
        body = "".join(f"    {line}\n" if line else "\n" for line in "\n".join(self.lines).split("\n"))
        return f"async def reproduce(world: World) -> bool:\n{body}"

    def _users(self) -> list[str]:
        named = {self.tape.operations[index].user or "" for index in self.made.acts} | {
            self.made.owner,
            *self.made.others,
        }
        text = " ".join([self.names.known[one] for one in self.made.marks if one in self.names.known])
        texts = [spoken(self._said(self.tape.operations[index])) for index in self.made.acts]
        for value, user in {**self.tape.user_ids, **self.tape.emails}.items():
            if value and any(value in one for one in (*texts, text)):
                named.add(user)
        known = list(dict.fromkeys(self.tape.emails.values()))
        return [user for user in known if user in named]

    def _registered_name(self, user: str) -> str:
        """The display name, where it holds the secret that leaked."""
        for operation in self.tape.operations:
            if operation.type == "invoke" and operation.user == user and operation.action.endswith("/auth/register"):
                body = decoded(operation.payload)
                name = str(body.get("name", "")) if isinstance(body, dict) else ""
                return self.names.text(name) if any(token in self.made.marks for token in WHOLE.findall(name)) else ""
        return ""

    def _acts(self) -> None:
        events = []
        for index in self.made.acts:
            operation = self.tape.operations[index]
            events.append(Event(index=index, act=index))
            done = self.tape.done.get(index)
            if operation.action == actions.ASK or " " in operation.action:
                given_up = done is None or "silent" in done.detail
                end = len(self.tape.operations) if done is None or given_up else done.index
                events.append(Event(index=end, act=index, ends=True))
        events.sort(key=lambda event: event.index)
        position = 0
        while position < len(events):
            event = events[position]
            operation = self.tape.operations[event.act]
            following = events[position + 1] if position + 1 < len(events) else None
            if event.ends:
                self._end(operation, f"await pending_{operation.index}")
            elif following is not None and following.act == event.act and following.ends:
                self._end(operation, f"await {self._call(operation)}")
                position += 1
            elif any(one.act == event.act and one.ends for one in events):
                self._note_overlap(operation)
                self.lines.append(f"pending_{operation.index} = await world.begin({self._call(operation)})")
            else:
                self._instant(operation, events[position + 1 :])
            position += 1

    def _note_overlap(self, operation: Operation) -> None:
        """Two users at the same moment may meet or not; what one does alone comes out alike each time."""
        done = self.tape.done.get(operation.index)
        beside = {
            self.tape.operations[index].user
            for index in self.made.acts
            if done is not None and operation.index < index < done.index
        }
        self.rounds = max(self.rounds, ROUNDS if beside - {operation.user} else 2)

    def _end(self, operation: Operation, awaited: str) -> None:
        index, made = operation.index, self.made
        if index == made.write and made.before is None and made.after is not None:
            self.lines.append(f"before = await {self._call(self.tape.operations[made.after])}")
        if made.background and index == made.spot.call:
            self.lines.append("await asyncio.sleep(2)  # what the answer shows is made in the background")
        if operation.action == actions.ASK:
            self.lines.append(f"run_{index} = {awaited}")
            return
        if index == self.made.after and self.made.end is not None:
            self.lines.append("await world.grace()")
        self.lines.append(f"answer_{index} = {awaited}")
        for name, path in self._wanted.get(index, ()):
            self.lines.append(f"{name} = answer_{index}.at({', '.join(map(repr, path))})")
            if self.curl:
                self.curl.append(f"{name}=…   # {'.'.join(map(str, path))} of the answer")
        if index in made.background:
            self.lines.append("await asyncio.sleep(1)  # it goes on in the background")
        if index == self.made.end and self.made.claim is Claim.ALIVE:
            self.lines += ["await world.grace()", f"since = len({self._socket_of(self.made.spot)}.frames)"]

    def _instant(self, operation: Operation, coming: list[Event]) -> None:
        name = identifier(operation.connection)
        if operation.action == actions.CONNECT:
            asked = str(operation.detail.get("query") or "")
            path = f", path={self.names.text(f'/ws?{asked}')}" if asked else ""
            self.lines.append(f"{name} = await {self._user(operation)}.open(backend={_backend(operation)}{path})")
        elif operation.action == actions.SEND:
            self.lines.append(f"await {name}.send({self.names.value(decoded(operation.payload) or {})})")
        elif operation.action == actions.CLOSED:
            pending = self._pending_on(operation)
            if pending is not None:
                self._wait_as_recorded(operation, pending)
            self.lines.append(f"await {name}.{'close' if operation.status == 1000 else 'cut'}()")
            after = next((self.tape.operations[one.act] for one in coming if not one.ends), None)
            if pending is not None and after is not None:
                pause = min(LONGEST_PAUSE, (after.time - operation.time) / 1e9)
                if pause > 0.3:
                    self.lines.append(f"await asyncio.sleep({pause:.1f})  # as long as in the recording")
        else:
            raise NoReproducerError(f"{operation.action} is nothing that a script can do")

    def _wait_as_recorded(self, closed: Operation, asked: int) -> None:
        """A connection is left in the middle of a run: after the same event as in the recording."""
        seen = [
            _raw_name(operation)
            for operation, _ in self.tape.frames(closed.connection, asked, closed.index)
            if (cause := self.tape.cause(operation)) is not None and cause.index in self.made.acts
        ]
        if seen:
            count = f", count={seen.count(seen[-1])}" if seen.count(seen[-1]) > 1 else ""
            self.lines.append(f"await {identifier(closed.connection)}.until({_quoted(seen[-1])}{count})")

    def _pending_on(self, closed: Operation) -> int | None:
        """The question that was still being answered when its connection was left."""
        for index in self.made.acts:
            asked = self.tape.operations[index]
            if asked.action == actions.ASK and asked.connection == closed.connection and index < closed.index:
                done = self.tape.done.get(index)
                if done is None or done.index > closed.index or done.type == "info":
                    return index
        return None

    def _call(self, operation: Operation) -> str:
        if operation.action == actions.ASK:
            message = decoded(self._said(operation).payload)
            return f"{identifier(operation.connection)}.ask({self.names.value(message, fresh=True)})"
        method, _, _ = operation.action.partition(" ")
        path = self.names.text(str(operation.detail.get("path", "")))
        told = [_quoted(method), path]
        told.append("auth=True" if operation.surface == "auth" else f"backend={_backend(operation)}")
        if is_shared(operation):
            told.append(f"line={operation.connection!r}")
        if query := operation.detail.get("query"):
            told.append(f"params={self.names.value(query)}")
        told += self._headers(operation)
        if operation.payload:
            body = decoded(operation.payload)
            told.append(
                f"content={self.names.text(operation.payload)}" if body is None else f"json={self.names.value(body)}"
            )
        self._tell_curl(operation)
        return f"{self._user(operation)}.call({', '.join(told)})"

    def _headers(self, operation: Operation) -> list[str]:
        sent = operation.detail.get("sent")
        name = str(operation.detail.get("attempt", ""))
        if name in BY_NAME or name == CHANGED:
            victim = identifier(self.made.owner)
            shown = presented(name, identifier(operation.user) if operation.user else victim, victim)
            given = [f"**{shown['headers']}"] if "headers" in shown else []
            given += [f'"Authorization": "Bearer " + {shown["bearer"]}'] if "bearer" in shown else []
            return [f"headers={{{', '.join(given)}}}"] + ([f"params={shown['query']}"] if "query" in shown else [])
        return [f"headers={self.names.value(sent)}"] if isinstance(sent, dict) and sent else []

    def _tell_curl(self, operation: Operation) -> None:
        user = (operation.user or "").upper()
        base = "$AUTH_URL" if operation.surface == "auth" else "$BACKEND_URL"
        recorded = str(operation.detail.get("path", ""))
        self._curl_is_safe = self._curl_is_safe and re.fullmatch(r"[\w./%~-]+", recorded) is not None
        path = re.sub(r'^f?"|"$', "", self.names.text(recorded))
        path = re.sub(r"\{([\w.]+)\}", lambda found: f"${found[1].replace('.', '_')}", path)
        token = f' -H "Authorization: Bearer ${user}_TOKEN"' if user else ""
        body = ""
        if operation.payload:
            text = WHOLE.sub("CANARYTESTTESTTESTTEST", operation.payload).replace("'", "'\\''")
            body = f" -H 'Content-Type: application/json' -d '{text}'"
        self.curl.append(f'curl -sS -X {operation.action.split(" ")[0]} "{base}{path}"{token}{body}')

    def _user(self, operation: Operation) -> str:
        user = identifier(operation.user)
        if str(operation.detail.get("attempt", "")).startswith("no token"):
            return "world.nobody"
        credential = str(operation.detail.get("credential") or f"{operation.user}-1")
        if not operation.user or credential == f"{operation.user}-1":
            return user
        session = identifier(credential)
        if session not in self._sessions:
            self._sessions.add(session)
            self.lines.append(f"{session} = await {user}.session()")
        return session

    @property
    def has_curl(self) -> bool:
        """Whether the acts can be typed into a shell: plain requests, with nothing in a path that a shell would do."""
        acts = [self.tape.operations[act] for act in self.made.acts]
        return self._curl_is_safe and all(act.surface in ("auth", "rest") for act in acts)

    # The judgement

    def _judge(self) -> None:
        made, owner = self.made, identifier(self.made.owner)
        others = ", ".join(map(identifier, made.others))
        marks = ", ".join(self.names.known.get(mark, repr(mark)) for mark in made.marks)
        if made.claim is Claim.REACHED:
            what = "" if made.what == "secret" else f', "{made.what}"'
            control = f", control=answer_{made.control}" if made.control in made.acts else ""
            self.lines.append(f"return await world.reached({owner}, [{others}], [{marks}]{what}{control})")
        elif made.claim is Claim.CHANGED:
            before = "before" if made.before is None else f"answer_{made.before}"
            self.lines.append(f"return world.changed({owner}, {before}, answer_{made.after}, [{marks}])")
        elif made.claim is Claim.WORKS:
            before = self._worked_before()
            self.lines.append(f"return world.works({before}, answer_{made.after})")
        elif made.claim is Claim.ALIVE:
            self.lines.append(f"return await world.alive({self._socket_of(made.spot)}, since)")
        else:
            self._forged(owner, others)

    def _socket_of(self, operation: Operation) -> str:
        return identifier(operation.connection)

    def _worked_before(self) -> str:
        """The same request with the same credential before its end."""
        assert self.made.after is not None and self.made.end is not None
        operation = self.tape.operations[self.made.after]
        line = f"before = await {self._call(operation)}"
        place = next(i for i, one in enumerate(self.lines) if one.startswith(f"answer_{self.made.end} ="))
        session = next((one for one in self.lines[place:] if one.endswith(".session()")), None)
        if session is not None:
            self.lines.remove(session)
            self.lines.insert(place, session)
            place += 1
        self.lines.insert(place, line)
        return "before"

    def _forged(self, victim: str, actor: str) -> None:
        made = self.made
        assert made.after is not None
        asked, name = self.tape.operations[made.after], str(made.spot.detail.get("attempt"))
        shown = presented(name, actor, victim)
        self.lines.append(f"# what is presented: {name}")
        if "bearer" in shown:
            self.lines.append(f"forged = {shown['bearer']}")
        if asked.action == actions.CONNECT:
            self._forged_handshake(victim, actor, shown)
            return
        path = json.dumps(str(asked.detail.get("path", "")))
        place = "auth=True" if asked.surface == "auth" else f"backend={_backend(asked)}"
        method = asked.action.partition(" ")[0]
        in_body = '"token"' in asked.payload and "bearer" in shown
        own = f', json={{"token": {actor}.token}}' if in_body else ""
        method = _quoted(method)
        self.lines.append(f"own = await {actor}.call({method}, {path}, {place}{own})")
        given = [f"**{shown['headers']}"] if "headers" in shown else []
        if in_body:
            given, forged = [], ', json={"token": forged}'
        else:
            given += ['"Authorization": f"Bearer {forged}"'] if "bearer" in shown else []
            forged = f", headers={{{', '.join(given)}}}" if given else ""
            forged += f", params={shown['query']}" if "query" in shown else ""
        who_asks = actor if in_body else "world.nobody"
        self.lines.append(f"shown = await {who_asks}.call({method}, {path}, {place}{forged})")
        self.lines.append(f"return world.taken_for({victim}.id, own.text, {actor}.id, shown.text)")

    def _forged_handshake(self, who: str, actor: str, shown: Mapping[str, str]) -> None:
        place = str(self.made.spot.detail.get("phase", ""))
        backend = f"backend={_backend(self.made.spot)}"
        given = [f"**{shown['headers']}"] if "headers" in shown else []
        how = ""
        if "bearer" in shown and place.endswith("subprotocol"):
            how = ', protocols=["jwt-auth", f"jwt.{b64(forged)}"]'
        elif "bearer" in shown and place.endswith("query"):
            how = ', path=f"/ws?token={forged}"'
        elif "bearer" in shown:
            given.append('"Authorization": f"Bearer {forged}"')
        if "query" in shown:
            raise NoReproducerError("the handshake presents a credential in a query of its own")
        headers = f", headers={{{', '.join(given)}}}" if given else ""
        self.lines += [
            f"own = await {actor}.open({backend})",
            f"shown = await world.nobody.open({backend}{how}{headers})",
            f"return world.taken_for({who}.id[:8], own.text, {actor}.id[:8], shown.text)",
        ]


def _as_helper(line: str) -> str:
    return re.sub(r"= [\w.]+\.secret\(\)", "= fresh_secret()", line)


def _raw_name(operation: Operation) -> str:
    """The name of an event as its frame spells it."""
    root = decoded(operation.payload)
    said = root.get("event") or root.get("type") if isinstance(root, dict) else None
    return str(said) if isinstance(said, str) else frame_of(operation).name


def _backend(operation: Operation) -> int:
    number = (operation.backend or "backend-1").rpartition("-")[2]
    return int(number) - 1 if number.isdigit() else 0


_HEAD = '''#!/usr/bin/env python3
"""{headline}

{story}

Run it with Python 3.11 or newer, httpx and websockets:

    AUTH_URL=http://localhost:8081 BACKEND_URLS=http://localhost:8000 python {name}

Further variables: HEADERS (JSON, sent with every request), TIMEOUT (seconds, 20), ROUNDS ({rounds}), SSL_CERT_FILE or
VERIFY_TLS=no, and USER_1, PASSWORD_1, USER_2, … for existing accounts. Without those it registers {users} and removes
them at the end.

Exit status: 1 the leak is still there, 0 it is gone, 3 it could not tell (unreachable, or no positive control).
{curl}"""
'''


def runtime() -> str:
    """What every reproducer carries with it."""
    text = files("netra_probe.report.reproducers").joinpath("runtime.py").read_text(encoding="utf-8")
    return text[text.index(_LINE) :]


def source_of(tape: Tape, made: Slice, finding: Finding, *, case: str, name: str, about: str) -> str:
    """The text of a reproducer. Raises NoReproducerError."""
    script = Script(tape, made)
    body = script.write()
    rounds = script.rounds
    common = runtime()
    line, _, rest = common.partition("\n")
    imports, _, definitions = rest.partition("\n\nLEAKS, ")
    curl = ""
    if 0 < len(made.acts) <= MOST_CURL and len(script.curl) >= len(made.acts) and script.has_curl:
        told = "\n".join(f"    {one}" for one in script.curl)
        curl = f"\nThe same by hand, with a token of each user:\n\n{told}\n"
    plain = _plain(finding.summary)
    head = _HEAD.format(
        headline=_plain_line(f"{case}: {plain}"),
        story=_plain(about),
        name=name,
        rounds=rounds,
        users=f"{len(script._users())} users",
        curl=visible(curl).replace("\\", "\\\\").replace('"""', "'''"),
    )
    return (
        f"{head}\nfrom __future__ import annotations\n\n{imports}\n\n\n"
        f"{body}\n\n{line}\n\nLEAKS, {definitions.rstrip()}\n\n\n"
        f'if __name__ == "__main__":\n    raise SystemExit(main(reproduce, rounds={rounds}))\n'
    )


def _plain(text: str) -> str:
    import textwrap

    cleaned = visible(text).replace("\\", "/").replace('"', "'")
    return "\n".join("\n".join(textwrap.wrap(one, WIDTH)) for one in cleaned.split("\n"))


def _plain_line(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= WIDTH - 4 else f"{first[: WIDTH - 5]}…"


def told_by(finding: Finding) -> str:
    """The checker and the kind, as a sentence has them."""
    return f"{checker_name(finding.checker)}: {finding.kind}"
