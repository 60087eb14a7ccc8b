// A stand-in Pro Santé Connect: a real OpenID provider at the paths that ANS's has, whose users
// are the personas. One line of JSON on standard input configures it, one on standard output says
// where it is; it ends when standard input does.
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import Provider, { errors } from "oidc-provider";

const REALM = "/auth/realms/esante-wallet";
const DISCOVERY = "/.well-known/wallet-openid-configuration";
const ENDPOINTS = "/protocol/openid-connect";
const SCOPES = ["openid", "scope_all"];
const CLAIMS = [
  "Secteur_Activite", "SubjectOrganization", "SubjectOrganizationID", "SubjectNameID",
  "SubjectRole", "SubjectRefPro", "Palier_Authentification", "Mode_Acces_Raison", "UITVersion",
  "Acces_Regulation_Medicale", "PSI_Locale", "otherIds", "preferred_username", "given_name",
  "family_name", "codeCivilite", "authMode",
];

const lines = createInterface({ input: process.stdin });
lines.once("line", (line) => serve(JSON.parse(line)));
lines.once("close", () => process.exit(0));

function serve(wanted) {
  const people = new Map(wanted.people.map((person) => [person.sub, person]));
  const means = new Map(); // by account: how it logged in last
  const server = createServer();
  server.listen(wanted.port, "127.0.0.1", () => {
    const origin = `http://127.0.0.1:${server.address().port}`;
    const provider = makeProvider(origin + REALM, wanted, people, means);
    const answer = provider.callback();
    server.on("request", (request, response) => {
      const url = new URL(request.url, origin);
      if (url.pathname.startsWith("/interaction/")) {
        interact(provider, wanted, people, means, request, response).catch((error) => {
          response.writeHead(400, { "content-type": "text/plain" }).end(String(error.message));
        });
        return;
      }
      if (!url.pathname.startsWith(REALM)) {
        response.writeHead(404).end();
        return;
      }
      request.originalUrl = request.url.replace(DISCOVERY, "/.well-known/openid-configuration");
      request.url = request.originalUrl.slice(REALM.length);
      answer(request, response);
    });
    process.stdout.write(JSON.stringify({ issuer: origin + REALM }) + "\n");
  });
}

function makeProvider(issuer, wanted, people, means) {
  const provider = new Provider(issuer, {
    clients: wanted.clients,
    scopes: SCOPES,
    claims: { openid: ["sub", "acr", "auth_time", "sid"], scope_all: CLAIMS },
    acrValues: [wanted.acr],
    pkce: { required: () => true, methods: ["S256"] },
    ttl: { AccessToken: 120, IdToken: 120, RefreshToken: 1800, Session: 14400, Interaction: 600,
      Grant: 14400, AuthorizationCode: 60, BackchannelAuthenticationRequest: 120 },
    cookies: { keys: wanted.cookieKeys },
    jwks: wanted.jwks,
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    routes: {
      authorization: "/auth",
      token: `${ENDPOINTS}/token`,
      userinfo: `${ENDPOINTS}/userinfo`,
      jwks: `${ENDPOINTS}/certs`,
      end_session: `${ENDPOINTS}/logout`,
      introspection: `${ENDPOINTS}/token/introspect`,
      revocation: `${ENDPOINTS}/revoke`,
      backchannel_authentication: `${ENDPOINTS}/ext/ciba/auth`,
    },
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: true, logoutSource },
      backchannelLogout: { enabled: true },
      introspection: { enabled: true },
      ciba: {
        enabled: true,
        deliveryModes: ["poll"],
        processLoginHint: (_, hint) => [...people.values()]
          .find((person) => person.claims.SubjectNameID === hint)?.sub,
        validateBindingMessage() {},
        validateRequestContext() {},
        verifyUserCode() {},
        processLoginHintToken() {},
        triggerAuthenticationDevice: (ctx, request, account) =>
          approve(provider, wanted, means, ctx, request, account),
      },
    },
    clientBasedCORS: () => false,
    findAccount: (_, sub) => people.has(sub) && {
      accountId: sub,
      claims: () => ({ ...people.get(sub).claims, authMode: means.get(sub), sub }),
    },
    loadExistingGrant: (ctx) => grantAll(provider, ctx.oidc.session.accountId,
      ctx.oidc.client.clientId),
  });
  provider.on("server_error", (_, error) => process.stderr.write(`${error.stack}\n`));
  return provider;
}

async function grantAll(provider, accountId, clientId) {
  const grant = new provider.Grant({ accountId, clientId });
  grant.addOIDCScope(SCOPES.join(" "));
  await grant.save();
  return grant;
}

async function approve(provider, wanted, means, ctx, request, account) {
  if (wanted.phone === "silent") return;
  means.set(account.accountId, ctx.oidc.body?.channel ?? "MOBILE");
  const grant = await grantAll(provider, account.accountId, request.clientId);
  const result = wanted.phone === "deny" ? new errors.AccessDenied() : grant;
  await provider.backchannelResult(request, result, { acr: wanted.acr });
}

function logoutSource(ctx, form) {
  ctx.body = page("Déconnexion", `${form}
    <p><button autofocus type="submit" form="op.logoutForm" name="logout" value="yes">
    Se déconnecter de Pro Santé Connect (de remplacement)</button></p>`);
}

async function interact(provider, wanted, people, means, request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method === "GET") {
    response.writeHead(200, { "content-type": "text/html; charset=utf-8" })
      .end(page("Choisissez une personne inventée", choices(people)));
    return;
  }
  const asked = new URLSearchParams(await bodyOf(request));
  if (asked.has("cancel")) {
    await provider.interactionFinished(request, response,
      { error: "access_denied", error_description: "the person gave up" });
    return;
  }
  const accountId = asked.get("person");
  means.set(accountId, asked.get("means") ?? "CARD");
  const grant = await grantAll(provider, accountId, details.params.client_id);
  await provider.interactionFinished(request, response,
    { login: { accountId, acr: wanted.acr }, consent: { grantId: grant.jti } });
}

async function bodyOf(request) {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function choices(people) {
  const buttons = [...people.values()].map((person) => `
    <p><button name="person" value="${text(person.sub)}">${text(person.name)}</button></p>`);
  return `<form method="post">
    <p><label><input type="radio" name="means" value="CARD" checked> carte CPS</label>
    <label><input type="radio" name="means" value="MOBILE"> e-CPS</label></p>
    ${buttons.join("")}
    <p><button name="cancel" value="1">Annuler</button></p></form>`;
}

function page(title, content) {
  return `<!doctype html><html lang="fr"><meta name="viewport" content="width=device-width">
    <title>Pro Santé Connect (de remplacement)</title>
    <h1>${text(title)}</h1><p>Ceci n’est pas Pro Santé Connect.</p>${content}</html>`;
}

function text(value) {
  return value.replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}
