/** Deleting experiments: for good, so a terminal is asked first. */
import { EXIT } from "./exit-code.ts";
import { readExperimentId } from "./experiment-id.ts";
import { clean, showCount } from "./output.ts";
import { ask } from "./password.ts";
import { connect, type Session } from "./session.ts";

export async function remove(session: Session, { yes }: { readonly yes?: boolean }, args: readonly string[]): Promise<number> {
  const params = { id: readExperimentId(args[0]) };
  const client = await connect(session);
  if (yes !== true) {
    const { name, tasks } = await client.call("getExperiment", { params, signal: session.signal });
    const what = clean(`Delete ${name} (${showCount(tasks)} tasks) with all of its results and outputs? [y/N] (or --yes) `);
    if (!/^y(es)?$/i.test((await ask(session.io, what, false, session.signal)).trim())) {
      session.output.note("nothing was deleted");
      return EXIT.done;
    }
  }
  const answer = await client.call("deleteExperiment", { params, signal: session.signal });
  session.output.result(answer, () => [`${answer.id}  deleted; its objects go in the background`]);
  return EXIT.done;
}
