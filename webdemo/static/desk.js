// The virtual desk plays its forms in the background, as a hand would: the page beside it
// learns of the card from the server alone.
"use strict";
(() => {
  const desk = document.getElementById("desk");
  const narrow = matchMedia("(max-width: 70rem)");

  const show = (html) => {
    const wasOpen = desk.querySelector("details").open;
    desk.innerHTML = html;
    desk.querySelector("details").open = wasOpen;
  };

  desk.querySelector("details").open = !narrow.matches;
  desk.addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = event.target;
    const answer = await fetch(form.action, {method: "POST", body: new FormData(form)});
    if (answer.ok) show(await answer.text());
    else location.reload();
    setTimeout(async () => {
      const later = await fetch(desk.dataset.panel, {cache: "no-store"});
      if (later.ok) show(await later.text());
    }, 700);
  });
})();
