// What happened: the newest events from the database, filtered here.
import { element } from "./draw.js";

const RANKS = { info: 0, warning: 1, error: 2, critical: 3 };
const section = document.getElementById("events");
const severity = document.getElementById("severity");
const find = document.getElementById("find");
const older = document.getElementById("older");
let events = [];
let seen = null;
let more = true; // there are older ones than those that are here

export function setUpEvents() {
  severity.addEventListener("change", draw);
  find.addEventListener("input", draw);
  older.addEventListener("click", page);
}

// Asks for the page before the oldest event that is here.
async function page() {
  const last = events[events.length - 1];
  if (!last) return;
  const response = await fetch(`/api/events?before=${last.timestamp_ms}.${last.id}`);
  if (!response.ok) return;
  const found = (await response.json()).events;
  more = found.length > 0;
  events = [...events, ...found];
  draw();
}

// Asks for them when the number of events that the device has counted is another one.
export async function refreshEvents(count) {
  if (count === seen) return;
  seen = count;
  try {
    const response = await fetch("/api/events");
    if (!response.ok) throw new Error(response.statusText);
    const newest = (await response.json()).events;
    const known = new Set(newest.map((event) => event.id));
    const oldest = newest[newest.length - 1];
    const kept = events.filter((event) => !known.has(event.id) && oldest && event.timestamp_ms <= oldest.timestamp_ms);
    events = [...newest, ...kept];
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
  older.hidden = !more || events.length === 0;
}

function row(event) {
  const level = { warning: "degraded", error: "error", critical: "error" }[event.severity] ?? "";
  const time = new Date(event.timestamp_ms).toLocaleString();
  return element("li", {},
    element("b", { class: `level-${level}` }, event.kind.replaceAll("_", " ")),
    document.createTextNode(event.text), element("br"),
    ...(event.todo ? [element("span", {}, event.todo), element("br")] : []),
    element("small", {}, `${time} · ${event.severity} · ${event.source}`));
}
