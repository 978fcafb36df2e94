/** What a worker offers and a task needs. All whole numbers >= 0: thousandths of a core, MiB, devices. */
export interface Capacity {
  readonly cpuMilli: number;
  readonly memoryMib: number;
  readonly gpu: number;
}

export const NO_CAPACITY: Capacity = { cpuMilli: 0, memoryMib: 0, gpu: 0 };

export const addCapacity = (a: Capacity, b: Capacity): Capacity => ({
  cpuMilli: a.cpuMilli + b.cpuMilli,
  memoryMib: a.memoryMib + b.memoryMib,
  gpu: a.gpu + b.gpu,
});

export const timesCapacity = (a: Capacity, n: number): Capacity => ({
  cpuMilli: a.cpuMilli * n,
  memoryMib: a.memoryMib * n,
  gpu: a.gpu * n,
});

export const minusCapacity = (a: Capacity, b: Capacity): Capacity => addCapacity(a, timesCapacity(b, -1));

export const fitsCapacity = (need: Capacity, free: Capacity): boolean =>
  need.cpuMilli <= free.cpuMilli && need.memoryMib <= free.memoryMib && need.gpu <= free.gpu;

/** How many times `need` fits into `free`; at most `limit`. */
export function countFits(need: Capacity, free: Capacity, limit: number): number {
  const ratio = (n: number, f: number) => (n === 0 ? limit : Math.floor(f / n));
  return Math.max(
    0,
    Math.min(limit, ratio(need.cpuMilli, free.cpuMilli), ratio(need.memoryMib, free.memoryMib), ratio(need.gpu, free.gpu)),
  );
}
