import { AsyncLocalStorage } from "node:async_hooks";
import type { Scope } from "#ports/scope.ts";

export function createAsyncScope<T>(): Scope<T> {
  const storage = new AsyncLocalStorage<T>();
  return { run: (value, work) => storage.run(value, work), current: () => storage.getStore() };
}
