// Says why the form is there again.
const words = {
  "?again": "That is not the token.",
  "?wait": "Too many wrong tokens. Wait a minute.",
}[location.search];

if (words) {
  const refused = document.getElementById("refused");
  refused.textContent = words;
  refused.hidden = false;
}
