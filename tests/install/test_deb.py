"""The Debian package: what is in it, and a device's life with it, from install.sh's installation to its purge."""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sys
import venv
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from common import VERSION
from tests.fake_vm import FakeVm
from tests.free_port import free_port
from tests.harness import ROOT, require, wait_for
from tests.install.machine import BUILD_S, Machine, clean_machine, copy_tree
from tests.install.test_machine import INSTALL, UNITS, active, confined, more, times_ms

pytestmark = pytest.mark.timeout(2 * BUILD_S)  # each package is fetched, compressed and looked at as a whole

PREFIX = "usr/lib/belabox-metrics"
NEWER = f"{VERSION}+1"
SO = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
DEPLOY = ("sh", "/root/source/deploy/deb/receive.sh")  # as `make deploy` has it run


def built(tree: Path, arch: str, output: Path, python: Path = Path(sys.executable)) -> Path:
    """Build the package of a tree; return its file."""
    output.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [str(tree / "deploy/deb/build.sh"), arch, str(output)], env={"PATH": "/usr/bin:/bin", "PYTHON": str(python),
        "SOURCE_DATE_EPOCH": "1700000000"}, check=True, timeout=BUILD_S, capture_output=True, text=True,
    )  # fmt: skip
    return Path(done.stdout.splitlines()[-1])


def repacked(package: Path, folder: Path, version: str, changes: dict[str, str]) -> Path:
    """Make a package of another version of one, with other texts in some of its files; return its file."""
    subprocess.run(["dpkg-deb", "-R", str(package), str(folder)], check=True, timeout=60)
    control = folder / "DEBIAN/control"
    control.write_text(re.sub("(?m)^Version: .*", f"Version: {version}", control.read_text("utf-8")), encoding="utf-8")
    for name, text in changes.items():
        (folder / PREFIX / name).write_text(text, encoding="utf-8")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(folder)], check=True, timeout=60)
    return Path(f"{folder}.deb")


@pytest.fixture(scope="module", params=["amd64", "arm64"])
def package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """The package of this tree for a machine; which machine, and its file."""
    require("dpkg-deb")
    return request.param, built(ROOT, request.param, tmp_path_factory.mktemp("deb"))


def test_its_libraries_are_inside(package: tuple[str, Path], tmp_path: Path) -> None:
    """For both Pythons, of the machine's own kind; nothing is fetched at installation and nothing compiled."""
    arch, file = package
    subprocess.run(["dpkg-deb", "-x", str(file), str(tmp_path)], check=True, timeout=60)
    for python in ("3.10", "3.11"):
        libraries = tmp_path / PREFIX / "packages" / python
        locked = {
            line.split("==")[0] for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines() if "==" in line
        }
        found = {path.name.split("-")[0].lower().replace("_", "-") for path in libraries.glob("*.dist-info")}
        assert locked - found <= {"cffi", "pycparser"}  # of another interpreter
        wanted = f".cpython-{python.replace('.', '')}-{SO[arch]}.so"
        assert [path for path in (libraries / "apsw").glob("*.so") if path.name.endswith(wanted)]
    assert (tmp_path / "usr/bin/belabox-metrics").resolve().exists()
    assert list(tmp_path.glob("usr/share/man/man1/belabox-metrics.1.gz"))
    assert "/opt/" not in (tmp_path / "usr/lib/systemd/system/belabox-metrics.service").read_text("utf-8")


def test_it_is_what_debian_expects(package: tuple[str, Path]) -> None:
    """Nothing that lintian calls an error or a warning."""
    require("lintian")
    done = subprocess.run(["lintian", str(package[1])], capture_output=True, text=True, timeout=300, check=False)
    assert [] == [line for line in done.stdout.splitlines() if line.startswith(("E:", "W:"))]


def test_the_same_tree_gives_the_same_package(package: tuple[str, Path], tmp_path: Path) -> None:
    """Byte for byte, in another folder, by another interpreter, and with a server's secrets beside it."""
    arch, file = package
    copy_tree(tmp_path / "clone")
    secrets = [tmp_path / "clone/deploy/docker" / name for name in (".env", "auth/auth.yml", "devices/box-1/api-token")]
    for secret in secrets:
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.write_text("secret", encoding="ascii")
    assert file.read_bytes() == built(tmp_path / "clone", arch, tmp_path / "again", other_python(tmp_path)).read_bytes()


def other_python(folder: Path) -> Path:
    """Return an interpreter in another place, with the same packages."""
    venv.create(folder / "venv", symlinks=True)
    (found,) = (folder / "venv/lib").glob("python3*/site-packages")
    (found / "here.pth").write_text("\n".join(site.getsitepackages()), encoding="utf-8")
    return folder / "venv/bin/python"


@pytest.fixture
def machine(run_dir: Path) -> Iterator[Machine]:
    """A clean machine that has started, with the package, a newer one and one that does not run in /root."""

    def add_packages(made: Machine) -> None:
        this, root = built(ROOT, "amd64", run_dir / "deb"), made.root / "root"
        version = f'"""A newer one."""\n\nVERSION = "{NEWER}"\n'
        newer = repacked(this, run_dir / "newer", NEWER, {"common/__init__.py": version})
        broken = repacked(newer, run_dir / "broken", f"{NEWER}.1", {"healthd/__main__.py": "raise SystemExit(1)\n"})
        for package, name in ((this, "this.deb"), (newer, "newer.deb"), (broken, "broken.deb")):
            shutil.copy(package, root / name)

    with clean_machine(run_dir, add_packages) as made:
        yield made


@pytest.mark.timeout(1800)
def test_a_device_from_install_sh_to_its_purge(machine: Machine, vm: FakeVm) -> None:
    """The package takes install.sh's place, is upgraded, goes back from one that does not run, but not to an older one.

    Data stays until it is purged.
    """
    folder = machine.root / "etc/belabox-metrics"
    folder.mkdir()
    (folder / "config.yaml").write_text(
        f"remote: {{url: '{vm.import_url}'}}\nhealth: {{port: {free_port()}}}\ncollectors: {{cpu: {{interval: 1s}}}}\n",
        encoding="utf-8",
    )
    machine.run(*INSTALL)
    wait_for("uploads", vm.samples, 60)
    for command in (("dpkg", "-i", "/root/this.deb"), (*DEPLOY, "/root/newer.deb", "120")):
        machine.run(*command)
        more(machine)
        for unit in UNITS:
            active(machine, unit)
    gaps_s = [(after - before) / 1000 for before, after in pairwise(times_ms(machine))]
    print(f"{len(gaps_s)} collects, one a second; the longest gaps: {sorted(gaps_s)[-3:]} s")
    confined(machine)
    longer_than_systemd_tries_s = 80
    deploy = f"{' '.join(DEPLOY)} /root/broken.deb {longer_than_systemd_tries_s}; echo ended with $?"
    said = machine.run("sh", "-c", deploy)
    assert (True, True) == ("going back to the package before it" in said, "ended with 1" in said), said
    more(machine)
    assert f"belabox-metrics {NEWER}" == machine.run("belabox-metrics", "version").strip()
    assert "RUNNING" in machine.run("belabox-metrics", "status")
    assert f"belabox-metrics {NEWER} runs" == machine.run("belabox-metrics", "wait").strip()
    assert not (machine.root / "opt/belabox-metrics").exists()
    assert "may not understand its database" in machine.try_run("dpkg", "-i", "/root/this.deb")

    machine.run("dpkg", "--remove", "belabox-metrics")
    assert [] != times_ms(machine)
    assert not (machine.root / PREFIX).exists()
    machine.run("dpkg", "--purge", "belabox-metrics")
    left = [path for path in machine.root.rglob("*belabox*") if not path.is_relative_to(machine.root / "root")]
    assert [] == left
    assert "no such user" in machine.try_run("id", "metrics")
