import type { Stored, StoreState } from '../model/store-view.ts';
import { type Backoff, createBackoff } from '../runtime/backoff.ts';
import type { Clock } from '../runtime/clock.ts';
import { objectIn, textIn } from '../runtime/json.ts';
import { ApiServerContact } from './api-server-contact.ts';
import { KubeApiError } from './kube-error.ts';
import { listPageIn } from './list-page.ts';
import { ObjectReader, type ObjectReaderOptions } from './object-reader.ts';
import type { KubeTransport, WatchEvent } from './transport.ts';

export interface ReflectorTiming {
  /** A watch that receives no data for this long has failed. Longer than the API server's bookmark interval of 60 s. */
  readonly idleTimeoutMs: number;
  /** The API server closes each watch after a random time between these. */
  readonly watchSeconds: readonly [least: number, most: number];
  /** Interval of full lists even if the watch works: a watch from a future resourceVersion stays empty without an error. */
  readonly relistMs: number;
  /** Pause before another attempt to list a kind that the API server does not serve. */
  readonly absentRetryMs: number;
  readonly pageSize: number;
  /** Maximum size of a page. If a page is larger, the reflector requests it again with half as many items. */
  readonly maxPageBytes: number;
}

const TIMING: ReflectorTiming = {
  idleTimeoutMs: 90_000,
  watchSeconds: [300, 600],
  relistMs: 3_600_000,
  absentRetryMs: 30_000,
  pageSize: 500,
  maxPageBytes: 32 * 1024 * 1024,
};

export interface ReflectorOptions<T extends Stored> extends ObjectReaderOptions<T> {
  readonly transport: KubeTransport;
  /** Paths of the collection, one per supported version of the kind. The reflector uses the first one that is served. */
  readonly paths: readonly [string, ...string[]];
  /** Label and field selectors. */
  readonly query: Readonly<Record<string, string>>;
  /**
   * Maximum number of JSON values per object, as in `RequestSettings`. `transform` must handle larger objects. Absent: no
   * limit.
   */
  readonly maxValues?: number | undefined;
  /**
   * Only for an optional kind: whether the API server serves it. Called when the operator has no permission to list the
   * kind. Rejects with `KubeApiError`.
   */
  readonly isServed?: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly timing?: Partial<ReflectorTiming>;
}

export interface ReflectorHealth {
  readonly state: StoreState['state'];
  /** When the API server last sent a successful response or an event, on the monotonic clock. */
  readonly lastContactAt: number | undefined;
  /** Error of the last request, if it failed. */
  readonly lastError: string | undefined;
  /** Number of lists started. */
  readonly lists: number;
  /** Number of watches opened. */
  readonly watches: number;
}

/** Keeps a store in sync with a collection of the API server. */
export interface Reflector {
  readonly name: string;
  /** Whether the kind may be missing from the cluster. */
  readonly optional: boolean;
  /** Resolves when the signal aborts. */
  run(signal: AbortSignal): Promise<void>;
  health(): ReflectorHealth;
}

/** What the reflector does next. Each phase returns the next one, even if it fails. */
type Phase =
  | { readonly kind: 'list' }
  | { readonly kind: 'watch'; readonly path: string; readonly version: string }
  | { readonly kind: 'pause'; readonly delayMs: number; readonly next: Phase };

const LIST: Phase = { kind: 'list' };

/** One watch, from its request until it closes. */
interface WatchProgress {
  readonly path: string;
  /** The resourceVersion at which it started. */
  readonly from: string;
  readonly beganAt: number;
  /** The resourceVersion from which the next watch resumes. */
  version: string;
  /** Whether the API server accepted the watch. */
  isOpen: boolean;
  /** Whether an event was applied. */
  hasEvents: boolean;
}

/** A watch is healthy if it stays open for this long or delivers an event. The backoff then starts over. */
const HEALTHY_MS = 10_000;
/** After this many consecutive failed watches, the reflector lists again instead of resuming. */
const RELIST_AFTER_FAILURES = 5;

export function createReflector<T extends Stored>(options: ReflectorOptions<T>): Reflector {
  const reflector = new ListWatchReflector(options);
  return {
    name: options.name,
    optional: options.isServed !== undefined,
    run: (signal) => reflector.run(signal),
    health: () => reflector.health(),
  };
}

class ListWatchReflector<T extends Stored> {
  readonly #options: ReflectorOptions<T>;
  readonly #timing: ReflectorTiming;
  readonly #backoff: Backoff;
  readonly #contact: ApiServerContact;
  readonly #reader: ObjectReader<T>;
  /** When the last complete list was stored, on the monotonic clock. */
  #listedAt = 0;
  /** Failed watches since the last healthy watch or the last list. */
  #failures = 0;
  /** Lists started since the last healthy watch. */
  #listsSinceHealthy = 0;
  #lists = 0;
  #watches = 0;

  constructor(options: ReflectorOptions<T>) {
    const { name, clock, log, random } = options;
    this.#options = options;
    this.#timing = { ...TIMING, ...options.timing };
    this.#backoff = createBackoff({ baseMs: 800, factor: 2, maxMs: 30_000, jitter: 0.5, random });
    this.#contact = new ApiServerContact(name, clock, log);
    this.#reader = new ObjectReader(options);
  }

  health(): ReflectorHealth {
    return {
      state: this.#options.store.state.state,
      lastContactAt: this.#contact.lastAt,
      lastError: this.#contact.lastError,
      lists: this.#lists,
      watches: this.#watches,
    };
  }

  async run(signal: AbortSignal): Promise<void> {
    let phase = LIST;
    while (!signal.aborted) {
      try {
        phase = await this.#step(phase, signal);
      } catch (err) {
        if (signal.aborted) return;
        // A defect in the operator must not stop the reflector. Start over after a pause.
        this.#options.log.error({ err }, 'the reflector failed; listing again');
        phase = { kind: 'pause', delayMs: this.#backoff.next(), next: LIST };
      }
    }
  }

  async #step(phase: Phase, signal: AbortSignal): Promise<Phase> {
    switch (phase.kind) {
      case 'list':
        return await this.#list(signal);
      case 'watch':
        return await this.#watch(phase.path, phase.version, signal);
      case 'pause':
        await this.#options.clock.sleep(phase.delayMs, signal);
        return phase.next;
      default:
        return phase satisfies never;
    }
  }

  async #list(signal: AbortSignal): Promise<Phase> {
    try {
      return await this.#listServed(signal);
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeApiError)) throw error;
      return (await this.#isAbsent(error, signal)) ? this.#absent() : this.#listFailed(error);
    }
  }

  /** Lists the first version that is served. Rejects with 404 if none is. */
  async #listServed(signal: AbortSignal): Promise<Phase> {
    this.#listsSinceHealthy += 1;
    const [newest, ...others] = this.#options.paths;
    for (const path of [newest, ...others]) {
      try {
        return await this.#listPath(path, signal);
      } catch (error) {
        if (!(error instanceof KubeApiError) || error.status !== 404 || others.length === 0) throw error;
      }
    }
    // Try the newest version again: it may have replaced an older one in the meantime.
    return await this.#listPath(newest, signal);
  }

  /** Stores one consistent list with all its pages. A list that fails halfway does not change the store. */
  async #listPath(path: string, signal: AbortSignal): Promise<Phase> {
    const { clock, log, store } = this.#options;
    const objects: T[] = [];
    let token: string | undefined;
    let version = '';
    let limit = this.#timing.pageSize;
    this.#lists += 1;
    do {
      const page = await this.#getPage(path, token, limit, signal);
      if (page === undefined) {
        limit = Math.ceil(limit / 2);
        continue;
      }
      objects.push(...(await this.#reader.readAll(page.items)));
      version = page.version;
      token = page.next;
    } while (token !== '');
    signal.throwIfAborted();
    this.#listedAt = clock.monotonic();
    this.#failures = 0;
    store.replaceAll(objects);
    store.setState({ state: 'synced' });
    log.debug({ objects: objects.length, version }, 'listed');
    return { kind: 'watch', path, version };
  }

  /** Undefined if the page exceeds `maxPageBytes` and a smaller `limit` is possible. */
  async #getPage(path: string, token: string | undefined, limit: number, signal: AbortSignal) {
    const { name, query, transport, maxValues } = this.#options;
    try {
      const answer = await transport.get(path, {
        query: { ...query, limit: String(limit), ...(token === undefined ? {} : { continue: token }) },
        signal,
        timeoutMs: 60_000,
        itemwise: true,
        maxBytes: this.#timing.maxPageBytes,
        maxValues,
      });
      this.#contact.succeeded();
      return listPageIn(answer, token, name);
    } catch (error) {
      if (limit > 1 && error instanceof KubeApiError && error.tooLarge) return undefined;
      throw error;
    }
  }

  /** Whether a list failed because the API server does not serve the kind. False if that is unknown. */
  async #isAbsent({ status }: KubeApiError, signal: AbortSignal): Promise<boolean> {
    const { isServed, store } = this.#options;
    // A lost permission does not empty a synced store. If the kind had been removed, the watch would have ended with 404.
    if (status !== 403 || isServed === undefined || store.state.state === 'synced') return status === 404;
    try {
      return !(await isServed(signal));
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeApiError)) throw error;
      return false;
    }
  }

  #absent(): Phase {
    const { isServed, log, name, store } = this.#options;
    this.#contact.succeeded();
    if (store.state.state !== 'absent') {
      log[isServed === undefined ? 'warn' : 'info']({}, `the API server does not serve ${name}`);
    }
    // Set the state first, so that listeners see why the objects are removed.
    store.setState({ state: 'absent' });
    store.replaceAll([]);
    return { kind: 'pause', delayMs: this.#timing.absentRetryMs, next: LIST };
  }

  #listFailed(error: KubeApiError): Phase {
    const { store } = this.#options;
    if (error.status === 410) {
      this.#contact.note(error);
      return this.#relist(error);
    }
    this.#contact.failed(error);
    if (store.state.state === 'syncing') store.setState({ state: 'syncing', problem: error.message });
    return this.#pause(error, LIST);
  }

  async #watch(path: string, from: string, signal: AbortSignal): Promise<Phase> {
    const beganAt = this.#options.clock.monotonic();
    const watch: WatchProgress = { path, from, beganAt, version: from, isOpen: false, hasEvents: false };
    const seconds = this.#watchSeconds(beganAt);
    if (seconds === undefined) return LIST;
    try {
      await this.#applyEvents(watch, seconds, signal);
    } catch (error) {
      if (signal.aborted || !(error instanceof KubeApiError)) throw error;
      return this.#watchFailed(watch, error);
    }
    return this.#watchEnded(watch);
  }

  /** Duration of the next watch in seconds. Undefined if the next full list is due. */
  #watchSeconds(now: number): number | undefined {
    const { random } = this.#options;
    const [least, most] = this.#timing.watchSeconds;
    const left = this.#listedAt + this.#timing.relistMs * (0.9 + 0.2 * random()) - now;
    if (left <= 0) return undefined;
    return Math.max(1, Math.min(Math.round(least + (most - least) * random()), Math.ceil(left / 1000)));
  }

  /** Applies events until the API server closes the watch. */
  async #applyEvents(watch: WatchProgress, seconds: number, signal: AbortSignal): Promise<void> {
    for await (const event of this.#openWatch(watch, seconds, signal)) {
      this.#contact.succeeded();
      const { message, code, metadata } = objectIn(event.object);
      if (event.type === 'ERROR') {
        throw new KubeApiError(`the watch ended: ${textIn(message, 'no reason given').slice(0, 512)}`, {
          status: typeof code === 'number' ? code : undefined,
        });
      }
      // Apply first. If the event cannot be read, the watch is not healthy and resumes before this event.
      this.#apply(event);
      watch.hasEvents = true;
      this.#healthy();
      // Keep the last version if this one is empty: an empty resourceVersion means "any", and would hide deletions.
      watch.version = textIn(objectIn(metadata)['resourceVersion']) || watch.version;
    }
  }

  #openWatch(watch: WatchProgress, seconds: number, signal: AbortSignal): AsyncIterable<WatchEvent> {
    return this.#options.transport.watch(watch.path, {
      query: {
        ...this.#options.query,
        resourceVersion: watch.version,
        allowWatchBookmarks: 'true',
        timeoutSeconds: String(seconds),
      },
      signal,
      idleTimeoutMs: this.#timing.idleTimeoutMs,
      maxValues: this.#options.maxValues,
      onOpen: () => {
        watch.isOpen = true;
        this.#watches += 1;
        this.#contact.succeeded();
      },
    });
  }

  #apply(event: WatchEvent): void {
    if (event.type !== 'ADDED' && event.type !== 'MODIFIED' && event.type !== 'DELETED') return;
    if (event.type === 'DELETED') {
      // Name and uid are enough: an object that cannot be read any more is still removed.
      this.#options.store.remove(this.#reader.identify(event.object));
      return;
    }
    const object = this.#reader.read(event.object);
    if (object !== undefined) this.#options.store.upsert(object);
  }

  #watchFailed({ path, version, beganAt, isOpen, hasEvents }: WatchProgress, error: KubeApiError): Phase {
    // No bookmark arrived: the resourceVersion may be in the future, and the API server then never sends any event.
    const isSilent = isOpen && error.silent && !hasEvents;
    if (isOpen && !isSilent && this.#isLongSince(beganAt)) this.#healthy();
    this.#failures += 1;
    const mustList =
      error.status === 410 || error.status === 404 || isSilent || this.#failures >= RELIST_AFTER_FAILURES;
    this.#options.log.debug(
      { err: error, failures: this.#failures },
      mustList ? 'the watch broke; listing again' : 'the watch broke; resuming it',
    );
    // A single failure is normal, because connections can close at any time.
    if (this.#failures > 1 && !mustList) this.#contact.failed(error);
    else this.#contact.note(error);
    if (error.status === 410) return this.#relist(error);
    return this.#pause(error, mustList ? LIST : { kind: 'watch', path, version });
  }

  #watchEnded({ path, from, version, beganAt }: WatchProgress): Phase {
    const next: Phase = { kind: 'watch', path, version };
    if (version !== from || this.#isLongSince(beganAt)) return next;
    // Back off if the API server closes every watch immediately.
    return { kind: 'pause', delayMs: this.#backoff.next(), next };
  }

  #isLongSince(beganAt: number): boolean {
    return this.#options.clock.monotonic() - beganAt >= HEALTHY_MS;
  }

  #healthy(): void {
    this.#failures = 0;
    this.#listsSinceHealthy = 0;
    this.#backoff.reset();
    this.#contact.recovered();
  }

  #pause(error: KubeApiError, next: Phase): Phase {
    return { kind: 'pause', delayMs: Math.max(this.#backoff.next(), error.retryAfterMs ?? 0), next };
  }

  /** Lists again after 410 Gone: immediately at first, and with pauses if the API server keeps answering 410. */
  #relist(error: KubeApiError): Phase {
    return this.#listsSinceHealthy > 1 ? this.#pause(error, LIST) : LIST;
  }
}
