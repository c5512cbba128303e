// Keeps what the page is made of, so that it opens at once, and while the device is away. Numbers are never kept here.
// Another version of any of the files makes another worker, which fetches all of them.
const SHELL = "shell-$version";
const FILES = $files;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(SHELL).then((cache) => cache.addAll(FILES)));
});

self.addEventListener("activate", (event) => event.waitUntil((async () => {
  for (const name of await caches.keys()) if (name !== SHELL) await caches.delete(name);
  await self.clients.claim();
})()));

self.addEventListener("fetch", (event) => {
  const path = new URL(event.request.url).pathname;
  const kept = path === "/" ? "/shell" : path;
  if (event.request.method !== "GET" || !FILES.includes(kept)) return;
  event.respondWith(caches.match(kept).then((answer) => answer ?? fetch(event.request)));
});
