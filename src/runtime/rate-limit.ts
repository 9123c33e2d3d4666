import PQueue from 'p-queue';

/** Runs at most `perSecond` of what it is given in any second, in order; without a number, everything at once. */
export function createRateLimit(perSecond: number | undefined): <T>(request: () => Promise<T>) => Promise<T> {
  if (perSecond === undefined) return (request) => request();
  const queue = new PQueue({ intervalCap: perSecond, interval: 1000, strict: true });
  return (request) => queue.add(request);
}
