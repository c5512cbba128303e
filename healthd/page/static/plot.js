// One plot as inline SVG: a line for the mean, a band from least to most, marks of events, and the same in words.
// A point is [time, least, mean, most], or [time, value].
import { timeTicks, valueTicks } from "./axis.js";
import { colourOfLine } from "./colours.js";
import { element } from "./draw.js";
import { tick, withUnit } from "./words.js";

const HEIGHT = 150;
const EDGE = { left: 4, right: 6, top: 16, bottom: 20 };
const FRESH_MS = 20_000;
const TICK_PX = 84; // room for one time on the axis
const NAMESPACE = "http://www.w3.org/2000/svg";
const SEVERITIES = { warning: "degraded", error: "error", critical: "error" };

const least = (point) => point[1];
const mean = (point) => point[point.length === 2 ? 1 : 2];
const most = (point) => point[point.length - 1];

function svg(name, attributes, text = "") {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

export class Plot {
  constructor() {
    this.drawing = svg("svg", { role: "img" });
    this.caption = element("figcaption");
    this.figure = element("figure", {}, this.caption, this.drawing);
  }

  // Draws a plot of the device's answer over a view: start_ms, end_ms, step_s, marks, sessions.
  draw(plot, view) {
    this.plot = plot;
    this.view = view;
    this.figure.id = `plot-${plot.id}`;
    this.width = Math.max(200, this.figure.clientWidth || 320);
    const highest = Math.max(0, ...plot.lines.flatMap((line) => line.points.filter(this.isSeen, this).map(most)));
    const values = valueTicks(highest);
    this.top = values[values.length - 1];
    this.drawing.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.drawing.setAttribute("aria-label", this.inWords());
    this.cursor = svg("line", { class: "cursor", y1: EDGE.top, y2: HEIGHT - EDGE.bottom });
    this.selection = svg("rect", { class: "selection", y: EDGE.top, height: HEIGHT - EDGE.top - EDGE.bottom, width: 0 });
    this.drawing.replaceChildren(
      ...this.sessions(), ...this.axes(values), ...this.marks(), ...this.curves(), ...this.heights(values),
      this.selection, this.cursor,
    );
    this.drawCaption();
  }

  // Shows the values of a moment, of the newest without one.
  point(ms) {
    this.cursor.style.display = ms === null ? "none" : "";
    if (ms !== null) for (const end of ["x1", "x2"]) this.cursor.setAttribute(end, this.x(ms));
    this.keys.forEach((key, at) => {
      key.textContent = withUnit(this.valueAt(this.plot.lines[at], ms), this.plot.unit);
    });
  }

  select(fromMs, toMs) {
    const [from, to] = [this.x(Math.min(fromMs, toMs)), this.x(Math.max(fromMs, toMs))];
    this.selection.setAttribute("x", from);
    this.selection.setAttribute("width", to - from);
  }

  // The moment at a distance from the left edge of the page.
  momentAt(clientX) {
    const box = this.drawing.getBoundingClientRect();
    const share = ((clientX - box.left) * this.width / box.width - EDGE.left) / (this.width - EDGE.left - EDGE.right);
    return this.view.start_ms + Math.min(1, Math.max(0, share)) * (this.view.end_ms - this.view.start_ms);
  }

  valueAt(line, ms) {
    if (ms === null) return this.newest(line);
    let best = null;
    for (const point of line.points) {
      if (!best || Math.abs(point[0] - ms) < Math.abs(best[0] - ms)) best = point;
    }
    return best && Math.abs(best[0] - ms) <= this.reach(line) ? mean(best) : null;
  }

  // One that is as old as a link that went down is none.
  newest(line) {
    const last = line.points[line.points.length - 1];
    return last && this.view.end_ms - last[0] <= Math.max(FRESH_MS, this.reach(line)) ? mean(last) : null;
  }

  isSeen(point) {
    return point[0] >= this.view.start_ms - 1000 * this.view.step_s && point[0] <= this.view.end_ms;
  }

  // How far apart two points may be that belong together: where nothing was recorded there is a gap.
  reach(line) {
    const gaps = line.points.slice(1).map((point, at) => point[0] - line.points[at][0]).sort((a, b) => a - b);
    return Math.max(3 * (gaps[Math.floor(gaps.length / 2)] ?? 0), 2000 * this.view.step_s);
  }

  x(ms) {
    const share = (ms - this.view.start_ms) / (this.view.end_ms - this.view.start_ms);
    return Math.round(10 * (EDGE.left + (this.width - EDGE.left - EDGE.right) * share)) / 10;
  }

  y(value) {
    const room = HEIGHT - EDGE.bottom - EDGE.top;
    return Math.round(10 * (HEIGHT - EDGE.bottom - room * Math.max(0, value) / this.top)) / 10;
  }

  sessions() {
    return this.view.sessions.map(([from, to]) => {
      const [left, right] = [Math.max(EDGE.left, this.x(from)), Math.min(this.width - EDGE.right, this.x(to))];
      const size = { width: Math.max(0, right - left), height: HEIGHT - EDGE.top - EDGE.bottom };
      return svg("rect", { class: "session", x: left, y: EDGE.top, ...size });
    });
  }

  axes(values) {
    const { step, ticks } = timeTicks(this.view.start_ms, this.view.end_ms, this.width / TICK_PX);
    const [left, right, bottom] = [EDGE.left, this.width - EDGE.right, HEIGHT - EDGE.bottom];
    return [
      ...values.map((value) => svg("line", { class: "grid", x1: left, x2: right, y1: this.y(value), y2: this.y(value) })),
      ...ticks.map((ms) => svg("line", { class: "grid", x1: this.x(ms), x2: this.x(ms), y1: bottom, y2: bottom + 4 })),
      ...ticks.map((ms) => {
        const anchor = this.x(ms) < 30 ? "start" : this.x(ms) > right - 30 ? "end" : "middle";
        return svg("text", { x: this.x(ms), y: HEIGHT - 4, "text-anchor": anchor }, tick(ms, step));
      }),
    ];
  }

  heights(values) {
    return values.slice(1).map((value) => svg(
      "text", { class: "height", x: EDGE.left, y: this.y(value) - 3 }, withUnit(value, this.plot.unit),
    ));
  }

  marks() {
    return this.view.marks.filter((mark) => mark.timestamp_ms >= this.view.start_ms).map((mark) => svg("line", {
      class: `mark-line level-${SEVERITIES[mark.severity]}`,
      ...{ x1: this.x(mark.timestamp_ms), x2: this.x(mark.timestamp_ms), y1: EDGE.top, y2: HEIGHT - EDGE.bottom },
    }));
  }

  curves() {
    const room = { x: EDGE.left, y: 0, width: this.width - EDGE.left - EDGE.right, height: HEIGHT };
    const clip = svg("svg", { ...room, viewBox: `${room.x} 0 ${room.width} ${HEIGHT}` });
    this.plot.lines.forEach((line, at) => {
      for (const run of this.runs(line)) this.drawRun(clip, run, colourOfLine(line, at));
    });
    return [clip];
  }

  drawRun(clip, run, colour) {
    const along = (value) => run.map((point) => `${this.x(point[0])},${this.y(value(point))}`);
    if (run.some((point) => point.length > 2)) {
      clip.append(svg("polygon", { class: `range ${colour}`, points: [...along(most), ...along(least).reverse()].join(" ") }));
    }
    const single = run.length === 1 ? [`${this.x(run[0][0]) + 1},${this.y(mean(run[0]))}`] : [];
    clip.append(svg("polyline", { class: `curve ${colour}`, points: [...along(mean), ...single].join(" ") }));
  }

  runs(line) {
    const reach = this.reach(line);
    const found = [];
    line.points.forEach((point, at) => {
      if (at === 0 || point[0] - line.points[at - 1][0] > reach) found.push([]);
      found[found.length - 1].push(point);
    });
    return found;
  }

  drawCaption() {
    this.keys = this.plot.lines.map(() => element("span", { class: "value" }));
    const named = this.plot.lines.map((line, at) => element(
      "span", { class: `key ${colourOfLine(line, at)}` }, element("span", {}, `${line.name} `), this.keys[at],
    ));
    this.caption.replaceChildren(element("b", {}, this.plot.title), ...named);
    this.point(null);
  }

  inWords() {
    const lines = this.plot.lines.filter((line) => line.points.length > 0).map((line) => {
      const means = line.points.map(mean);
      const [low, high] = [Math.min(...means), Math.max(...means)].map((value) => withUnit(value, this.plot.unit));
      return `${line.name}: last ${withUnit(means[means.length - 1], this.plot.unit)}, from ${low} to ${high}`;
    });
    return `${this.plot.title}. ${lines.join(". ")}.`;
  }
}
