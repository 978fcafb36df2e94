/** Moves bytes between signed URLs and files: bounded, checked, retried; redirects are refused (a signature names one place). */
import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import http from "node:http";
import https from "node:https";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs } from "#protocol/backoff.ts";
import { codeOf, isMachineCode, MachineError, machineError, StagingError, textOf } from "./fault.ts";
import { ANSWER_EXCERPT_BYTES_MAX, CONNECTIONS_MAX, TRANSFER_BACKOFF_MS, TRANSFER_IDLE_MS, TRANSFER_TRIES_MAX } from "./limits.ts";

export interface Transfer {
  /**
   * Writes the body at `url` to a new file. `exact`: it must have just `bytes` bytes; otherwise at most that many.
   * @throws StagingError @throws MachineError when the file cannot be written
   */
  download(
    source: { readonly url: string; readonly bytes: number; readonly exact: boolean },
    path: string,
    signal: AbortSignal,
  ): Promise<{ sha256: string; bytes: number }>;
  /** One PUT of the whole file; the bytes are checked against `sha256` before the last of them is sent. @throws StagingError */
  upload(
    source: { readonly path: string; readonly bytes: number; readonly sha256: string },
    url: string,
    signal: AbortSignal,
  ): Promise<void>;
}

/** Worth another try: the network or the other end's bad moment. */
class PassingError extends Error {
  override readonly name = "PassingError";
}

/** Tries until it succeeds, fails for good, or has been tried often enough; then the error is a StagingError. */
export async function tryOften<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) throw new StagingError(`${what}: stopped`);
      if (error instanceof StagingError || error instanceof MachineError) throw error;
      if (tries >= TRANSFER_TRIES_MAX) throw new StagingError(`${what}: ${textOf(error)} (tried ${tries} times)`, { cause: error });
      const waitMs = TRANSFER_BACKOFF_MS * 2 ** (tries - 1);
      await sleep(waitMs + backoffMs(1, Math.random, { firstMs: waitMs / 2, ceilingMs: waitMs / 2 }), undefined, { signal }).catch(
        () => undefined,
      );
    }
  }
}

/** Names the place without its query: that is where the signature is. */
function placeOf(url: string): string {
  try {
    const { origin, pathname } = new URL(url);
    return origin + pathname;
  } catch {
    return "an address that is no URL";
  }
}

async function excerptOf(response: http.IncomingMessage): Promise<string> {
  let text = "";
  for await (const chunk of response) {
    text += (chunk as Buffer).toString("latin1");
    if (text.length > ANSWER_EXCERPT_BYTES_MAX) break;
  }
  return text.slice(0, ANSWER_EXCERPT_BYTES_MAX).replace(/\s+/g, " ").trim();
}

async function refusalOf(response: http.IncomingMessage, place: string): Promise<Error> {
  const status = response.statusCode ?? 0;
  const text = await excerptOf(response).catch(() => "");
  const message = `${place} answered ${status}${text === "" ? "" : `: ${text}`}`;
  if (status >= 300 && status < 400) return new StagingError(`${message} (redirects are not followed)`);
  // 409: S3 has another upload of the same key under way, which may yet fail.
  return status >= 500 || [408, 409, 429].includes(status) ? new PassingError(message) : new StagingError(message);
}

interface Asking {
  readonly url: string;
  readonly method: "GET" | "PUT";
  readonly headers: http.OutgoingHttpHeaders;
  readonly signal: AbortSignal;
}

function createAsk(ca: string | Buffer | undefined) {
  const options = { keepAlive: true, maxSockets: CONNECTIONS_MAX, timeout: TRANSFER_IDLE_MS };
  const plain = new http.Agent(options);
  const secure = new https.Agent(ca === undefined ? options : { ...options, ca });
  return ({ url, method, headers, signal }: Asking): http.ClientRequest => {
    let target: URL;
    try {
      target = new URL(url);
    } catch {
      throw new StagingError("an address to transfer from or to is no URL");
    }
    if (target.protocol !== "http:" && target.protocol !== "https:") throw new StagingError(`${target.protocol} addresses are not served`);
    const secured = target.protocol === "https:";
    const request = (secured ? https : http).request(target, { method, headers, signal, agent: secured ? secure : plain });
    request.setTimeout(TRANSFER_IDLE_MS, () => request.destroy(new PassingError(`no byte for ${TRANSFER_IDLE_MS} ms`)));
    return request;
  };
}

function answerTo(request: http.ClientRequest): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    request.on("response", resolve);
    request.on("error", reject); // stays: an error after the answer must not be unhandled
  });
}

type Ask = ReturnType<typeof createAsk>;

async function downloadOnce(ask: Ask, source: Parameters<Transfer["download"]>[0], path: string, signal: AbortSignal) {
  const place = placeOf(source.url);
  const request = ask({ url: source.url, method: "GET", headers: {}, signal });
  request.end();
  const response = await answerTo(request);
  if (response.statusCode !== 200) throw await refusalOf(response, place);
  const announced = response.headers["content-length"];
  const wrong = (bytes: number | string): StagingError =>
    new StagingError(`${place} has ${bytes} bytes instead of ${source.exact ? "" : "at most "}${source.bytes}`);
  if (announced !== undefined && (source.exact ? Number(announced) !== source.bytes : Number(announced) > source.bytes)) {
    request.destroy();
    throw wrong(announced);
  }
  const hash = createHash("sha256");
  let bytes = 0;
  const check = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (bytes > source.bytes) throw wrong("more");
      hash.update(chunk);
      yield chunk;
    }
  };
  await pipeline(response, check, createWriteStream(path, { mode: 0o700 }));
  if (source.exact && bytes !== source.bytes) throw new PassingError(`${place} ended after ${bytes} of ${source.bytes} bytes`);
  return { sha256: hash.digest("hex"), bytes };
}

/** Answers that say the object is there: stored now, or already (a content address is never overwritten). */
const STORED = new Set([200, 201, 204, 412]);

async function uploadOnce(ask: Ask, source: Parameters<Transfer["upload"]>[0], url: string, signal: AbortSignal): Promise<void> {
  // S3 signs these three; whoever leaves one out, or sends other bytes, is refused there.
  const headers = {
    "content-length": source.bytes,
    "x-amz-checksum-sha256": Buffer.from(source.sha256, "hex").toString("base64"),
    "if-none-match": "*",
  };
  const request = ask({ url, method: "PUT", headers, signal });
  const answered = answerTo(request);
  const hash = createHash("sha256");
  const changed = (): StagingError => new StagingError(`${source.path} changed while it was uploaded`);
  // One chunk is held back, so that a file that has changed never becomes a complete upload.
  const check = async function* (chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let held: Buffer | undefined;
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      hash.update(chunk);
      if (held !== undefined) yield held;
      held = chunk;
    }
    if (bytes !== source.bytes || hash.digest("hex") !== source.sha256) throw changed();
    if (held !== undefined) yield held;
  };
  const sent = pipeline(createReadStream(source.path, { highWaterMark: 256 * 1024 }), check, request);
  // An answer may come before everything is sent (the object is there already): then the rest need not be.
  const first = await Promise.race([sent.then(() => undefined), answered]);
  const response = first ?? (await answered);
  sent.catch(() => undefined);
  if (!STORED.has(response.statusCode ?? 0)) throw await refusalOf(response, placeOf(url));
  response.resume();
  if (!request.writableFinished) request.destroy();
}

export function createTransfer(options: { readonly ca?: string | Buffer | undefined }): Transfer {
  const ask = createAsk(options.ca);
  return {
    download: (source, path, signal) =>
      tryOften(`download of ${placeOf(source.url)}`, signal, async () => {
        try {
          return await downloadOnce(ask, source, path, signal);
        } catch (error) {
          throw isMachineCode(codeOf(error)) ? machineError("a download cannot be written", error) : error;
        }
      }),
    upload: (source, url, signal) => tryOften(`upload to ${placeOf(url)}`, signal, () => uploadOnce(ask, source, url, signal)),
  };
}
