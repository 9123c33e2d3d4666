import { createBackoff } from '../../runtime/backoff.ts';
import type { Clock } from '../../runtime/clock.ts';
import { askOneServer, type FailOverDeps } from './fail-over.ts';
import type { RegistryHealth } from './health.ts';
import { RegistryError } from './protocol.ts';

export interface ProberDeps<Instance, Cursor> extends FailOverDeps<Instance, Cursor> {
  readonly health: RegistryHealth;
  readonly clock: Clock;
  readonly random: () => number;
  readonly requestTimeoutMs: number;
  /** Aborts when a credential changes; another signal takes its place then. */
  readonly credentials: () => AbortSignal;
  readonly answered: () => void;
  readonly failed: (error: unknown) => void;
  readonly changed: () => void;
}

/** A registry that answered nothing for this long is probed. */
const QUIET_MS = 30_000;
/** Versions change only when a server is upgraded. */
const VERSION_AGE_MS = 600_000;
const SPREAD = 0.2;
const RETRY = { baseMs: 500, factor: 2, maxMs: 15_000, jitter: 0.5 } as const;
/** Minimum time between two probes of a registry that answers, however many services fail. */
const SUSPICION_MS = 1000;

/**
 * Finds out whether a registry answers while no service shows it: nothing is followed, or nothing has changed for a while. Also
 * reads its version.
 */
export class Prober<Instance, Cursor> {
  readonly #deps: ProberDeps<Instance, Cursor>;
  readonly #backoff;
  #version: string | undefined;
  #versionAt = Number.NEGATIVE_INFINITY;
  #versionOf: URL | undefined;
  /** The credentials with which the version was read: others may have more rights. */
  #versionWith: AbortSignal | undefined;
  #server: URL | undefined;
  /** The last probe failed, or there was none yet. */
  #failed = true;
  /** The next probe comes whatever the services show. */
  #isWanted = true;
  #suspicion = new AbortController();

  constructor(deps: ProberDeps<Instance, Cursor>) {
    this.#deps = deps;
    this.#backoff = createBackoff({ ...RETRY, random: deps.random });
  }

  get version(): string | undefined {
    return this.#version;
  }

  get isVersionRead(): boolean {
    return this.#versionOf !== undefined;
  }

  get api(): string | undefined {
    const { protocol } = this.#deps;
    return this.#server === undefined ? undefined : protocol.api?.(this.#server);
  }

  /** A service failed: the next probe comes at once, unless the last one has failed already. */
  suspect(): void {
    if (!this.#failed) this.#suspicion.abort();
  }

  /** Probes until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.#turn(signal);
      } catch (error) {
        if (signal.aborted) return;
        throw error;
      }
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const { clock, credentials, random } = this.#deps;
    const suspicion = new AbortController();
    this.#suspicion = suspicion;
    const changed = credentials();
    if (this.#isDue()) await this.#judge(AbortSignal.any([signal, changed]));
    signal.throwIfAborted();
    this.#isWanted = false;
    const pauseMs = this.#failed ? this.#backoff.next() : QUIET_MS * (1 - SPREAD / 2 + SPREAD * random());
    try {
      await clock.sleep(pauseMs, AbortSignal.any([signal, changed, suspicion.signal]));
    } catch {
      signal.throwIfAborted();
      this.#isWanted = true;
      if (suspicion.signal.aborted) await clock.sleep(SUSPICION_MS, signal);
    }
  }

  #isDue(): boolean {
    const { clock, health, protocol } = this.#deps;
    const isQuiet = health.evidenceAgeMs >= QUIET_MS * (1 - SPREAD);
    const isOld = protocol.version !== undefined && clock.monotonic() - this.#versionAt >= VERSION_AGE_MS;
    return this.#isWanted || this.#failed || isQuiet || isOld;
  }

  async #judge(signal: AbortSignal): Promise<void> {
    const { answered, failed, health } = this.#deps;
    try {
      await this.#probe(signal);
      this.#failed = false;
      this.#backoff.reset();
      health.probed(undefined);
      answered();
    } catch (error) {
      if (signal.aborted) return;
      this.#failed = true;
      failed(error);
      health.probed(error);
    }
  }

  async #probe(signal: AbortSignal): Promise<void> {
    const { protocol, requestTimeoutMs: timeoutMs } = this.#deps;
    const request = { query: protocol.probe, cursor: undefined, waitMs: 0, timeoutMs };
    // It takes no slot: while the registry is silent, services would have to give up theirs.
    const { server } = await askOneServer(this.#deps, request, signal, { triesOthersWhenUnauthorized: true });
    this.#server = server;
    await this.#readVersion(server, signal);
  }

  async #readVersion(server: URL, signal: AbortSignal): Promise<void> {
    const { changed, clock, credentials, protocol, requestTimeoutMs: timeoutMs } = this.#deps;
    const used = credentials();
    const isCurrent =
      this.#versionOf === server &&
      this.#versionWith === used &&
      clock.monotonic() - this.#versionAt < VERSION_AGE_MS;
    if (protocol.version === undefined || (isCurrent && !this.#failed)) return;
    let version: string | undefined;
    try {
      version = await protocol.version({ server, timeoutMs }, signal);
    } catch (error) {
      signal.throwIfAborted();
      // It has answered the probe. Its version can wait.
      if (!(error instanceof RegistryError)) throw error;
    }
    this.#versionAt = clock.monotonic();
    this.#versionOf = server;
    this.#versionWith = used;
    if (version === this.#version) return;
    this.#version = version;
    changed();
  }
}
