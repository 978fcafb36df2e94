/** Permissions in memory, and in SpiceDB embedded as a process of its own: what tests of who may what run on. */
import { createMemoryAuthorization } from "../../shared/adapters/memory/authorization.ts";
import { createSpiceDbAuthorization } from "../../shared/adapters/spicedb/authorization.ts";
import type { Authorization } from "../../shared/ports/authorization.ts";
import { startEngineProcess } from "./authorization-engine.ts";

interface Opening {
  readonly name: string;
  open(): Promise<Authorization>;
  close(): Promise<void>;
}

export function openAuthorizations(): readonly Opening[] {
  const opened = new AsyncDisposableStack();
  return [
    { name: "memory", open: async () => createMemoryAuthorization(), close: async () => undefined },
    {
      name: "SpiceDB, embedded",
      async open() {
        const engine = opened.use(await startEngineProcess());
        const authorization = createSpiceDbAuthorization({ ...engine, transport: "plaintext" });
        opened.defer(() => authorization.close());
        return authorization;
      },
      close: () => opened.disposeAsync(),
    },
  ];
}
