"""Two of a kind at every source that tells devices apart: each series stays with its device, whatever comes first."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from collectors import registry
from collectors.host import Host
from collectors.modem.modem_manager import GPP, MODEM, ROOT, ModemManager
from collectors.modem.place import places
from collectors.srt import telemetry
from collectors.srt.telemetry import LinkNumbers
from tests.unit.collectors import trees

Devices = tuple[str, ...]  # those that are there, in the order in which they were found
Read = Callable[[Devices], Mapping[str, Any]]  # a value by the label of its series
SECRET, OWN, SHARED = b"secret", "86703405000000{}", "867034050000000"
INTERFACES = "Inter-|   Receive    |  Transmit\n face |bytes    packets\n"
ROUTES = "Iface\tDestination\tGateway \tFlags\tRefCnt\n"
SESSION = (
    "session: pid={pid} index={pid}\n device: fdbd0000.rkvenc-core\n"
    "| session|  device|   width|  height|  format|  fps_in| fps_out| rc_mode| bitrate|gop_size|fps_calc| profile|\n"
    "|    {pid:4}|  RKVENC|    1920|    1080|    hevc|      60|      60|     cbr| {rate}|     120|   59.94|    main|\n"
)


class Kind(NamedTuple):
    """Two devices that are alike.

    Attributes:
        make: returns who reads them, below a folder.
        devices: the two; where one of them is taken for the only one, the first.
        expected: the values of both.
        is_plugged: one of them can be unplugged while the other stays.
    """

    make: Callable[[Path], Read]
    devices: Devices
    expected: Mapping[str, Any]
    is_plugged: bool = True


def _source(name: str, metric: str, build: Callable[[Path, Devices], None], **config: Any) -> Callable[[Path], Read]:
    """Return who reads a metric of a source, with one state, from a tree that is built for each reading."""

    def make(folder: Path) -> Read:
        collector, numbers = trees.Collector(registry.load(name), Host(), **config), itertools.count(1)

        def read(devices: Devices) -> Mapping[str, Any]:
            number = next(numbers)
            build(folder / str(number), devices)
            collector.host = Host(folder / str(number))
            found = collector.at(10.0 * number)
            return {label: value for (metric_name, label), value in found.items() if metric_name == metric}

        return read

    return make


def _chips(root: Path, devices: Devices) -> None:
    """Two meters of one kind on I2C: the kernel numbers them as it finds them, another way at each boot."""
    (root / "sys/class/hwmon").mkdir(parents=True)
    for number, device in enumerate(devices):
        volts = {"6-0040": 12_000, "6-0048": 5_000}[device]
        folder = f"devices/platform/i2c-6/{device}/hwmon/hwmon{number}"
        files = {"name": "ina226\n", "in1_input": f"{volts}\n", "temp1_input": f"{volts // 200 * 1000}\n"}
        trees.write(root / "sys" / folder, files)
        (root / f"sys/class/hwmon/hwmon{number}").symlink_to(f"../../{folder}")


def _usb(root: Path, devices: Devices) -> None:
    """Two USB capture cards of one name: ALSA calls the second one C4K_1, the video devices have one name."""
    for number, port in enumerate(devices):
        name = ("C4K", "C4K_1")[number]
        card, node = f"proc/asound/card{number}", f"sys/class/video4linux/video{number * 2}"
        status = f"state: RUNNING\nhw_ptr      : {480 if port == '1-1' else 960}\n"
        files = {f"{card}/pcm0c/sub0/status": status, f"{card}/pcm0c/sub0/hw_params": f"channels: {port[-1]}\n"}
        trees.write(root, {**files, f"{node}/name": "Cam Link 4K\n", f"sys/devices/{port}:1.0/x": ""})
        (root / f"proc/asound/{name}").symlink_to(f"card{number}")
        (root / f"sys/class/sound/card{number}").mkdir(parents=True)
        (root / f"sys/class/sound/card{number}/device").symlink_to(f"../../../devices/{port}:1.0")
        (root / node / "device").symlink_to(f"../../../devices/{port}:1.0")
        (root / f"sys/devices/{port}:1.0/driver").symlink_to("../bus/usb/drivers/uvcvideo")


def _interfaces(root: Path, devices: Devices) -> None:
    rows = "".join(f"  {name}: {name[-1]}000 1{' 0' * 14}\n" for name in devices)
    trees.write(root, {"proc/net/dev": INTERFACES + rows})


def _disks(root: Path, devices: Devices) -> None:
    rows = "".join(f"8 {n} {name} 1 0 1 0 1 0 {ord(name[-1])} 0 0 0 0\n" for n, name in enumerate(devices))
    mounts = "".join(f"/dev/{name}1 /media/{name} ext4 rw 0 0\n" for name in devices)
    sizes = "".join(f"512 512 {ord(name[-1])} 4 4 0 0 0 0 255 /media/{name}\n" for name in devices)
    trees.write(root, {"proc/diskstats": rows, "proc/mounts": mounts, "statvfs": sizes})


def _supplies(root: Path, devices: Devices) -> None:
    trees.write(root, {f"sys/class/power_supply/{name}/capacity": f"{name[-1]}0\n" for name in devices})


def _sessions(root: Path, devices: Devices) -> None:
    """The stream's session and a preview's, which is larger."""
    rows = "".join(SESSION.format(pid=pid, rate={"1960": 6_000_000, "1954": 9_000_000}[pid]) for pid in devices)
    trees.write(root, {"proc/mpp_service/sessions-summary": rows, "proc/1960/comm": "belacoder\n"})


def _gps(root: Path, devices: Devices) -> None:
    """A receiver with a position, and a modem's that has no antenna."""
    said = {
        "/dev/ttyACM0": {"class": "TPV", "device": "/dev/ttyACM0", "mode": 3, "lat": 52.1, "lon": 13.2},
        "/dev/ttyUSB1": {"class": "TPV", "device": "/dev/ttyUSB1", "mode": 1},
    }
    trees.write(root, {"gpsd": "".join(f"{json.dumps(said[device])}\n" for device in devices)})


def _streams(root: Path, devices: Devices) -> None:
    said = {name: {"connected": True, "rtt": 20 if name == "live/ours" else 300} for name in devices}
    trees.write(root, {"receiver": json.dumps({"publishers": said})})


def _peers(root: Path, devices: Devices) -> None:
    peers = [{"connection_id": name, "jitter": int(name)} for name in devices]
    trees.write(root, {"receiver": json.dumps({"publisher": {"rtt": 20, "peers": peers}})})


def _bus(_folder: Path, imei: str = "") -> Read:
    """Return who reads two modems at ModemManager; its objects are numbered as they come.

    Args:
        _folder: unused.
        imei: of both; "": each has its own.
    """

    class Bus(ModemManager):
        devices: Devices = ()

        def _ask(self, message: Any) -> tuple[Any, ...]:
            assert "ObjectManager" in str(message.header.fields.values())
            return ({f"{ROOT}/Modem/{n}": _objects(port, imei) for n, port in enumerate(self.devices)},)

    bus = Bus("nowhere", SECRET)

    def read(devices: Devices) -> Mapping[str, Any]:
        bus.devices = devices
        return {modem.id: modem.carrier for modem in bus.modems()}

    return read


def _objects(port: str, imei: str) -> dict[str, Any]:
    own = {"EquipmentIdentifier": imei or OWN.format(port[-1]), "DeviceIdentifier": "same", "State": 11}
    rows: dict[str, dict[str, Any]] = {
        MODEM: {**own, "Device": f"/sys/devices/usb1/{port}"},
        GPP: {"OperatorName": port},
    }
    return {interface: {name: ("v", value) for name, value in row.items()} for interface, row in rows.items()}


def _name(imei: str) -> str:
    return hmac.new(SECRET, imei.encode(), hashlib.sha256).hexdigest()[:8]


def _bus_of_one_number(folder: Path) -> Read:
    return _bus(folder, SHARED)


def _routers(folder: Path) -> Read:
    """Return who finds two routers with one address; interfaces are numbered as they come."""
    numbers = itertools.count()

    def read(devices: Devices) -> Mapping[str, Any]:
        root = folder / str(next(numbers))
        rows = "".join(f"usb{n}\t00000000\t0108A8C0\t0003\t0\n" for n in range(len(devices)))
        host = trees.write(root, {"proc/net/route": ROUTES + rows})
        for number, port in enumerate(devices):
            device = root / f"sys/devices/{port}:1.0"
            device.mkdir(parents=True)
            (device / "driver").symlink_to("../bus/usb/drivers/cdc_ether")
            trees.write(root, {f"sys/class/net/usb{number}/address": ""})
            (root / f"sys/class/net/usb{number}/device").symlink_to(f"../../../devices/{port}:1.0")
        return {place.id: place.plug for place in places(host)}

    return read


def _links(folder: Path) -> Read:
    """Return who reads what a sender says of its links; it numbers them as its list has them."""

    def read(devices: Devices) -> Mapping[str, Any]:
        rows = [{"conn_id": n, "rtt_ms": int(ip[-1]), "bitrate_bps": 1} for n, ip in enumerate(devices)]
        content = json.dumps({"schema_version": 1, "last_updated_ms": 1, "connections": rows})
        host = trees.write(folder, {"stats": content})
        found = telemetry.from_file(host, "stats", devices, LinkNumbers(), (1, 1))
        return {report.address: report.rtt_ms for report in found or ()}

    return read


KINDS = {
    "power": Kind(
        _source("power", "power.volts", _chips), ("6-0040", "6-0048"),
        {"ina226@6-0040": 12.0, "ina226@6-0048": 5.0}, is_plugged=False,
    ),
    "power, supplies": Kind(
        _source("power", "battery.level_percent", _supplies), ("BAT1", "BAT2"), {"BAT1": 10, "BAT2": 20}
    ),
    "thermal": Kind(
        _source("thermal", "hwmon.temperature", _chips), ("6-0040", "6-0048"),
        {"ina226@6-0040/temp1": 60.0, "ina226@6-0048/temp1": 25.0}, is_plugged=False,
    ),
    "audio": Kind(_source("audio", "audio.channels", _usb), ("1-1", "1-2"), {"C4K@1-1": 1, "C4K@1-2": 2}),
    "hdmi": Kind(_source("hdmi", "hdmi.connected", _usb), ("1-1", "1-2"), {"Cam Link 4K@1-1": 1, "Cam Link 4K@1-2": 1}),
    "network": Kind(
        _source("network", "network.rx_bytes_total", _interfaces), ("usb1", "usb2"), {"usb1": 1000, "usb2": 2000}
    ),
    "disk": Kind(
        _source("disk", "disk.write_bytes_total", _disks), ("sda", "sdb"), {"sda": 512 * 97, "sdb": 512 * 98}
    ),
    "disk, file systems": Kind(
        _source("disk", "filesystem.size_bytes", _disks), ("sda", "sdb"),
        {"/media/sda": 512 * 97, "/media/sdb": 512 * 98},
    ),
    "encoder": Kind(
        _source("encoder", "encoder.bitrate_bits_per_second", _sessions), ("1960", "1954"), {"": 6_000_000}
    ),
    "gps": Kind(_source("gps", "gps.latitude_degrees", _gps), ("/dev/ttyACM0", "/dev/ttyUSB1"), {"": 52.1}),
    "receiver": Kind(
        _source("receiver", "receiver.rtt_ms", _streams, stream="ours"), ("live/ours", "live/theirs"), {"": 20.0}
    ),
    "receiver, links": Kind(_source("receiver", "receiver.link_jitter_ms", _peers), ("1", "2"), {"1": 1.0, "2": 2.0}),
    "modem": Kind(_bus, ("1-1", "1-2"), {_name(OWN.format(1)): "1-1", _name(OWN.format(2)): "1-2"}),
    "modem, of one number": Kind(
        _bus_of_one_number, ("1-1", "1-2"), {f"{_name(SHARED)}@1-1": "1-1", f"{_name(SHARED)}@1-2": "1-2"}
    ),
    "modem, routers": Kind(_routers, ("1-1", "1-2"), {"usb-1-1": "1-1", "usb-1-2": "1-2"}),
    "srt": Kind(_links, ("10.0.0.1", "10.0.0.2"), {"10.0.0.1": 1.0, "10.0.0.2": 2.0}),
}  # fmt: skip
# One of each, or numbered by the kernel in a fixed order: CPUs, cores, memory, pressure.
ONE_OF_EACH = {"cpu", "memory", "accelerator", "events", "session", "derived"}


def test_every_source_is_looked_at() -> None:
    """It has devices that can be alike, or it has none."""
    assert set(registry.names()) == ONE_OF_EACH | {name.partition(",")[0] for name in KINDS}


@pytest.mark.parametrize("name", KINDS)
def test_two_alike_keep_their_series(name: str, tmp_path: Path) -> None:
    """Over another order, one that is unplugged and plugged in again, and a restart that finds them the other way."""
    kind = KINDS[name]
    one, other = kind.devices
    read = kind.make(tmp_path / "first")
    assert kind.expected == read((one, other))
    assert kind.expected == read((other, one))
    if kind.is_plugged:
        left = read((one,))
        assert 1 == len(left)
        assert left.items() <= kind.expected.items()
        assert kind.expected == read((other, one))
    assert kind.expected == kind.make(tmp_path / "again")((other, one))
