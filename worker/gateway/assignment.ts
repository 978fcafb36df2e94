/** A staged lease as the wire has it. */
import type { StagedFile, StagedLease } from "#core/data-mover/index.ts";
import { type Lease, leaseName } from "#domain/lease.ts";
import type { Assignment, File } from "#protocol/gen/worker.ts";

const fileOf = (f: StagedFile): File => ({
  path: f.path,
  sha256: f.sha256,
  bytes: f.bytes,
  url: f.url ?? "",
  inline: f.inline ?? new Uint8Array(0),
});

export const deliveryOf = (lease: Lease, staged: StagedLease) => ({ assignment: assignmentOf(lease, staged), unstaged: staged.unstaged });

export function assignmentOf(lease: Lease, { plan, planHash, set, assets, tasks }: StagedLease): Assignment {
  return {
    lease: leaseName(lease.key),
    planHash,
    scriptName: set.script,
    script: plan.scripts[set.script] ?? "",
    environment: plan.environment.map((e) => ({ name: e.name, value: e.template })),
    conda: [...plan.conda],
    pip: [...plan.pip],
    need: set.resources.capacity,
    timeLimitMs: set.resources.timeLimitMs,
    diskLimitMib: set.resources.diskMib,
    assets: assets.map(fileOf),
    tasks: tasks.map((t) => ({
      index: t.index,
      number: t.number,
      parameters: [...t.parameters],
      inputs: t.inputs.map((i) => ({
        name: i.name,
        many: i.many,
        files: i.files.map(fileOf),
        listingUrl: i.listing?.url ?? "",
        listingSha256: i.listing?.sha256 ?? "",
      })),
      outputs: [...set.outputs],
      files: t.own.files.map(fileOf),
      filesListingUrl: t.own.listing?.url ?? "",
      filesListingSha256: t.own.listing?.sha256 ?? "",
      outputFiles: [...t.outputFiles],
    })),
  };
}
