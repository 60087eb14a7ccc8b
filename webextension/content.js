// Between a page and the extension's worker. Speaks the messages of web-eid.js to the page, and
// `cps-auth:watch`. Knows no origin: the worker takes it from the browser.
"use strict";
(() => {
  const COURTESY_MS = 50; // Web eID's own extension acknowledges at once: where it is, it answers
  const SERVED = ["web-eid:status", "web-eid:authenticate"];
  const SIGNING = ["web-eid:get-signing-certificate", "web-eid:sign"];
  const waiting = new Map(); // action -> timer, until it is clear that nobody else answers
  let worker = null;

  const say = (message) => window.postMessage(message, location.origin);
  const failure = (action, code, message) => say({action: `${action}-failure`, error: {code, message}});

  // A port of its own: by its end the worker knows that the page was closed or left.
  const serve = (action, request) => {
    say({action: `${action}-ack`});
    let port;
    const unavailable = () =>
      failure(action, "ERR_WEBEID_EXTENSION_UNAVAILABLE", "the extension does not answer");
    try {
      port = chrome.runtime.connect({name: "ask"});
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
      clearTimeout(waiting.get(action.slice(0, -"-ack".length))); // another extension serves it
    }
    if (SERVED.includes(action)) {
      const {libraryVersion, challengeNonce, options} = data;
      const request = {action, libraryVersion, challengeNonce, options};
      waiting.set(action, setTimeout(() => serve(action, request), COURTESY_MS));
    }
    if (SIGNING.includes(action)) {
      waiting.set(action, setTimeout(() => {
        say({action: `${action}-ack`});
        failure(action, "ERR_WEBEID_NATIVE_FATAL", "this extension signs no documents");
      }, COURTESY_MS));
    }
  };

  if (window.isSecureContext) addEventListener("message", hear);
})();
