/**
 * Meter: what adapters report of the requests that they make. In memory and at once; it never fails the caller.
 *
 * Who pays: the experiments that a request touches, in equal parts; when it names none, those that the surrounding work is
 * for ({@link Meter.charging}); else the deployment.
 */
import type { MeteredKind } from "#domain/cost.ts";
import type { ExperimentId } from "#domain/id.ts";

export interface Meter {
  /** `units` >= 0, down to millionths. */
  add(kind: MeteredKind, units: number, payers?: readonly ExperimentId[]): void;
  /** Runs the work for these experiments: they share what it uses for nobody in particular, and the time of its function. */
  charging<T>(payers: readonly ExperimentId[], work: () => Promise<T>): Promise<T>;
}
