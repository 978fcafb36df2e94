/** Scope: a value that holds for a piece of work and for everything that it starts, however often it awaits. */
export interface Scope<T> {
  run<R>(value: T, work: () => Promise<R>): Promise<R>;
  /** `undefined` outside of any work. */
  current(): T | undefined;
}
