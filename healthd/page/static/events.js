// What happened: the newest events from the database, filtered here.
import { element } from "./draw.js";

const RANKS = { info: 0, warning: 1, error: 2, critical: 3 };
const section = document.getElementById("events");
const severity = document.getElementById("severity");
const find = document.getElementById("find");
let events = [];
let seen = null;

export function setUpEvents() {
  severity.addEventListener("change", draw);
  find.addEventListener("input", draw);
}

// Asks for them when the number of events that the device has counted is another one.
export async function refreshEvents(count) {
  if (count === seen) return;
  seen = count;
  try {
    const response = await fetch("/api/events");
    if (!response.ok) throw new Error(response.statusText);
    events = (await response.json()).events;
    draw();
  } catch {
    seen = null; // with the next picture
  }
}

function draw() {
  const least = RANKS[severity.value];
  const wanted = find.value.toLowerCase();
  const shown = events.filter((event) => RANKS[event.severity] >= least
    && `${event.kind} ${event.source} ${event.text}`.toLowerCase().includes(wanted));
  section.querySelector("ol").replaceChildren(...shown.map(row));
  section.querySelector(".note").hidden = shown.length > 0;
}

function row(event) {
  const level = { warning: "degraded", error: "error", critical: "error" }[event.severity] ?? "";
  const time = new Date(event.timestamp_ms).toLocaleString();
  return element("li", {},
    element("b", { class: `level-${level}` }, event.kind.replaceAll("_", " ")),
    document.createTextNode(event.text), element("br"),
    element("small", {}, `${time} · ${event.severity} · ${event.source}`));
}
