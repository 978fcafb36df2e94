/**
 * ObjectStore in memory: the reference model. Signed URLs are `memory:` URLs that the same store resolves by
 * `getSigned` and `putSigned`; their signature is a plain hash, which guards against mistakes, not against attackers.
 */
import { createHash } from "node:crypto";
import { SchedulerError } from "#domain/error.ts";
import { checkObjectKey as checkKey, checkObjectList, notAnnounced } from "#domain/object-key.ts";
import type { Clock } from "#ports/clock.ts";
import type { ObjectInfo, ObjectStore } from "#ports/object-store.ts";

export interface MemoryObjectStore extends ObjectStore {
  /** What an HTTP GET of the URL would give; `forbidden` when it is not one of `signGet`, was changed or has expired. */
  getSigned(url: string): Promise<Uint8Array | undefined>;
  /** What an HTTP PUT to the URL would do; `forbidden` as above, `integrity` when the body is not the one signed for. */
  putSigned(url: string, body: Uint8Array): Promise<"written" | "exists">;
}

export function createMemoryObjectStore(options: { readonly clock: Clock }): MemoryObjectStore {
  const { clock } = options;
  const objects = new Map<string, Uint8Array>();
  /** Keys of `objects` in order, made anew by the first list after a change of keys. */
  let ordered: readonly string[] | undefined;

  const put = (key: string, body: Uint8Array): "written" | "exists" => {
    if (objects.has(key)) return "exists";
    objects.set(key, body);
    ordered = undefined;
    return "written";
  };

  const store: MemoryObjectStore = {
    async putIfAbsent(key, body) {
      checkKey(key);
      return put(key, body.slice());
    },

    async putStream(key, body, expect) {
      checkKey(key);
      if (objects.has(key)) return "exists";
      return put(key, await readVerified(body, expect));
    },

    async get(key, bytesMax) {
      checkKey(key);
      const body = objects.get(key);
      if (body !== undefined && body.length > bytesMax)
        throw new SchedulerError("too-large", `object ${key} has ${body.length} bytes, ${bytesMax} are taken`);
      return body?.slice();
    },

    async getStream(key) {
      checkKey(key);
      const body = objects.get(key);
      return body === undefined ? undefined : once(body.slice());
    },

    async stat(key) {
      checkKey(key);
      const body = objects.get(key);
      return body === undefined ? undefined : { key, bytes: body.length };
    },

    async list(prefix, { limit, after = "" }) {
      checkObjectList(prefix, limit);
      ordered ??= [...objects.keys()].sort();
      const from = after > prefix ? after : prefix;
      const found: ObjectInfo[] = [];
      for (let i = firstFrom(ordered, from); i < ordered.length && found.length < limit; i++) {
        const key = ordered[i] as string;
        if (!key.startsWith(prefix)) break;
        if (key > after) found.push({ key, bytes: objects.get(key)?.length ?? 0 });
      }
      return found;
    },

    async remove(key) {
      checkKey(key);
      if (objects.delete(key)) ordered = undefined;
    },

    async signGet(key, expiresAtMs) {
      checkKey(key);
      return signed(`${key}?expires=${expiresAtMs}&method=GET`);
    },

    async signPut(key, { bytes, sha256 }, expiresAtMs) {
      checkKey(key);
      return signed(`${key}?expires=${expiresAtMs}&method=PUT&bytes=${bytes}&sha256=${sha256}`);
    },

    async getSigned(url) {
      return store.get(opened(url, "GET", clock.now()).key, Number.POSITIVE_INFINITY);
    },

    async putSigned(url, body) {
      const { key, bytes, sha256 } = opened(url, "PUT", clock.now());
      return store.putStream(key, once(body.slice()), { bytes, sha256 });
    },
  };
  return store;
}

async function* once(body: Uint8Array): AsyncGenerator<Uint8Array> {
  yield body;
}

async function readVerified(
  body: AsyncIterable<Uint8Array>,
  expect: { readonly bytes: number; readonly sha256: string },
): Promise<Uint8Array> {
  const hash = createHash("sha256");
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > expect.bytes) break;
    hash.update(chunk);
    chunks.push(chunk.slice());
  }
  if (bytes !== expect.bytes || hash.digest("hex") !== expect.sha256) throw notAnnounced();
  return new Uint8Array(Buffer.concat(chunks));
}

function signed(target: string): string {
  return `memory:${target}&signature=${createHash("sha256").update(target).digest("hex")}`;
}

function opened(
  url: string,
  method: "GET" | "PUT",
  nowMs: number,
): { readonly key: string; readonly bytes: number; readonly sha256: string } {
  const [, key = "", expires, signedMethod, bytes = "0", sha256 = ""] =
    /^memory:([^?]+)\?expires=(\d+)&method=(GET|PUT)(?:&bytes=(\d+)&sha256=([0-9a-f]{64}))?&signature=[0-9a-f]{64}$/.exec(url) ?? [];
  const target = url.slice("memory:".length, url.lastIndexOf("&signature="));
  if (signedMethod !== method || url !== signed(target) || nowMs >= Number(expires))
    throw new SchedulerError("forbidden", "this URL does not allow that, or no longer");
  return { key, bytes: Number(bytes), sha256 };
}

/** Index of the first key that is not before `from`. */
function firstFrom(keys: readonly string[], from: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((keys[middle] as string) < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
