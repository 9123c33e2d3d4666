import { InstanceCollector } from '../registry-source/instance-collector.ts';
import type { RegistryError } from '../registry-source/protocol.ts';
import { serverFailed, tooLarge, unauthorized } from './errors.ts';
import type { Format, ZooKeeperInstance } from './formats.ts';
import type { Reply, Session, Watcher } from './session.ts';
import { FAILURE, type MessageReader, OPERATION } from './wire.ts';

const MAX_ENTRIES = 20_000;
/** Names of Dubbo providers have several hundred characters. */
const MAX_LIST_BYTES = 16 * 1024 * 1024;
const MAX_ENTRY_BYTES = 64 * 1024;
/** Requests of one service under way at once. */
const WINDOW = 256;
/** A service that changes faster than it can be read is used as it was read. The next read comes at once. */
const MAX_ROUNDS = 10;

interface Entry {
  isStale: boolean;
  /** Undefined: the entry is not an instance, or has not been read yet. */
  instance: ZooKeeperInstance | undefined;
}

/**
 * What one session has read of one service. Each read sets the watches that tell of the next change, so none is missed between
 * two reads. An event of a watch comes before any reply that shows the change: without an event, all entries together are as
 * the server had them at one moment.
 */
export class ServiceReader implements Watcher {
  readonly session: Session;
  readonly #path: string;
  readonly #format: Format;
  /** By name of the node. */
  readonly #entries = new Map<string, Entry>();
  #isListStale = true;
  #areEntriesStale = false;
  /** Transaction that last created or deleted an entry. Undefined: the service has no node. */
  #listedAt: bigint | undefined;
  #wake: (() => void) | undefined;
  #reading: Promise<readonly ZooKeeperInstance[]> = Promise.resolve([]);
  #reads = 0;
  usedAt: number;

  constructor(session: Session, path: string, format: Format, now: number) {
    this.session = session;
    this.#path = path;
    this.#format = format;
    this.usedAt = now;
  }

  /** Changes with each request for the list or an entry. A read whose query has ended also counts. */
  get reads(): number {
    return this.#reads;
  }

  /** Whether a read may give something else than the last one. */
  get isChanged(): boolean {
    return this.#isListStale || this.#areEntriesStale || this.session.ended.aborted;
  }

  changed(path: string): void {
    if (path === this.#path) this.#isListStale = true;
    else {
      const entry = this.#entries.get(path.slice(this.#path.length + 1));
      if (entry !== undefined) this.#staleEntry(entry);
    }
    this.#wake?.();
  }

  /** Resolves when `isChanged`, or after the pause. Rejects with the reason of the signal. */
  async waitForChange(pause: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    if (this.isChanged) return;
    const change = new AbortController();
    this.#wake = () => change.abort();
    try {
      await pause(AbortSignal.any([signal, change.signal, this.session.ended]));
    } catch {
      signal.throwIfAborted();
    } finally {
      this.#wake = undefined;
    }
  }

  /** Asks the server whether the list is still the same, in case the watch was lost. */
  async check(): Promise<void> {
    const path = this.#path;
    const reply = await this.session.send({ operation: OPERATION.exists, path, watcher: undefined });
    const listedAt = this.#existing(reply) ? statOf(reply.body) : undefined;
    if (listedAt !== this.#listedAt) this.#isListStale = true;
  }

  /** Reads what has changed. Rejects with `RegistryError`. A read that was given up may be under way: it comes first. */
  read(): Promise<readonly ZooKeeperInstance[]> {
    this.#reading = this.#reading.then(
      () => this.#readAll(),
      () => this.#readAll(),
    );
    return this.#reading;
  }

  async #readAll(): Promise<readonly ZooKeeperInstance[]> {
    for (let round = 0; round < MAX_ROUNDS && this.isChanged; round += 1) {
      if (this.#isListStale) await this.#readList();
      if (this.#areEntriesStale) await this.#readEntries();
    }
    const collector = new InstanceCollector<ZooKeeperInstance>();
    for (const { instance } of this.#entries.values()) if (instance !== undefined) collector.add(instance);
    return collector.instances;
  }

  async #readList(): Promise<void> {
    const path = this.#path;
    this.#isListStale = false;
    this.#reads += 1;
    try {
      const list = await this.session.send({
        operation: OPERATION.getChildren,
        path,
        watcher: this,
        maxBytes: MAX_LIST_BYTES,
      });
      if (this.#existing(list)) this.#replace(list.body);
      // The list of a node that does not exist cannot be watched. The node itself can.
      else if (this.#existing(await this.session.send({ operation: OPERATION.exists, path, watcher: this })))
        this.#isListStale = true;
      else this.#clear();
    } catch (error) {
      this.#isListStale = true;
      throw error;
    }
  }

  #replace(body: MessageReader): void {
    const names = body.texts();
    if (names.length > MAX_ENTRIES)
      throw tooLarge('the service has more than 20,000 entries in the registry');
    const before = new Map(this.#entries);
    this.#clear();
    // ZooKeeper lists names in no particular order.
    for (const name of names.toSorted()) this.#entries.set(name, before.get(name) ?? this.#created(name));
    this.#listedAt = statOf(body);
  }

  #created(name: string): Entry {
    const { ofName } = this.#format;
    if (ofName !== undefined) return { isStale: false, instance: ofName(name) };
    this.#areEntriesStale = true;
    return { isStale: true, instance: undefined };
  }

  #clear(): void {
    this.#entries.clear();
    this.#listedAt = undefined;
  }

  #staleEntry(entry: Entry): void {
    entry.isStale = true;
    this.#areEntriesStale = true;
  }

  async #readEntries(): Promise<void> {
    this.#areEntriesStale = false;
    const stale = [...this.#entries].filter(([, { isStale }]) => isStale);
    for (let from = 0; from < stale.length; from += WINDOW) {
      const results = await Promise.allSettled(
        stale.slice(from, from + WINDOW).map(([name, entry]) => this.#readEntry(name, entry)),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed === undefined) continue;
      this.#areEntriesStale = true;
      throw failed.reason;
    }
  }

  async #readEntry(name: string, entry: Entry): Promise<void> {
    entry.isStale = false;
    this.#reads += 1;
    try {
      const reply = await this.session.send({
        operation: OPERATION.getData,
        path: `${this.#path}/${name}`,
        watcher: this,
        maxBytes: MAX_ENTRY_BYTES,
      });
      // If the node was deleted since the list was read, the watch of the list has fired.
      entry.instance = this.#existing(reply) ? this.#format.ofData?.(reply.body.buffer()) : undefined;
    } catch (error) {
      this.#staleEntry(entry);
      throw error;
    }
  }

  /** Throws `RegistryError` for other failures than a missing node. */
  #existing({ failure }: Reply): boolean {
    if (failure === FAILURE.none) return true;
    if (failure === FAILURE.noNode) return false;
    throw failureOf(this.session, failure);
  }
}

export function failureOf({ server, digest }: Session, failure: number): RegistryError {
  return failure === FAILURE.noAuth
    ? unauthorized(server, digest !== undefined)
    : serverFailed(server, failure);
}

/** The transaction that last created or deleted a child. */
function statOf(body: MessageReader): bigint {
  for (let times = 0; times < 4; times += 1) body.long();
  for (let counts = 0; counts < 3; counts += 1) body.int();
  body.long();
  body.int();
  body.int();
  return body.long();
}
