/**
 * An ObjectStore that tells the meter of each request as S3 bills it. A signed URL counts as the one request that it is made
 * for: who uses it asks S3, not us. Deletions are free. Who pays stands in the keys of results; other objects belong to nobody.
 */
import { type ExperimentId, parseId } from "#domain/id.ts";
import type { Meter } from "#ports/meter.ts";
import type { ObjectStore } from "#ports/object-store.ts";

export function createMeteredObjectStore(store: ObjectStore, meter: Pick<Meter, "add">): ObjectStore {
  const put = (key: string): void => meter.add("object-puts", 1, payersOf(key));
  const got = (key: string): void => meter.add("object-gets", 1, payersOf(key));
  return {
    putIfAbsent(key, body) {
      put(key);
      return store.putIfAbsent(key, body);
    },
    putStream(key, body, expect) {
      put(key);
      return store.putStream(key, body, expect);
    },
    get(key, bytesMax) {
      got(key);
      return store.get(key, bytesMax);
    },
    getStream(key) {
      got(key);
      return store.getStream(key);
    },
    stat(key) {
      got(key);
      return store.stat(key);
    },
    list(prefix, options) {
      put(prefix);
      return store.list(prefix, options);
    },
    remove: (key) => store.remove(key),
    signGet(key, expiresAtMs) {
      got(key);
      return store.signGet(key, expiresAtMs);
    },
    signPut(key, expect, expiresAtMs) {
      put(key);
      return store.signPut(key, expect, expiresAtMs);
    },
  };
}

function payersOf(key: string): readonly ExperimentId[] {
  const [kind, name = ""] = key.split("/");
  const id = kind === "r" ? parseId("experiment", name) : undefined;
  return id === undefined ? [] : [id];
}
