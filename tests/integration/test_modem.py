"""The modem collector on a private bus, with ModemManager as python-dbusmock plays it, and `mmcli` beside it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

from collectors.host import Host
from collectors.modem import modem
from collectors.modem.modem_manager import BEARER, COLLECT_S, GPP, MODEM, ROOT, SERVICE, SIGNAL
from common.events import Event
from common.sample import Sample
from tests.harness import require, wait_for

SECRETS = {"imei": "867034050000001", "imsi": "310260123456789", "number": "+15550100", "iccid": "8901260000000000001"}
ID = "f0e1d2c3b4a5968778695a4b3c2d1e0f00112233"
PATH, OTHER = f"{ROOT}/Modem/0", f"{ROOT}/Modem/1"
MACHINE = "0123456789abcdef0123456789abcdef"
# What Signal.Setup does at a real one: from then on there are numbers. Run by the mock, in its own interpreter.
SETUP = (
    "self.UpdateProperties('org.freedesktop.ModemManager1.Modem.Signal', {'Rate': args[0], 'Lte': dbus.Dictionary("
    "{'rssi': dbus.Double(-63.0), 'rsrp': dbus.Double(-94.0), 'rsrq': dbus.Double(-12.0), 'snr': dbus.Double(11.4)},"
    " signature='sv')})"
)


# Nothing that is read here, but `mmcli` does not take a modem without it.
FILLING: dict[str, dict[str, Any]] = {
    MODEM: {
        **dict.fromkeys(("Revision", "CarrierConfiguration", "CarrierConfigurationRevision", "Plugin"), ("s", "")),
        **dict.fromkeys(("CurrentCapabilities", "MaxBearers", "MaxActiveBearers", "UnlockRequired"), ("u", 1)),
        **dict.fromkeys(("PrimarySimSlot", "StateFailedReason", "SupportedIpFamilies"), ("u", 0)),
        **{name: ("au", [1]) for name in ("SupportedCapabilities", "SupportedBands", "CurrentBands")},
        "Sim": ("o", "/"), "HardwareRevision": ("s", ""), "SimSlots": ("ao", []), "Drivers": ("as", ["qmi_wwan"]),
        "PowerState": ("u", 3),
        "UnlockRetries": ("a{uu}", {}), "SupportedModes": ("a(uu)", [(8, 0)]), "CurrentModes": ("(uu)", (8, 0)),
    },
    GPP: {
        "OperatorCode": ("s", "310260"), "InitialEpsBearer": ("o", "/"), "InitialEpsBearerSettings": ("a{sv}", {}),
        "Pco": ("a(ubay)", []), **dict.fromkeys(("EnabledFacilityLocks", "EpsUeModeOperation"), ("u", 0)),
    },
    SIGNAL: {name: ("a{sv}", {}) for name in ("Cdma", "Evdo", "Gsm", "Umts", "Nr5g")},
    BEARER: {
        "Suspended": ("b", False), "Ip4Config": ("a{sv}", {"method": ("u", 0)}), "IpTimeout": ("u", 20),
        "Ip6Config": ("a{sv}", {"method": ("u", 0)}), "BearerType": ("u", 1), "Properties": ("a{sv}", {}),
        "Multiplexed": ("b", False), "ProfileId": ("i", 1),
    },
}  # fmt: skip


def bearer_of(path: str) -> str:
    """Return the bearer of a modem."""
    return path.replace("/Modem/", "/Bearer/")


def name_of(imei: str) -> str:
    """Return how a modem is called on a machine with that id."""
    return hmac.new(MACHINE.encode(), imei.encode(), hashlib.sha256).hexdigest()[:8]


class Mock:
    """A ModemManager that does what the test says."""

    def __init__(self, root: Path) -> None:
        self.address = f"unix:path={root / modem.BUS}"
        (root / modem.BUS).parent.mkdir(parents=True)
        (root / modem.MACHINE).parent.mkdir()
        (root / modem.MACHINE).write_text(MACHINE)
        command = [require("dbus-daemon"), "--session", "--nofork", "--nopidfile", f"--address={self.address}"]
        self._daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": self.address}
        wait_for("the bus", self._connected)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Have the service on the bus, without a modem."""
        command = ["/usr/bin/python3", "-m", "dbusmock", "--system", "-m", SERVICE, ROOT, SERVICE]
        self.process = subprocess.Popen(
            command, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_for("the service", lambda: self._call(ROOT, "GetCalls", "", ()) is not None)

    def plug(self, path: str = PATH, imei: str = SECRETS["imei"], port: str = "1-1") -> None:
        """Add a modem with a bearer that is connected."""
        bearer = bearer_of(path)
        own = {
            "State": ("i", 11), "SignalQuality": ("(ub)", (62, True)), "AccessTechnologies": ("u", 1 << 14 | 1 << 15),
            "Model": ("s", "EM12-G"), "Manufacturer": ("s", "Quectel"), "DeviceIdentifier": ("s", ID),
            "EquipmentIdentifier": ("s", imei), "OwnNumbers": ("as", [SECRETS["number"]]),
            "Device": ("s", f"/sys/devices/platform/usb1/{port}"), "Bearers": ("ao", [bearer]),
            "Ports": ("a(su)", [("cdc-wdm0", 6), ("wwan0", 2)]), "PrimaryPort": ("s", "cdc-wdm0"),
        }  # fmt: skip
        gpp = {
            "Imei": ("s", SECRETS["imei"]), "OperatorName": ("s", "T-Mobile"), "RegistrationState": ("u", 5),
        }  # fmt: skip
        stats = {"rx-bytes": ("t", 5512345), "tx-bytes": ("t", 912345678), "duration": ("u", 1203)}
        rows = {"Interface": ("s", "wwan0"), "Connected": ("b", True), "Stats": ("a{sv}", stats)}
        self._call(ROOT, "AddObject", "ssa{sv}a(ssss)", (bearer, BEARER, {**FILLING[BEARER], **rows}, []))
        self._call(ROOT, "AddObject", "ssa{sv}a(ssss)", (path, MODEM, {**FILLING[MODEM], **own}, []))
        self._call(path, "AddProperties", "sa{sv}", (GPP, {**FILLING[GPP], **gpp}))
        self._call(
            path, "AddProperties", "sa{sv}", (SIGNAL, {**FILLING[SIGNAL], "Rate": ("u", 0), "Lte": ("a{sv}", {})})
        )
        self._call(path, "AddMethod", "sssss", (SIGNAL, "Setup", "u", "", SETUP))

    def unplug(self, path: str = PATH) -> None:
        """Remove it, and its bearer."""
        for each in (path, bearer_of(path)):
            self._call(ROOT, "RemoveObject", "s", (each,))

    def set_state(self, state: int, path: str = PATH) -> None:
        """Set a modem's state."""
        self._call(path, "UpdateProperties", "sa{sv}", (MODEM, {"State": ("i", state)}))

    def mmcli(self, *arguments: str) -> Any:
        """Return what `mmcli` shows of it."""
        done = subprocess.run(
            [require("mmcli"), "-J", *arguments], env=self._environment, capture_output=True, timeout=20, check=True
        )
        return json.loads(done.stdout)

    def close(self) -> None:
        """End both."""
        self._bus.close()
        for process in (self.process, self._daemon):
            if process is not None:
                process.kill()
                process.wait()

    def _connected(self) -> bool:
        try:
            self._bus = open_dbus_connection(self.address)
        except (FileNotFoundError, ConnectionRefusedError):  # it binds, then listens
            return False
        return True

    def _call(self, path: str, method: str, signature: str, arguments: tuple[Any, ...]) -> Any:
        address = DBusAddress(path, SERVICE, "org.freedesktop.DBus.Mock")
        message = new_method_call(address, method, signature or None, arguments)
        answer = self._bus.send_and_get_reply(message, timeout=10)
        return None if answer.header.message_type == MessageType.error else answer.body


@pytest.fixture
def mock(run_dir: Path) -> Iterator[Mock]:
    """A bus of its own below the root."""
    playing = Mock(run_dir)
    yield playing
    playing.close()


class Watched:
    """The collector on that bus."""

    def __init__(self, root: Path) -> None:
        self.host, self.state = Host(root), modem.State()

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        if self.state.manager is not None:
            self.state.manager.close()

    def collect(self) -> tuple[dict[str, float], list[str], list[Sample]]:
        """Return numbers by name, the kinds of events, and the samples as they are."""
        self.host.begin()
        found = list(modem.collect(self.host, modem.Config(), self.state))
        samples = [one for one in found if isinstance(one, Sample)]
        kinds = [one.kind for one in found if isinstance(one, Event)]
        return {one.name: float(one.value) for one in samples}, kinds, samples


def of(watched: Watched, name: str) -> list[Sample]:
    """Collect; return the samples of a metric."""
    return [sample for sample in watched.collect()[2] if sample.name == name]


@pytest.fixture
def watched(run_dir: Path) -> Iterator[Watched]:
    """The collector on the mock's bus."""
    with Watched(run_dir) as watching:
        yield watching


def test_a_modem_is_read_as_mmcli_shows_it(mock: Mock, watched: Watched) -> None:
    """Signal, carrier, bytes; the details once they are polled; nothing that tells who its owner is."""
    mock.start()
    mock.plug()
    watched.collect()  # sets up the polling
    numbers, _, samples = watched.collect()
    shown = mock.mmcli("-m", "0")["modem"]
    details = mock.mmcli("-m", "0", "--signal-get")["modem"]["signal"]["lte"]
    stats = mock.mmcli("-b", "0")["bearer"]["stats"]
    assert {
        "modem.active_modems": 1,
        "modem.connected": 1, "modem.roaming": 1, "modem.reconnects_total": 0, "modem.info": 1,
        "modem.signal_percent": float(shown["generic"]["signal-quality"]["value"]),
        "modem.rssi_dbm": float(details["rssi"]), "modem.rsrp_dbm": float(details["rsrp"]),
        "modem.rsrq_db": float(details["rsrq"]), "modem.snr_db": float(details["snr"]),
        "modem.rx_bytes_total": float(stats["bytes-rx"]), "modem.tx_bytes_total": float(stats["bytes-tx"]),
        "modem.connection_seconds": float(stats["duration"]),
    } == numbers  # fmt: skip
    info = next(dict(sample.tags) for sample in samples if sample.name == "modem.info")
    assert {
        "modem": name_of(SECRETS["imei"]),
        "interface": "wwan0",
        "model": "EM12-G",
        "carrier": "T-Mobile",
        "technology": "5gnr",
        "band": "",
    } == info
    assert [secret for secret in SECRETS.values() if secret in repr(samples)] == []


def test_plugging_and_connections_are_events(mock: Mock, watched: Watched) -> None:
    """Another object after a re-plug is the same modem, and is polled anew."""
    mock.start()
    told = [watched.collect()[1]]
    steps = (mock.plug, lambda: mock.set_state(8), lambda: mock.set_state(11), mock.unplug)
    for step in (*steps, lambda: mock.plug(OTHER)):
        step()  # type: ignore[no-untyped-call]
        told.append(watched.collect()[1])
    assert [[], [], ["modem_lost"], ["modem_restored"], ["modem_unplugged"], ["modem_plugged"]] == told
    numbers, _, samples = watched.collect()
    assert (1, -94.0) == (numbers["modem.reconnects_total"], numbers["modem.rsrp_dbm"])
    assert {name_of(SECRETS["imei"])} == {sample.tags["modem"] for sample in samples if sample.tags}


def test_two_alike_are_two_whichever_comes_first(mock: Mock, watched: Watched) -> None:
    """ModemManager's identifier is the same for both; ports, order and objects change, the series stay."""
    first, second = "867034050000001", "867034050000019"
    mock.start()
    mock.plug(PATH, first, "1-1")
    mock.plug(OTHER, second, "1-2")
    mock.set_state(8, OTHER)
    connected = {sample.tags["modem"]: sample.value for sample in of(watched, "modem.connected")}
    assert {name_of(first): 1, name_of(second): 0} == connected
    mock.unplug(PATH)
    mock.unplug(OTHER)
    watched.collect()
    mock.plug(PATH, second, "1-1")
    mock.plug(OTHER, first, "1-2")
    _, kinds, samples = watched.collect()
    assert ["modem_plugged", "modem_plugged"] == kinds
    assert {name_of(first), name_of(second)} == {sample.tags["modem"] for sample in samples if sample.tags}
    assert ([], []) == (watched.collect()[1], watched.collect()[1])


def test_two_with_one_number_are_told_apart_by_their_ports(mock: Mock, watched: Watched) -> None:
    """Cheap ones are sold so; one without any number goes by its port alone."""
    mock.start()
    mock.plug(PATH, "867034050000001", "1-1")
    mock.plug(OTHER, "867034050000001", "1-2")
    mock.plug(f"{ROOT}/Modem/2", "000000000000000", "1-3")
    same = name_of("867034050000001")
    assert {f"{same}@1-1", f"{same}@1-2", "port-1-3"} == {one.tags["modem"] for one in of(watched, "modem.info")}


def test_without_bus_or_service_there_is_nothing(mock: Mock, watched: Watched, tmp_path: Path) -> None:
    """It is absent, not a fault, and found once it is there."""
    nowhere = Watched(tmp_path)
    assert ({}, {"ModemManager": modem.NO_BUS}) == (nowhere.collect()[0], nowhere.host.notes)
    assert ({}, {"ModemManager"}, {}) == (watched.collect()[0], watched.host.absent, watched.host.faults)
    mock.start()
    mock.plug()
    assert 1 == watched.collect()[0]["modem.connected"]


def test_a_modem_manager_that_hangs_costs_two_seconds(mock: Mock, watched: Watched) -> None:
    """And is read again when it goes on."""
    mock.start()
    mock.plug()
    assert watched.collect()[0]
    assert mock.process is not None
    mock.process.send_signal(signal.SIGSTOP)
    began_s = time.monotonic()
    numbers, kinds, _ = watched.collect()
    print(f"a collect with a ModemManager that hangs took {time.monotonic() - began_s:.1f} s of {COLLECT_S:g} allowed")
    assert ({}, [], ["ModemManager"]) == (numbers, kinds, list(watched.host.faults))
    mock.process.send_signal(signal.SIGCONT)
    assert wait_for("numbers", lambda: watched.collect()[0])
