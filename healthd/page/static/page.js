// The picture of now, as the device sends it each second. What it says is drawn; nothing is worked out here.
import { connect } from "./connection.js";
import { drawLinks, drawMore, drawProcesses, drawReasons, drawTiles, drawVerdict, showPart, write } from "./draw.js";
import { refreshEvents, setUpEvents } from "./events.js";
import { listStreams, setUpHistory, showMoment, showPlot } from "./history.js";
import { keepPicture, keepShell, lastPicture } from "./memory.js";
import { time } from "./words.js";

const part = (id) => document.getElementById(id);
const boxes = { stream: "stream", device: "device-tiles", delivery: "delivery" };
const RANKS = ["idle", "ok", "degraded", "error"];

function show(picture) {
  const { verdicts, device, timestamp_ms: nowMs } = picture;
  for (const verdict of verdicts) {
    drawVerdict(part(`${verdict.id}-verdict`), verdict, nowMs);
    drawReasons(part(`${verdict.id}-reasons`), verdict.reasons.slice(1), nowMs);
  }
  drawMore(part("more"), verdicts.flatMap((verdict) => verdict.reasons.slice(1)), "Nothing else is wrong");
  const name = device.name || device.id;
  write(part("device"), name);
  write(part("version"), `${device.id} · belabox-metrics ${device.version}`);
  const worst = verdicts.reduce((a, b) => (RANKS.indexOf(b.level) > Math.max(1, RANKS.indexOf(a.level)) ? b : a));
  document.title = `${worst.title} · ${name}`;
  for (const group of picture.groups) {
    const box = part(boxes[group.id]);
    if (showPart(box, group.tiles.length > 0)) drawTiles(box.querySelector("dl"), group.tiles);
  }
  drawLinks(part("links"), picture.links);
  // Without a stream, the device comes first; and stays there when a stream begins.
  if (part("rest").hidden && part("stream").hidden) part("groups").append(part("stream"), part("links"));
  drawProcesses(part("processes").querySelector("ul"), picture.processes);
  part("rest").hidden = document.querySelector("footer").hidden = false;
  refreshEvents(picture.events);
}

// Both banners without a verdict: there is none to be had.
function drawNone(title, text, todo) {
  document.body.classList.add("lost");
  const none = { level: "idle", since_ms: null };
  drawVerdict(part("stream-verdict"), { ...none, title, text, reasons: [{ todo }] }, 0);
  const recording = { title: "Recording not known", text: "The device goes on recording while it has power." };
  drawVerdict(part("recorder-verdict"), { ...none, ...recording, reasons: [] }, 0);
  for (const id of ["stream", "recorder"]) drawReasons(part(`${id}-reasons`), [], 0);
  drawMore(part("more"), [], "");
}

function alive(since) {
  document.body.classList.remove("connecting");
  document.body.classList.toggle("lost", since !== null);
  write(part("connection"), since === null ? "live" : `not reachable since ${time(since.getTime())}`);
  if (since === null) return;
  drawNone("Device not reachable", `Nothing was heard since ${time(since.getTime())}. What is below is old.`,
    "Check that this phone is in the device's network and that the device has power.");
}

function refused() {
  document.body.classList.remove("connecting");
  drawNone("Log in again", "This browser is not logged in, or the token has changed.",
    "Use the link above, or ask for one: `belabox-metrics page --share`.");
  const link = document.createElement("a");
  link.href = "/login";
  link.textContent = "log in again";
  part("connection").replaceChildren(link);
  delete part("connection").dataset.text;
}

document.addEventListener("click", (event) => {
  const wanted = event.target.closest("[data-plot], [data-moment]");
  if (!wanted) return;
  if (wanted.dataset.plot) showPlot(wanted.dataset.plot);
  else showMoment(Number(wanted.dataset.moment));
});

// The device's own, which came with the page; or else the last one that this browser has seen, marked as old.
const now = JSON.parse(part("now").textContent);
const last = now ?? lastPicture();
if (last) show(last);
if (last && !now) {
  document.body.classList.add("lost", "connecting");
  write(part("connection"), `connecting; this is of ${time(last.timestamp_ms)}`);
}
setUpHistory();
setUpEvents();
connect({
  show: (picture) => {
    show(picture);
    keepPicture(picture);
  },
  alive,
  refused,
}, last && !now ? new Date(last.timestamp_ms) : undefined);
listStreams().catch(() => {}); // then there is nothing to choose from
keepShell();
