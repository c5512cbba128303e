// Times and numbers as people read them, in the words of the reader's own clock.

const DAY_MS = 86_400_000;

function isToday(moment) {
  return moment.toDateString() === new Date().toDateString();
}

// A moment of today by its time, an older one with its date.
export function time(ms) {
  const moment = new Date(ms);
  return isToday(moment) ? moment.toLocaleTimeString()
    : `${moment.toLocaleDateString([], { day: "numeric", month: "short" })} ${moment.toLocaleTimeString()}`;
}

export function lasting(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  const [large, small, unit] = seconds < 86_400 ? [3600, 60, ["h", "min"]] : [86_400, 3600, ["d", "h"]];
  const rest = Math.floor((seconds % large) / small);
  return `${Math.floor(seconds / large)} ${unit[0]}${rest ? ` ${rest} ${unit[1]}` : ""}`;
}

// The time on an axis: as much of it as tells two ticks apart.
export function tick(ms, stepMs) {
  const moment = new Date(ms);
  if (stepMs >= DAY_MS || (stepMs >= DAY_MS / 4 && moment.getHours() === 0)) {
    return moment.toLocaleDateString([], { day: "numeric", month: "short" });
  }
  const seconds = stepMs < 60_000 ? { second: "2-digit" } : {};
  return moment.toLocaleTimeString([], { hour: "numeric", minute: "2-digit", ...seconds });
}

export function withUnit(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit !== "bit/s") return `${value.toFixed(Math.abs(value) < 10 ? 1 : 0)} ${unit}`.trim();
  const step = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(1, Math.abs(value))) / 3)));
  return `${(value / 1000 ** step).toFixed(step && value / 1000 ** step < 100 ? 1 : 0)} ${["", "k", "M", "G"][step]}bit/s`;
}

// A local moment as an input of type datetime-local has it.
export function forInput(ms) {
  const moment = new Date(ms - new Date(ms).getTimezoneOffset() * 60_000);
  return moment.toISOString().slice(0, 16);
}
