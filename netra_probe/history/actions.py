"""The vocabulary of actions: the words that clients write and checkers read.

REST and auth requests are named by method and route, ``GET /api/threads/{id}``; everything else is listed here.

=============  ==========  ==================================================================================
action         surface     detail
=============  ==========  ==================================================================================
``open``       probe       the first line: schema, scenario, environment, seed, versions, users, ``urls`` of the target,
                           ``faults`` that were injected, where that is known
``principal``  probe       an account: ``ids.user_id``; ``email``
``mint``       probe       a canary: ``token``, ``field``, ``surface``, ``epoch``, ``control``
``own``        probe       an object that a user made: ``kind`` and ``id`` (thread, message, run)
``plan``       probe       what is going to be done: ``seed``, ``budget``, ``planned``, ``left_out``, ``impossible``, …;
                           ``withheld``: operation → why it is not sent; ``by``: ``walk`` where it is noted afterwards
``step``       probe       one step of it: its ``id`` and values; ``impossible`` (why), where it could not be taken.
                           Everything that is begun for it has ``detail.step``, the step's own act ``detail.act``
``disturb``    probe       what the nemesis did: ``what``, ``target``
``check``      probe       a verdict is asked for here: ``case``, ``claim``, ``requirements``, ``checkers``, ``needs``
``skip``       probe       a case that the target has no surface for: ``case``, ``claim``, ``requirements``, ``reason``
``raised``     probe       a notebook cell ended in an exception: its name as ``error``, and its ``message``
``cleanup``    probe       what was removed and what is left: ``left``, ``unverified``
``ask``        websocket   invoke: a run is asked for (``nonce``, ``ids.thread_id`` if known); ok: its terminal event
                           arrived (``ids.run_id``); info: silent until the deadline; fail: refused
``connect``    websocket   ok: accepted; fail: refused with ``status`` (HTTP status or close code)
``send``       websocket   ok: one frame written
``receive``    websocket   observation: one frame, as it came
``closed``     websocket   observation: the connection ended with ``status``; ``by``: the probe or the target
``attempt``    any         an unauthorised or forged act: ``attempt`` (its name), ``expect``; ok says who it became
``revoke``     probe       the user's credential ended, as seen from outside (also ``logout``, ``expire``, ``disable``,
                           ``delete``): ``credential`` (which one, where a user has several)
``txn``        any         a transaction: ``txn``, its micro-operations ``["r" | "w" | "append" | "spend", key, value]``
``ledger``     rest        observation: a balance and its entries: ``key``, ``balance``, ``entries`` (id → amount),
                           ``acts`` (how often its user has spent since the reading before), ``opening``
``row``        database    observation: one row: ``table``, ``key``, ``owner`` (alias, or None)
``key``        cache       observation: one key: ``key``, ``owners`` (aliases named in the key)
``gauge``      any         observation: a number: ``name``, ``value`` (sockets, pool connections, tasks, …)
``schema``     database    observation: the ``schema`` that was made for components to act on, or the ``reason`` why not
``process``    component   a function of the investigator's in a process of its own: ``act``, ``components``, names of
                           its ``variables``; the payload of its end is what came of it
``expect``     component   observation: a ``promise`` with what was ``observed`` and what is ``expected`` (or why it is
                           ``undecided``); ``about``: works, contained, visible
``token``      probe       observation: what a token says of itself, without it: ``kind``, ``form``, ``algorithm``,
                           ``claims``, ``lifetime``; ``stated`` (a lifetime) and ``by`` whom; ``answer`` that gave it
``end``        probe       the last line of a closed history: ``operations``
=============  ==========  ==================================================================================

``open``, ``check``, ``skip``, ``cleanup`` and ``end`` also carry ``chain``, the digest of all lines up to there
(``netra_probe.history.damage``).
"""

from __future__ import annotations

OPEN = "open"
PRINCIPAL = "principal"
MINT = "mint"
OWN = "own"
DISTURB = "disturb"
PLAN = "plan"
STEP = "step"
SCHEMA = "schema"
CHECK = "check"
SKIP = "skip"
CLEANUP = "cleanup"
RAISED = "raised"
ASK = "ask"
CONNECT = "connect"
SEND = "send"
RECEIVE = "receive"
CLOSED = "closed"
ATTEMPT = "attempt"
ROW = "row"
KEY = "key"
GAUGE = "gauge"
TXN = "txn"
LEDGER = "ledger"
TOKEN = "token"
PROCESS = "process"
EXPECT = "expect"
#: What ends a credential: actions of the probe, or what a disturbance did.
ENDINGS = frozenset(("logout", "revoke", "expire", "disable", "delete"))
#: Attempts with a token of the tester's own that a log-out has ended, rather than with one that is forged.
ATTEMPTS_WITH_ENDED_TOKENS = frozenset(("revoked token", "revoked, respelled"))
END = "end"
