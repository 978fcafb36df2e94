/** Authorization: who may do what with which object. Relations and permissions are those of adapters/spicedb/schema.zed. */
export interface ObjectRef {
  readonly type: "user" | "group" | "deployment" | "project" | "experiment" | "compute_resource" | "storage_resource";
  readonly id: string;
}

/** With a relation: everybody who has it to the object, as in `group:a#member`. */
export interface SubjectRef extends ObjectRef {
  readonly relation?: string;
}

export interface Relation {
  readonly object: ObjectRef;
  readonly relation: string;
  readonly subject: SubjectRef;
}

export const FOUND_MAX = 10_000;

/** Law. Checks and lookups that start after a change was answered see it, whoever made it. */
export interface Authorization {
  /** All or nothing; writing one that exists is a no-op. Resolves when checks that start later see it. */
  write(relations: readonly Relation[]): Promise<void>;
  /** Removing one that is not there is a no-op. */
  remove(relations: readonly Relation[]): Promise<void>;
  /** Both at once, all or nothing: a relation that takes the place of another leaves no moment with both or neither. */
  change(change: { readonly write: readonly Relation[]; readonly remove: readonly Relation[] }): Promise<void>;
  /** What was written about an object itself, by relation and subject; not what follows from other objects. */
  relationsOf(object: ObjectRef): Promise<readonly Relation[]>;
  /** Ids of all objects of a type on which the subject has the permission, ascending. More than {@link FOUND_MAX}: `too-large`. */
  find(subject: ObjectRef, permission: string, type: ObjectRef["type"]): Promise<readonly string[]>;
  /** False for unknown objects. Throws `unavailable` when the question could not be asked: callers then deny. */
  check(subject: ObjectRef, permission: string, object: ObjectRef): Promise<boolean>;
  /** One call for many objects: answers in the order given. */
  checkMany(subject: ObjectRef, permission: string, objects: readonly ObjectRef[]): Promise<readonly boolean[]>;
}
