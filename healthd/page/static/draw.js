// From the picture's parts to elements. An element is kept as long as what it stands for is there.

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

export function drawTiles(list, tiles) {
  keep(list, tiles, (tile) => `${tile.id} ${tile.label}`,
    (tile) => element("div", {}, element("dt", {}, tile.label), element("dd")),
    (row, tile) => {
      row.dataset.level = tile.level;
      put(row.querySelector("dt"), tile.label);
      put(row.querySelector("dd"), tile.text);
      drawMeter(gauge(row, tile.share !== null), tile.share, tile.label);
    });
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

export function drawReasons(section, reasons, nowMs) {
  section.hidden = reasons.length === 0;
  keep(section.querySelector("ul"), reasons, (reason) => `${reason.part} ${reason.since_ms} ${reason.text}`,
    () => element("li", {}, element("strong"), element("small"), element("span")),
    (row, reason) => {
      row.dataset.level = reason.level;
      put(row.querySelector("strong"), reason.title);
      put(row.querySelector("small"), `since ${time(reason.since_ms)}, ${lasting(nowMs - reason.since_ms)}`);
      put(row.querySelector("span"), `${reason.text} ${reason.todo}`);
    });
}

// A moment of today by its time, an older one with its date.
export function time(ms) {
  const moment = new Date(ms);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString() : moment.toLocaleString();
}

function lasting(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

export function drawLinks(section, links) {
  section.hidden = links.length === 0;
  keep(section.querySelector("tbody"), links, (link) => link.id,
    () => element("tr", {},
      element("td", {}, element("strong"), element("small")),
      element("td", {}, element("span")), element("td"), element("td")),
    (row, link) => {
      const [name, rate, rtt, loss] = row.children;
      put(name.querySelector("strong"), link.name);
      put(name.querySelector("small"), link.modem ? `${link.state} · ${link.modem}` : link.state);
      name.querySelector("small").className = `level-${link.level}`;
      put(rate.querySelector("span"), link.rate);
      drawMeter(rate, link.share, `share of ${link.name}`);
      put(rtt, link.rtt);
      put(loss, link.loss);
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
