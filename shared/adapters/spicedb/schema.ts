/** Brings schema.zed to a SpiceDB server. Run by whoever installs or upgrades, never at the start of a function. */
import { readFile } from "node:fs/promises";
import { v1 } from "@authzed/authzed-node";
import { Metadata } from "@grpc/grpc-js";
import { ask, CALL_DEADLINE_MS, connectSpiceDb, type SpiceDbOptions } from "./client.ts";

export const readSchema = (): Promise<string> => readFile(new URL("./schema.zed", import.meta.url), "utf8");

/** Idempotent. The server refuses (`invalid-input`) a schema under which stored relationships would be orphaned. */
export async function installSchema(options: SpiceDbOptions): Promise<void> {
  const request = v1.WriteSchemaRequest.create({ schema: await readSchema() });
  const client = connectSpiceDb(options);
  try {
    await ask<v1.WriteSchemaResponse>(options.deadlineMs ?? CALL_DEADLINE_MS, (o, done) =>
      client.writeSchema(request, new Metadata(), o, done),
    );
  } finally {
    client.close();
  }
}
