"""A small file is replaced as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from common import atomic_file


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_and_its_owner_alone_reads_it(tmp_path: Path, durable: bool) -> None:
    """A longer old content leaves nothing behind, nor does the file beside it."""
    file = tmp_path / "state.json"
    file.write_text("something longer", encoding="ascii")
    atomic_file.write(file, "näher", durable=durable)
    assert ("näher", 0o600) == (file.read_text(encoding="utf-8"), file.stat().st_mode & 0o777)
    assert [file] == list(tmp_path.iterdir())


def test_where_nothing_can_be_written_the_old_content_stays(tmp_path: Path) -> None:
    """A folder stands where the new file would be begun."""
    file = tmp_path / "state"
    file.write_text("old", encoding="ascii")
    (tmp_path / "state.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        atomic_file.write(file, "new")
    assert "old" == file.read_text(encoding="ascii")
