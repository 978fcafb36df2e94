/** Authorization: who may do what with which object. Relations and permissions are those of adapters/spicedb/schema.zed. */
export interface ObjectRef {
  readonly type: "user" | "deployment" | "experiment" | "compute_resource" | "storage_resource";
  readonly id: string;
}

export interface Relation {
  readonly object: ObjectRef;
  readonly relation: string;
  readonly subject: ObjectRef;
}

export interface Authorization {
  /** All or nothing; writing one that exists is a no-op. Resolves when checks that start later see it. */
  write(relations: readonly Relation[]): Promise<void>;
  /** Removing one that is not there is a no-op. */
  remove(relations: readonly Relation[]): Promise<void>;
  /** False for unknown objects. Throws `unavailable` when the question could not be asked: callers then deny. */
  check(subject: ObjectRef, permission: string, object: ObjectRef): Promise<boolean>;
  /** One call for many objects: answers in the order given. */
  checkMany(subject: ObjectRef, permission: string, objects: readonly ObjectRef[]): Promise<readonly boolean[]>;
}
