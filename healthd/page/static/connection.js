// Server-sent events, and the certainty that they still come: a dead modem closes no connection.
const SILENT_MS = 5000;
const AGAIN_MS = 2000;

// Calls show(picture) for each picture; alive(null) when one comes, alive(since) when none does any more.
// What is shown already was heard at `since`.
export function connect(show, alive, since = new Date()) {
  let source = null;
  let heard = since;
  let asked = 0;
  let lost = false;

  function open() {
    asked = Date.now();
    if (source) source.close();
    source = new EventSource("/api/live");
    source.onmessage = (message) => {
      heard = new Date();
      lost = false;
      alive(null);
      show(JSON.parse(message.data));
    };
    source.onerror = () => {
      source.close();
      setTimeout(open, AGAIN_MS);
    };
  }

  setInterval(() => {
    const silent = Date.now() - heard.getTime();
    if (silent > SILENT_MS && !lost) {
      lost = true;
      alive(heard);
    }
    const waited = Date.now() - asked;
    if (Math.min(silent, waited) > SILENT_MS && source.readyState === EventSource.OPEN) open();
  }, 1000);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) open(); // a phone that slept begins anew
  });
  open();
}
