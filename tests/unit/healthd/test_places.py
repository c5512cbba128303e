"""Who gets a place among the connections, and who gives up his own."""

from __future__ import annotations

import pytest

from healthd.http.places import MAX_CONNECTIONS, MAX_OF_ADDRESS, OWN, Places, is_here


class Door:
    """Places, and who was ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.places = Places(self.ended.append)

    def come(self, address: str, count: int, *, works: bool = False) -> int:
        """Let connections come, each of which then waits or works; return how many got a place."""
        taken = [number for number in range(count) if self.places.take(f"{address} {number}", address)]
        for number in taken:
            self.places.waits(f"{address} {number}")
            if works:
                self.places.works(f"{address} {number}")
        return len(taken)


@pytest.fixture
def door() -> Door:
    """Nobody is there."""
    return Door()


def test_one_address_ends_its_own_alone(door: Door) -> None:
    """However many half requests it sends."""
    door.come("10.0.0.1", 1)
    assert MAX_OF_ADDRESS == door.come("10.0.0.9", MAX_OF_ADDRESS)
    for number in range(50, 150):
        assert door.places.take(f"10.0.0.9 {number}", "10.0.0.9")
        door.places.waits(f"10.0.0.9 {number}")
    assert 100 == len(door.ended)
    assert {"10.0.0.9"} == {name.split()[0] for name in door.ended}


def test_who_waits_longest_goes_first(door: Door) -> None:
    """Half requests of many addresses keep nobody out; this device's connections are not among them."""
    door.come("127.0.0.1", 2)
    for number in range(MAX_CONNECTIONS - OWN):
        door.come(f"10.0.0.{number}", 1)
    assert [] == door.ended
    assert 1 == door.come("10.1.0.1", 1)
    assert ["10.0.0.0 0"] == door.ended


def test_what_is_at_work_stays(door: Door) -> None:
    """Then others are turned away, but for this device, which has places of its own."""
    for number in range(MAX_CONNECTIONS - OWN):
        door.come(f"10.0.0.{number}", 1, works=True)
    assert 0 == door.come("10.1.0.1", 1)
    assert OWN == door.come("127.0.0.1", OWN, works=True)
    assert not door.places.take("127.0.0.1 99", "127.0.0.1")
    assert [] == door.ended


def test_a_place_that_is_given_back_is_free(door: Door) -> None:
    """Twice is once: who was ended leaves too."""
    door.come("10.0.0.9", MAX_OF_ADDRESS, works=True)
    assert not door.places.take("10.0.0.9 98", "10.0.0.9")
    for _ in range(2):
        door.places.leave("10.0.0.9 0")
    assert door.places.take("10.0.0.9 98", "10.0.0.9")
    assert not door.places.take("10.0.0.9 99", "10.0.0.9")


@pytest.mark.parametrize(
    ("address", "expected"), [("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("10.0.0.1", False)]
)
def test_addresses_of_this_device(address: str, expected: bool) -> None:
    """Of both families."""
    assert expected is is_here(address)
