// The picture of now, as the device sends it each second. What it says is drawn; nothing is worked out here.
import { connect } from "./connection.js";
import { drawFacts, drawLinks, drawProcesses, drawReasons } from "./draw.js";
import { refreshEvents, setUpEvents } from "./events.js";
import { setUpHistory } from "./history.js";

const part = (id) => document.getElementById(id);
const boxes = { stream: "stream", device: "device-facts", delivery: "delivery" };

function show(picture) {
  const { verdict, device } = picture;
  setText("title", verdict.title);
  setText("text", verdict.text);
  part("verdict").dataset.level = verdict.level;
  setText("device", device.name || device.id);
  setText("version", `${device.id} · belabox-metrics ${device.version}`);
  document.title = `${verdict.title} · ${device.name || device.id}`;
  drawReasons(part("reasons"), picture.reasons, picture.timestamp_ms);
  for (const group of picture.groups) drawFacts(part(boxes[group.id]).querySelector("dl"), group.facts);
  drawLinks(part("links"), picture.links);
  drawProcesses(part("processes").querySelector("ul"), picture.processes);
  refreshEvents(picture.events);
}

// An unchanged text is left alone: a screen reader says what is set anew.
function setText(id, text) {
  const element = part(id);
  if (element.textContent !== text) element.textContent = text;
}

function alive(since) {
  document.body.classList.toggle("lost", since !== null);
  setText("connection", since === null ? "live" : `device not reachable since ${since.toLocaleTimeString()}`);
  if (since !== null) {
    part("verdict").dataset.level = "idle";
    setText("title", "Device not reachable");
    setText("text", `Nothing was heard since ${since.toLocaleTimeString()}. What is below is old.`);
  }
}

setUpHistory();
setUpEvents();
connect(show, alive);
