"""The name of a link for people: the one in the configuration, else the carrier, else the modem. Pure.

The page, the terminal, the plots and the report take their names from here, so that one link has one name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

Key = tuple[str, str]  # interface and address of a link
Modems = Mapping[str, Mapping[str, str]]  # labels of modem.info by interface


def names(keys: Iterable[Key], modems: Modems, given: Mapping[str, str]) -> dict[Key, str]:
    """Return the name of each link; where two would have the same, with the interface or address.

    Args:
        keys: of the links.
        modems: of the interfaces.
        given: names that the configuration gives, by interface or address (`device.links`).
    """
    found = {key: _name(key, modems.get(key[0], {}), given) for key in keys}
    often = Counter(found.values())
    return {key: name if often[name] == 1 else _told_apart(key, name, found) for key, name in found.items()}


def _name(key: Key, modem: Mapping[str, str], given: Mapping[str, str]) -> str:
    interface, address = key
    chosen = given.get(interface) or given.get(address) or modem.get("carrier") or modem.get("model")
    return chosen or interface or address or "link"


def _told_apart(key: Key, name: str, found: Mapping[Key, str]) -> str:
    interface, address = key
    alike = [other for other, taken in found.items() if taken == name and other[0] == interface]
    mark = interface if interface and len(alike) == 1 else address
    return f"{name} ({mark})" if mark and mark != name else name
