/**
 * The route table as an OpenAPI 3.1 document. `node shared/api/openapi.ts FILE` writes it (docs/openapi.json); the
 * application builds the same when somebody first asks for /openapi.json, never at cold start.
 */
import * as z from "zod";
import { PROBLEM_CONTENT_TYPE, PROBLEMS, type ProblemCode, problem } from "./problem.ts";
import {
  EXPERIMENT_FILE,
  EXPERIMENT_FILE_TYPES,
  errorsOf,
  FILE_CONTENT,
  FILE_CONTENT_TYPE,
  JSON_TYPE,
  OPERATION_IDS,
  type OperationId,
  type Route,
  routeOf,
  scopeOf,
  wrappedFile,
} from "./routes.ts";

type JsonSchema = z.core.JSONSchema.BaseSchema;

function schemaOf(type: z.ZodType, io: "input" | "output"): JsonSchema {
  // Answers may grow: a client must not refuse what it does not know yet.
  const open = ({ jsonSchema }: { jsonSchema: JsonSchema }): void => {
    if (io === "output" && jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
  };
  const { $schema: _, ...schema } = z.toJSONSchema(type, { io, unrepresentable: "any", override: open });
  return schema;
}

function parametersOf(route: Route): object[] {
  const list = (where: "path" | "query", shape: z.ZodObject | undefined): object[] => {
    if (shape === undefined) return [];
    const schema = schemaOf(shape, "input");
    const required = new Set(schema.required ?? []);
    return Object.entries(schema.properties ?? {}).map(([name, property]) => ({
      name,
      in: where,
      required: where === "path" || required.has(name),
      schema: property,
    }));
  };
  const key = {
    name: "Idempotency-Key",
    in: "header",
    required: false,
    description: "Repeated with the same key the request has one effect and gets the first answer.",
    schema: { type: "string", minLength: 1, maxLength: 128 },
  };
  return [...list("path", route.params), ...list("query", route.query), ...(route.idempotent ? [key] : [])];
}

function requestBodyOf(route: Route): object {
  if (route.body === undefined) return {};
  if (route.body === FILE_CONTENT) {
    return { requestBody: { required: true, content: { [FILE_CONTENT_TYPE]: { schema: { type: "string", contentEncoding: "binary" } } } } };
  }
  if (route.body !== EXPERIMENT_FILE) {
    return { requestBody: { required: true, content: { [JSON_TYPE]: { schema: schemaOf(route.body, "input") } } } };
  }
  const wrapped = schemaOf(wrappedFile, "input");
  const content = EXPERIMENT_FILE_TYPES.map((type) => [
    type,
    { schema: type === JSON_TYPE ? { anyOf: [wrapped, { type: "object", description: "The experiment itself" }] } : { type: "string" } },
  ]);
  return { requestBody: { required: true, content: Object.fromEntries(content) } };
}

function responsesOf(route: Route): object {
  const { success } = route;
  const good =
    "json" in success
      ? { [JSON_TYPE]: { schema: schemaOf(success.json, "output") } }
      : { [success.bytes]: { schema: { type: "string", contentEncoding: "binary" } } };
  const byStatus = new Map<number, string[]>();
  const refusals: readonly ProblemCode[] = [
    "header-too-large",
    ...(route.permission === "public" && route.method === "GET" ? [] : (["rate-limited"] as const)),
    ...(route.body === undefined ? [] : (["unsupported-media-type"] as const)),
    ...(route.idempotent ? (["idempotency-in-progress", "idempotency-mismatch"] as const) : []),
  ];
  for (const kind of [...errorsOf(route), ...refusals]) {
    const { status } = PROBLEMS[kind];
    byStatus.set(status, [...(byStatus.get(status) ?? []), kind]);
  }
  const problems = [...byStatus].map(([status, kinds]) => [
    String(status),
    { description: kinds.join(", "), content: { [PROBLEM_CONTENT_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } } },
  ]);
  return {
    [String(success.status)]: { description: "Success", content: good },
    ...redirectOf(route),
    ...unchangedOf(route),
    ...Object.fromEntries(problems),
  };
}

const unchangedOf = ({ method, success }: Route): object =>
  method === "GET" && "json" in success ? { "304": { description: "What If-None-Match names, still" } } : {};

function redirectOf({ redirect }: Route): object {
  if (redirect === undefined) return {};
  const location = { required: true, schema: { type: "string", format: "uri" } };
  return { "302": { description: redirect, headers: { Location: location } } };
}

function operationOf(id: OperationId): object {
  const route = routeOf(id);
  const permission = typeof route.permission === "string" ? route.permission : `${route.permission.on}:${route.permission.can}`;
  return {
    operationId: id,
    summary: route.summary,
    "x-permission": permission,
    ...(route.permission === "public" ? {} : { "x-scope": scopeOf(route) }),
    "x-host": route.host ?? "functions",
    ...(route.permission === "public" ? { security: [] } : {}),
    parameters: parametersOf(route),
    ...requestBodyOf(route),
    responses: responsesOf(route),
  };
}

export function buildOpenApi(version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const id of OPERATION_IDS) {
    const { path, method } = routeOf(id);
    paths[path] = { ...paths[path], [method.toLowerCase()]: operationOf(id) };
  }
  return {
    openapi: "3.1.0",
    info: { title: "Airavata Scheduler", version, license: { name: "Apache-2.0", identifier: "Apache-2.0" } },
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
      schemas: { Problem: schemaOf(problem, "output") },
    },
  };
}

/** The document's text as committed: stable order, ends in a line break. */
export const openApiText = (version: string): string => `${JSON.stringify(buildOpenApi(version), null, 2)}\n`;

if (import.meta.main && process.argv[1]?.endsWith("openapi.ts")) process.stdout.write(openApiText(process.argv[2] ?? "0.1.0"));
