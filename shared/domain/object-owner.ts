/**
 * Keys of objects that belong to somebody. What belongs to one experiment lies in folders that bear its id, and what one
 * lease made in folders that bear the lease's name: whose an object is stands in its key, so that nothing counts references.
 *
 * | folder                           | holds                                              | goes when                                       |
 * |----------------------------------|----------------------------------------------------|-------------------------------------------------|
 * | `d/<experiment>/<draft>/`        | `plan` and `file` of one attempt to create it       | it is deleted, or has another draft             |
 * | `r/<lease>/`                     | result objects                                     | it is deleted, or the lease is CLOSED without it |
 * | `o/<lease>/`                     | outputs too large for a result object, by SHA-256  | the same                                        |
 * | `c/`                             | inputs, by SHA-256; shared                         |                                                 |
 */
import type { Experiment } from "./experiment.ts";
import { type ExperimentId, parseId } from "./id.ts";
import { type LeaseKey, leaseName, parseLeaseName } from "./lease.ts";

/** Folders of objects that leases made. */
export const LEASE_FOLDERS = ["r", "o"] as const;
export const DRAFT_FOLDER = "d";
/** Every folder that has one folder for each experiment. */
export const EXPERIMENT_FOLDERS = [...LEASE_FOLDERS, DRAFT_FOLDER] as const;
export type ExperimentFolder = (typeof EXPERIMENT_FOLDERS)[number];

type Drafted = Pick<Experiment, "id" | "draft">;

export const experimentFolder = (folder: ExperimentFolder, id: ExperimentId): string => `${folder}/${id}/`;
export const draftKey = (id: ExperimentId, draft: string, document: "plan" | "file"): string =>
  `${DRAFT_FOLDER}/${id}/${draft}/${document}`;
export const planKey = (e: Drafted & Pick<Experiment, "planHash">): string =>
  e.draft === undefined ? `p/${e.planHash}` : draftKey(e.id, e.draft, "plan");
export const resultKey = (lease: LeaseKey, name: string): string => `r/${leaseName(lease)}/${name}`;
export const outputKey = (lease: LeaseKey, sha256: string): string => `o/${leaseName(lease)}/${sha256}`;

/** Whose the object is; `undefined` for the keys of others. */
export function ownerOf(
  key: string,
): { readonly experiment: ExperimentId; readonly lease?: LeaseKey; readonly draft?: string } | undefined {
  const [folder, id = "", ...rest] = key.split("/");
  const experiment = parseId("experiment", id);
  if (experiment === undefined) return undefined;
  if (folder === DRAFT_FOLDER) return rest.length === 2 ? { experiment, draft: rest[0] as string } : undefined;
  if (!LEASE_FOLDERS.some((known) => known === folder)) return undefined;
  const lease = parseLeaseName([id, ...rest.slice(0, 3)].join("/"));
  return lease === undefined ? undefined : { experiment, lease };
}

/** A draft is named by when it was begun. */
export const makeDraft = (nowMs: number, random: Uint8Array): string => `${nowMs}-${Buffer.from(random).toString("hex")}`;
export const begunAtMs = (draft: string): number => Number(draft.split("-")[0]);
