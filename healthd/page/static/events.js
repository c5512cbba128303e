// What happened: the newest events from the database, filtered here.
import { element } from "./draw.js";
import { time } from "./words.js";

const ROWS = 10;
const RANKS = { info: 0, warning: 1, error: 2, critical: 3 };
const section = document.getElementById("events");
const severity = document.getElementById("severity");
const find = document.getElementById("find");
const older = document.getElementById("older");
let events = [];
let seen = null;
let more = true; // there are older ones than those that are here
let room = ROWS; // how many are drawn

let counted = 0; // by the device
let visible = false;

export function setUpEvents() {
  new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    if (visible) refreshEvents(counted);
  }, { rootMargin: "400px" }).observe(section);
  severity.addEventListener("change", draw);
  find.addEventListener("input", draw);
  older.addEventListener("click", page);
}

// Draws more of them; asks for the page before the oldest event where all that are here are drawn.
async function page() {
  room += 2 * ROWS;
  draw();
  if (wanted().length >= room || !more) return;
  const last = events[events.length - 1];
  if (!last) return;
  const response = await fetch(`/api/events?before=${last.timestamp_ms}.${last.id}`);
  if (!response.ok) return;
  const found = (await response.json()).events;
  more = found.length > 0;
  events = [...events, ...found];
  draw();
}

// Asks for them when the number of events that the device has counted is another one, and somebody can see them.
export async function refreshEvents(count) {
  counted = count;
  if (count === seen || !visible) return;
  seen = count;
  try {
    const response = await fetch("/api/events");
    if (!response.ok) throw new Error(response.statusText);
    const newest = (await response.json()).events;
    const known = new Set(newest.map((event) => event.id));
    const oldest = newest[newest.length - 1];
    const goesOn = events.some((event) => known.has(event.id)); // nothing is missing between the two
    const kept = events.filter((event) => goesOn && !known.has(event.id) && event.timestamp_ms <= oldest.timestamp_ms);
    events = [...newest, ...kept];
    more = more || !goesOn;
    draw();
  } catch {
    seen = null; // with the next picture
  }
}

function wanted() {
  const least = RANKS[severity.value];
  const words = find.value.toLowerCase();
  return events.filter((event) => RANKS[event.severity] >= least
    && `${event.kind} ${event.source} ${event.text}`.toLowerCase().includes(words));
}

function draw() {
  const found = wanted();
  section.querySelector("ol").replaceChildren(...found.slice(0, room).map(row));
  section.querySelector(".note").hidden = found.length > 0;
  older.hidden = found.length <= room && (!more || events.length === 0);
}

function row(event) {
  const level = { warning: "degraded", error: "error", critical: "error" }[event.severity] ?? "";
  const at = element("button", { type: "button", "data-moment": event.timestamp_ms, title: "the plots of that moment" }, time(event.timestamp_ms));
  return element("li", { "data-level": level },
    element("b", { class: `level-${level}` }, event.kind.replace(/_/g, " ")),
    element("p", {}, event.text),
    ...(event.todo ? [element("p", { class: "todo" }, event.todo)] : []),
    element("small", {}, at, ` · ${event.severity} · ${event.source}`));
}
