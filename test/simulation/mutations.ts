/** Each rule of the protocol, dropped: a change of the source text that must occur exactly once. */
export interface Edit {
  /** End of the file's path. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

export const MUTATIONS: Readonly<Record<string, readonly Edit[]>> = {};
