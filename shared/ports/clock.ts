/** Time is a port: tests and the simulator own it. */
export interface Clock {
  /** Milliseconds since 1970; may jump and run backwards. */
  now(): number;
  /** Resolves after `ms` of running time, or at once when `signal` aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}
