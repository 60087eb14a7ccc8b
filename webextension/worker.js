// Between the pages and the native host: says which origin asks, and keeps the host that watches
// over the card of each login. No page can choose its origin, reach another's login, or see a PIN.
"use strict";

const HOST = "fr.cps_auth.host";
const GREETING_MS = 10000;
const PERSON_MS = 120000; // as in web-eid.js, where the page does not say
const PERSON_MAX_MS = 300000;

const logins = new Map(); // who (see below) -> {native, pages}
let isBusy = false;
let prepared = null; // {page, native}: a host that greets, for a page that has asked nothing yet

class Failure extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// The page that asks, as the browser tells it: a whole tab, not sandboxed, by https.
const identify = ({id, url, origin, frameId, tab}) => {
  const from = new URL(url);
  const isPage = id === chrome.runtime.id && tab !== undefined && frameId === 0;
  if (!isPage || from.protocol !== "https:" || (origin ?? from.origin) !== from.origin) {
    throw new Failure("ERR_WEBEID_CONTEXT_INSECURE", "only a page of an https site may ask");
  }
  const jar = tab.cookieStoreId ?? String(tab.incognito); // a private window is another login
  return {origin: from.origin, who: `${jar} ${from.origin}`};
};

// One connection to the host. It answers in order; what it says unasked goes to `unasked`.
const connect = () => {
  const port = chrome.runtime.connectNative(HOST);
  const awaited = [];
  const native = {unasked: () => {}, ended: () => {}, disconnect: () => port.disconnect()};
  native.abandon = (failure) => awaited.splice(0).forEach(({reject}) => reject(failure));
  const gone = () => {
    const why = chrome.runtime.lastError?.message ?? port.error?.message ?? "it ended";
    native.abandon(new Failure("ERR_WEBEID_NATIVE_UNAVAILABLE", `native host: ${why}`));
    native.ended();
  };
  port.onMessage.addListener((message) => {
    const next = awaited.shift();
    if (next === undefined) native.unasked(message);
    else if (message.error) next.reject(new Failure(message.error.code, message.error.message));
    else next.resolve(message);
  });
  port.onDisconnect.addListener(gone);
  native.next = (ms, code) =>
    new Promise((resolve, reject) => {
      awaited.push({resolve, reject});
      setTimeout(() => reject(new Failure(code, "no answer in time")), ms);
    });
  native.send = (command, args) => port.postMessage({command, arguments: args});
  native.greeting = native.next(GREETING_MS, "ERR_WEBEID_NATIVE_UNAVAILABLE");
  native.greeting.catch(() => {}); // whoever asks the host something hears of it
  return native;
};

// Starts the host for a page whose login may be ours to serve; one at a time, and asks it nothing.
const prepare = (page) => {
  if (isBusy || prepared !== null) return;
  prepared = {page, native: connect()};
  page.onDisconnect.addListener(() => takePrepared(page)?.disconnect());
};

const takePrepared = (page) => {
  if (prepared?.page !== page) return undefined;
  const {native} = prepared;
  prepared = null;
  return native;
};

const status = async (_page, {libraryVersion}) => {
  const native = connect();
  try {
    const {version} = await native.greeting;
    const extension = chrome.runtime.getManifest().version;
    return {library: String(libraryVersion), extension, nativeApp: version};
  } finally {
    native.disconnect();
  }
};

const authenticate = async (page, {challengeNonce, options}, {origin, who}) => {
  if (isBusy) throw new Failure("ERR_WEBEID_ACTION_PENDING", "a login is under way");
  isBusy = true;
  const native = takePrepared(page) ?? connect();
  // Nobody is asked for a PIN on behalf of a page that was closed or left.
  const left = new Failure("ERR_WEBEID_USER_CANCELLED", "the page is gone");
  page.onDisconnect.addListener(() => native.abandon(left));
  try {
    await native.greeting;
    const asked = Number(options?.userInteractionTimeout) || PERSON_MS;
    const lang = String(options?.lang ?? navigator.language);
    native.send("authenticate", {challengeNonce: String(challengeNonce), origin, lang, watch: true});
    const token = await native.next(Math.min(asked, PERSON_MAX_MS), "ERR_WEBEID_USER_TIMEOUT");
    keep(who, native);
    return {...token, cpsGuard: true};
  } catch (failure) {
    native.disconnect();
    throw failure;
  } finally {
    isBusy = false;
  }
};

// From now on the host watches over the card. Its end, for whatever reason, is the card's.
const keep = (who, native) => {
  const earlier = logins.get(who);
  const login = {native, pages: earlier?.pages ?? new Set()};
  const end = (event) => {
    if (logins.get(who) === login) logins.delete(who);
    login.pages.forEach((page) => page.postMessage({event}));
    login.pages.clear();
  };
  native.unasked = ({event}) => {
    if (event === "card-present") login.pages.forEach((page) => page.postMessage({event}));
    else end(event);
  };
  native.ended = () => end("watcher-stopped");
  logins.set(who, login);
  earlier?.native.disconnect();
};

// A page asks once, and as long as it waits for the answer, its end of the port is there.
const answer = (page) => {
  const act = {"web-eid:status": status, "web-eid:authenticate": authenticate};
  page.onMessage.addListener(async (request) => {
    let reply;
    try {
      const site = identify(page.sender);
      if (request.action === "prepare") {
        prepare(page);
        return;
      }
      reply = {ok: true, answer: await act[request.action](page, request, site)};
    } catch ({code = "ERR_WEBEID_UNKNOWN_ERROR", message}) {
      reply = {ok: false, error: {code, message}};
    }
    try {
      page.postMessage(reply);
    } catch {
      // it was left meanwhile
    }
  });
};

// A page asks whether the card of its origin's login is still there, and hears when it leaves.
const watch = (page) => {
  let who;
  try {
    ({who} = identify(page.sender));
  } catch {
    page.disconnect();
    return;
  }
  page.onDisconnect.addListener(() => logins.get(who)?.pages.delete(page));
  page.onMessage.addListener(() => {
    const login = logins.get(who);
    if (login === undefined) {
      page.postMessage({event: "not-watched"});
    } else {
      login.pages.add(page);
      login.native.send("watch", {});
    }
  });
};

chrome.runtime.onConnect.addListener((page) => (page.name === "watch" ? watch : answer)(page));
