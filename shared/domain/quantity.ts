/** Units as people write them, read into the units that we compute with. */

export const MILLISECONDS_PER = { second: 1000, minute: 60_000, hour: 3_600_000, day: 86_400_000 } as const;
export const MIB_PER_GIB = 1024;
export const CPU_MILLI_PER_CORE = 1000;

const CLOCK = /^(\d{1,5}):(\d{2}):(\d{2})$/;
const DAYS = /^(\d{1,4})-(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?$/;
const WITH_UNIT = /^(\d{1,9})\s*(s|m|h|d)?$/;
const SUFFIXES: Readonly<Record<string, number>> = {
  s: MILLISECONDS_PER.second,
  m: MILLISECONDS_PER.minute,
  h: MILLISECONDS_PER.hour,
  d: MILLISECONDS_PER.day,
};

/** The forms of {@link parseWalltimeMs}, for messages. */
export const WALLTIME_FORMS = '"H:MM:SS", "D-HH:MM:SS", "90s", "15m", "2h", "1d" or a number of minutes';

/**
 * Reads a walltime: `H:MM:SS`, `D-HH`, `D-HH:MM`, `D-HH:MM:SS`, a number with `s`, `m`, `h` or `d`, or a bare number of
 * minutes; `undefined` when the text is none of them. The forms and the bare minutes are those of `sbatch --time`
 * (https://slurm.schedmd.com/sbatch.html#OPT_time). Its `M:SS` is left out: half of all readers take it for hours.
 */
export function parseWalltimeMs(text: string): number | undefined {
  const clock = CLOCK.exec(text);
  if (clock !== null) return sumMs("0", clock[1], clock[2], clock[3]);
  const days = DAYS.exec(text);
  if (days !== null) return Number(days[2]) < 24 ? sumMs(days[1], days[2], days[3], days[4]) : undefined;
  const simple = WITH_UNIT.exec(text);
  if (simple === null) return undefined;
  return Number(simple[1]) * (SUFFIXES[simple[2] ?? "m"] ?? MILLISECONDS_PER.minute);
}

function sumMs(days = "0", hours = "0", minutes = "0", seconds = "0"): number | undefined {
  if (Number(minutes) > 59 || Number(seconds) > 59) return undefined;
  return (
    Number(days) * MILLISECONDS_PER.day +
    Number(hours) * MILLISECONDS_PER.hour +
    Number(minutes) * MILLISECONDS_PER.minute +
    Number(seconds) * MILLISECONDS_PER.second
  );
}
