/** Space: room on the disk that the installation keeps everything on. */
export interface Shortage {
  readonly freeBytes: number;
  /** What has to be free for work to be handed out. */
  readonly reserveBytes: number;
}

export interface Space {
  /** `undefined`: there is enough. Cheap: may be a second old. */
  shortage(): Shortage | undefined;
}

const MIB = 1024 * 1024;

export const tellShortage = ({ freeBytes, reserveBytes }: Shortage): string =>
  `the disk has ${Math.floor(freeBytes / MIB)} MiB free and ${Math.ceil(reserveBytes / MIB)} MiB are kept for what runs: no new work is handed out until some is freed`;
