"""Read modems that only have a web interface: HiLink dongles, ZTE's and Netgear's routers.

Such a modem is a router behind a network interface; ModemManager does not see it. Its make is found by trying each
interface, and remembered. Several routers may have the same address, so each is asked through its own interface.

Errors: a router that answered before and does not answer now has no values and is asked less often. A gateway that
    never answered as one of these is tried again after `AGAIN_S`. All of them together take at most `COLLECT_S` of a
    collect; a router that was not reached in that time is asked first in the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from collectors.host import Host
from collectors.modem import hilink, netgear, zte
from collectors.modem.place import Gateway, RouterSession, places
from collectors.modem.reading import Modem
from collectors.web import WebError

ROUTER = "usb-"  # how the ids begin
ASK_S = 1.2  # it is at the other end of a USB cable; a busy one takes 300 ms an answer
COLLECT_S = 2.5  # less than the heartbeats that may be missed
MISSES, SILENT_S = 2, 30.0  # one answer may be late; who misses two is asked less often
AGAIN_S = 300.0
MAX_ROUTERS = 6

# What a make's module has: `ask`, which returns what a router says, None where it is another make's.
Ask = Callable[[RouterSession], Modem | None]
MAKES: tuple[Ask, ...] = (hilink.ask, zte.ask, netgear.ask)


@dataclass
class _Known:
    """A place, the make that answered there, its last words, and when it is asked again, in monotonic seconds."""

    session: RouterSession
    ask: Ask | None = None
    modem: Modem | None = None
    not_before_s: float = 0.0
    asked_s: float = float("-inf")
    misses: int = 0  # answers that did not come, one after the other


@dataclass
class Routers:
    """The routers by place."""

    known: dict[Gateway, _Known] = field(default_factory=dict)

    def modems(self, host: Host, wanted: Collection[str] = ()) -> Iterator[Modem]:
        """Yield the routers found; one that does not answer now has no state and no values.

        Args:
            host: where the interfaces are read.
            wanted: names of interfaces to ask at besides USB ones.
        """
        found = list(places(host, wanted))[:MAX_ROUTERS]
        self.known = {place: self.known.get(place) or _Known(RouterSession(place)) for place in found}
        end_s = time.monotonic() + COLLECT_S
        for known in sorted(self.known.values(), key=lambda known: known.asked_s):
            is_due = host.now_s >= known.not_before_s and time.monotonic() < end_s
            answer = _asked(known, host.now_s, end_s) if is_due else None
            if answer is None and known.modem is not None:
                answer = silent(known.modem)
            if answer is not None:
                yield answer


def silent(modem: Modem) -> Modem:
    """Return the modem of a router that does not answer: only its identity is known."""
    who = {name: getattr(modem, name) for name in ("path", "id", "model", "carrier", "interface", "is_polled")}
    return Modem(
        **who, technology="", state=None, is_roaming=None, signal_percent=None, signal={}, stats={},
        note="does not answer",
    )  # fmt: skip


def _asked(known: _Known, now_s: float, end_s: float) -> Modem | None:
    """Ask a router for its values, and set when it is asked next."""
    known.asked_s, known.session.deadline_s = now_s, min(end_s, time.monotonic() + ASK_S)
    is_sure = known.ask is not None and known.misses < MISSES
    for ask in (known.ask,) if is_sure and known.ask else MAKES:  # another make may be plugged in there by now
        try:
            modem = ask(known.session)
        except WebError:
            modem = None
        if modem is not None:
            known.ask, known.modem, known.not_before_s, known.misses = ask, modem, 0.0, 0
            return modem
    known.session = RouterSession(known.session.place)
    known.misses += 1
    silent_s = SILENT_S if known.misses >= MISSES else 0.0
    known.not_before_s = now_s + (AGAIN_S if known.ask is None else silent_s)
    return None
