// Mouse, touch and trackpad on a plot: point at a moment, draw over a time or pinch to look closer.

const DRAG_PX = 6;
const WHEEL = 0.002; // of zoom for each pixel that a trackpad reports

// Calls act.point(ms | null), act.select(from, to), act.zoom(from, to, done) with Unix milliseconds.
export function listen(plot, act) {
  const target = plot.drawing;
  const fingers = new Map();
  let began = null; // a mouse button went down here
  let pinched = null; // both moments and the view where two fingers began

  target.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, event.clientX);
    if (event.pointerType === "mouse") began = { x: event.clientX, ms: plot.momentAt(event.clientX) };
    if (fingers.size === 2) pinched = pinchOf(plot, fingers);
    else act.point(plot.momentAt(event.clientX));
    if (target.setPointerCapture) target.setPointerCapture(event.pointerId);
  });
  target.addEventListener("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, event.clientX);
    if (pinched && fingers.size === 2) act.zoom(...viewOf(plot, pinched, fingers), false);
    else if (began && Math.abs(event.clientX - began.x) > DRAG_PX) act.select(began.ms, plot.momentAt(event.clientX));
    if (!pinched) act.point(plot.momentAt(event.clientX));
  });
  const ended = (event) => {
    fingers.delete(event.pointerId);
    if (pinched && fingers.size < 2) {
      pinched = null;
      act.zoom(plot.view.start_ms, plot.view.end_ms, true);
    } else if (began && event.type === "pointerup" && Math.abs(event.clientX - began.x) > DRAG_PX) {
      act.zoom(...[began.ms, plot.momentAt(event.clientX)].sort((a, b) => a - b), true);
    }
    if (began) act.select(0, 0);
    began = null;
  };
  target.addEventListener("pointerup", ended);
  target.addEventListener("pointercancel", ended);
  target.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && act.point(null));
  target.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a pinch on a trackpad; plain scrolling is the page's
    event.preventDefault();
    const [at, factor] = [plot.momentAt(event.clientX), Math.exp(event.deltaY * WHEEL)];
    const { start_ms: start, end_ms: end } = plot.view;
    act.zoom(at - (at - start) * factor, at + (end - at) * factor, true);
  }, { passive: false });
}

function pinchOf(plot, fingers) {
  const [left, right] = [...fingers.values()].sort((a, b) => a - b).map((x) => plot.momentAt(x));
  return { left, right, view: { ...plot.view }, box: plot.drawing.getBoundingClientRect() };
}

// The view in which the two moments are where the fingers are now.
function viewOf(plot, pinched, fingers) {
  const [left, right] = [...fingers.values()].sort((a, b) => a - b);
  const perPixel = (pinched.right - pinched.left) / Math.max(10, right - left);
  const start = pinched.left - (left - pinched.box.left) * perPixel;
  return [start, start + pinched.box.width * perPixel];
}
