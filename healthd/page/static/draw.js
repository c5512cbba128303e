// From the picture's parts to elements. An element is kept as long as what it stands for is there.

import { colourOf } from "./colours.js";
import { lasting, time } from "./words.js";

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Keeps one child of a list for each item, by its key, in the items' order.
export function keep(list, items, key, make, update) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, index) => {
    let child = old.get(key(item));
    old.delete(key(item));
    if (!child) {
      child = make(item);
      child.dataset.key = key(item);
    }
    if (list.children[index] !== child) list.insertBefore(child, list.children[index] ?? null);
    update(child, item);
  });
  for (const child of old.values()) child.remove();
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Puts a text in; what stands between backticks is something to type.
export function write(node, text) {
  if (node.dataset.text === text) return; // a screen reader reads out what changes
  node.dataset.text = text;
  node.replaceChildren(...text.split("`").map((piece, at) => (at % 2 ? element("code", {}, piece) : piece)));
}

export function drawTiles(list, tiles) {
  keep(list, tiles, (tile) => `${tile.id} ${tile.label}`,
    (tile) => element("div", {}, element("dt", {}, named(tile)), element("dd")),
    (row, tile) => {
      row.dataset.level = tile.level;
      put(row.querySelector("dd"), tile.text);
      drawMeter(gauge(row, tile.share !== null), tile.share, tile.label);
    });
}

// A tile that has a plot leads to it.
function named(tile) {
  return tile.plot ? element("button", { type: "button", "data-plot": tile.plot, title: "its history" }, tile.label) : tile.label;
}

// A list of definitions holds nothing but terms and what they mean: a bar is a second meaning.
function gauge(row, wanted) {
  const present = row.querySelector(".gauge");
  if (!wanted) present?.remove();
  else if (!present) row.append(element("dd", { class: "gauge" }));
  return row.querySelector(".gauge");
}

function drawMeter(row, share, label) {
  let meter = row?.querySelector("meter");
  if (share === null) {
    meter?.remove();
    return;
  }
  if (!meter) {
    meter = element("meter", { min: 0, max: 1, "aria-label": label });
    row.append(meter);
  }
  meter.value = share;
}

// The first reason is the verdict's own: its banner says what to do.
export function drawVerdict(banner, verdict, nowMs) {
  const [first] = verdict.reasons;
  banner.dataset.level = verdict.level;
  write(banner.querySelector("h1, h2"), verdict.title);
  write(banner.querySelector(".text"), verdict.text);
  write(banner.querySelector(".todo"), first ? first.todo : "");
  write(banner.querySelector(".since"), verdict.since_ms ? since(verdict.since_ms, nowMs) : "");
}

// One line of one height, whatever else is wrong: what comes and goes moves nothing below it.
export function drawMore(details, reasons, none) {
  const [worst] = [...reasons].sort((a, b) => (a.level === "error" ? 0 : 1) - (b.level === "error" ? 0 : 1));
  details.dataset.level = worst ? worst.level : "";
  put(details.querySelector("summary strong"), worst ? `${reasons.length} more: ${reasons.map((one) => one.title).join(", ")}` : none);
}

export function drawReasons(section, reasons, nowMs) {
  section.hidden = reasons.length === 0;
  keep(section.querySelector("ul"), reasons, (reason) => `${reason.part} ${reason.since_ms} ${reason.text}`,
    () => element("li", {}, element("details", {},
      element("summary", {}, element("strong"), element("small")),
      element("p", { class: "text" }), element("p", { class: "todo" }))),
    (row, reason) => {
      row.dataset.level = reason.level;
      write(row.querySelector("strong"), reason.title);
      write(row.querySelector("small"), lasting(nowMs - reason.since_ms));
      write(row.querySelector(".text"), `${reason.text} It is so ${since(reason.since_ms, nowMs)}.`);
      write(row.querySelector(".todo"), reason.todo);
    });
}

function since(ms, nowMs) {
  return `since ${time(ms)}, for ${lasting(nowMs - ms)}`;
}

// A part of the page that is about the stream: when that is over, its last numbers stay where they are, marked as old.
export function showPart(section, isThere) {
  if (isThere) section.hidden = false;
  section.classList.toggle("over", !isThere);
  return isThere;
}

export function drawLinks(section, links) {
  if (!showPart(section, links.length > 0)) return;
  keep(section.querySelector("tbody"), links, (link) => link.id,
    () => element("tr", {},
      element("th", { scope: "row" }, element("button", { type: "button", "data-plot": "links", title: "its history" }), element("small")),
      element("td", {}, element("span")), element("td"), element("td"), element("td")),
    (row, link) => {
      const [name, rate, rtt, loss, data] = row.children;
      const button = name.querySelector("button");
      put(button, link.name);
      button.className = `key ${colourOf(link.name)}`;
      put(name.querySelector("small"), [link.state, link.modem].filter(Boolean).join(" · "));
      name.querySelector("small").className = `level-${link.level}`;
      put(rate.querySelector("span"), link.rate);
      drawMeter(rate, link.share, `share of ${link.name}`);
      put(rtt, link.rtt);
      put(loss, link.loss);
      put(data, link.data);
    });
}

export function drawProcesses(list, processes) {
  keep(list, processes, (process) => process.name,
    () => element("li"),
    (row, process) => {
      row.dataset.level = process.level;
      put(row, process.error ? `${process.name}: ${process.error}` : `${process.name} ${process.state}`);
    });
}
