// The last picture, kept in the browser: what is shown while the device is away, with its age.
const KEY = "belabox-metrics";
const EVERY_MS = 10_000;
let kept = 0;

export function keepPicture(picture) {
  if (Date.now() - kept < EVERY_MS) return;
  kept = Date.now();
  try {
    localStorage.setItem(KEY, JSON.stringify(picture));
  } catch {
    // a full or forbidden store costs the memory alone
  }
}

export function lastPicture() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

// Where the browser allows it: localhost, or HTTPS.
export function keepShell() {
  navigator.serviceWorker?.register("/sw.js").catch(() => {});
}
