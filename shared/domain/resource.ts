/** Resources that others own: where tasks run and where users keep data. Names: `[a-z][a-z0-9-]{0,62}`, unique. */
import type { ResourceId, UserId } from "./id.ts";

interface Named {
  readonly id: ResourceId;
  readonly name: string;
  readonly owner: UserId;
  readonly createdAtMs: number;
}

/** The machine that the embedded default runs on. Further kinds: one variant each. */
export interface LocalCompute extends Named {
  readonly kind: "LOCAL";
}

/** A folder; `root` is an absolute path. */
export interface PosixStorage extends Named {
  readonly kind: "POSIX";
  readonly root: string;
}

export type StorageResource = PosixStorage;
export type Resource = LocalCompute | StorageResource;

export const isStorage = (resource: Resource): resource is StorageResource => resource.kind === "POSIX";

export const RESOURCE_NAME = /^[a-z][a-z0-9-]{0,62}$/;
