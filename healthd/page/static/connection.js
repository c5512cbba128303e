// Server-sent events, and the certainty that they still come: a dead modem closes no connection.
const SILENT_MS = 5000;
const AGAIN_MS = 2000;
const HIDDEN_MS = 30_000; // between two looks while nobody looks at the page

// Calls show(picture) for each picture; alive(null) when one comes, alive(since) when none does any more; refused()
// when the device wants to know who asks. What is shown already was heard at `since`.
export function connect({ show, alive, refused }, since = new Date()) {
  const began = Date.now();
  let source = null;
  let heard = since;
  let asked = 0;
  let lost = false;
  let hidden = 0;
  let closed = false; // to this browser, until somebody logs in

  function take(picture) {
    heard = new Date();
    lost = false;
    alive(null);
    show(picture);
  }

  function open() {
    asked = Date.now();
    close();
    source = new EventSource("/api/live");
    source.onmessage = (message) => take(JSON.parse(message.data));
    source.onerror = async () => {
      source.close();
      if (!(await isRefused())) setTimeout(() => document.hidden || open(), AGAIN_MS);
    };
  }

  function close() {
    if (source) source.close();
  }

  // A browser does not say why a stream ended; another request does.
  async function isRefused() {
    try {
      const { status } = await fetch("/api/now", { method: "HEAD" });
      closed = status === 401;
      if (closed) refused();
      return closed;
    } catch {
      if (heard === since) gone(); // what is shown is of an earlier visit
      return false;
    }
  }

  function gone() {
    lost = true;
    alive(heard);
  }

  async function look() {
    try {
      const answer = await fetch("/api/now");
      if (answer.ok) take(await answer.json());
    } catch {
      // the next look, or the watch below, says so
    }
  }

  setInterval(() => {
    if (closed) return;
    const patience = document.hidden ? 3 * HIDDEN_MS : SILENT_MS;
    const silent = Math.min(Date.now() - heard.getTime(), Date.now() - began);
    if (silent > patience && !lost) gone();
    if (!document.hidden && Math.min(silent, Date.now() - asked) > SILENT_MS && source.readyState === EventSource.OPEN) open();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    clearInterval(hidden);
    if (closed) return;
    if (document.hidden) {
      close();
      hidden = setInterval(look, HIDDEN_MS);
    } else {
      open(); // a phone that slept begins again
    }
  });
  open();
}
