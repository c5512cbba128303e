"""From a file and the environment to typed sections, or to every error at once."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest

from collectors import registry
from common import config, yaml_file
from common.config import Config, ConfigError
from common.keys import boolean, choice, duration, integer, key, listing, regex, section
from common.settings import Settings
from tests.harness import ROOT

RECEIVER = {"BELABOX_REMOTE__TYPE": "json"}  # what the PRD's URL names
QUOTED = "device.id: expected text, in quotes where it looks like something else"
FIXTURES = ROOT / "tests" / "fixtures" / "config"


@dataclass(frozen=True)
class Inner:
    """A section of a collector's section."""

    depth: int = key(integer(0, 9), "1", "a number")


@dataclass(frozen=True)
class Own:
    """A collector's section."""

    enabled: bool = key(boolean(), "true", "collect it")
    interval_s: float = key(duration(1, 60), "10s", "how often", name="interval")
    unit: str = key(choice("kernel", "block"), "kernel", "a word")
    exclude_ifaces: tuple[Any, ...] = key(listing(regex()), "[]", "patterns")
    inner: Inner = section(Inner)


KNOWN: dict[str, type[Any] | None] = dict.fromkeys(("cpu", "disk", "memory", "network", "thermal"), Own)


def load(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> Config:
    """Load a file of this text."""
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, environ or {}, KNOWN)


def errors(folder: Path, text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return the messages that a file is refused with, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text, environ)
    prefix = f"{folder / 'c.yaml'}: "
    assert all(message.startswith(prefix) for message in caught.value.messages)
    return [message.removeprefix(prefix) for message in caught.value.messages]


def test_no_file_is_all_defaults() -> None:
    """Everything runs without a configuration."""
    loaded = config.load(None, {}, KNOWN)
    assert ("belabox-001", 9100, 30.0) == (
        loaded.settings.device.id, loaded.settings.health.port, loaded.settings.remote.upload_interval_s,
    )  # fmt: skip
    assert ({*KNOWN}, ()) == ({*loaded.collectors}, loaded.warnings)


@pytest.mark.parametrize("text", ["", "---\n", "# nothing but a comment\n", "\ufeffdevice:\n", "remote:\n  retry:\n"])
def test_a_file_of_empty_sections_is_all_defaults(tmp_path: Path, text: str) -> None:
    """A file whose every key is commented out changes nothing."""
    assert config.load(None, {}, KNOWN).settings == load(tmp_path, text).settings


def test_every_value_of_a_file_arrives(tmp_path: Path) -> None:
    """Sections, nested sections and collectors' sections take what the file says."""
    loaded = load(
        tmp_path,
        "device: {id: box-7}\nremote: {retry: {max_attempts: 9}, priority: {low: 1h}}\n"
        "collectors: {cpu: {interval: 5s, inner: {depth: 3}}}\n",
    )
    assert ("box-7", 9, 3600.0) == (
        loaded.settings.device.id, loaded.settings.remote.retry.max_attempts, loaded.settings.remote.priority.low_s,
    )  # fmt: skip
    assert Own(interval_s=5.0, inner=Inner(3)) == loaded.collectors["cpu"]


def test_the_shipped_file_is_the_defaults() -> None:
    """`deploy/config.yaml` documents the defaults and changes none of them."""
    shipped = config.load(ROOT / "deploy" / "config.yaml", {}, registry.sections())
    assert config.load(None, {}, registry.sections()) == shipped


@pytest.mark.parametrize("name", ["milestone-2.yaml", "prd.yaml"])
def test_the_documents_own_examples_load(name: str) -> None:
    """Both requirement documents' example files are valid, whole, and every key in them is taken or named."""
    loaded = config.load(FIXTURES / name, RECEIVER if name == "prd.yaml" else {}, registry.sections())
    assert "belabox-001" == loaded.settings.device.id


def test_the_prds_url_is_refused_with_both_ways_to_go_on() -> None:
    """It names a receiver of JSON, which the default type is not."""
    with pytest.raises(ConfigError) as caught:
        config.load(FIXTURES / "prd.yaml", {}, registry.sections())
    (message,) = caught.value.messages
    assert "remote.url: expected https://metrics.example.com/api/v1/import for VictoriaMetrics" in message
    assert "or remote.type: json" in message


def test_milestone_2s_example_means_what_it_says() -> None:
    """Its list of metrics sets up the collectors it stands for, and nothing of it is without effect."""
    loaded = config.load(FIXTURES / "milestone-2.yaml", {}, registry.sections())
    assert all(" read as collectors." in line for line in loaded.warnings)
    assert (30.0, 10.0, 30.0, 30.0, 10.0) == tuple(
        loaded.collectors[name].interval_s for name in ("thermal", "cpu", "memory", "disk", "network")
    )
    network = loaded.collectors["network"]
    assert (10, 32) == (len(network.exclude_ifaces), network.max_interfaces)
    settings = loaded.settings
    assert ("http://localhost:8428/health", 2500, 50) == (
        settings.monitoring.clock_skew_url, settings.remote.batch_size, settings.remote.chunk_size,
    )  # fmt: skip
    assert (60, 600) == (
        settings.health.degraded_threshold.upload_age_seconds, settings.health.error_threshold.upload_age_seconds,
    )  # fmt: skip


def test_the_prds_example_means_what_it_says() -> None:
    """Its groups, its upload section and its priorities take effect; what has none is named in a warning."""
    loaded = config.load(FIXTURES / "prd.yaml", RECEIVER, registry.sections())
    assert all(re.search("read as|no effect|always gzip|least important", line) for line in loaded.warnings)
    assert [30.0] * 4 == [loaded.collectors[name].interval_s for name in ("cpu", "memory", "disk", "thermal")]
    assert (5.0, False) == (loaded.collectors["network"].interval_s, loaded.collectors["network"].enabled)
    remote = loaded.settings.remote
    assert (100, 30.0, 10.0, "bearer_token", Path("/etc/belabox-metrics/api-token")) == (
        remote.batch_size, remote.upload_interval_s, remote.timeout_s, remote.auth.type, remote.auth.token_file,
    )  # fmt: skip
    assert (0.0, 10.0, 60.0, 600.0) == tuple(remote.lanes.interval_s(priority) for priority in range(4))


def test_all_errors_of_a_file_come_at_once(tmp_path: Path) -> None:
    """An operator mends a file in one round, each line of the answer naming key, expectation and what was given."""
    sections = sorted(["collectors", *(field.name for field in fields(Settings))])
    found = errors(
        tmp_path,
        "device: {id: 'a b'}\n"
        "health: {port: 70000}\n"
        "remote: {url: example.com, retry: {max_attempts: many}}\n"
        "logging: {level: loud, levle: info}\n"
        "storage: []\n"
        "nonsense: 1\n"
        "collectors: {cpu: {interval: 10}, fan: {}}\n",
    )
    assert [
        "device.id: expected text like [A-Za-z0-9._:-]{1,64}, got 'a b'",
        "logging.level: expected one of debug, info, warn, error, got 'loud'",
        "logging.levle: unknown key; here are format, level, output, rotation",
        "storage: expected a section, got []",
        "remote.url: expected a URL such as https://metrics.example.com/api/v1/import, got 'example.com'",
        "remote.retry.max_attempts: expected a whole number from 1 to 100, got 'many'",
        "health.port: expected a whole number from 0 to 65535, got 70000",
        f"nonsense: unknown key; here are {', '.join(sections)}",
        "collectors.fan: no such collector; there are cpu, disk, memory, network, thermal",
        "collectors.cpu.interval: expected a duration such as 500ms, 30s, 5m or 1h, got 10",
    ] == found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("device: {id: a}\ndevice: {id: b}\n", ["device: given twice, again in line 2"]),
        ("run:\n  dir: /a\n  dir: /b\n", ["run.dir: given twice, again in line 3"]),
        ("- a\n", ["expected sections (a mapping) at the top level"]),
        ("text\n", ["expected sections (a mapping) at the top level"]),
        ("? [a, b]\n: 1\n", ["expected a name as key, in line 1"]),
        ("collectors: {cpu: [1]}\n", ["collectors.cpu: expected a section, got [1]"]),
        ("collectors: [cpu]\n", ["collectors: expected a section for each collector"]),
        ("device: {id: 2025-02-30}\n", ["device.id: day is out of range for month"]),
        ("device: {name: 2025-02-28}\n", [f"{QUOTED.replace('id', 'name')}, got 2025-02-28"]),
        ('device: {name: "a\\ud800"}\n', ["device.name: expected text in UTF-8, got 'a\\ud800'"]),
        ('device: {links: {usb0: "\\udcff"}}\n', ["device.links: expected names in UTF-8, got {'usb0': '\\udcff'}"]),
        ("health: {path: /metrics}\n", ["health.path: expected a path that nothing else is at, got '/metrics'"]),
        ("health: {path: /api/now}\n", ["health.path: expected a path that nothing else is at, got '/api/now'"]),
    ],
)
def test_what_an_operator_cannot_mean_is_an_error(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Duplicates come with their line; a list is no section."""
    found = errors(tmp_path, text)
    assert expected == found[: len(expected)]


@pytest.mark.parametrize(
    ("written", "looks_like"),
    [("010", "8"), ("10:20:30", "37230"), ("1e3", "'1e3'"), ("yes", "true"), ("~", "nothing")],
)
def test_an_id_that_yaml_reads_as_something_else_is_not_changed_silently(
    tmp_path: Path, written: str, looks_like: str
) -> None:
    """A box called 010 does not report as 8: the error says to quote it, and quoted it is taken."""
    text = "device: {id: %s}\n"
    if looks_like == "'1e3'":
        assert written == load(tmp_path, text % written).settings.device.id
    else:
        assert [f"{QUOTED}, got {looks_like}"] == errors(tmp_path, text % written)
    if written != "~":
        assert written == load(tmp_path, text % f'"{written}"').settings.device.id


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: b: c",
        "\t- x",
        "a: *nowhere",
        "a: 1\n---\nb: 2\n",
        "a: \x00",
        "{" * 50,
    ],
)
def test_what_is_not_yaml_is_one_error(tmp_path: Path, text: str) -> None:
    """A parser's complaint is one line with its place."""
    (message,) = errors(tmp_path, text)
    assert message.startswith("not YAML: ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        "a: &a {b: *a}\n",
        "a: &a [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n",
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefg", "bcdefgh", strict=True)),
        "a: " + "[" * 500 + "]" * 500,
        "a: " + "{a: " * 100 + "}" * 100,
        "".join(f"k{number}: 1\n" for number in range(501)),
    ],
)
def test_loops_and_bombs_end_in_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Anchors that contain themselves or unfold to billions, and size or depth beyond reason, are refused at once."""
    assert yaml_file.MAX_NODES >= 5_000
    monkeypatch.setattr(yaml_file, "MAX_NODES", 500)
    assert ["more than 500 values, or nested deeper than 12"] == errors(tmp_path, text)


def test_a_tag_that_makes_objects_is_refused(tmp_path: Path) -> None:
    """A configuration file runs no code."""
    found = errors(tmp_path, "device: {id: !!python/object/apply:os.system [ls]}\nrun: {dir: !x y}\n")
    assert "run.dir: could not determine a constructor for the tag '!x'" in found[0]
    assert "got ['ls']" in found[1]


def test_bytes_that_are_not_utf8_are_one_error(tmp_path: Path) -> None:
    """A file in Latin-1 is named as what it is."""
    path = tmp_path / "c.yaml"
    path.write_bytes(b"device: {name: caf\xe9}\n")
    with pytest.raises(ConfigError, match=r"c\.yaml: not UTF-8, in line 1"):
        config.load(path, {})


@pytest.mark.parametrize(("name", "message"), [(".", "Is a directory"), ("absent.yaml", "No such file or directory")])
def test_a_file_that_cannot_be_read_is_one_error(tmp_path: Path, name: str, message: str) -> None:
    """The message is the kernel's reason behind the file's name."""
    path = tmp_path / name
    with pytest.raises(ConfigError) as caught:
        config.load(path, {}, KNOWN)
    assert [f"{path}: {message}"] == caught.value.messages


def test_a_file_nobody_may_read_is_one_error(tmp_path: Path) -> None:
    """Permissions are a configuration error like any other."""
    path = tmp_path / "c.yaml"
    path.write_text("", encoding="ascii")
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("root may read everything")
    with pytest.raises(ConfigError, match="Permission denied"):
        config.load(path, {})


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    """Variables override keys at any depth, collectors' too, and are typed as the file would be."""
    loaded = load(
        tmp_path,
        "device: {id: from-file}\n",
        {
            "BELABOX_DEVICE__ID": "010",
            "BELABOX_REMOTE__RETRY__ENABLED": "false",
            "BELABOX_HEALTH__PORT": "0",
            "BELABOX_COLLECTORS__CPU__INTERVAL": "2s",
            "BELABOX_COLLECTORS__NETWORK__EXCLUDE_IFACES": "[lo, 'veth.*']",
            "BELABOX_VERSION": "not ours: it names no section",
            "PATH": "/bin",
        },
    )
    assert ("010", False, 0, 2.0) == (
        loaded.settings.device.id, loaded.settings.remote.retry.enabled, loaded.settings.health.port,
        loaded.collectors["cpu"].interval_s,
    )  # fmt: skip
    assert ["lo", "veth.*"] == [pattern.pattern for pattern in loaded.collectors["network"].exclude_ifaces]


@pytest.mark.parametrize("text", ["remote:\n", "remote:\n  retry:\n", "collectors:\n", "collectors:\n  cpu:\n"])
def test_a_variable_reaches_into_a_section_that_is_commented_out(tmp_path: Path, text: str) -> None:
    """The shipped file has every section and no key; variables work with it all the same."""
    environ = {"BELABOX_REMOTE__RETRY__MAX_ATTEMPTS": "7", "BELABOX_COLLECTORS__CPU__INTERVAL": "7s"}
    loaded = load(tmp_path, text, environ)
    assert (7, 7.0) == (loaded.settings.remote.retry.max_attempts, loaded.collectors["cpu"].interval_s)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("BELABOX_HEALTH__PORT", "x", "health.port (BELABOX_HEALTH__PORT): expected a whole number from 0 to 65535"),
        ("BELABOX_REMOTE__NO", "1", "remote.no (BELABOX_REMOTE__NO): unknown key; here are "),
        ("BELABOX_NO__URL", "1", "no (BELABOX_NO__URL): unknown key; here are alerts, clock, collection, "),
        ("BELABOX_COLLECTORS__FAN__INTERVAL", "1s", "collectors.fan (BELABOX_COLLECTORS__FAN__INTERVAL): no such"),
        ("BELABOX_DEVICE__ID__X", "1", "device.id.x: BELABOX_DEVICE__ID__X does not name a key"),
        ("BELABOX_REMOTE__RETRY", "{}", "remote.retry (BELABOX_REMOTE__RETRY): expected a section, got '{}'"),
        ("BELABOX_DEVICE__NAME", "a\udcffb", "device.name (BELABOX_DEVICE__NAME): expected text in UTF-8, got "),
        ("BELABOX_REMOTE__", "1", "remote. (BELABOX_REMOTE__): unknown key; here are "),
    ],
)  # fmt: skip
def test_a_wrong_variable_is_an_error_that_names_it(tmp_path: Path, variable: str, value: str, expected: str) -> None:
    """A misspelt or mistyped override is not ignored."""
    (message,) = errors(tmp_path, "device: {id: a}\n", {variable: value})
    assert message.startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "remote: {url: 'http://user:S3CRET@host/'}\n",
        "remote: {url: 'http://user:S3CRET/@host/'}\n",
        "remote: {url: 'ftp://user:p@S3CRET@host/'}\n",
        "remote: {auth: 'Bearer S3CRET'}\n",
        "remote: {auth: {token: S3CRET}}\n",
        "remote: {auth: {token_file: [S3CRET]}}\n",
        "remote: {auth: {type: S3CRET}}\n",
        "metrics: [{password: 'http://u:S3CRET@h'}]\n",
    ],
)
def test_a_secret_is_not_repeated_in_a_message(tmp_path: Path, text: str) -> None:
    """What an operator puts into the wrong place does not end up in a log."""
    found = errors(tmp_path, text)
    assert found
    assert "S3CRET" not in "\n".join(found)


def test_a_long_value_is_shown_in_part(tmp_path: Path) -> None:
    """A message fits on a screen."""
    (message,) = errors(tmp_path, f"remote: {{url: {'x' * 10_000}}}\n")
    assert len(message) < 500


def test_a_stage_leaves_the_collectors_sections_to_the_collectors(tmp_path: Path) -> None:
    """A mistake in a collector's section does not keep the buffer from starting."""
    path = tmp_path / "c.yaml"
    path.write_text("collectors: {cpu: {interval: nonsense}, mine: {}}\n", encoding="ascii")
    assert {} == config.load(path, {}).collectors


def test_a_collector_reads_its_own_section_only(tmp_path: Path) -> None:
    """Another collector's mistake is that one's to report; an unknown collector is everybody's."""
    path = tmp_path / "c.yaml"
    path.write_text("collectors: {cpu: {interval: nonsense}, disk: {interval: 3s}}\n", encoding="ascii")
    loaded = config.load(path, {}, {"cpu": None, "disk": Own})
    assert {"disk": Own(interval_s=3.0)} == loaded.collectors


def test_one_underscore_too_few_is_said(tmp_path: Path) -> None:
    """A variable that looks like a key and is none has no effect, and says how it should be written."""
    loaded = load(tmp_path, "", {"BELABOX_REMOTE_URL": "http://x", "BELABOX_TEST_CLOCK": "f", "REMOTE_URL": "y"})
    expected = "BELABOX_REMOTE_URL: no effect; two underscores stand between section and key: BELABOX_REMOTE__URL"
    assert (expected,) == loaded.warnings


@pytest.mark.parametrize(
    ("warns", "remote"),
    [
        (True, "{url: http://metrics.example.com/api/v1/import, auth: {type: bearer_token}}"),
        (False, "{url: https://metrics.example.com/api/v1/import, auth: {type: bearer_token}}"),
        (False, "{url: http://127.0.0.1:8428/api/v1/import, auth: {type: bearer_token}}"),
        (False, "{url: http://metrics.example.com/api/v1/import}"),
    ],
)
def test_a_token_that_travels_in_clear_is_a_warning(tmp_path: Path, warns: bool, remote: str) -> None:
    """To another host without TLS."""
    assert warns is any("without TLS" in warning for warning in load(tmp_path, f"remote: {remote}\n").warnings)


def test_a_pin_needs_tls(tmp_path: Path) -> None:
    """And looks like one."""
    assert "remote.tls.pin: expected an https URL" in str(
        errors(tmp_path, f"remote: {{tls: {{pin: [{'A' * 43}=]}}}}\n")
    )
    assert "remote.tls.pin" in str(errors(tmp_path, "remote: {url: 'https://a/b', tls: {pin: [short]}}\n"))


@pytest.mark.parametrize(("bind", "is_open"), [("127.0.0.1", False), ("::1", False), ("0.0.0.0", True)])
def test_a_page_that_others_reach_without_tls_is_said(tmp_path: Path, bind: str, is_open: bool) -> None:
    """In check, and in /health."""
    warnings = load(tmp_path, f"health: {{bind: '{bind}', token_file: /x}}\n").warnings
    assert is_open is any("without TLS" in text for text in warnings)
