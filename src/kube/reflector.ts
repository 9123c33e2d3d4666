import { objectKey } from '../model/keys.ts';
import type { Stored, StoreState } from '../model/store-view.ts';
import { createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { identityIn, objectIn, textIn } from '../runtime/json.ts';
import type { Logger } from '../runtime/logger.ts';
import { KubeApiError } from './kube-error.ts';
import type { ObjectFailure, Store } from './store.ts';
import { type KubeTransport, ListItems, type WatchEvent } from './transport.ts';

export interface ReflectorTiming {
  /** A watch without a byte for this long is dead. Longer than the API server's bookmark period of 60 s. */
  readonly idleTimeoutMs: number;
  /** The server ends each watch after a random time between these. */
  readonly watchSeconds: readonly [least: number, most: number];
  /** A full list although the watch is well: a watch from a version of the future is silently empty. */
  readonly relistMs: number;
  /** Between two looks for a kind that the API server does not serve. */
  readonly absentRetryMs: number;
  readonly pageSize: number;
}

const TIMING: ReflectorTiming = {
  idleTimeoutMs: 90_000,
  watchSeconds: [300, 600],
  relistMs: 3_600_000,
  absentRetryMs: 30_000,
  pageSize: 500,
};

export interface ReflectorOptions<T extends Stored> {
  readonly name: string;
  readonly transport: KubeTransport;
  /** Paths of the collection, one for each version of the kind that will do: the first one that is served is followed. */
  readonly paths: readonly [string, ...string[]];
  /** Label and field selectors. */
  readonly query: Readonly<Record<string, string>>;
  /**
   * Cuts an object down to what is kept. One that it gives undefined for is of no use and is left as it was known.
   * Throws for one that cannot be read: that one is left as it was known too, and if it was not known `unreadable` stands
   * for it.
   */
  readonly trim: (raw: unknown) => T | undefined;
  /**
   * What stands for an object that is there, cannot be read, and was not known before. Absent, or undefined: nothing, so
   * that the object looks as if it were not there; only for kinds where that is no harm.
   */
  readonly unreadable?: ((raw: unknown, why: string) => T | undefined) | undefined;
  readonly reportError: (error: unknown, failure: ObjectFailure) => void;
  readonly store: Store<T>;
  /**
   * Only for a kind that need not be there: whether it is, for an operator that may not list it. Rejects with
   * `KubeApiError`.
   */
  readonly isServed?: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
  readonly timing?: Partial<ReflectorTiming>;
}

export interface ReflectorHealth {
  readonly state: StoreState['state'];
  /** When the API server last gave anything but a refusal, on the monotonic clock. */
  readonly lastContactAt: number | undefined;
  /** Why it is not heard now. */
  readonly lastError: string | undefined;
  /** Lists begun. */
  readonly lists: number;
  /** Watches opened. */
  readonly watches: number;
}

/** Keeps a store equal to a collection of the API server, for ever. */
export interface Reflector {
  readonly name: string;
  /** The kind need not be there: to be absent is no fault. */
  readonly optional: boolean;
  /** Resolves when the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  health(): ReflectorHealth;
}

/** What comes next; every fault is an arm of `step`. */
type Phase =
  | { readonly kind: 'list' }
  | { readonly kind: 'watch'; readonly path: string; readonly version: string }
  | { readonly kind: 'pause'; readonly delayMs: number; readonly next: Phase };

/** A watch that lived this long, or brought anything, was healthy: the next failure begins with a short pause again. */
const HEALTHY_MS = 10_000;
/** Failures of a watch in a row after which its version is not trusted any more. */
const RELIST_AFTER_FAILURES = 5;

export function createReflector<T extends Stored>(options: ReflectorOptions<T>): Reflector {
  const { name, transport, paths, query, trim, unreadable, store, isServed, clock, random, log } = options;
  const timing = { ...TIMING, ...options.timing };
  const backoff = createBackoff({ baseMs: 800, factor: 2, maxMs: 30_000, jitter: 0.5, random });
  let lastContactAt: number | undefined;
  let lastError: string | undefined;
  let listedAt = 0;
  let failures = 0;
  /** The failure that was logged last: it is no news again until the API server was well in between. */
  let logged: string | undefined;
  /** Lists begun since the API server last gave anything but refusals. */
  let listsInVain = 0;
  let lists = 0;
  let watches = 0;

  const heard = () => {
    lastContactAt = clock.monotonic();
    lastError = undefined;
  };

  const healthy = () => {
    failures = 0;
    listsInVain = 0;
    backoff.reset();
    if (logged === undefined) return;
    logged = undefined;
    log.info({}, 'the API server is heard again');
  };

  const failed = (error: KubeApiError) => {
    lastError = error.message;
    if (logged === error.message) return;
    logged = error.message;
    log.warn({ status: error.status }, `${name} cannot be followed: ${error.message}`);
  };

  /** The object cut down, or what was known of it where it is of no use or cannot be read: it must not look deleted. */
  const read = (raw: unknown): T | undefined => {
    const { namespace, name: object } = identify(raw);
    const known = store.get(namespace, object);
    try {
      const trimmed = trim(raw);
      if (trimmed !== undefined) return trimmed;
      log.debug({ namespace, object }, 'an object is of no use and is left as it was');
      return known;
    } catch (error) {
      // One object must never keep the others from being listed and watched.
      options.reportError(error, { step: 'read', object: objectKey(namespace, object) });
      return known ?? unreadable?.(raw, error instanceof Error ? error.message : 'unknown reason');
    }
  };

  /** Who `raw` is. Which object it hides cannot be told of one that does not say, and that one would look deleted. */
  const identify = (raw: unknown): Stored => {
    const identity = identityIn(objectIn(raw));
    if (identity === undefined)
      throw new KubeApiError(`the API server gave something for ${name} that is no object`);
    return identity;
  };

  /** Every page of one consistent list; a list that breaks halfway changes nothing. */
  const list = async (path: string, signal: AbortSignal): Promise<Phase> => {
    const objects: T[] = [];
    let token: string | undefined;
    let version = '';
    lists += 1;
    do {
      const page = objectIn(
        await transport.get(path, {
          query: {
            ...query,
            limit: String(timing.pageSize),
            ...(token === undefined ? {} : { continue: token }),
          },
          signal,
          timeoutMs: 60_000,
          itemwise: true,
        }),
      );
      heard();
      const { items, metadata } = page;
      const { resourceVersion, continue: next = '' } = objectIn(metadata);
      version = textIn(resourceVersion);
      if (
        !(Array.isArray(items) || items instanceof ListItems) ||
        version === '' ||
        typeof next !== 'string' ||
        (next !== '' && next === token)
      ) {
        throw new KubeApiError(
          `the API server's list of ${name} is none: no items, no version or no next page`,
        );
      }
      for (const item of items) {
        const object = read(item);
        if (object !== undefined) objects.push(object);
      }
      token = next;
    } while (token !== '');
    signal.throwIfAborted();
    listedAt = clock.monotonic();
    failures = 0;
    store.replaceAll(objects);
    store.setState({ state: 'synced' });
    log.debug({ objects: objects.length, version }, 'listed');
    return { kind: 'watch', path, version };
  };

  /** The list of the first version that is served; rejects with 404 where none is. */
  const listServed = async (signal: AbortSignal): Promise<Phase> => {
    listsInVain += 1;
    const [newest, ...others] = paths;
    for (const path of [newest, ...others]) {
      try {
        return await list(path, signal);
      } catch (error) {
        if (!(error instanceof KubeApiError) || error.status !== 404 || others.length === 0) throw error;
      }
    }
    // Once more: it may have come to be served while an older one went.
    return await list(newest, signal);
  };

  const watch = async (path: string, from: string, signal: AbortSignal): Promise<Phase> => {
    const [least, most] = timing.watchSeconds;
    const began = clock.monotonic();
    let version = from;
    let isOpen = false;
    let heardAnything = false;
    const left = listedAt + timing.relistMs * (0.9 + 0.2 * random()) - began;
    if (left <= 0) return { kind: 'list' };
    const seconds = Math.max(
      1,
      Math.min(Math.round(least + (most - least) * random()), Math.ceil(left / 1000)),
    );
    try {
      for await (const event of transport.watch(path, {
        query: {
          ...query,
          resourceVersion: version,
          allowWatchBookmarks: 'true',
          timeoutSeconds: String(seconds),
        },
        signal,
        idleTimeoutMs: timing.idleTimeoutMs,
        onOpen: () => {
          isOpen = true;
          watches += 1;
          heard();
        },
      })) {
        heard();
        const { message, code, metadata } = objectIn(event.object);
        if (event.type === 'ERROR') {
          throw new KubeApiError(`the watch ended: ${textIn(message, 'no reason given').slice(0, 512)}`, {
            status: typeof code === 'number' ? code : undefined,
          });
        }
        // First, since an event that cannot be read is no sign of health: the watch resumes from before it.
        apply(event);
        heardAnything = true;
        healthy();
        // An empty one would mean any version, and hide what was deleted in between.
        version = textIn(objectIn(metadata)['resourceVersion']) || version;
      }
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeApiError)) throw error;
      // Not even a bookmark: the version may be one of the future, of which the API server says nothing for ever.
      const isMute = isOpen && error.silent && !heardAnything;
      if (isOpen && !isMute && clock.monotonic() - began >= HEALTHY_MS) healthy();
      failures += 1;
      const gone =
        error.status === 410 || error.status === 404 || isMute || failures >= RELIST_AFTER_FAILURES;
      log.debug(
        { err: error, failures },
        gone ? 'the watch ended; listing again' : 'the watch broke; resuming',
      );
      // One break is nothing special: connections end.
      if (failures > 1 && !gone) failed(error);
      else lastError = error.message;
      if (error.status === 410) return listSoon(error);
      return pause(error, gone ? { kind: 'list' } : { kind: 'watch', path, version });
    }
    if (version !== from || clock.monotonic() - began >= HEALTHY_MS) return { kind: 'watch', path, version };
    // A server that closes every watch at once is not asked again at once.
    return { kind: 'pause', delayMs: backoff.next(), next: { kind: 'watch', path, version } };
  };

  const apply = (event: WatchEvent): void => {
    if (event.type !== 'ADDED' && event.type !== 'MODIFIED' && event.type !== 'DELETED') return;
    if (event.type === 'DELETED') {
      // By its name and uid: one that cannot be read any more is gone all the same.
      store.remove(identify(event.object));
      return;
    }
    const object = read(event.object);
    if (object !== undefined) store.upsert(object);
  };

  const pause = (error: KubeApiError, next: Phase): Phase => ({
    kind: 'pause',
    delayMs: Math.max(backoff.next(), error.retryAfterMs ?? 0),
    next,
  });

  /** A version that is too old: at once, but not again and again against a server that finds every version so. */
  const listSoon = (error: KubeApiError): Phase =>
    listsInVain > 1 ? pause(error, { kind: 'list' }) : { kind: 'list' };

  const step = async (phase: Phase, signal: AbortSignal): Promise<Phase> => {
    switch (phase.kind) {
      case 'pause':
        await clock.sleep(phase.delayMs, signal);
        return phase.next;
      case 'watch':
        return await watch(phase.path, phase.version, signal);
      case 'list':
        try {
          return await listServed(signal);
        } catch (error) {
          if (signal.aborted || !(error instanceof KubeApiError)) throw error;
          return (await isAbsent(error, signal)) ? absent() : listFailed(error);
        }
      default:
        return phase satisfies never;
    }
  };

  /** Whether a list failed because the API server does not serve the kind, as far as it says so. */
  const isAbsent = async ({ status }: KubeApiError, signal: AbortSignal): Promise<boolean> => {
    // What was listed once is not given up for want of a right: its watch would have told that it is gone.
    if (status !== 403 || isServed === undefined || store.state.state === 'synced') return status === 404;
    try {
      return !(await isServed(signal));
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeApiError)) throw error;
      return false;
    }
  };

  const absent = (): Phase => {
    heard();
    if (store.state.state !== 'absent') {
      log[isServed === undefined ? 'warn' : 'info']({}, `the API server does not serve ${name}`);
    }
    // State first: whoever is told of the objects' removal can see why they are gone.
    store.setState({ state: 'absent' });
    store.replaceAll([]);
    return { kind: 'pause', delayMs: timing.absentRetryMs, next: { kind: 'list' } };
  };

  const listFailed = (error: KubeApiError): Phase => {
    if (error.status === 410) {
      lastError = error.message;
      return listSoon(error);
    }
    failed(error);
    if (store.state.state === 'syncing') store.setState({ state: 'syncing', problem: error.message });
    return pause(error, { kind: 'list' });
  };

  return {
    name,
    optional: isServed !== undefined,
    health: () => ({ state: store.state.state, lastContactAt, lastError, lists, watches }),
    async run(signal) {
      let phase: Phase = { kind: 'list' };
      while (!signal.aborted) {
        try {
          phase = await step(phase, signal);
        } catch (err) {
          if (signal.aborted) return;
          // A defect of ours must not end the watch: from the beginning, after a pause.
          log.error({ err }, 'the reflector failed');
          phase = { kind: 'pause', delayMs: backoff.next(), next: { kind: 'list' } };
        }
      }
    },
  };
}
