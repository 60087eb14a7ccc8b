// Makes an open page notice what happens at the reader. No page works less safely without it:
// the server decides at every request; this only saves the person from finding out late.
"use strict";
(() => {
  const INTERVAL_MS = 500;
  const PATIENCE_MS = 3000;
  const FAILURES_BEFORE_COVERING = 3;
  const {page, status, login, closed, presence, renew, unknown} = document.currentScript.dataset;
  const openedAt = Date.now();
  let failures = 0;
  let timer;
  let cover;
  let leaving = false;

  const go = (url) => {
    leaving = true;
    location.replace(url);
  };

  const pinIsEmpty = () => !document.getElementById("cps-pin")?.value;

  const rules = {
    session(answer) {
      if (answer.session !== "open") go(closed);
    },
    login(answer) {
      const formIsOld = renew > 0 && Date.now() - openedAt > renew * 1000 && pinIsEmpty();
      if (answer.presence !== presence || formIsOld) go(login);
    },
    closed(answer) {
      if (answer.card && answer.presence !== presence) go(login);
    },
  };

  // What nobody can vouch for any more is not left on the screen.
  const hide = () => {
    if (page !== "session" || cover) return;
    cover = document.createElement("p");
    cover.textContent = unknown;
    cover.setAttribute("role", "alert");
    cover.style.cssText =
      "position:fixed;inset:0;z-index:2147483647;margin:0;display:grid;place-items:center;" +
      "padding:2rem;text-align:center;font:1.25rem/1.5 sans-serif;background:#fff;color:#222";
    document.body.append(cover);
  };

  const uncover = () => {
    cover?.remove();
    cover = undefined;
  };

  const look = async () => {
    clearTimeout(timer);
    try {
      const answer = await fetch(status, {
        cache: "no-store",
        headers: {Accept: "application/json"},
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      rules[page](await answer.json());
      failures = 0;
      uncover();
    } catch {
      failures += 1;
      if (failures >= FAILURES_BEFORE_COVERING) hide();
    }
    if (!leaving) timer = setTimeout(look, INTERVAL_MS);
  };

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !leaving) look();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      leaving = false;
      look();
    }
  });
  look();
})();
