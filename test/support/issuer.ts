/** An OpenID Connect issuer in this process: discovery, keys, device flow, token endpoint, with keys of its own. */
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { type CryptoKey, exportJWK, generateKeyPair, SignJWT } from "jose";

export interface Issuer extends AsyncDisposable {
  readonly url: string;
  /** An access token, right in everything unless told otherwise. */
  sign(
    claims?: Readonly<Record<string, unknown>>,
    over?: { readonly alg?: string; readonly kid?: string; readonly key?: CryptoKey | Uint8Array },
  ): Promise<string>;
  readonly publicKey: CryptoKey;
  readonly strangersKey: CryptoKey;
  /** Whether whoever sits at the browser has confirmed the code. */
  confirmed: boolean;
  down: boolean;
  /** Grant types asked for. */
  readonly grants: string[];
}

const AUDIENCE = "airavata";

async function formOf(request: IncomingMessage): Promise<URLSearchParams> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk));
  return new URLSearchParams(Buffer.concat(chunks).toString());
}

export async function startIssuer(nowMs: () => number = Date.now): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const strangers = await generateKeyPair("ES256");
  const jwk = { ...(await exportJWK(publicKey)), kid: "one", alg: "ES256", use: "sig" };
  const answers: Record<string, (form: URLSearchParams) => Promise<[number, object]>> = {
    "/.well-known/openid-configuration": async () => [
      200,
      {
        issuer: issuer.url,
        jwks_uri: `${issuer.url}/keys`,
        token_endpoint: `${issuer.url}/token`,
        device_authorization_endpoint: `${issuer.url}/device`,
        response_types_supported: ["code"],
      },
    ],
    "/keys": async () => [200, { keys: [jwk] }],
    "/device": async () => [
      200,
      { device_code: "d", user_code: "WDJB-MJHT", verification_uri: `${issuer.url}/verify`, expires_in: 60, interval: 1 },
    ],
    "/token": async (form) => {
      const grant = form.get("grant_type") ?? "";
      issuer.grants.push(grant);
      if (grant.endsWith("device_code") && !issuer.confirmed) return [400, { error: "authorization_pending" }];
      if (grant === "refresh_token" && form.get("refresh_token") !== "r1") return [400, { error: "invalid_grant" }];
      return [200, { access_token: await issuer.sign(), token_type: "bearer", expires_in: 300, refresh_token: "r1" }];
    },
  };
  const server = createServer(async (request, response) => {
    const answer = issuer.down ? undefined : answers[request.url ?? ""];
    const [status, body] = answer === undefined ? [503, {}] : await answer(await formOf(request));
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const issuer: Issuer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sign: (claims = {}, { alg = "ES256", kid = "one", key = privateKey } = {}) => {
      const now = Math.floor(nowMs() / 1000);
      const all = { iss: issuer.url, aud: AUDIENCE, sub: "ada-1", preferred_username: "Ada", iat: now, exp: now + 300, ...claims };
      return new SignJWT(all).setProtectedHeader({ alg, kid }).sign(key);
    },
    publicKey,
    strangersKey: strangers.privateKey,
    confirmed: true,
    down: false,
    grants: [],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
  return issuer;
}
