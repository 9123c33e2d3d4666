import PQueue from 'p-queue';

/** Starts at most `perSecond` requests in any second, in order. Undefined: no limit. */
export function createRateLimit(perSecond: number | undefined): <T>(request: () => Promise<T>) => Promise<T> {
  if (perSecond === undefined) return (request) => request();
  const queue = new PQueue({ intervalCap: perSecond, interval: 1000, strict: true });
  return (request) => queue.add(request);
}
