// The time machine: plots of any moment of the last 30 days, all with one cursor. What is on the screen is asked for,
// as often as its step allows, and only what is new of it.
import { listen } from "./gestures.js";
import { Plot } from "./plot.js";
import { forInput, lasting, time, withUnit } from "./words.js";

const LEAST_MS = 5000;
const AROUND_S = 600; // what is shown of a moment
const MOST_REPORTED_MS = 2 * 86_400_000;
const SPANS_S = { least: 30, most: 31 * 86_400 };
const NEAR = 60; // a mark within this part of the view from the cursor is read out
const part = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll("#spans button")];
const plots = new Map();
let view = { span_s: 300, end_ms: null }; // until now, while there is no end
let shown = null; // the device's answer
let cursor = null;
let timer = 0;
let visible = false;

export function setUpHistory() {
  for (const button of buttons) button.addEventListener("click", () => go(Number(button.dataset.span), null));
  part("when").addEventListener("change", () => part("when").value && showMoment(new Date(part("when").value).getTime()));
  part("streams").addEventListener("change", () => showStream(part("streams").value));
  part("earlier").addEventListener("click", () => shift(-0.5));
  part("later").addEventListener("click", () => shift(0.5));
  part("closer").addEventListener("click", () => scale(0.5));
  part("wider").addEventListener("click", () => scale(2));
  part("cursor").addEventListener("input", () => point(Number(part("cursor").value)));
  document.addEventListener("visibilitychange", () => !document.hidden && refresh());
  window.addEventListener("resize", () => shown && draw());
  new IntersectionObserver((entries) => {
    visible = entries[entries.length - 1].isIntersecting;
    if (visible) refresh();
  }, { rootMargin: "200px" }).observe(part("history"));
}

// Shows the minutes around a moment, with the cursor on it.
export function showMoment(ms) {
  go(AROUND_S, Math.min(Date.now(), ms + 500 * AROUND_S));
  cursor = ms;
  part("history").scrollIntoView();
}

export function showPlot(id) {
  const target = part(`plot-${id}`) ?? part("history");
  target.scrollIntoView({ block: "center" });
  target.classList.remove("found");
  void target.offsetWidth; // the same animation again
  target.classList.add("found");
}

function showStream(value) {
  if (!value) return;
  const [start, end] = value.split(" ").map(Number);
  const room = Math.max(30_000, 0.05 * (end - start));
  zoom(start - room, Math.min(Date.now(), end + room));
  view.reported = [start, end];
}

function go(spanS, endMs) {
  view = { span_s: Math.round(Math.min(SPANS_S.most, Math.max(SPANS_S.least, spanS))), end_ms: endMs && Math.round(endMs) };
  cursor = null;
  refresh();
}

function zoom(startMs, endMs) {
  go((endMs - startMs) / 1000, endMs >= Date.now() - 2000 ? null : endMs);
}

function shift(share) {
  const end = (view.end_ms ?? Date.now()) + 1000 * view.span_s * share;
  zoom(end - 1000 * view.span_s, end);
}

function scale(factor) {
  const end = view.end_ms ?? Date.now();
  const middle = cursor ?? (view.end_ms ? end - 500 * view.span_s : end);
  zoom(middle - (middle - end + 1000 * view.span_s) * factor, middle + (end - middle) * factor);
}

async function refresh() {
  clearTimeout(timer);
  const asked = view;
  let wait = LEAST_MS;
  try {
    const answer = await fetch(`/api/plots?${query(asked)}`);
    const found = await answer.json();
    if (asked !== view) return;
    if (!answer.ok) throw new Error(found.error);
    wait = Math.max(LEAST_MS, 500 * found.step_s);
    shown = { ...joined(found), span_s: asked.span_s, live: asked.end_ms === null };
    draw();
  } catch (error) {
    part("history-note").textContent = `No history: ${error.message}`;
  }
  if (!document.hidden && visible && view.end_ms === null) timer = setTimeout(refresh, wait);
}

function isMore() {
  return shown !== null && shown.live && view.end_ms === null && shown.span_s === view.span_s;
}

function query(asked) {
  if (asked.end_ms !== null) return `span_s=${asked.span_s}&end_ms=${asked.end_ms}`;
  const last = isMore() ? shown.end_ms - (shown.end_ms % (1000 * shown.step_s)) : 0;
  return `span_s=${asked.span_s}${last ? `&after_ms=${last}` : ""}`;
}

// What is new, after what is there already.
function joined(found) {
  if (!isMore()) return found;
  const first = found.start_ms - 1000 * found.step_s;
  const old = new Map(shown.plots.flatMap((plot) => plot.lines.map((line) => [`${plot.id} ${line.name}`, line.points])));
  const added = new Set(found.marks.map((mark) => mark.id));
  const kept = shown.marks.filter((mark) => mark.timestamp_ms >= first && !added.has(mark.id));
  for (const plot of found.plots) {
    for (const line of plot.lines) {
      const points = old.get(`${plot.id} ${line.name}`) ?? [];
      const since = line.points.length ? line.points[0][0] : Infinity;
      line.points = [...points.filter((point) => point[0] >= first && point[0] < since), ...line.points];
    }
  }
  return { ...found, marks: [...kept, ...found.marks] };
}

function draw() {
  const drawn = shown.plots.filter((plot) => plot.lines.some((line) => line.points.length > 0));
  const partRead = Math.round(100 * shown.read_share);
  part("history-note").textContent = drawn.length === 0 ? "Nothing was recorded in this time."
    : partRead < 100 ? `So much was recorded that ${partRead} % of it is drawn.` : "";
  for (const plot of drawn) {
    if (!plots.has(plot.id)) {
      plots.set(plot.id, new Plot());
      listen(plots.get(plot.id), { point, select, zoom: pinch });
    }
  }
  const figures = drawn.map((plot) => plots.get(plot.id).figure);
  const box = part("plots");
  if (figures.length !== box.children.length || figures.some((figure, at) => box.children[at] !== figure)) {
    box.replaceChildren(...figures);
  }
  for (const plot of drawn) plots.get(plot.id).draw(plot, shown);
  drawControls();
  point(cursor);
}

function drawControls() {
  const live = view.end_ms === null;
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(live && Number(button.dataset.span) === view.span_s));
  }
  part("later").disabled = live;
  part("range").textContent = live ? `the last ${lasting(1000 * view.span_s)}`
    : `${time(shown.start_ms)} – ${time(shown.end_ms)}`;
  const [from, to] = view.reported ?? [shown.start_ms, shown.end_ms];
  part("report").href = `/api/report?start_ms=${from}&end_ms=${to}`;
  part("report").hidden = to - from > MOST_REPORTED_MS;
  part("when").max = forInput(Date.now());
  const slider = part("cursor");
  slider.min = Math.ceil(shown.start_ms / 1000) * 1000;
  slider.max = Math.floor(shown.end_ms / 1000) * 1000;
  slider.step = Math.max(1000, 1000 * shown.step_s);
}

function eachShown(act) {
  for (const plot of plots.values()) if (plot.figure.isConnected) act(plot);
}

// Puts the cursor of all plots on a moment; without one, all show their newest values.
function point(ms) {
  cursor = ms !== null && shown && ms >= shown.start_ms && ms <= shown.end_ms ? ms : null;
  eachShown((plot) => plot.point(cursor));
  const slider = part("cursor");
  if (document.activeElement !== slider || cursor === null) slider.value = cursor ?? slider.max;
  slider.setAttribute("aria-valuetext", cursor === null ? "newest values" : `${time(cursor)}. ${valuesInWords()}`);
  part("moment").textContent = cursor === null ? "Point at a plot, or move this:" : momentInWords();
}

function momentInWords() {
  const away = (mark) => Math.abs(mark.timestamp_ms - cursor);
  const near = shown.marks.filter((mark) => away(mark) < (shown.end_ms - shown.start_ms) / NEAR);
  near.sort((a, b) => away(a) - away(b));
  return [time(cursor), ...near.slice(0, 2).map((mark) => mark.text)].join(" · ");
}

function valuesInWords() {
  const found = [];
  eachShown((plot) => plot.plot.lines.forEach((line) => {
    const value = plot.valueAt(line, cursor);
    if (value !== null) found.push(`${plot.plot.title}, ${line.name}: ${withUnit(value, plot.plot.unit)}`);
  }));
  return found.join(". ");
}

function select(fromMs, toMs) {
  eachShown((plot) => plot.select(fromMs, toMs));
}

// While fingers move, what is there is drawn wider; then it is asked for.
function pinch(startMs, endMs, done) {
  if (done) {
    zoom(startMs, endMs);
    return;
  }
  shown = { ...shown, start_ms: startMs, end_ms: Math.min(endMs, Date.now()) };
  draw();
}

// The streams there were, to choose from; asked for once.
export async function listStreams() {
  const answer = await fetch("/api/sessions");
  if (!answer.ok) return;
  const { sessions } = await answer.json();
  const select = part("streams");
  select.hidden = sessions.length === 0;
  for (const span of sessions) {
    const option = document.createElement("option");
    option.value = `${span.start_ms} ${span.end_ms}`;
    option.textContent = `${time(span.start_ms)}, ${lasting(span.end_ms - span.start_ms)}${span.status === "failed" ? ", broke off" : ""}`;
    select.append(option);
  }
}
