// Plots of what was: asked for again as often as their step allows, only while they can be seen.
import { drawPlot } from "./plot.js";

const LEAST_MS = 5000;
const note = document.getElementById("history-note");
const plots = document.getElementById("plots");
const buttons = [...document.querySelectorAll("#spans button")];
let span = "5m";
let timer = 0;

export function setUpHistory() {
  for (const button of buttons) button.addEventListener("click", () => choose(button.dataset.span));
  document.addEventListener("visibilitychange", () => !document.hidden && refresh());
  refresh();
}

function choose(chosen) {
  span = chosen;
  for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.span === span));
  refresh();
}

async function refresh() {
  clearTimeout(timer);
  const asked = span;
  let wait = LEAST_MS;
  try {
    const response = await fetch(`/api/plots?span=${asked}`);
    const history = await response.json();
    if (asked !== span) return;
    if (!response.ok) throw new Error(history.error);
    wait = Math.max(LEAST_MS, 500 * history.step_s);
    draw(history);
  } catch (error) {
    note.textContent = `No history: ${error.message}`;
  }
  if (!document.hidden) timer = setTimeout(refresh, wait);
}

function draw(history) {
  const shown = history.plots.filter((plot) => plot.lines.length > 0);
  const part = Math.round(100 * history.read_share);
  note.textContent = shown.length === 0 ? "Nothing was recorded in this time."
    : part < 100 ? `So much was recorded that ${part} % of it is drawn.` : "";
  plots.replaceChildren(...shown.map((plot) => drawPlot(plot, history)));
}
