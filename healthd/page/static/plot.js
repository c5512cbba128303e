// One plot as inline SVG: a line for the mean, a band from least to most, and the same in words.
const WIDTH = 600;
const HEIGHT = 130;
const LEFT = 4;
const BOTTOM = 18;
const TOP = 14;
const COLOURS = 5;
const NAMESPACE = "http://www.w3.org/2000/svg";

function svg(name, attributes, text = "") {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

export function drawPlot(plot, history) {
  const most = Math.max(...plot.lines.flatMap((line) => line.points.map((point) => point[3])), 0);
  const scale = roundUp(most);
  const startMs = history.end_ms - 1000 * history.span_s;
  const x = (ms) => LEFT + (WIDTH - LEFT) * (ms - startMs) / (1000 * history.span_s);
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * Math.max(0, value) / scale;
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  drawing.setAttribute("aria-label", inWords(plot));
  drawing.append(
    svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(0), y2: y(0) }),
    svg("line", { class: "grid", x1: 0, x2: WIDTH, y1: y(scale), y2: y(scale) }),
  );
  plot.lines.forEach((line, index) => drawLine(drawing, line, index % COLOURS, history.step_s, x, y));
  const figure = document.createElement("figure");
  figure.append(caption(plot, scale), drawing, times(startMs, history.end_ms));
  return figure;
}

function drawLine(drawing, line, colour, stepS, x, y) {
  for (const run of runs(line.points, stepS)) {
    const up = run.map((point) => `${x(point[0]).toFixed(1)},${y(point[3]).toFixed(1)}`);
    const down = run.map((point) => `${x(point[0]).toFixed(1)},${y(point[1]).toFixed(1)}`).reverse();
    const mean = run.map((point) => `${x(point[0]).toFixed(1)},${y(point[2]).toFixed(1)}`);
    drawing.append(svg("polygon", { class: `range line-${colour}`, points: [...up, ...down].join(" ") }));
    drawing.append(svg("polyline", { class: `line-${colour} curve`, points: mean.join(" ") }));
  }
}

// Splits where nothing was recorded: a gap is shown as one.
function runs(points, stepS) {
  const gaps = points.slice(1).map((point, at) => point[0] - points[at][0]).sort((a, b) => a - b);
  const usual = gaps[Math.floor(gaps.length / 2)] ?? 0;
  const limit = Math.max(3 * usual, 2000 * stepS);
  const found = [[]];
  points.forEach((point, at) => {
    if (at > 0 && point[0] - points[at - 1][0] > limit) found.push([]);
    found.at(-1).push(point);
  });
  return found.filter((run) => run.length > 0);
}

function caption(plot, scale) {
  const made = document.createElement("figcaption");
  const title = document.createElement("b");
  title.textContent = `${plot.title}, up to ${withUnit(scale, plot.unit)}`;
  made.append(title);
  plot.lines.forEach((line, index) => {
    const key = document.createElement("span");
    key.className = `key line-${index % COLOURS}`;
    key.textContent = `${line.name} ${withUnit(line.points.at(-1)[2], plot.unit)}`;
    made.append(key);
  });
  return made;
}

function times(startMs, endMs) {
  const made = document.createElement("div");
  made.className = "ends note";
  for (const ms of [startMs, endMs]) {
    const time = document.createElement("span");
    time.textContent = new Date(ms).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    made.append(time);
  }
  return made;
}

function inWords(plot) {
  const lines = plot.lines.map((line) => {
    const means = line.points.map((point) => point[2]);
    const [least, most] = [Math.min(...means), Math.max(...means)];
    return `${line.name}: now ${withUnit(means.at(-1), plot.unit)}, from ${withUnit(least, plot.unit)} to ${withUnit(most, plot.unit)}`;
  });
  return `${plot.title}. ${lines.join(". ")}.`;
}

function withUnit(value, unit) {
  if (unit !== "bit/s") return `${value.toFixed(Math.abs(value) < 10 ? 1 : 0)} ${unit}`;
  const step = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)));
  return `${(value / 1000 ** step).toFixed(step ? 1 : 0)} ${["", "k", "M", "G"][step]}bit/s`;
}

// A round number with little air above the curve.
function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 7, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}
