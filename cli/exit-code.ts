/** Exit codes: 0 done, 1 failed, 2 usage or invalid input, 3 who you are, 4 not found, 5 refused in this state. */
import type { ErrorKind } from "#domain/error.ts";

export const EXIT = { done: 0, failed: 1, usage: 2, auth: 3, notFound: 4, refused: 5 } as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

interface Meaning {
  readonly exit: ExitCode;
  /** What to do about it. */
  readonly hint?: string;
}

export const MEANINGS: Readonly<Record<ErrorKind, Meaning>> = {
  "invalid-input": { exit: EXIT.usage },
  "too-large": { exit: EXIT.usage },
  unauthenticated: { exit: EXIT.auth, hint: "log in: airavata auth login" },
  forbidden: { exit: EXIT.auth, hint: "ask its owner, or an administrator of the installation" },
  "not-found": { exit: EXIT.notFound, hint: "look at what there is: airavata experiment list" },
  conflict: { exit: EXIT.refused },
  "version-mismatch": { exit: EXIT.refused, hint: "update this tool or the server, whichever is older" },
  integrity: { exit: EXIT.failed, hint: "try again; if it stays, tell the operator of the server" },
  unavailable: { exit: EXIT.failed, hint: "check that the server runs and that the address is right: airavata context show" },
  "outcome-unknown": { exit: EXIT.failed, hint: "look at what happened before trying again: airavata experiment list" },
};
