// Watches over a card in this computer, through the extension of cps-auth, for a session that was
// opened with it. The server ends the session by itself when it no longer hears from here.
"use strict";
(() => {
  const ANSWER_MS = 4000;
  const {heartbeat, removed, token, closed, every} = document.currentScript.dataset;
  let isOver = false;
  let silence;

  const post = (url) =>
    fetch(url, {method: "POST", cache: "no-store", keepalive: true, headers: {"X-CPS-Token": token}});

  const end = async () => {
    if (isOver) return;
    isOver = true;
    try {
      await post(removed);
    } finally {
      location.replace(closed);
    }
  };

  const beat = async () => {
    try {
      const answer = await post(heartbeat);
      if (answer.ok && (await answer.json()).session !== "open") end();
    } catch {
      // cps.js covers the page; the server's own deadline decides
    }
  };

  const hear = ({source, origin, data}) => {
    if (source !== window || origin !== location.origin) return;
    if (data?.action === "cps-auth:card-removed") end();
    if (data?.action === "cps-auth:card-present") {
      clearTimeout(silence);
      beat();
    }
  };

  const ask = () => {
    clearTimeout(silence);
    silence = setTimeout(end, ANSWER_MS);
    window.postMessage({action: "cps-auth:watch"}, location.origin);
  };

  addEventListener("message", hear);
  ask();
  setInterval(ask, Number(every) * 1000);
  addEventListener("pageshow", (event) => event.persisted && ask());
})();
