"""What gpsd says, and what it leaves unsaid."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from collectors.admission import admitted
from collectors.gps import gps
from collectors.host import Host
from common.events import Event
from common.sample import Sample

FIX = {"class": "TPV", "mode": 3, "lat": 48.1173, "lon": 11.5167, "altMSL": 545.4, "speed": 11.5, "track": 84.4}
LAT = "gps.latitude_degrees"
SKY = {"class": "SKY", "satellites": [{"PRN": 4, "used": True}, {"PRN": 5, "used": False}], "hdop": 1.3}


class Gpsd:
    """One end of a connection that says what a test wants."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.config = gps.Config(enabled=True, address=f"127.0.0.1:{self._listening.getsockname()[1]}")
        self.host, self.state = Host(), gps.State()
        self._now_s = 0.0
        self._peer: socket.socket | None = None

    def says(self, *messages: object, seconds: float = 1.0) -> tuple[dict[str, Any], list[str]]:
        """Say it, collect; return samples by name and kinds of events."""
        if self._peer is None:
            self._collect(0.0)
            self._peer = self._listening.accept()[0]
            assert gps.WATCH == self._peer.recv(100)
        for message in messages:
            text = message if isinstance(message, bytes) else f"{json.dumps(message)}\r\n".encode()
            self._peer.sendall(text)
        return self._collect(seconds)

    def hang_up(self) -> None:
        """Close the connection; the collector notices at its next look."""
        if self._peer is not None:
            self._peer.close()
            self._peer = None
            self._collect(1.0)

    def close(self) -> None:
        """Close everything."""
        if self._peer is not None:
            self._peer.close()
        self._listening.close()
        if self.state.connection is not None:
            self.state.connection.close()

    def _collect(self, seconds: float) -> tuple[dict[str, Any], list[str]]:
        self._now_s += seconds
        self.host.begin(self._now_s)
        found = list(admitted(gps.collect(self.host, self.config, self.state), self.host))
        samples = {one.name: one.value for one in found if isinstance(one, Sample)}
        return samples, [one.kind for one in found if isinstance(one, Event)]


@pytest.fixture
def gpsd() -> Iterator[Gpsd]:
    """Give a gpsd."""
    one = Gpsd()
    yield one
    one.close()


def test_a_position_and_its_quality(gpsd: Gpsd) -> None:
    """In the units of the metric reference, which are gpsd's."""
    samples, events = gpsd.says({"class": "VERSION"}, SKY, FIX)
    assert [] == events
    assert samples == {
        "gps.fix": 3, "gps.latitude_degrees": 48.1173, "gps.longitude_degrees": 11.5167, "gps.altitude_meters": 545.4,
        "gps.speed_meters_per_second": 11.5, "gps.track_degrees": 84.4,
        "gps.satellites_used": 1, "gps.satellites_visible": 2, "gps.hdop": 1.3,
    }  # fmt: skip


def test_without_a_fix_there_is_no_position(gpsd: Gpsd) -> None:
    """What came with the mode is not taken; the loss and the return are events."""
    gpsd.says(FIX)
    assert ({"gps.fix": 1}, ["gps_lost"]) == gpsd.says({**FIX, "mode": 1})
    assert ["gps_found"] == gpsd.says(FIX)[1]


def test_what_is_old_is_absent(gpsd: Gpsd) -> None:
    """A receiver that falls silent has no position, neither its last one nor 0."""
    gpsd.says(FIX, SKY)
    assert ({}, ["gps_lost"]) == gpsd.says(seconds=gps.STALE_S + 1)


def test_numbers_that_are_none(gpsd: Gpsd) -> None:
    """NaN, words, truth values and more than the Earth holds are left out; half a line waits for its other half."""
    odd = b'{"class":"TPV","mode":3,"lat":NaN,"lon":"east","speed":true,"altMSL":1e999,"track":8'
    assert {"gps.fix": 3} == gpsd.says(b"garbage\n[1]\n" + odd, b"4.4e300}\n")[0]
    assert {"gpsd", "gps.track_degrees"} == gpsd.host.faults.keys()
    assert {"gps.fix": 3} == gpsd.says({"class": "SKY", "hdop": 1e999, "satellites": 3})[0]


def test_satellites_and_errors_come_apart(gpsd: Gpsd) -> None:
    """A SKY of errors alone does not make the satellites none."""
    gpsd.says(SKY)
    samples = gpsd.says({"class": "SKY", "hdop": 0.9})[0]
    assert (0.9, 2) == (samples["gps.hdop"], samples["gps.satellites_visible"])


def test_the_position_may_stay_at_home(gpsd: Gpsd) -> None:
    """Speed, height and quality go without it."""
    gpsd.config = gps.Config(enabled=True, address=gpsd.config.address, position=False)
    samples = gpsd.says(FIX)[0]
    assert 11.5 == samples["gps.speed_meters_per_second"]
    assert not {"gps.latitude_degrees", "gps.longitude_degrees"} & samples.keys()


def test_gpsd_may_go_and_come(gpsd: Gpsd) -> None:
    """Its absence is said and is no fault; it is asked again at the next look."""
    gpsd.says(FIX)
    gpsd.hang_up()
    assert {f"gpsd at {gpsd.config.address}: ConnectionResetError"} == gpsd.host.absent
    assert ["gps_lost"] == gpsd.says({**FIX, "mode": 0})[1]
    assert ["gps_found"] == gpsd.says(FIX)[1]


def test_nobody_there() -> None:
    """No gpsd: nothing, and that is said."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    host = Host(Path("/"))
    host.begin(1.0)
    assert [] == list(gps.collect(host, gps.Config(enabled=True, address=address), gps.State()))
    assert {f"gpsd at {address}: Connection refused"} == host.absent
    assert {} == host.faults


ANTENNA, BLIND = "/dev/ttyACM0", "/dev/ttyUSB3"


def test_of_two_receivers_the_one_with_a_position_is_followed(gpsd: Gpsd) -> None:
    """A modem's own receiver without an antenna says that it has none, every second; nothing is lost or found."""
    told = []
    for order in ((ANTENNA, BLIND), (BLIND, ANTENNA)) * 5:
        messages = [{**FIX, "device": device, "mode": 3 if device == ANTENNA else 1} for device in order]
        samples, events = gpsd.says(*messages)
        told += events
        assert (3, 48.1173) == (samples["gps.fix"], samples["gps.latitude_degrees"])
    assert [] == told


def test_two_receivers_with_a_position(gpsd: Gpsd) -> None:
    """The one that was followed is, for as long as it has one; then the other, without a word of a loss."""
    gpsd.says({**FIX, "device": BLIND, "lat": 1.0})
    assert 1.0 == gpsd.says({**FIX, "device": ANTENNA, "lat": 2.0}, {**FIX, "device": BLIND, "lat": 1.0})[0][LAT]
    samples, events = gpsd.says({**FIX, "device": ANTENNA, "lat": 2.0}, {"class": "TPV", "device": BLIND, "mode": 1})
    assert (2.0, []) == (samples[LAT], events)
    assert ["gps_lost"] == gpsd.says({"class": "TPV", "device": ANTENNA, "mode": 1})[1]


def test_satellites_are_those_of_the_receiver_that_is_followed(gpsd: Gpsd) -> None:
    """Another one's sky says nothing of this position."""
    other = {"class": "SKY", "device": BLIND, "satellites": []}
    samples = gpsd.says({**FIX, "device": ANTENNA}, {**SKY, "device": ANTENNA}, other)[0]
    assert 2 == samples["gps.satellites_visible"]


def test_receivers_that_come_and_go_are_forgotten(gpsd: Gpsd) -> None:
    """The one that is followed is not."""
    gpsd.says({**FIX, "device": ANTENNA})
    samples = gpsd.says({**FIX, "device": ANTENNA}, *({"class": "TPV", "device": f"{n}", "mode": 1} for n in range(99)))
    assert 3 == samples[0]["gps.fix"]
    assert len(gpsd.state.receivers) <= gps.MAX_RECEIVERS
