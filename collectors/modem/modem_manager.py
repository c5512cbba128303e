"""Read every modem and its bearer from ModemManager over the system's D-Bus, as plain values.

Reads: org.freedesktop.ModemManager1 at run/dbus/system_bus_socket: Modem, Modem.Modem3gpp, Modem.Signal, Bearer.
Source: https://www.freedesktop.org/software/ModemManager/api/latest/. What an older version lacks is absent.
Emits: `Modem`s, without IMSI, ICCID, telephone numbers or cell, which are not read. Of the IMEI only a keyed hash is
    kept, which distinguishes two modems of one make.
Fails: no bus, no service, an answer that takes more than `TIMEOUT_S`, or none that is understood: `UnavailableError`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from jeepney import DBusAddress, DBusErrorResponse, MessageType, Properties, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection

from collectors.bounded import left_s
from collectors.modem.reading import Modem
from common import untrusted

SERVICE = "org.freedesktop.ModemManager1"
ROOT = "/org/freedesktop/ModemManager1"
MODEM, GPP, SIGNAL, BEARER = (f"{SERVICE}.{name}" for name in ("Modem", "Modem.Modem3gpp", "Modem.Signal", "Bearer"))
TIMEOUT_S = 2.0  # of one question
COLLECT_S = 4.0  # of all of a collect's: each modem's bearers are asked one by one
MAX_MODEMS, MAX_BEARERS = 16, 4

NET_PORT, ROAMING = 2, frozenset({5, 7, 10})  # MM_MODEM_PORT_TYPE_NET, registration while roaming
# MM_MODEM_ACCESS_TECHNOLOGY_* of ModemManager-enums.h, as of 1.22; of several at once the fastest counts, it is first.
TECHNOLOGIES = {
    1 << 15: "5gnr", 1 << 14: "lte", 1 << 16: "lte-cat-m", 1 << 17: "lte-nb-iot", 1 << 9: "hspa+", 1 << 8: "hspa",
    1 << 7: "hsupa", 1 << 6: "hsdpa", 1 << 5: "umts", 1 << 13: "evdob", 1 << 12: "evdoa", 1 << 11: "evdo0",
    1 << 10: "1xrtt", 1 << 4: "edge", 1 << 3: "gprs", 1 << 2: "gsm", 1 << 1: "gsm", 1 << 0: "pots",
}  # fmt: skip
INITIALIZING = 1  # MM_MODEM_STATE_INITIALIZING; below it: unknown. It does not know itself yet.


class UnavailableError(Exception):
    """ModemManager cannot be asked now; says why."""


class ModemManager:
    """The client's end.

    Args:
        socket: of the system's bus.
        secret: known on this machine alone; keeps the equipment's number out of the modem's name.
    """

    def __init__(self, socket: str, secret: bytes) -> None:
        self._socket = socket
        self._secret = secret
        self._deadline_s = 0.0
        self._connection: DBusConnection | None = None
        self._shared: set[str] = set()  # numbers that two modems had at once so far

    def modems(self) -> list[Modem]:
        """Return every modem, by its object.

        Raises:
            UnavailableError: see the module.
        """
        self._deadline_s = time.monotonic() + COLLECT_S
        try:
            return self._all()
        except (TypeError, ValueError, AttributeError, KeyError) as error:  # other types than the interface has
            raise UnavailableError("answers what is not understood") from error

    def _all(self) -> list[Modem]:
        manager = DBusAddress(ROOT, SERVICE, "org.freedesktop.DBus.ObjectManager")
        (objects,) = self._ask(new_method_call(manager, "GetManagedObjects"))
        found = [(path, _values(rows)) for path, rows in sorted(objects.items()) if MODEM in rows]
        modems = [self._modem(path, rows) for path, rows in found[:MAX_MODEMS] if _knows_itself(rows[MODEM])]
        self._shared |= {name for name, count in Counter(modem.id for modem in modems).items() if count > 1}
        ports = {path: _port_of(rows[MODEM]) for path, rows in found}  # cheap ones are sold with one number for all
        return [m._replace(id=f"{m.id}@{ports[m.path]}") if m.id in self._shared else m for m in modems]

    def poll_signal(self, modem: Modem, every_s: int) -> None:
        """Have ModemManager ask a modem for the details of its signal.

        Raises:
            UnavailableError: see the module; also where polkit does not allow it.
        """
        self._deadline_s = time.monotonic() + TIMEOUT_S
        address = DBusAddress(modem.path, SERVICE, SIGNAL)
        self._ask(new_method_call(address, "Setup", "u", (every_s,)))

    def close(self) -> None:
        """Let go of the bus."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _modem(self, path: str, rows: Mapping[str, Mapping[str, Any]]) -> Modem:
        own, gpp, signal = rows[MODEM], rows.get(GPP, {}), rows.get(SIGNAL, {})
        bearer = self._bearer(own.get("Bearers"))
        percent = own.get("SignalQuality")
        registration = gpp.get("RegistrationState")
        technology, unknown = _technology(own.get("AccessTechnologies"))
        return Modem(
            path=path,
            id=self._identity(own) or path.rpartition("/")[2],
            model=_text(own.get("Model")),
            carrier=_text(gpp.get("OperatorName")),
            technology=technology,
            interface=_text(bearer.get("Interface")) or _port(own.get("Ports")),
            state=own["State"] if isinstance(own.get("State"), int) else None,
            is_roaming=registration in ROAMING if isinstance(registration, int) else None,
            signal_percent=_number(percent[0]) if isinstance(percent, tuple) and percent else None,
            signal=_signal(signal),
            is_polled=bool(signal.get("Rate")),
            stats=_numbers(bearer.get("Stats")),
            unknown=unknown,
        )

    def _identity(self, own: Mapping[str, Any]) -> str:
        """Return what tells a modem from all others, the same after a re-plug and a restart.

        ModemManager's DeviceIdentifier is the same for all modems of one make and firmware. The equipment's number
        (IMEI) is not, and is not to be known: what is returned cannot be turned back without this machine's secret.
        """
        equipment = _text(own.get("EquipmentIdentifier"))
        if equipment.strip("0") and self._secret:
            return hmac.new(self._secret, equipment.encode(), hashlib.sha256).hexdigest()[:8]
        port = _port_of(own)
        return f"port-{port}" if port else _text(own.get("DeviceIdentifier"))[:8]

    def _bearer(self, paths: Any) -> Mapping[str, Any]:
        """Return the properties of the bearer that is connected, or of the last one."""
        found: Mapping[str, Any] = {}
        for path in paths[:MAX_BEARERS] if isinstance(paths, list) else ():
            try:
                (rows,) = self._ask(Properties(DBusAddress(path, SERVICE, BEARER)).get_all())
            except (UnavailableError, TypeError, ValueError):
                continue  # it went with the connection that it was, or is no object's path
            found = _values({BEARER: rows})[BEARER]
            if found.get("Connected"):
                break
        return found

    def _ask(self, message: Any) -> tuple[Any, ...]:
        try:
            if self._connection is None:
                self._connection = open_dbus_connection(f"unix:path={self._socket}", auth_timeout=TIMEOUT_S)
            timeout_s = min(TIMEOUT_S, left_s(self._deadline_s))
            answer = self._connection.send_and_get_reply(message, timeout=timeout_s)
        except (OSError, TimeoutError, ValueError, EOFError, RuntimeError) as error:
            self.close()  # an answer that is late would be taken for the next one's
            raise UnavailableError(str(error) or type(error).__name__) from error
        if answer.header.message_type == MessageType.error:
            raise UnavailableError(DBusErrorResponse(answer).name)
        body: tuple[Any, ...] = answer.body
        return body


def _values(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return properties without their D-Bus types."""
    return {interface: _variants(values) for interface, values in rows.items()}


def _variants(rows: Any) -> dict[str, Any]:
    """Return what a dictionary of variants holds; what is none is left out."""
    pairs = rows.items() if isinstance(rows, dict) else ()
    return {name: pair[1] for name, pair in pairs if isinstance(pair, tuple) and len(pair) > 1}


def _signal(rows: Mapping[str, Any]) -> dict[str, float]:
    for technology in ("Nr5g", "Lte", "Umts", "Gsm"):
        numbers = _numbers(rows.get(technology))
        if numbers:
            return numbers
    return {}


def _numbers(rows: Any) -> dict[str, float]:
    """Return the numbers of a dictionary of variants; ModemManager says -32768 for "none"."""
    pairs = ((name, _number(value)) for name, value in _variants(rows).items())
    return {name: value for name, value in pairs if value is not None and value > -32_000}


def _number(value: Any) -> float | None:
    return None if isinstance(value, str) else untrusted.number(value)


def _text(value: Any) -> str:
    return untrusted.words(value)


def _technology(bits: Any) -> tuple[str, dict[str, str]]:
    """Return the fastest technology, and what is in no table."""
    known = bits if isinstance(bits, int) else 0
    found = next((name for bit, name in TECHNOLOGIES.items() if known & bit), "")
    return (found, {}) if found or not known else (f"{known:#x}", {"AccessTechnologies": f"{known:#x}"})


def _knows_itself(own: Mapping[str, Any]) -> bool:
    """Return whether a modem has been read so far that it can be told from others."""
    state = own.get("State")
    is_early = isinstance(state, int) and 0 <= state <= INITIALIZING
    return bool(_text(own.get("EquipmentIdentifier"))) or not is_early


def _port_of(own: Mapping[str, Any]) -> str:
    """Return the USB port, e.g. ``1-1.2``, or the PCI address that a modem is plugged into."""
    return _text(own.get("Device")).rpartition("/")[2]


def _port(ports: Any) -> str:
    rows = [row for row in ports if isinstance(row, tuple) and row] if isinstance(ports, list) else ()
    return next((_text(name) for name, *kind in rows if kind == [NET_PORT]), "")
