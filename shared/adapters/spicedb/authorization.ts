/**
 * Authorization by SpiceDB. Every check is fully consistent: it sees each write that was answered before it began.
 * Measured against the embedded engine on loopback: 2 to 4 ms a check, 12 ms for a checkMany of 100.
 */
import { v1 } from "@authzed/authzed-node";
import { Metadata } from "@grpc/grpc-js";
import { assert, SchedulerError } from "#domain/error.ts";
import type { Authorization, ObjectRef, Relation } from "#ports/authorization.ts";
import { ask, asSchedulerError, CALL_DEADLINE_MS, connectSpiceDb, type SpiceDbOptions } from "./client.ts";

/** SpiceDB's own default limit. More could not be written all or nothing. */
export const RELATIONS_PER_WRITE_MAX = 1_000;
const CHECKS_PER_CALL_MAX = 1_000;

export function createSpiceDbAuthorization(options: SpiceDbOptions): Authorization & { close(): void } {
  const client = connectSpiceDb(options);
  const deadlineMs = options.deadlineMs ?? CALL_DEADLINE_MS;

  async function update(operation: v1.RelationshipUpdate_Operation, relations: readonly Relation[]): Promise<void> {
    const updates = distinct(relations).map((relation) => ({ operation, relationship: relationshipOf(relation) }));
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
    write: (relations) => update(v1.RelationshipUpdate_Operation.TOUCH, relations),
    remove: (relations) => update(v1.RelationshipUpdate_Operation.DELETE, relations),

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
  subject: { object: referenceOf(subject), optionalRelation: "" },
});

/** SpiceDB refuses a request that names one relationship twice. */
function distinct(relations: readonly Relation[]): Relation[] {
  const name = ({ object, relation, subject }: Relation) => `${object.type}:${object.id}#${relation}@${subject.type}:${subject.id}`;
  return [...new Map(relations.map((r) => [name(r), r])).values()];
}
