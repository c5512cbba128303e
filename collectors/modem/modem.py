"""The modems: signal, carrier, traffic, and events when they appear or disappear.

Reads: ModemManager on the system's D-Bus (run/dbus/system_bus_socket), see modem_manager.py; Huawei's, ZTE's and
    Netgear's routers, which it does not see as modems, over HTTP, see routers.py; etc/machine-id, as a secret.
Source: https://www.freedesktop.org/software/ModemManager/api/latest/, the routers' web interfaces.
Emits: modem.active_modems, modem.connected{modem} (0 or 1), modem.roaming{modem} (0 or 1), modem.signal_percent{modem},
    modem.{rssi,rsrp}_dbm{modem}, modem.{rsrq,snr}_db{modem} (once ModemManager polls them), modem.{rx,tx}_bytes_total
    and modem.connection_seconds{modem} (of the connection), modem.data_used_bytes{modem} and
    modem.battery_percent{modem} (of a router), modem.reconnects_total{modem},
    modem.info{modem,interface,model,carrier,technology,band} (1). Events modem_plugged, modem_unplugged, modem_lost,
    modem_restored.
Errors: without a bus or ModemManager there are no samples, which is reported once. IMEI, IMSI, ICCID, telephone numbers
    and cells are not kept: a modem is identified by a hash of its IMEI that only this machine can make, a router by its
    USB port. An unknown technology is passed on as it is, and is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from collectors.host import Host
from collectors.modem.modem_manager import ModemManager, UnavailableError
from collectors.modem.reading import CONNECTED, Modem, recorded
from collectors.modem.routers import ROUTER, Routers
from common.events import Event
from common.keys import boolean, duration, key, listing, text
from common.sample import Sample

RECORDED = "modems"  # below any root but /: what ModemManager said when the tree was recorded
BUS = "run/dbus/system_bus_socket"
NO_BUS = "there is no D-Bus here, so ModemManager's modems are not seen; HiLink, ZTE and Netgear routers are"
MACHINE = "etc/machine-id"
UNITS = {"rssi": "rssi_dbm", "rsrp": "rsrp_dbm", "rsrq": "rsrq_db", "snr": "snr_db"}
STATS = {"rx-bytes": "rx_bytes_total", "tx-bytes": "tx_bytes_total", "duration": "connection_seconds"}


@dataclass(frozen=True)
class Config:
    """Section collectors.modem."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(0.1, 86_400), "10s", "time between two collects", name="interval")
    hilink: bool = key(
        boolean(), "true", "ask the gateways of USB network interfaces whether they are HiLink, ZTE or Netgear routers"
    )
    router_interfaces: tuple[str, ...] = key(
        listing(text(pattern=r"[\w.:-]{1,15}")), "[]", "other interfaces with such a router behind them, e.g. [eth1]"
    )
    poll_signal: bool = key(boolean(), "true", "have ModemManager ask the modems for rsrp, rsrq, snr (needs polkit)")


@dataclass
class KnownModem:
    """What is remembered of a modem."""

    name: str
    was_connected: bool = False
    is_lost: bool = False
    reconnects: int = 0


@dataclass
class State:
    """The modems by id, and the way to them."""

    manager: ModemManager | None = None
    routers: Routers = field(default_factory=Routers)
    known: dict[str, KnownModem] = field(default_factory=dict)
    plugged: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)  # objects for which polling was set up, or refused


def collect(host: Host, config: Config, state: State) -> Iterator[Sample | Event]:
    """Yield the values of each modem."""
    modems, is_sure = _modems(host, state)
    if config.hilink and host.root == Path("/"):
        theirs = {modem.interface for modem in modems}
        found = state.routers.modems(host, config.router_interfaces)
        modems += [modem for modem in found if modem.interface not in theirs]
    yield from _plugging(modems, state, is_sure=is_sure)
    if (modems or is_sure) and None not in {modem.state for modem in modems}:
        yield Sample("modem.active_modems", sum(modem.state == CONNECTED for modem in modems))
    for modem in modems:
        if config.poll_signal and not modem.is_polled and modem.path not in state.asked:
            _poll_signal(host, config, state, modem)
        if modem.state is not None:
            yield from _connection(modem, state.known[modem.id])
        yield from _numbers(modem)
        _remarks(host, modem)
    state.asked &= {modem.path for modem in modems}


def _modems(host: Host, state: State) -> tuple[list[Modem], bool]:
    """Return ModemManager's modems, and whether that is all: it may not be there to be asked."""
    if host.root != Path("/") and host.exists(RECORDED):
        found = host.parse(RECORDED, recorded)
        return found or [], found is not None
    if not host.exists(BUS):
        host.note("ModemManager", NO_BUS)
        return [], False
    if state.manager is None:
        state.manager = ModemManager(str(host.root / BUS), (host.text(MACHINE) or "").encode())
    try:
        return state.manager.modems(), True
    except UnavailableError as error:
        if "ServiceUnknown" in str(error):
            host.absent.add("ModemManager")
        else:
            host.fault("ModemManager", str(error))
        return [], False


def _poll_signal(host: Host, config: Config, state: State, modem: Modem) -> None:
    if state.manager is None:
        return  # a recorded tree
    state.asked.add(modem.path)
    try:
        state.manager.poll_signal(modem, max(1, round(config.interval_s)))
    except UnavailableError as error:
        host.fault(f"{modem.path} signal", str(error))


def _plugging(modems: list[Modem], state: State, *, is_sure: bool) -> Iterator[Event]:
    """Yield an event for each modem that appeared or disappeared; unless `is_sure`, only routers can disappear."""
    now = {modem.id: modem for modem in modems}
    for name, modem in now.items():
        if name not in state.plugged:
            label = modem.model or "a modem"
            is_first = not state.known
            state.known.setdefault(name, KnownModem(f"{label} ({name})"))
            if state.plugged or not is_first:
                yield Event("modem_plugged", f"{label} at {modem.interface or 'no interface yet'}", name)
    gone = {name for name in state.plugged - now.keys() if is_sure or name.startswith(ROUTER)}
    for name in sorted(gone):
        yield Event("modem_unplugged", f"{state.known[name].name} is gone", name)
        state.known[name].was_connected = False
    state.plugged = (state.plugged | now.keys()) - gone


def _connection(modem: Modem, known: KnownModem) -> Iterator[Sample | Event]:
    is_connected = modem.state == CONNECTED
    if known.was_connected and not is_connected:
        known.is_lost = True
        yield Event("modem_lost", f"{known.name} has no connection any more", modem.id)
    elif is_connected and known.is_lost:
        known.is_lost = False
        known.reconnects += 1
        yield Event("modem_restored", f"{known.name} is connected again", modem.id)
    known.was_connected = is_connected
    yield Sample("modem.connected", int(is_connected), {"modem": modem.id})
    yield Sample("modem.reconnects_total", known.reconnects, {"modem": modem.id})


def _numbers(modem: Modem) -> Iterator[Sample]:
    tags = {"modem": modem.id}
    if modem.signal_percent is not None:
        yield Sample("modem.signal_percent", modem.signal_percent, tags)
    if modem.is_roaming is not None:
        yield Sample("modem.roaming", int(modem.is_roaming), tags)
    for name, metric in UNITS.items():
        if name in modem.signal:
            yield Sample(f"modem.{metric}", modem.signal[name], tags)
    for name, metric in STATS.items():
        if name in modem.stats:
            yield Sample(f"modem.{metric}", modem.stats[name], tags)
    for metric, value in (("data_used_bytes", modem.used_bytes), ("battery_percent", modem.battery_percent)):
        if value is not None:
            yield Sample(f"modem.{metric}", value, tags)
    info = {"interface": modem.interface, "model": modem.model, "carrier": modem.carrier}
    yield Sample("modem.info", 1, {**tags, **info, "technology": modem.technology, "band": modem.band})


def _remarks(host: Host, modem: Modem) -> None:
    """Record unknown technologies as faults, and missing data as notes."""
    for name, value in modem.unknown.items():
        host.fault(f"modem {modem.id} {name}", f"{value} is in no table; it is passed on as it is")
    if modem.note:
        host.notes[f"modem {modem.id}"] = f"{modem.model} {modem.note}"
