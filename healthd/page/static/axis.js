// Where the ticks of a plot are: round numbers, round local times.

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ...[1, 2, 5, 10, 15, 30].map((count) => count * SECOND),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * MINUTE),
  ...[1, 2, 3, 6, 12].map((count) => count * HOUR),
  ...[1, 2, 5, 10].map((count) => count * DAY),
];

// Steps of at least so many milliseconds, counted from a local midnight, so that days begin where people's do.
export function timeTicks(startMs, endMs, most) {
  const step = STEPS.find((candidate) => (endMs - startMs) / candidate <= most) ?? STEPS[STEPS.length - 1];
  const midnight = new Date(startMs);
  midnight.setHours(0, 0, 0, 0);
  const found = [];
  for (let at = midnight.getTime(); at <= endMs; at += step) if (at >= startMs) found.push(at);
  return { step, ticks: found };
}

// 0 and two more lines up to a round number above the curve.
export function valueTicks(most) {
  const top = roundUp(most);
  return [0, top / 2, top];
}

function roundUp(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 3, 4, 5, 6, 8, 10].map((factor) => factor * power).find((candidate) => candidate >= value);
}
