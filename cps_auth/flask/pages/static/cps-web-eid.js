// Logs in with a card in this computer: asks the site for a challenge, a Web eID extension for a
// token, and hands that over. Speaks the messages of web-eid.js to whichever extension is there.
"use strict";
(() => {
  const ACK_MS = 1500;
  const PERSON_MS = 150000;
  const RELOADED = "cps-reloaded";
  const {challenge, login, token, language} = document.currentScript.dataset;
  const button = document.getElementById("cps-web-eid");
  const alertBox = document.getElementById("cps-alert");
  const progress = document.getElementById("cps-progress");
  const FIELDS = ["unverifiedCertificate", "algorithm", "signature", "format", "appVersion"];

  class Trouble extends Error {
    constructor(code) {
      super(code);
      this.code = code;
    }
  }

  const say = (code) => {
    const words =
      document.querySelector(`template[data-code="${CSS.escape(code)}"]`) ??
      document.querySelector('template[data-code="ERR_WEBEID_NATIVE_FATAL"]');
    alertBox.replaceChildren(words.content.cloneNode(true));
    alertBox.hidden = false;
  };

  const post = async (url, body) => {
    let answer;
    try {
      answer = await fetch(url, {
        method: "POST",
        cache: "no-store",
        headers: {"Content-Type": "application/json", "X-CPS-Token": token},
        body,
      });
    } catch {
      throw new Trouble("unreachable");
    }
    if (answer.status === 429) throw new Trouble("too-many");
    if (answer.status >= 500) throw new Trouble("unreachable");
    if (!answer.ok) throw new Trouble("refused");
    return answer.json();
  };

  // Only this very page may answer: a frame or an opener that posts the same words is not heard.
  const authenticate = (challengeNonce) =>
    new Promise((resolve, reject) => {
      if (!window.isSecureContext) {
        reject(new Trouble("ERR_WEBEID_CONTEXT_INSECURE"));
        return;
      }
      let timer;
      const settle = (act, value) => {
        clearTimeout(timer);
        removeEventListener("message", hear);
        act(value);
      };
      const give = (code, ms) => {
        clearTimeout(timer);
        timer = setTimeout(() => settle(reject, new Trouble(code)), ms);
      };
      const hear = ({source, origin, data}) => {
        if (source !== window || origin !== location.origin) return;
        if (data?.action === "web-eid:authenticate-ack") give("ERR_WEBEID_USER_TIMEOUT", PERSON_MS);
        if (data?.action === "web-eid:authenticate-success") settle(resolve, data);
        if (data?.action === "web-eid:authenticate-failure") {
          settle(reject, new Trouble(String(data.error?.code ?? "")));
        }
      };
      addEventListener("message", hear);
      give("ERR_WEBEID_EXTENSION_UNAVAILABLE", ACK_MS);
      window.postMessage(
        {
          action: "web-eid:authenticate",
          libraryVersion: "2.0.2",
          challengeNonce,
          options: {lang: language, userInteractionTimeout: PERSON_MS - 5000},
        },
        location.origin,
      );
    });

  // A page that is older than the browser's session is made anew, once: not a refusal to read.
  const askForChallenge = async () => {
    try {
      const answer = await post(challenge);
      sessionStorage.removeItem(RELOADED);
      return answer;
    } catch (trouble) {
      if (trouble.code !== "refused" || sessionStorage.getItem(RELOADED)) throw trouble;
      sessionStorage.setItem(RELOADED, "yes");
      location.reload();
      return new Promise(() => {});
    }
  };

  const run = async () => {
    button.disabled = true;
    alertBox.hidden = true;
    progress.hidden = false;
    try {
      const {nonce} = await askForChallenge();
      const answer = await authenticate(nonce);
      const proof = Object.fromEntries(FIELDS.map((field) => [field, answer[field]]));
      const guard = answer.cpsGuard === true ? "&guard=1" : "";
      const {next} = await post(login + guard, JSON.stringify(proof));
      location.replace(next);
    } catch (trouble) {
      say(trouble.code ?? "");
      button.disabled = false;
      button.focus();
    }
    progress.hidden = true;
  };

  button.addEventListener("click", run);
})();
