"""Every rule for vmalert, replayed by the real one over made-up hours on the real server: it fires, and clears."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from typing import Any, NamedTuple
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import yaml

from common import catalog
from tests.chaos.server import RealServer
from tests.harness import ROOT, require, wait_for

RULES = ROOT / "deploy/vmalert/rules.yml"
STEP_S, HOURS = 10, 3
BAD_FROM_S, BAD_TO_S = 600, 2400
SICK, WELL = "sick", "well"


class Case(NamedTuple):
    """What makes a rule fire.

    Attributes:
        metric: that it looks at, without the device's label.
        good, bad: its value in calm, and in trouble; None is no sample at all.
        rises: it is a counter, and grows by that value with each step.
    """

    metric: dict[str, str]
    good: float | None
    bad: float | None
    rises: bool = False


def metric(name: str, **labels: str) -> dict[str, str]:
    """Return a series' labels."""
    return {"__name__": name, **labels}


CASES = {
    "StreamLost": Case(metric("srt_connected"), 1, 0),
    "PacketLoss": Case(metric("srt_packet_loss_percent"), 0.5, 8),
    "HighRoundTrip": Case(metric("srt_rtt_ms"), 60, 700),
    "LinkDown": Case(metric("srtla_link_up", interface="usb0", ip="10.0.0.2"), 1, 0),
    "FramesDropped": Case(metric("encoder_frame_drop_percent"), 0, 2),
    "LowBitrate": Case(metric("encoder_bitrate_bits_per_second"), 6e6, 1e6),
    "BufferFull": Case(metric("srt_buffer_utilization_percent"), 20, 95),
    "ProcessorBusy": Case(metric("cpu_usage_percent", core="all"), 20, 95),
    "LowMemory": Case(metric("memory_available_bytes"), 1e9, 5e7),
    "NoPicture": Case(metric("hdmi_connected", input="hdmirx"), 1, 0),
    "Overheating": Case(metric("cpu_temperature_celsius"), 60, 90),
    "ModemLost": Case(metric("modem_connected", modem="f0e1"), 1, 0),
    "DeviceSilent": Case(metric("system_uptime_seconds"), 1000, None),
    "ProcessDown": Case(metric("process_up", program="system"), 1, 0),
    "ProcessRestarts": Case(metric("process_restarts_total", program="system"), 0, 1, rises=True),
    "BacklogGrows": Case(metric("uploader_lane_age_seconds", priority="1"), 10, 2000),
    "UploadsFail": Case(metric("uploader_upload_failures_total", reason="timeout"), 0, 10, rises=True),
    "SamplesLost": Case(metric("storage_lost_samples_total", reason="size_cap", priority="3"), 0, 5, rises=True),
    "SamplesRefused": Case(metric("storage_quarantined_total"), 0, 1, rises=True),
    "ServerForgets": Case(metric("storage_audit_failures_total"), 0, 1, rises=True),
    "ClockSkew": Case(metric("time_skew_ms"), 20, -5000),
    "BudgetNearlyUsed": Case(metric("uploader_budget_used_bytes", period="daily"), 10e6, 90e6),
    "DiskNearlyFull": Case(metric("filesystem_used_percent", mountpoint="/"), 40, 96),
}
STEADY = (
    (metric("uploader_budget_limit_bytes", period="daily"), 100e6),
    (metric("encoder_bitrate_target_bits_per_second"), 6e6),
    (metric("uploader_metrics_uploaded_total"), 1e6),
)


def rules() -> list[dict[str, Any]]:
    """Return every rule of the file."""
    document = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_every_rule_has_its_case_and_its_words() -> None:
    """And looks at metrics that there are."""
    found = {rule["alert"]: rule for rule in rules()}
    assert found.keys() == CASES.keys()
    known = {row.export for row in catalog.METRICS.values()}
    for name, rule in found.items():
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description", "runbook"} == set(rule["annotations"])
        assert f"docs/runbooks.md#{rule['alert'].lower()}" == rule["annotations"]["runbook"]
        assert "{{ $value }}" not in rule["annotations"]["summary"]
        assert "device_id" in rule["annotations"]["summary"]
        assert CASES[name].metric["__name__"] in rule["expr"]
        assert CASES[name].metric["__name__"] in known


def lines(start_s: int) -> Iterator[bytes]:
    """Yield the hours of both devices, as the import takes them."""
    times_s = range(start_s, start_s + HOURS * 3600, STEP_S)
    for device in (SICK, WELL):
        for case in CASES.values():
            total, points = 0.0, []
            for at_s in times_s:
                is_bad = device == SICK and BAD_FROM_S <= at_s - start_s < BAD_TO_S
                value = case.bad if is_bad else case.good
                total += value or 0
                if value is not None:
                    points.append((at_s * 1000, total if case.rises else value))
            yield line({**case.metric, "device_id": device}, points)
        for labels, value in STEADY:
            yield line({**labels, "device_id": device}, [(at_s * 1000, value) for at_s in times_s])


def line(labels: dict[str, str], points: list[tuple[int, float]]) -> bytes:
    """Return one series as JSON."""
    row = {"metric": labels, "timestamps": [at for at, _ in points], "values": [value for _, value in points]}
    return json.dumps(row).encode() + b"\n"


def query(url: str, expr: str, at_s: int) -> list[dict[str, Any]]:
    """Return what an instant query gives."""
    with urlopen(f"{url}/api/v1/query?{urlencode({'query': expr, 'time': at_s, 'nocache': 1})}", timeout=20) as answer:
        result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return result


def test_every_alert_fires_and_clears(server: RealServer) -> None:
    """For the device that is in trouble, and never for the one that is well."""
    start_s = int(time.time()) // 60 * 60 - (HOURS + 1) * 3600
    end_s = start_s + HOURS * 3600
    with urlopen(Request(f"{server.url}/api/v1/import", b"".join(lines(start_s))), timeout=30):
        pass
    wait_for("the data", lambda: len(query(server.url, "count_over_time(srt_rtt_ms[4h])", end_s)) == 2)
    done = subprocess.run(
        [
            require("vmalert"), f"-rule={RULES}", f"-datasource.url={server.url}", f"-remoteWrite.url={server.url}",
            f"-replay.timeFrom={stamp(start_s)}", f"-replay.timeTo={stamp(end_s)}", "-replay.disableProgressBar",
            "-replay.rulesDelay=0s", "-remoteWrite.flushInterval=100ms", "-external.url=http://127.0.0.1",
            f"-datasource.queryStep={STEP_S}s",
        ],
        capture_output=True, text=True, timeout=500, check=False,
    )  # fmt: skip
    assert 0 == done.returncode, done.stderr[-2000:]
    silent = set(CASES)

    def all_fired() -> bool:
        nonlocal silent
        silent = CASES.keys() - {name for name, _ in last_firing(server.url, end_s)}
        return not silent

    wait_for("every alert", all_fired)
    fired = last_firing(server.url, end_s)
    assert {name for name, device in fired if device == WELL} == set()
    assert {key for key, last_s in fired.items() if last_s > end_s - 300} == set()


def last_firing(url: str, end_s: int) -> dict[tuple[str, str], float]:
    """Return when each alert fired last, by its name and device."""
    rows = query(url, f'tlast_over_time(ALERTS{{alertstate="firing"}}[{HOURS}h])', end_s)
    return {(row["metric"]["alertname"], row["metric"]["device_id"]): float(row["value"][1]) for row in rows}


def stamp(at_s: int) -> str:
    """Return a time as vmalert takes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
