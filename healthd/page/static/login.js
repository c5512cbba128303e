// Says why the form is there again.
const words = {
  "?used": "That link was used already, or is older than ten minutes. Ask for another, or log in with the token.",
  "?again": "That is not the token.",
  "?wait": "Too many wrong tokens. Wait a minute.",
}[location.search];

if (words) {
  const refused = document.getElementById("refused");
  refused.textContent = words;
  refused.hidden = false;
}

// A link that logs in has its code behind the #, which no server and no preview sees: it is sent when the page is open.
if (location.hash.length > 1) {
  const form = document.querySelector("form");
  form.elements.code.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  form.submit();
}
