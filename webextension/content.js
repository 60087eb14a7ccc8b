// Between a page and the extension's worker. Speaks the messages of web-eid.js to the page, and
// `cps-auth:watch`. Knows no origin: the worker takes it from the browser.
"use strict";
(() => {
  const COURTESY_MS = 50; // Web eID's own extension acknowledges at once: where it is, it answers
  const AUTHENTICATE = "web-eid:authenticate";
  const SERVED = ["web-eid:status", AUTHENTICATE];
  const SIGNING = ["web-eid:get-signing-certificate", "web-eid:sign"];
  const waiting = new Map(); // action -> how to leave it to another extension, while that may be
  let worker = null;

  const say = (message) => window.postMessage(message, location.origin);
  const failure = (action, code, message) => say({action: `${action}-failure`, error: {code, message}});

  // A port of its own: by its end the worker knows that the page was closed or left. The worker
  // starts the card program at once, and asks it nothing before the courtesy is over. One that
  // the browser just put to sleep ends the port, and is woken by another.
  const prepare = (action) => {
    const prepared = {port: null};
    try {
      prepared.port = chrome.runtime.connect({name: "ask"});
      prepared.port.onDisconnect.addListener(() => { prepared.port = null; });
      if (action === AUTHENTICATE) prepared.port.postMessage({action: "prepare"});
    } catch {
      prepared.port = null;
    }
    return prepared;
  };

  const serve = (prepared, action, request) => {
    say({action: `${action}-ack`});
    const unavailable = () =>
      failure(action, "ERR_WEBEID_EXTENSION_UNAVAILABLE", "the extension does not answer");
    try {
      const port = prepared.port ?? chrome.runtime.connect({name: "ask"});
      port.onDisconnect.addListener(unavailable);
      port.onMessage.addListener(({ok, error, answer}) => {
        port.disconnect();
        if (ok) say({...answer, action: `${action}-success`});
        else failure(action, error.code, error.message);
      });
      port.postMessage(request);
    } catch {
      unavailable();
    }
  };

  const afterCourtesy = (action, act, leave = () => {}) => {
    const timer = setTimeout(() => {
      waiting.delete(action);
      act();
    }, COURTESY_MS);
    waiting.set(action, () => {
      waiting.delete(action);
      clearTimeout(timer);
      leave();
    });
  };

  const lost = (reason) => {
    worker = null;
    say({action: "cps-auth:card-removed", reason});
  };

  const watch = () => {
    try {
      if (worker === null) {
        worker = chrome.runtime.connect({name: "watch"});
        worker.onMessage.addListener(({event}) => {
          if (event === "card-present") say({action: "cps-auth:card-present"});
          else lost(event);
        });
        worker.onDisconnect.addListener(() => worker !== null && lost("watcher-stopped"));
      }
      worker.postMessage({});
    } catch {
      lost("watcher-stopped");
    }
  };

  const hear = ({source, origin, data}) => {
    if (source !== window || origin !== location.origin || typeof data?.action !== "string") return;
    const {action} = data;
    if (action === "cps-auth:watch") watch();
    if (action.endsWith("-ack")) {
      waiting.get(action.slice(0, -"-ack".length))?.(); // another extension serves it
    }
    if (waiting.has(action)) return; // sent twice at once, as by a double click: answered once
    if (SERVED.includes(action)) {
      const {libraryVersion, challengeNonce, options} = data;
      const request = {action, libraryVersion, challengeNonce, options};
      const prepared = prepare(action);
      afterCourtesy(
        action,
        () => serve(prepared, action, request),
        () => prepared.port?.disconnect(),
      );
    }
    if (SIGNING.includes(action)) {
      afterCourtesy(action, () => {
        say({action: `${action}-ack`});
        failure(action, "ERR_WEBEID_NATIVE_FATAL", "this extension signs no documents");
      });
    }
  };

  if (window.isSecureContext) addEventListener("message", hear);
})();
