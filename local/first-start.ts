/** What an installation needs before anybody can log in. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { HttpStores } from "#compose/http-parts.ts";
import { DEPLOYMENT_ID } from "#compose/state.ts";
import type { Accounts } from "#core/accounts/index.ts";
import type { ResourceRegistry } from "#core/resource-registry/index.ts";
import { writeWhole } from "./migration.ts";
import { SAMPLE_DATA } from "./sample-data.ts";

const ADMINISTRATOR = "admin";
const PASSWORD_CHARACTERS = 24;

/** The first start makes an administrator and opens the machine and the sample data to every user. Idempotent. */
export async function prepareInstallation(
  e: Pick<HttpStores, "accounts" | "authorization">,
  { accounts, registry, passwordFile }: { readonly accounts: Accounts; readonly registry: ResourceRegistry; readonly passwordFile: string },
): Promise<void> {
  const deployment = { type: "deployment", id: DEPLOYMENT_ID } as const;
  let admin = await e.accounts.findUser(ADMINISTRATOR);
  if (admin === undefined) {
    // A power cut may have left half a file.
    if (!existsSync(passwordFile) || readFileSync(passwordFile, "utf8").trim().length < PASSWORD_CHARACTERS)
      writeWhole(passwordFile, `${randomBytes((PASSWORD_CHARACTERS * 3) / 4).toString("base64url")}\n`);
    admin = await accounts.createUser(ADMINISTRATOR, readFileSync(passwordFile, "utf8").trim());
  }
  // Written by a version that kept no directory of names: the first change of a record enters it.
  if (admin.version === 0) await e.accounts.updateUser({ ...admin, version: 1 });
  await e.authorization.write([{ object: deployment, relation: "admin", subject: { type: "user", id: admin.id } }]);
  const known = new Map((await registry.list()).map((r) => [r.name, r]));
  const wanted = [
    { kind: "LOCAL", name: "local" },
    { kind: "POSIX", name: "vega", root: SAMPLE_DATA },
  ] as const;
  for (const resource of wanted) {
    const made = known.get(resource.name) ?? (await registry.register({ owner: admin.id, resource }));
    const object = { type: resource.kind === "LOCAL" ? "compute_resource" : "storage_resource", id: made.id } as const;
    await e.authorization.write([
      { object, relation: "owner", subject: { type: "user", id: admin.id } },
      { object, relation: "user", subject: { type: "user", id: "*" } },
      { object, relation: "deployment", subject: deployment },
    ]);
  }
}
