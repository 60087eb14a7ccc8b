// Talks with the card program of this computer. One connection per origin stays open after a
// login and tells when the card is pulled; every page of that origin hears of it at once.
"use strict";
const HOST = "eu.cps_auth";
const HANDSHAKE_MS = 5000;
const DEFAULT_PERSON_MS = 120000;
const VERSION = chrome.runtime.getManifest().version;

const watched = new Map(); // origin -> connection to the card program
const pages = new Map(); // origin -> set of ports of open pages

const failure = (code, message) => Object.assign(new Error(message), {code});

const within = (promise, ms, code) => {
  let timer;
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(failure(code, "too late")), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

class CardProgram {
  constructor() {
    this.waiting = [];
    this.said = [];
    this.port = chrome.runtime.connectNative(HOST);
    this.port.onMessage.addListener((message) => this.#hear(message));
    this.port.onDisconnect.addListener(() => {
      void chrome.runtime.lastError;
      this.isGone = true;
      for (const {reject} of this.waiting.splice(0)) {
        reject(failure("ERR_WEBEID_NATIVE_UNAVAILABLE", "the card program is not there"));
      }
      this.onGone?.();
    });
  }

  #hear(message) {
    if (message.event === "card-removed") this.onRemoved?.();
    const first = this.waiting.shift();
    if (first) first.resolve(message);
    else this.said.push(message);
  }

  next(ms, code) {
    const promise = new Promise((resolve, reject) => {
      if (this.said.length) resolve(this.said.shift());
      else if (this.isGone) reject(failure("ERR_WEBEID_NATIVE_UNAVAILABLE", "gone"));
      else this.waiting.push({resolve, reject});
    });
    return within(promise, ms, code);
  }

  async greet() {
    const {version, error} = await this.next(HANDSHAKE_MS, "ERR_WEBEID_NATIVE_UNAVAILABLE");
    if (error) throw failure(error.code, error.message);
    return version;
  }

  async ask(command, args, ms) {
    this.port.postMessage({command, arguments: args});
    const reply = await this.next(ms, "ERR_WEBEID_USER_TIMEOUT");
    if (reply.error) throw failure(reply.error.code, reply.error.message);
    return reply;
  }

  close() {
    this.port.disconnect();
  }
}

const tell = (origin, present) => {
  for (const page of pages.get(origin) ?? []) page.postMessage({present});
};

const forget = (origin, program) => {
  if (watched.get(origin) !== program) return;
  watched.delete(origin);
  tell(origin, false);
};

// From here on the silence of the card program counts as "removed", whatever its reason.
const keepWatching = async (origin, program) => {
  program.onRemoved = () => forget(origin, program);
  program.onGone = () => forget(origin, program);
  await program.ask("watch", {origin}, HANDSHAKE_MS);
  const earlier = watched.get(origin);
  watched.set(origin, program);
  earlier?.close();
};

const authenticate = async ({challengeNonce, options}, origin) => {
  const program = new CardProgram();
  try {
    await program.greet();
    const args = {challengeNonce, origin};
    if (options?.lang) args.lang = String(options.lang);
    const ms = Number(options?.userInteractionTimeout) || DEFAULT_PERSON_MS;
    const token = await program.ask("authenticate", args, ms);
    await keepWatching(origin, program);
    return {...token, cpsGuard: true};
  } catch (error) {
    program.close();
    throw error;
  }
};

const status = async () => {
  const program = new CardProgram();
  try {
    return {extension: VERSION, nativeApp: await program.greet()};
  } finally {
    program.close();
  }
};

const serve = (message, origin) => {
  switch (message.action) {
    case "web-eid:status":
      return status();
    case "web-eid:authenticate":
      return authenticate(message, origin);
    default:
      throw failure("ERR_WEBEID_NATIVE_FATAL", "this extension signs no documents");
  }
};

chrome.runtime.onMessage.addListener((message, sender, answer) => {
  if (sender.id !== chrome.runtime.id || sender.frameId !== 0) return false;
  const origin = new URL(sender.url).origin;
  (async () => {
    try {
      answer({action: `${message.action}-success`, ...(await serve(message, origin))});
    } catch ({code, message: text}) {
      const error = {code: code ?? "ERR_WEBEID_UNKNOWN_ERROR", message: text};
      answer({action: `${message.action}-failure`, error});
    }
  })();
  return true;
});

chrome.runtime.onConnect.addListener((page) => {
  const {origin} = new URL(page.sender.url);
  const known = pages.get(origin) ?? new Set();
  pages.set(origin, known.add(page));
  page.onMessage.addListener(() => page.postMessage({present: watched.has(origin)}));
  page.onDisconnect.addListener(() => {
    known.delete(page);
    if (!known.size) pages.delete(origin);
  });
});
