// Makes an open page notice what happens at the reader or on the server. No page works less safely
// without it: the server decides at every request; this only saves the person from finding out late.
//
// The server says how soon to ask again. One visible tab asks for all tabs of the browser.
"use strict";
(() => {
  const UNKNOWN_MS = 1700; // so long may nobody vouch for what is on the screen
  const UNKNOWN = "unknown";
  const FIRST_RETRY_MS = 250;
  const LONGEST_RETRY_MS = 30000;
  const SENT_MS = 20000; // so long may the answer to a form take
  const {page, status, login, closed, presence, renew, unknown} = document.currentScript.dataset;
  const openedAt = Date.now();
  const name = `cps-status ${status}`;
  const channel = new BroadcastChannel(name);
  let againMs = 1000;
  let answeredAt = Date.now();
  let retryMs = FIRST_RETRY_MS;
  let isAsking = false; // a request is under way
  let isFirst = false; // this tab asks for all
  let release = () => {};
  let timer;
  let doubt;
  let cover;
  let leaving = false;
  let sentAt = 0;

  const go = (url) => {
    leaving = true;
    clearTimeout(timer);
    clearTimeout(doubt);
    location.replace(url);
  };

  // The answer to a form that was sent leads away, maybe to another provider's logout. Going
  // elsewhere before it is there would lose it: a login that was accepted, for one.
  const isSent = () => Date.now() - sentAt < SENT_MS;

  const pinIsEmpty = () => [...document.querySelectorAll(".cps-pin")].every((code) => !code.value);

  const rules = {
    session(answer) {
      if (answer.session === "open") return;
      if (isSent()) hide();
      else go(closed);
    },
    login(answer) {
      const formIsOld = renew > 0 && Date.now() - openedAt > renew * 1000 && pinIsEmpty();
      if ((answer.presence !== presence || formIsOld) && !isSent()) go(login);
    },
    closed(answer) {
      if (answer.card && answer.presence !== presence) go(login);
    },
  };

  // What nobody can vouch for any more is not left on the screen, nor within reach of Tab or a
  // screen reader: all that is behind a modal dialog is inert.
  const hide = () => {
    if (page !== "session" || cover || leaving) return;
    cover = document.createElement("dialog");
    cover.textContent = unknown;
    cover.setAttribute("role", "alertdialog");
    cover.setAttribute("aria-label", unknown);
    cover.style.cssText =
      "position:fixed;inset:0;margin:0;border:0;box-sizing:border-box;width:100vw;height:100vh;" +
      "max-width:none;max-height:none;display:grid;place-items:center;padding:2rem;" +
      "text-align:center;font:1.25rem/1.5 sans-serif;background:Canvas;color:CanvasText";
    cover.addEventListener("cancel", (event) => event.preventDefault());
    cover.addEventListener("close", () => cover?.isConnected && cover.showModal());
    document.body.append(cover);
    cover.showModal();
  };

  const uncover = () => {
    const gone = cover;
    cover = undefined;
    gone?.remove();
  };

  const hear = (answer) => {
    answeredAt = Date.now();
    retryMs = FIRST_RETRY_MS;
    clearTimeout(doubt);
    doubt = undefined;
    againMs = answer.again_ms;
    uncover();
    rules[page](answer);
    plan();
  };

  const look = async () => {
    if (isAsking || leaving) return;
    isAsking = true;
    doubt ??= setTimeout(() => {
      channel.postMessage(UNKNOWN);
      hide();
    }, UNKNOWN_MS);
    try {
      const answer = await fetch(status, {
        cache: "no-store",
        headers: {Accept: "application/json"},
        signal: AbortSignal.timeout(cover ? 4 * UNKNOWN_MS : UNKNOWN_MS),
      });
      if (!answer.ok) throw new Error(String(answer.status));
      const told = await answer.json();
      isAsking = false;
      channel.postMessage(told);
      hear(told);
    } catch {
      isAsking = false;
      retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
      plan(retryMs);
    }
  };

  // A tenth earlier or later, so that the pages of a hospital do not all ask at once.
  const spread = (ms) => ms * (0.9 + 0.2 * Math.random());

  const plan = (ms) => {
    clearTimeout(timer);
    if (leaving || document.hidden || againMs === 0) return;
    // The others wait longer: they only ask when the first one is heard no more.
    timer = setTimeout(look, ms ?? (isFirst ? spread(againMs) : againMs * 1.5 + 1000));
  };

  // The lock is given to one tab after another; a tab that nobody sees gives it back.
  const queue = () => {
    const giveUp = new AbortController();
    let letGo;
    const held = new Promise((resolve) => (letGo = resolve));
    release = () => {
      isFirst = false;
      giveUp.abort();
      letGo();
    };
    navigator.locks
      .request(name, {signal: giveUp.signal}, () => {
        isFirst = true;
        plan(Math.max(0, answeredAt + againMs - Date.now()));
        return held;
      })
      .catch(() => {});
  };

  const wake = () => {
    release();
    queue();
    look();
  };

  channel.addEventListener("message", ({data}) => {
    if (leaving) return;
    if (data === UNKNOWN) hide();
    else hear(data);
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      release();
      clearTimeout(timer);
    } else if (!leaving) {
      wake();
    }
  });
  addEventListener("submit", (event) => {
    if (!event.defaultPrevented) sentAt = Date.now();
  });
  addEventListener("pagehide", () => release());
  addEventListener("pageshow", (event) => {
    if (event.persisted) {
      leaving = false;
      wake();
    }
  });
  wake();
})();
