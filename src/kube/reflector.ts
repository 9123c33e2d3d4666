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
  /** A watch without a byte for this long is dead. Longer than the API server's bookmark period of 60 s. */
  readonly idleTimeoutMs: number;
  /** The server ends each watch after a random time between these. */
  readonly watchSeconds: readonly [least: number, most: number];
  /** A full list although the watch is well: a watch from a version of the future is silently empty. */
  readonly relistMs: number;
  /** Between two looks for a kind that the API server does not serve. */
  readonly absentRetryMs: number;
  readonly pageSize: number;
  /** Of a page. The next one is half as long where a page has more. */
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
  /** Paths of the collection, one per acceptable version of the kind. The first one that is served is followed. */
  readonly paths: readonly [string, ...string[]];
  /** Label and field selectors. */
  readonly query: Readonly<Record<string, string>>;
  /** Of each object, as in `RequestSettings`; `trim` must know such objects. Absent: any number. */
  readonly maxValues?: number | undefined;
  /**
   * Only for an optional kind: whether the API server serves it, for an operator that may not list it. Rejects with
   * `KubeApiError`.
   */
  readonly isServed?: (signal: AbortSignal) => Promise<boolean>;
  readonly clock: Clock;
  readonly random: () => number;
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

/** What the reflector does next. Each phase returns its successor, also when it fails. */
type Phase =
  | { readonly kind: 'list' }
  | { readonly kind: 'watch'; readonly path: string; readonly version: string }
  | { readonly kind: 'pause'; readonly delayMs: number; readonly next: Phase };

const LIST: Phase = { kind: 'list' };

/** One watch, from its request to its end. */
interface WatchProgress {
  readonly path: string;
  /** The version that it began at. */
  readonly from: string;
  readonly beganAt: number;
  /** The version that the next watch resumes from. */
  version: string;
  /** Whether the API server accepted it. */
  isOpen: boolean;
  /** Whether an event was applied. */
  heardAnything: boolean;
}

/** A watch that lived this long, or delivered an event, was healthy: the next failure starts with a short pause again. */
const HEALTHY_MS = 10_000;
/** After this many failed watches in a row, the version is not trusted any more. */
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
  /** When the last complete list was stored. */
  #listedAt = 0;
  /** Failed watches since one was healthy, or since the last list. */
  #failures = 0;
  /** Lists begun since a watch was last healthy. */
  #listsInVain = 0;
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
        // A defect in this program must not end the watch: start from the beginning after a pause.
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

  /** Lists the first version that is served; rejects with 404 where none is. */
  async #listServed(signal: AbortSignal): Promise<Phase> {
    this.#listsInVain += 1;
    const [newest, ...others] = this.#options.paths;
    for (const path of [newest, ...others]) {
      try {
        return await this.#listPath(path, signal);
      } catch (error) {
        if (!(error instanceof KubeApiError) || error.status !== 404 || others.length === 0) throw error;
      }
    }
    // Once more: the newest version may have appeared while an older one went away.
    return await this.#listPath(newest, signal);
  }

  /** Stores every page of one consistent list. A list that fails halfway changes nothing. */
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

  /** Undefined: the page is too large for the memory that the operator has, and `limit` can be smaller. */
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
      this.#contact.heard();
      return listPageIn(answer, token, name);
    } catch (error) {
      if (limit > 1 && error instanceof KubeApiError && error.tooLarge) return undefined;
      throw error;
    }
  }

  /** Whether a list failed because the API server does not serve the kind, as far as its answers tell. */
  async #isAbsent({ status }: KubeApiError, signal: AbortSignal): Promise<boolean> {
    const { isServed, store } = this.#options;
    // A lost permission does not remove what was listed once: if the kind were gone, its watch would have ended with 404.
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
    this.#contact.heard();
    if (store.state.state !== 'absent') {
      log[isServed === undefined ? 'warn' : 'info']({}, `the API server does not serve ${name}`);
    }
    // The state changes first, so that listeners can see why the objects are removed.
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
    const watch: WatchProgress = { path, from, beganAt, version: from, isOpen: false, heardAnything: false };
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

  /** After how many seconds the server ends the watch; undefined when the next full list is due. */
  #watchSeconds(now: number): number | undefined {
    const { random } = this.#options;
    const [least, most] = this.#timing.watchSeconds;
    const left = this.#listedAt + this.#timing.relistMs * (0.9 + 0.2 * random()) - now;
    if (left <= 0) return undefined;
    return Math.max(1, Math.min(Math.round(least + (most - least) * random()), Math.ceil(left / 1000)));
  }

  /** Applies events until the server ends the watch. */
  async #applyEvents(watch: WatchProgress, seconds: number, signal: AbortSignal): Promise<void> {
    for await (const event of this.#openWatch(watch, seconds, signal)) {
      this.#contact.heard();
      const { message, code, metadata } = objectIn(event.object);
      if (event.type === 'ERROR') {
        throw new KubeApiError(`the watch ended: ${textIn(message, 'no reason given').slice(0, 512)}`, {
          status: typeof code === 'number' ? code : undefined,
        });
      }
      // First, since an event that cannot be read is no sign of health: the watch resumes from before it.
      this.#apply(event);
      watch.heardAnything = true;
      this.#healthy();
      // An empty version would mean any version, and hide what was deleted in between.
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
        this.#contact.heard();
      },
    });
  }

  #apply(event: WatchEvent): void {
    if (event.type !== 'ADDED' && event.type !== 'MODIFIED' && event.type !== 'DELETED') return;
    if (event.type === 'DELETED') {
      // By its name and uid, since an object that cannot be read any more is deleted all the same.
      this.#options.store.remove(this.#reader.identify(event.object));
      return;
    }
    const object = this.#reader.read(event.object);
    if (object !== undefined) this.#options.store.upsert(object);
  }

  #watchFailed({ path, version, beganAt, isOpen, heardAnything }: WatchProgress, error: KubeApiError): Phase {
    // Not even a bookmark: the version may be one of the future, about which the API server stays silent for ever.
    const isMute = isOpen && error.silent && !heardAnything;
    if (isOpen && !isMute && this.#isLongSince(beganAt)) this.#healthy();
    this.#failures += 1;
    const gone =
      error.status === 410 || error.status === 404 || isMute || this.#failures >= RELIST_AFTER_FAILURES;
    this.#options.log.debug(
      { err: error, failures: this.#failures },
      gone ? 'the watch ended; listing again' : 'the watch broke; resuming it',
    );
    // One failure is normal: connections end.
    if (this.#failures > 1 && !gone) this.#contact.failed(error);
    else this.#contact.note(error);
    if (error.status === 410) return this.#relist(error);
    return this.#pause(error, gone ? LIST : { kind: 'watch', path, version });
  }

  #watchEnded({ path, from, version, beganAt }: WatchProgress): Phase {
    const next: Phase = { kind: 'watch', path, version };
    if (version !== from || this.#isLongSince(beganAt)) return next;
    // A server that closes every watch at once gets a pause before the next one.
    return { kind: 'pause', delayMs: this.#backoff.next(), next };
  }

  #isLongSince(beganAt: number): boolean {
    return this.#options.clock.monotonic() - beganAt >= HEALTHY_MS;
  }

  #healthy(): void {
    this.#failures = 0;
    this.#listsInVain = 0;
    this.#backoff.reset();
    this.#contact.recovered();
  }

  #pause(error: KubeApiError, next: Phase): Phase {
    return { kind: 'pause', delayMs: Math.max(this.#backoff.next(), error.retryAfterMs ?? 0), next };
  }

  /** After a version that is too old: lists at once, but with pauses if the server finds every version too old. */
  #relist(error: KubeApiError): Phase {
    return this.#listsInVain > 1 ? this.#pause(error, LIST) : LIST;
  }
}
