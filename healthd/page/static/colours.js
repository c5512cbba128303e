// One colour for a link everywhere: in the table and in every plot.

const COLOURS = 6;
const known = new Map();

export function colourOf(link) {
  if (!known.has(link)) known.set(link, known.size % COLOURS);
  return `line-${known.get(link)}`;
}

// What is no link has the colour of its place in the plot.
export function colourOfLine(line, at) {
  return line.link ? colourOf(line.name) : `own-${Math.min(at, 2)}`;
}
