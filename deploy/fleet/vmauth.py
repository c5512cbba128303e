"""vmauth's configuration: an entry for each device, which isolates it. What else is in the file stays as it is.

A device's token writes under that device's id and reads that device's series, whatever a request says: vmauth adds
`extra_label=device_id=<id>` to both. VictoriaMetrics replaces the label of what is written and filters what is read.
It has to be `extra_label`: of several `extra_filters[]` one is enough, and a client may add its own in a POST.
"""

from __future__ import annotations

import re
from pathlib import Path

from deploy.fleet import secret_file

OLD = "~old"  # behind the name of an entry whose token is being replaced; no id has that sign
HEAD = """# A token for each device, which writes under its own device_id, reads what it has written, and nothing else.
# `python3 -m deploy.fleet add|list|rotate|revoke` keeps them; users of your own, with other names, may stand here too.
users:
"""
SINGLE = """  - name: {id}
    bearer_token: {token}
    url_map:
      - src_paths: ["/api/v1/import", "/api/v1/query", "/api/v1/query_range", "/api/v1/export"]
        url_prefix: http://victoriametrics:8428/?extra_label=device_id={id}
      - src_paths: ["/health", "/metrics"]
        url_prefix: http://victoriametrics:8428
      - src_paths: ["/insert/jsonline"]
        url_prefix: http://victorialogs:9428/?extra_fields=device_id={id}
"""
CLUSTER = """  - name: {id}
    bearer_token: {token}
    url_map:
      - src_paths: ["/insert/0/prometheus/api/v1/import"]
        url_prefix: http://vminsert:8480/?extra_label=device_id={id}
      - src_paths: ["/health"]
        url_prefix: http://vminsert:8480
      - src_paths: ["/select/0/prometheus/api/v1/(query|query_range|export)"]
        url_prefix: http://vmselect:8481/?extra_label=device_id={id}
"""


class MistakeError(Exception):
    """The command line asks for what cannot be done; says why."""


class VmauthFile:
    """vmauth's configuration as text, of which only the entries of devices are touched.

    Args:
        file: it may not be there yet.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.text = file.read_text(encoding="utf-8") if file.exists() else HEAD

    def names(self) -> list[str]:
        """Return the names of all users."""
        return re.findall(r"(?m)^  - name: (\S+)$", self.text)

    def add(self, device: str, token: str, form: str) -> None:
        """Add a device."""
        self.text = self.text.rstrip("\n") + "\n" + form.format(id=device, token=token)

    def revoke(self, device: str) -> None:
        """Take a device out.

        Raises:
            MistakeError: it is not there.
        """
        self.text = self.text.replace(self._entry(device), "")

    def rotate(self, device: str, token: str) -> None:
        """Add an entry with another token; the one before stays, under another name, until it is revoked.

        Raises:
            MistakeError: the device is not there.
        """
        entry = self._entry(device)
        new = re.sub(r"bearer_token: .*", f"bearer_token: {token}", entry)
        old = entry.replace(f"- name: {device}\n", f"- name: {device}{OLD}\n", 1)
        self.text = self.text.replace(entry, old + new)

    def _entry(self, device: str) -> str:
        """Return the text of a device's entry.

        Raises:
            MistakeError: it is not there.
        """
        entry = re.search(rf"(?ms)^  - name: {re.escape(device)}\n(?:(?!  - ).*?\n)*?(?=  - |\Z|\S)", self.text)
        if entry is None:
            raise MistakeError(f"{device}: no such device in {self.file}")
        return entry[0]

    def write(self) -> None:
        """Replace the file as a whole; only its owner reads it."""
        secret_file.write(self.file, self.text)
