/** Chance is a port: tests and the simulator own it. */
export interface Random {
  /** Uniform in [0, 1). Not for secrets. */
  next(): number;
  /** Fit for secrets outside of tests. */
  bytes(n: number): Uint8Array;
}
