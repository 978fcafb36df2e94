/**
 * Idempotency keys: a POST repeated with the same key has one effect and one answer.
 *
 *   begin ── absent ──> run ── success ──> finish (the answer is kept for a day)
 *     │                  └──── refused or failed ──> release (nothing was promised; the key may be used again)
 *     ├── other fingerprint ──> 422      ├── no answer yet ──> 409      └── answer ──> the same answer again
 *
 * Keys belong to their user. A process that dies in between leaves the key "still running" for IDEMPOTENCY_LOCK_MS; then
 * a repeated request takes it over and runs again. Whether the dead one had its effect is not known, so what it makes is
 * named by the key's seed and the request: the same request makes the same experiment, however often it is taken over.
 */
import type { Route } from "#api/routes.ts";
import { SchedulerError } from "#domain/error.ts";
import { type ExperimentId, makeId } from "#domain/id.ts";
import type { AppDeps, User } from "./deps.ts";
import { IDEMPOTENCY_KEEP_MS, IDEMPOTENCY_LOCK_MS } from "./limits.ts";
import { jsonResponse, Refusal } from "./problem-response.ts";

const KEY = /^[\x21-\x7e]{1,128}$/;
const REPLAYED_HEADER = "idempotency-replayed";

async function fingerprintOf(request: Request, bytes: Uint8Array): Promise<string> {
  const { pathname, search } = new URL(request.url);
  const head = new TextEncoder().encode(`${request.method}\n${pathname}${search}\n${request.headers.get("content-type") ?? ""}\n`);
  const digest = await crypto.subtle.digest("SHA-256", new Uint8Array(Buffer.concat([head, bytes])));
  return Buffer.from(digest).toString("hex");
}

/** The id of the experiment that this request makes, if it makes one. The seed starts with the time of the first claim. */
async function nameOf(seed: string, fingerprint: string): Promise<ExperimentId> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${seed} ${fingerprint}`));
  return makeId("experiment", Number(seed.split(" ")[0]), new Uint8Array(digest));
}

interface Once {
  readonly route: Route;
  readonly request: Request;
  readonly bytes: Uint8Array;
  readonly user: User | undefined;
  /** Resolves to the text of a successful answer. */
  readonly run: (newId: ExperimentId | undefined) => Promise<{ readonly status: number; readonly text: string }>;
}

export async function runOnce(deps: AppDeps, { route, request, bytes, user, run }: Once): Promise<Response> {
  const key = request.headers.get("idempotency-key");
  if (key === null || !route.idempotent || user === undefined) {
    const { status, text } = await run(undefined);
    return jsonResponse(status, text);
  }
  if (!KEY.test(key)) throw new SchedulerError("invalid-input", "an idempotency key is 1 to 128 visible ASCII characters");
  const fingerprint = await fingerprintOf(request, bytes);
  const claim = { user: user.id, key, fingerprint, nonce: `${deps.clock.now()} ${crypto.randomUUID()}` };
  const begun = await deps.idempotency.begin(claim, deps.clock.now() + IDEMPOTENCY_LOCK_MS);
  if (begun.kind === "held") return replay(begun, fingerprint);
  let answer: { readonly status: number; readonly text: string };
  try {
    answer = await run(await nameOf(begun.seed, fingerprint));
  } catch (error) {
    await bestEffort(deps, deps.idempotency.release(claim));
    throw error;
  }
  const kept = { status: answer.status, body: answer.text };
  await bestEffort(deps, deps.idempotency.finish(claim, kept, deps.clock.now() + IDEMPOTENCY_KEEP_MS));
  return jsonResponse(answer.status, answer.text);
}

/** What became of the request is decided by now; a store that fails here only leaves the key "still running". */
async function bestEffort(deps: AppDeps, write: Promise<void>): Promise<void> {
  try {
    await write;
  } catch (error) {
    deps.logger.warn("idempotency key left open", { error: error instanceof Error ? error.message : String(error) });
  }
}

function replay(
  held: { readonly fingerprint: string; readonly answer?: { readonly status: number; readonly body: string } },
  fingerprint: string,
): Response {
  if (held.fingerprint !== fingerprint)
    throw new Refusal("idempotency-mismatch", "this idempotency key was used for another request: use a new one");
  if (held.answer === undefined) {
    throw new Refusal("idempotency-in-progress", "the first request with this key is still running: try again shortly", {
      "retry-after": "1",
    });
  }
  return jsonResponse(held.answer.status, held.answer.body, { [REPLAYED_HEADER]: "true" });
}
