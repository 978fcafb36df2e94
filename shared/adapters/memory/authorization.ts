/** Authorization in memory: the reference model of adapters/spicedb/schema.zed, read as a table. */
import { SchedulerError } from "#domain/error.ts";
import { type Authorization, FOUND_MAX, type ObjectRef, type Relation, type SubjectRef } from "#ports/authorization.ts";

type Type = ObjectRef["type"];

interface Definition {
  /** Relation -> types of subject that it takes; `user:*` = everybody. */
  readonly relations: Readonly<Record<string, readonly (Type | "user:*" | "group#member")[]>>;
  /** Permission -> terms joined by "or": a relation, or `relation->permission` asked of what the relation points at. */
  readonly permissions: Readonly<Record<string, readonly string[]>>;
}

const RESOURCE: Definition = {
  relations: { owner: ["user"], user: ["user", "user:*"], deployment: ["deployment"] },
  permissions: { use: ["owner", "user", "deployment->administer"], edit: ["owner", "deployment->administer"] },
};

const STORAGE: Definition = {
  relations: { ...RESOURCE.relations, writer: ["user", "user:*"] },
  permissions: {
    ...RESOURCE.permissions,
    use: ["owner", "user", "writer", "deployment->administer"],
    write: ["owner", "writer", "deployment->administer"],
  },
};

const MEMBERS = ["user", "group#member"] as const;

const SCHEMA: Readonly<Record<Type, Definition>> = {
  user: { relations: {}, permissions: {} },
  deployment: { relations: { admin: ["user"] }, permissions: { administer: ["admin"] } },
  group: { relations: { manager: ["user"], member: MEMBERS }, permissions: { manage: ["manager"] } },
  project: {
    relations: { owner: MEMBERS, editor: MEMBERS, viewer: MEMBERS, deployment: ["deployment"] },
    permissions: {
      belong: ["owner", "editor", "viewer"],
      view: ["belong", "deployment->administer"],
      edit: ["owner", "editor", "deployment->administer"],
      manage: ["owner", "deployment->administer"],
    },
  },
  experiment: {
    relations: { owner: ["user"], project: ["project"], deployment: ["deployment"] },
    permissions: {
      view: ["owner", "project->view", "deployment->administer"],
      edit: ["owner", "project->edit", "deployment->administer"],
    },
  },
  compute_resource: RESOURCE,
  storage_resource: STORAGE,
};

const ID = /^[a-zA-Z0-9/_|\-=+]{1,1024}$/;
const RELATIONS_PER_WRITE_MAX = 1_000;

export function createMemoryAuthorization(): Authorization {
  /** `type:id#relation` -> subjects as `type:id`. */
  const related = new Map<string, Set<string>>();

  function holds(subject: ObjectRef, name: string, object: ObjectRef): boolean {
    const terms = SCHEMA[object.type].permissions[name];
    if (terms !== undefined) return terms.some((term) => holdsTerm(subject, term, object));
    const subjects = related.get(`${refText(object)}#${name}`);
    if (subjects === undefined) return false;
    if (subjects.has(refText(subject)) || subjects.has(`${subject.type}:*`)) return true;
    return [...subjects].some((text) => {
      const { relation, ...group } = parseRef(text);
      return relation !== undefined && holds(subject, relation, group);
    });
  }

  function holdsTerm(subject: ObjectRef, term: string, object: ObjectRef): boolean {
    const [relation = "", permission] = term.split("->");
    if (permission === undefined) return holds(subject, relation, object);
    const targets = related.get(`${refText(object)}#${relation}`) ?? new Set();
    return [...targets].some((target) => holds(subject, permission, parseRef(target)));
  }

  function check(subject: ObjectRef, permission: string, object: ObjectRef): boolean {
    checkQuestion(subject, permission, object);
    return holds(subject, permission, object);
  }

  async function change({ write, remove }: Parameters<Authorization["change"]>[0]): Promise<void> {
    checkChange([...write, ...remove]);
    for (const r of remove) related.get(`${refText(r.object)}#${r.relation}`)?.delete(refText(r.subject));
    for (const r of write) {
      const key = `${refText(r.object)}#${r.relation}`;
      related.set(key, (related.get(key) ?? new Set()).add(refText(r.subject)));
    }
  }

  return {
    write: (relations) => change({ write: relations, remove: [] }),
    remove: (relations) => change({ write: [], remove: relations }),
    change,
    relationsOf: async (object) => {
      checkId(object.id);
      const prefix = `${refText(object)}#`;
      const keys = [...related.keys()].filter((key) => key.startsWith(prefix)).sort();
      return keys.flatMap((key) =>
        [...(related.get(key) ?? [])].sort().map((text) => ({ object, relation: key.slice(prefix.length), subject: parseRef(text) })),
      );
    },
    find: async (subject, permission, type) => {
      const known = new Set([...related.keys()].filter((key) => key.startsWith(`${type}:`)).map((key) => key.slice(0, key.indexOf("#"))));
      const objects = [...known].sort().map(parseRef);
      const found = objects.filter((object) => check(subject, permission, object)).map(({ id }) => id);
      if (found.length > FOUND_MAX) throw new SchedulerError("too-large", `more than ${FOUND_MAX} were found: ask for less`);
      return found;
    },
    check: async (subject, permission, object) => check(subject, permission, object),
    checkMany: async (subject, permission, objects) => objects.map((object) => check(subject, permission, object)),
  };
}

const refText = (ref: SubjectRef): string => `${ref.type}:${ref.id}${ref.relation === undefined ? "" : `#${ref.relation}`}`;

function parseRef(text: string): SubjectRef {
  const at = text.indexOf(":");
  const [id = "", relation] = text.slice(at + 1).split("#");
  return { type: text.slice(0, at) as Type, id, ...(relation === undefined ? {} : { relation }) };
}

function checkId(id: string): void {
  if (!ID.test(id)) refuse("an object id has characters that are not allowed");
}

function refuse(message: string): never {
  throw new SchedulerError("invalid-input", `the authorization service refused the request: ${message}`);
}

function checkChange(relations: readonly Relation[]): void {
  const names = new Set(relations.map((r) => `${refText(r.object)}#${r.relation}@${refText(r.subject)}`));
  if (names.size > RELATIONS_PER_WRITE_MAX) {
    throw new SchedulerError("too-large", `at most ${RELATIONS_PER_WRITE_MAX} relations can be written at once, not ${names.size}`);
  }
  for (const { object, relation, subject } of relations) {
    const takes = SCHEMA[object.type].relations[relation];
    if (takes === undefined) refuse(`${object.type} has no relation ${relation}`);
    const open = subject.id === "*" ? `${subject.type}:*` : subject.type;
    const kind = subject.relation === undefined ? open : `${subject.type}#${subject.relation}`;
    if (!takes.some((t) => t === kind)) refuse(`${object.type}#${relation} does not take ${kind}`);
    if (!ID.test(object.id) || (subject.id !== "*" && !ID.test(subject.id))) refuse("an object id has characters that are not allowed");
  }
}

function checkQuestion(subject: ObjectRef, permission: string, object: ObjectRef): void {
  const { permissions, relations } = SCHEMA[object.type];
  if (!(permission in permissions) && !(permission in relations)) refuse(`${object.type} has no permission ${permission}`);
  if (!ID.test(object.id) || !ID.test(subject.id)) refuse("an object id has characters that are not allowed");
}
