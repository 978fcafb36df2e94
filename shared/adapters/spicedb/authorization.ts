/**
 * Authorization by SpiceDB. Every check is fully consistent: it sees each write that was answered before it began.
 * Measured against the embedded engine on loopback: 2 to 4 ms a check, 12 ms for a checkMany of 100.
 */
import { v1 } from "@authzed/authzed-node";
import { Metadata } from "@grpc/grpc-js";
import { assert, SchedulerError } from "#domain/error.ts";
import { type Authorization, FOUND_MAX, type ObjectRef, type Relation, type SubjectRef } from "#ports/authorization.ts";
import { ask, asSchedulerError, CALL_DEADLINE_MS, connectSpiceDb, type SpiceDbOptions } from "./client.ts";

/** SpiceDB's own default limit. More could not be written all or nothing. */
export const RELATIONS_PER_WRITE_MAX = 1_000;
const CHECKS_PER_CALL_MAX = 1_000;

export function createSpiceDbAuthorization(options: SpiceDbOptions): Authorization & { close(): void } {
  const client = connectSpiceDb(options);
  const deadlineMs = options.deadlineMs ?? CALL_DEADLINE_MS;

  async function change({ write, remove }: Parameters<Authorization["change"]>[0]): Promise<void> {
    const { TOUCH, DELETE } = v1.RelationshipUpdate_Operation;
    const to = (operation: v1.RelationshipUpdate_Operation) => (relation: Relation) => ({
      operation,
      relationship: relationshipOf(relation),
    });
    const updates = [...distinct(write).map(to(TOUCH)), ...distinct(remove).map(to(DELETE))];
    if (updates.length === 0) return;
    if (updates.length > RELATIONS_PER_WRITE_MAX) {
      throw new SchedulerError("too-large", `at most ${RELATIONS_PER_WRITE_MAX} relations can be written at once, not ${updates.length}`);
    }
    const request = v1.WriteRelationshipsRequest.create({ updates });
    await ask<v1.WriteRelationshipsResponse>(deadlineMs, (o, done) => client.writeRelationships(request, new Metadata(), o, done));
  }

  async function checkChunk(subject: ObjectRef, permission: string, objects: readonly ObjectRef[]): Promise<boolean[]> {
    const items = objects.map((object) => ({
      resource: referenceOf(object),
      permission,
      subject: { object: referenceOf(subject), optionalRelation: "" },
    }));
    const request = v1.CheckBulkPermissionsRequest.create({ consistency: FULLY_CONSISTENT, items });
    const { pairs } = await ask<v1.CheckBulkPermissionsResponse>(deadlineMs, (o, done) =>
      client.checkBulkPermissions(request, new Metadata(), o, done),
    );
    if (pairs.length !== objects.length)
      throw new SchedulerError("unavailable", "the authorization service left questions unanswered: try again");
    return pairs.map(({ request: asked, response }, i) => {
      assert(asked?.resource?.objectId === objects[i]?.id, "bulk answers come in the order asked");
      if (response.oneofKind === "error") throw asSchedulerError({ code: response.error.code, details: response.error.message });
      return response.oneofKind === "item" && response.item.permissionship === v1.CheckPermissionResponse_Permissionship.HAS_PERMISSION;
    });
  }

  return {
    write: (relations) => change({ write: relations, remove: [] }),
    remove: (relations) => change({ write: [], remove: relations }),
    change,

    async relationsOf(object) {
      const relationshipFilter = v1.RelationshipFilter.create({ resourceType: object.type, optionalResourceId: object.id });
      const request = v1.ReadRelationshipsRequest.create({ consistency: FULLY_CONSISTENT, relationshipFilter });
      const found = await collect(client.readRelationships(request, { deadline: Date.now() + deadlineMs }));
      return found.flatMap(({ relationship }) => (relationship === undefined ? [] : [relationOf(relationship)])).sort(byName);
    },

    async find(subject, permission, type) {
      const request = v1.LookupResourcesRequest.create({
        consistency: FULLY_CONSISTENT,
        resourceObjectType: type,
        permission,
        subject: { object: referenceOf(subject), optionalRelation: "" },
      });
      const found = await collect(client.lookupResources(request, { deadline: Date.now() + deadlineMs }));
      return [...new Set(found.map(({ resourceObjectId }) => resourceObjectId))].sort();
    },

    async check(subject, permission, object) {
      const request = v1.CheckPermissionRequest.create({
        consistency: FULLY_CONSISTENT,
        resource: referenceOf(object),
        permission,
        subject: { object: referenceOf(subject), optionalRelation: "" },
      });
      const answer = await ask<v1.CheckPermissionResponse>(deadlineMs, (o, done) =>
        client.checkPermission(request, new Metadata(), o, done),
      );
      return answer.permissionship === v1.CheckPermissionResponse_Permissionship.HAS_PERMISSION;
    },

    async checkMany(subject, permission, objects) {
      const answers: boolean[] = [];
      for (let from = 0; from < objects.length; from += CHECKS_PER_CALL_MAX) {
        answers.push(...(await checkChunk(subject, permission, objects.slice(from, from + CHECKS_PER_CALL_MAX))));
      }
      return answers;
    },

    close: () => client.close(),
  };
}

const FULLY_CONSISTENT = v1.Consistency.create({ requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } });

const referenceOf = (ref: ObjectRef): v1.ObjectReference => ({ objectType: ref.type, objectId: ref.id });

const relationshipOf = ({ object, relation, subject }: Relation): v1.Relationship => ({
  resource: referenceOf(object),
  relation,
  subject: { object: referenceOf(subject), optionalRelation: subject.relation ?? "" },
});

function relationOf({ resource, relation, subject }: v1.Relationship): Relation {
  const refOf = (ref: v1.ObjectReference | undefined) => ({ type: ref?.objectType as ObjectRef["type"], id: ref?.objectId ?? "" });
  const by: SubjectRef = subject?.optionalRelation
    ? { ...refOf(subject.object), relation: subject.optionalRelation }
    : refOf(subject?.object);
  return { object: refOf(resource), relation, subject: by };
}

const nameOf = ({ object, relation, subject }: Relation): string =>
  `${object.type}:${object.id}#${relation}@${subject.type}:${subject.id}${subject.relation === undefined ? "" : `#${subject.relation}`}`;
const byName = (a: Relation, b: Relation): number => (nameOf(a) < nameOf(b) ? -1 : 1);

/** SpiceDB refuses a request that names one relationship twice. */
const distinct = (relations: readonly Relation[]): Relation[] => [...new Map(relations.map((r) => [nameOf(r), r])).values()];

/** All messages of a stream, FOUND_MAX at most: then it is too much to be shown, and said so. */
async function collect<T extends object>(stream: AsyncIterable<T> & { cancel(): void }): Promise<T[]> {
  const found: T[] = [];
  try {
    for await (const message of stream) {
      if (found.length === FOUND_MAX) throw new SchedulerError("too-large", `more than ${FOUND_MAX} were found: ask for less`);
      found.push(message);
    }
  } catch (error) {
    stream.cancel();
    throw error instanceof SchedulerError ? error : asSchedulerError(error as { code?: number; details?: string });
  }
  return found;
}
