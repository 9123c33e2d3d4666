import PQueue from 'p-queue';

/** Starts `request` when the limit allows it. Rejects with the signal's reason if the signal aborts before that. */
export type RateLimit = <T>(request: () => Promise<T>, signal?: AbortSignal) => Promise<T>;

/** Starts at most `perSecond` requests in any second, in order. Undefined: no limit. */
export function createRateLimit(perSecond: number | undefined): RateLimit {
  if (perSecond === undefined) return (request) => request();
  const queue = new PQueue({ intervalCap: perSecond, interval: 1000, strict: true });
  return (request, signal) => queue.add(request, signal === undefined ? {} : { signal });
}
