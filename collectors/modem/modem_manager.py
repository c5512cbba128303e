"""ModemManager over the system's D-Bus: every modem and its bearer as plain values.

Reads: org.freedesktop.ModemManager1 at run/dbus/system_bus_socket: Modem, Modem.Modem3gpp, Modem.Signal, Bearer.
Source: https://www.freedesktop.org/software/ModemManager/api/latest/. What an older version lacks is absent.
Emits: `Modem`s, without IMEI, IMSI, ICCID, numbers or cell, which are never asked for by name and never kept.
Fails: no bus, no service, an answer that takes more than `TIMEOUT_S`, or none that is understood: `UnavailableError`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from jeepney import DBusAddress, DBusErrorResponse, MessageType, Properties, new_method_call
from jeepney.io.blocking import DBusConnection, open_dbus_connection

SERVICE = "org.freedesktop.ModemManager1"
ROOT = "/org/freedesktop/ModemManager1"
MODEM, GPP, SIGNAL, BEARER = (f"{SERVICE}.{name}" for name in ("Modem", "Modem.Modem3gpp", "Modem.Signal", "Bearer"))
TIMEOUT_S = 2.0
MAX_MODEMS = 16

# ModemManager-enums.h: MM_MODEM_STATE_CONNECTED, MM_MODEM_PORT_TYPE_NET, registration while roaming.
CONNECTED, NET_PORT, ROAMING = 11, 2, frozenset({5, 7, 10})
# MM_MODEM_ACCESS_TECHNOLOGY_*, the fastest first.
TECHNOLOGIES = {
    1 << 15: "5gnr",
    1 << 14: "lte",
    1 << 9: "hspa+",
    1 << 8: "hspa",
    1 << 5: "umts",
    1 << 4: "edge",
    1 << 3: "gprs",
    1 << 1: "gsm",
}


class UnavailableError(Exception):
    """ModemManager cannot be asked now; says why."""


class Modem(NamedTuple):
    """A modem as it is now; what it does not say is None or "".

    Attributes:
        path: its object, which changes when it is plugged in again.
        id: beginning of ModemManager's hash of the device, which does not.
        interface: its network interface.
        state: ModemManager's number.
        signal_percent: as ModemManager sums it up.
        signal: rssi, rsrp (dBm), rsrq, snr (dB), of the fastest technology that says anything.
        is_polled: the signal's details are asked for by ModemManager.
        stats: of the bearer: rx-bytes, tx-bytes, duration (seconds).
    """

    path: str
    id: str
    model: str
    carrier: str
    technology: str
    interface: str
    state: int | None
    is_roaming: bool | None
    signal_percent: float | None
    signal: Mapping[str, float]
    is_polled: bool
    stats: Mapping[str, float]


class ModemManager:
    """The client's end.

    Args:
        socket: of the system's bus.
    """

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._connection: DBusConnection | None = None

    def modems(self) -> list[Modem]:
        """Return every modem, by its object.

        Raises:
            UnavailableError: see the module.
        """
        manager = DBusAddress(ROOT, SERVICE, "org.freedesktop.DBus.ObjectManager")
        (objects,) = self._ask(new_method_call(manager, "GetManagedObjects"))
        found = [(path, _values(rows)) for path, rows in sorted(objects.items()) if MODEM in rows]
        return [self._modem(path, rows) for path, rows in found[:MAX_MODEMS]]

    def poll_signal(self, modem: Modem, every_s: int) -> None:
        """Have ModemManager ask a modem for the details of its signal.

        Raises:
            UnavailableError: see the module; also where polkit does not allow it.
        """
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
        return Modem(
            path=path,
            id=_text(own.get("DeviceIdentifier"))[:8] or path.rpartition("/")[2],
            model=_text(own.get("Model")),
            carrier=_text(gpp.get("OperatorName")),
            technology=_technology(own.get("AccessTechnologies")),
            interface=_text(bearer.get("Interface")) or _port(own.get("Ports")),
            state=own["State"] if isinstance(own.get("State"), int) else None,
            is_roaming=registration in ROAMING if isinstance(registration, int) else None,
            signal_percent=_number(percent[0]) if isinstance(percent, tuple) and percent else None,
            signal=_signal(signal),
            is_polled=bool(signal.get("Rate")),
            stats=_numbers(bearer.get("Stats")),
        )

    def _bearer(self, paths: Any) -> Mapping[str, Any]:
        """Return the properties of the bearer that is connected, or of the last one."""
        found: Mapping[str, Any] = {}
        for path in paths if isinstance(paths, list) else ():
            try:
                (rows,) = self._ask(Properties(DBusAddress(path, SERVICE, BEARER)).get_all())
            except UnavailableError:
                continue  # it went with the connection that it was
            found = _values({BEARER: rows})[BEARER]
            if found.get("Connected"):
                break
        return found

    def _ask(self, message: Any) -> tuple[Any, ...]:
        try:
            if self._connection is None:
                self._connection = open_dbus_connection(f"unix:path={self._socket}", auth_timeout=TIMEOUT_S)
            answer = self._connection.send_and_get_reply(message, timeout=TIMEOUT_S)
        except (OSError, TimeoutError, ValueError, EOFError, RuntimeError) as error:
            self.close()  # an answer that is late would be taken for the next one's
            raise UnavailableError(str(error) or type(error).__name__) from error
        if answer.header.message_type == MessageType.error:
            raise UnavailableError(DBusErrorResponse(answer).name)
        body: tuple[Any, ...] = answer.body
        return body


def recorded(lines: Iterable[str]) -> list[Modem] | None:
    """Return the modems that a recorded tree holds as JSON, by the attributes of `Modem`; None where it is none."""
    try:
        return [Modem(**row) for row in json.loads("".join(lines))]
    except (ValueError, TypeError):
        return None


def _values(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return properties without their D-Bus types."""
    return {interface: {name: value for name, (_, value) in values.items()} for interface, values in rows.items()}


def _signal(rows: Mapping[str, Any]) -> dict[str, float]:
    for technology in ("Nr5g", "Lte", "Umts", "Gsm"):
        numbers = _numbers(rows.get(technology))
        if numbers:
            return numbers
    return {}


def _numbers(rows: Any) -> dict[str, float]:
    """Return the numbers of a dictionary of variants; ModemManager says -32768 for "none"."""
    pairs = ((name, _number(value)) for name, (_, value) in rows.items()) if isinstance(rows, dict) else ()
    return {name: value for name, value in pairs if value is not None and value > -32_000}


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return value


def _text(value: Any) -> str:
    return value.strip()[:64] if isinstance(value, str) else ""


def _technology(bits: Any) -> str:
    known = bits if isinstance(bits, int) else 0
    return next((name for bit, name in TECHNOLOGIES.items() if known & bit), "")


def _port(ports: Any) -> str:
    rows = ports if isinstance(ports, list) else ()
    return next((_text(name) for name, kind in rows if kind == NET_PORT), "")
