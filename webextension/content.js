// Carries the words of a page to the background and back: the messages of web-eid.js for a login,
// and two of our own for a page that watches over its card. The page's own say about who it is
// counts for nothing: the background takes the origin from the browser.
"use strict";
(() => {
  if (window.top !== window || !window.isSecureContext) return;

  const answer = (message) => window.postMessage(message, location.origin);
  let watching;

  const watch = () => {
    if (watching) {
      watching.postMessage({ask: true});
      return;
    }
    watching = chrome.runtime.connect({name: "watch"});
    watching.onMessage.addListener(({present}) =>
      answer({action: present ? "cps-auth:card-present" : "cps-auth:card-removed"}),
    );
    // The background was restarted: it no longer knows, so the next question asks anew.
    watching.onDisconnect.addListener(() => {
      watching = undefined;
    });
    watching.postMessage({ask: true});
  };

  const relay = async (data) => {
    answer({action: `${data.action}-ack`});
    try {
      answer(await chrome.runtime.sendMessage(data));
    } catch {
      const error = {code: "ERR_WEBEID_UNKNOWN_ERROR", message: "the extension was reloaded"};
      answer({action: `${data.action}-failure`, error});
    }
  };

  addEventListener("message", ({source, origin, data}) => {
    if (source !== window || origin !== location.origin) return;
    switch (data?.action) {
      case "web-eid:status":
      case "web-eid:authenticate":
      case "web-eid:get-signing-certificate":
      case "web-eid:sign":
        relay(data);
        break;
      case "cps-auth:watch":
        watch();
        break;
    }
  });
})();
