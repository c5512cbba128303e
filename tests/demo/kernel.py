"""The kernel's side of the played board: /proc and /sys move with the stream.

Reads: a `Scene` and the seconds since the last one. Emits: files in the kernel's formats.
"""

from __future__ import annotations

from tests.demo.scene import ENCODER_PID, LINKS, Scene
from tests.demo.tree import Tree

HERTZ = 100  # USER_HZ: /proc/stat counts hundredths of a second
FPS = 30
PACKET_BYTES = 1360  # an SRT data packet with its headers
ENCODER, CAPTURE = "fdbd0000.rkvenc-core", "rk_hdmirx-dma"
SOUND = "proc/asound/rockchiphdmiin/pcm0c/sub0"


class Kernel:
    """Counters that grow, and the files that show them."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._interrupts = {ENCODER: 129_000.0, CAPTURE: 258_000.0}
        self._samples = self._waited_us = 0.0
        self._sound = tree.read(f"{SOUND}/hw_params")
        self._net = {name: [0.0] * 16 for name, *_ in LINKS}
        self._uptime_s = float(tree.read("proc/uptime").split()[0])
        self._fields: dict[str, list[float]] = {}
        for line in tree.read("proc/stat").splitlines():
            if line.startswith("cpu"):
                core, *times = line.split()
                self._fields[core] = [float(number) for number in times]
        self._rest = [line for line in tree.read("proc/stat").splitlines() if not line.startswith("cpu")]
        for line in tree.read("proc/net/dev").splitlines()[2:]:
            name, _, numbers = line.partition(":")
            self._net[name.strip()] = [float(number) for number in numbers.split()]

    def play(self, scene: Scene, elapsed_s: float) -> None:
        """Move everything by `elapsed_s`."""
        self._uptime_s += elapsed_s
        self._tree.put("proc/uptime", f"{self._uptime_s:.2f} {self._uptime_s * 7.8:.2f}\n")
        self._cpu(scene, elapsed_s)
        self._memory(scene)
        self._network(scene, elapsed_s)
        self._disk(scene, elapsed_s)
        self._heat(scene)
        self._media(scene, elapsed_s)

    def _cpu(self, scene: Scene, elapsed_s: float) -> None:
        busy = 0.38 if scene.streaming else 0.06
        cores = [name for name in self._fields if name != "cpu"]
        for at, name in enumerate(cores):
            share = min(0.95, busy * (0.7 + 0.1 * at))
            for field, part in ((0, share * 0.7), (2, share * 0.3), (3, 1 - share)):
                self._fields[name][field] += part * elapsed_s * HERTZ
        self._fields["cpu"] = [sum(column) for column in zip(*(self._fields[name] for name in cores), strict=True)]
        rows = [" ".join([name, *(str(int(value)) for value in values)]) for name, values in self._fields.items()]
        self._tree.put("proc/stat", "\n".join([*rows, *self._rest]) + "\n")
        load = busy * len(cores)
        self._tree.put("proc/loadavg", f"{load:.2f} {load * 0.9:.2f} {load * 0.8:.2f} 4/431 6115\n")
        waiting = busy * 4  # percent of the time
        self._waited_us += waiting / 100 * elapsed_s * 1e6
        some = f"avg10={waiting:.2f} avg60={waiting:.2f} avg300={waiting:.2f} total={int(self._waited_us)}"
        self._tree.put("proc/pressure/cpu", f"some {some}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")

    def _memory(self, scene: Scene) -> None:
        available_kib = 13_900_000 - scene.bitrate_bps // 20
        lines = self._tree.read("proc/meminfo").splitlines()
        kept = [f"MemAvailable: {available_kib:>10} kB" if line.startswith("MemAvail") else line for line in lines]
        self._tree.put("proc/meminfo", "\n".join(kept) + "\n")

    def _network(self, scene: Scene, elapsed_s: float) -> None:
        for link in scene.links:
            sent = link.bits_per_second / 8 * elapsed_s
            counters = self._net[link.interface]
            for column, grown in ((0, sent / 40), (1, sent / PACKET_BYTES / 10), (8, sent), (9, sent / PACKET_BYTES)):
                counters[column] += grown
            folder = f"sys/class/net/{link.interface}"
            self._tree.put(f"{folder}/operstate", "unknown\n" if link.up else "down\n")
            self._tree.put(f"{folder}/carrier", f"{int(link.up)}\n")
            for column, name in ((0, "rx_bytes"), (1, "rx_packets"), (8, "tx_bytes"), (9, "tx_packets")):
                self._tree.put(f"{folder}/statistics/{name}", f"{int(counters[column])}\n")
        head = self._tree.read("proc/net/dev").splitlines()[:2]
        rows = [f"{name:>6}: " + " ".join(str(int(n)) for n in numbers) for name, numbers in self._net.items()]
        self._tree.put("proc/net/dev", "\n".join([*head, *rows]) + "\n")

    def _disk(self, scene: Scene, elapsed_s: float) -> None:
        rows = []
        for line in self._tree.read("proc/diskstats").splitlines():
            columns = line.split()
            if scene.streaming and columns[2].startswith("nvme0n1"):  # the recording on the box
                columns[7] = str(int(columns[7]) + round(2 * elapsed_s))
                columns[9] = str(int(columns[9]) + round(scene.bitrate_bps / 8 / 512 * elapsed_s))
                columns[12] = str(int(columns[12]) + round(20 * elapsed_s))
            rows.append(" ".join(columns))
        self._tree.put("proc/diskstats", "\n".join(rows) + "\n")

    def _heat(self, scene: Scene) -> None:
        zones = sorted((self._tree.root / "sys/class/thermal").glob("thermal_zone*"))
        for at, zone in enumerate(zones):
            self._tree.put(f"sys/class/thermal/{zone.name}/temp", f"{round((scene.celsius - 0.4 * at) * 1000)}\n")

    def _media(self, scene: Scene, elapsed_s: float) -> None:
        working = scene.encodes and scene.hdmi
        self._interrupts[ENCODER] += FPS * elapsed_s if working else 0
        self._interrupts[CAPTURE] += 2 * FPS * elapsed_s if scene.hdmi else 0
        self._samples += 48_000 * elapsed_s if working else 0
        rows = [
            f"{at}: {int(count):>10} 0 0 0 0 0 0 0 GICv3 {at} Level {name}"
            for at, (name, count) in enumerate(self._interrupts.items(), 120)
        ]
        head = " ".join(["     ", *(f"CPU{number}" for number in range(8))])
        self._tree.put("proc/interrupts", "\n".join([head, *rows]) + "\n")
        load = 21.4 if working else 0.0
        self._tree.put("proc/mpp_service/load", f"{ENCODER:<25} load: {load:6.2f}% utilization: {load:6.2f}%\n")
        self._tree.put("proc/mpp_service/sessions-summary", _sessions(scene))
        self._tree.put(f"{SOUND}/status", self._audio(scene))
        self._tree.put(f"{SOUND}/hw_params", self._sound if working else "closed\n")
        self._tree.put("sys/kernel/debug/rkrga/load", RGA.format(load=42 if working else 0))
        self._tree.put("sys/kernel/debug/hdmirx/status", HDMI if scene.hdmi else "status: plugout\n")

    def _audio(self, scene: Scene) -> str:
        if not (scene.encodes and scene.hdmi):
            return "closed\n"
        read, at_s = int(self._samples), self._uptime_s
        return (
            f"state: RUNNING\nowner_pid   : {ENCODER_PID + scene.run}\n"
            f"trigger_time: 1.000000000\ntstamp      : {at_s:.9f}\n"
            "delay       : 480\navail       : 480\navail_max   : 1920\n-----\n"
            f"hw_ptr      : {read}\nappl_ptr    : {read - 480}\n"
        )


def _sessions(scene: Scene) -> str:
    """Return the encoder's table; without a stream it has no session."""
    head = "session iova range dump:\n"
    if not scene.encodes:
        return head
    return (
        f"{head}session: pid={ENCODER_PID + scene.run} index=11\n device: {ENCODER}\n memory: 22 MiB\n{'-' * 108}\n"
        "| session|  device|   width|  height|  format|  fps_in| fps_out| rc_mode| bitrate"
        "|gop_size|fps_calc| profile|\n"
        f"|      11|  RKVENC|    1920|    1080|    h265|      30|      30|     cbr|{scene.bitrate_bps:>8}"
        "|      30|   30.00|    main|\n"
    )


RGA = """num of scheduler = 1
================= load ==================
scheduler[0]: rga3_core0
\t load = {load}%
-----------------------------------
"""
HDMI = """status: plugin
Clk-Ch:Lock	Ch0:Lock	Ch1:Lock	Ch2:Lock
Ch0-Err:0	Ch1-Err:0	Ch2-Err:0
Color Format: RGB			Store Format: RGB
Mode: 1920x1080p30 (2200x1125)		hfp:88  hs:44  hbp:148  vfp:4  vs:5  vbp:36
Pixel Clk: 74250000
"""
