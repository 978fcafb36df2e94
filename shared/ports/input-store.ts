/** InputStore: which content a storage reference had when an experiment first used it. First writer wins, until it is deleted. */
import type { ExperimentId } from "#domain/id.ts";

export interface PinnedInput {
  readonly sha256: string;
  readonly bytes: number;
}

export interface InputStore {
  read(experiment: ExperimentId, storage: string, path: string): Promise<PinnedInput | undefined>;
  /** Gives what is pinned after the call: the given content, or an earlier one. */
  pin(experiment: ExperimentId, storage: string, path: string, input: PinnedInput): Promise<PinnedInput>;
  /** Of a deleted experiment: nothing is pinned for it any more. */
  forget(experiment: ExperimentId): Promise<void>;
}
