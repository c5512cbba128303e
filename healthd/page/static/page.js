// The picture of now, as the device sends it each second. What it says is drawn; nothing is worked out here.
import { connect } from "./connection.js";
import { drawLinks, drawProcesses, drawReasons, drawTiles, time } from "./draw.js";
import { refreshEvents, setUpEvents } from "./events.js";
import { setUpHistory } from "./history.js";
import { keepPicture, keepShell, lastPicture } from "./memory.js";

const part = (id) => document.getElementById(id);
const boxes = { stream: "stream", device: "device-tiles", delivery: "delivery" };
const RANKS = ["idle", "ok", "degraded", "error"];

function show(picture) {
  const { verdicts, device } = picture;
  for (const verdict of verdicts) drawVerdict(verdict, picture.timestamp_ms);
  setText(part("device"), device.name || device.id);
  setText(part("version"), `${device.id} · belabox-metrics ${device.version}`);
  const worst = verdicts.reduce((a, b) => (RANKS.indexOf(b.level) > Math.max(1, RANKS.indexOf(a.level)) ? b : a));
  document.title = `${worst.title} · ${device.name || device.id}`;
  for (const group of picture.groups) {
    const box = part(boxes[group.id]);
    box.hidden = group.tiles.length === 0;
    drawTiles(box.querySelector("dl"), group.tiles);
  }
  drawLinks(part("links"), picture.links);
  drawProcesses(part("processes").querySelector("ul"), picture.processes);
  refreshEvents(picture.events);
}

function drawVerdict(verdict, nowMs) {
  const banner = part(`${verdict.id}-verdict`);
  banner.dataset.level = verdict.level;
  setText(banner.querySelector("h1, h2"), verdict.title);
  setText(banner.querySelector(".text"), verdict.text);
  setText(banner.querySelector(".since"), verdict.since_ms ? `since ${time(verdict.since_ms)}` : "");
  drawReasons(part(`${verdict.id}-reasons`), verdict.reasons, nowMs);
}

// An unchanged text is left alone: a screen reader reads out what changes.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function alive(since) {
  document.body.classList.toggle("lost", since !== null);
  const words = since === null ? "live" : `device not reachable since ${time(since.getTime())}`;
  setText(part("connection"), words);
  if (since === null) return;
  const text = `Nothing was heard since ${time(since.getTime())}. What is below is old.`;
  drawVerdict({ id: "stream", level: "idle", title: "Device not reachable", text, reasons: [] });
  drawVerdict({ id: "recorder", level: "idle", title: "Not known", text: "It goes on recording if it runs.", reasons: [] });
}

function showAndKeep(picture) {
  show(picture);
  keepPicture(picture);
}

const last = lastPicture();
const heard = last ? new Date(last.timestamp_ms) : undefined;
if (last) {
  show(last);
  alive(heard);
}
setUpHistory();
setUpEvents();
connect(showAndKeep, alive, heard);
keepShell();
