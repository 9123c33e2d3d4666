import type { Departed, Discovered, RemovalCause } from '../../model/discovered.ts';
import type { RegistryFacts } from '../../model/registry-facts.ts';
import { aborted } from '../../runtime/aborted.ts';
import type { RegistryDiscovery, RegistryOptions, ServiceQuery } from '../registry.ts';
import type { SourceChange } from '../source.ts';
import { CredentialsChanged, Follower, type FollowerDeps } from './follower.ts';
import { RegistryHealth } from './health.ts';
import { SharedPace } from './pace.ts';
import { Prober } from './prober.ts';
import { RegistryError, type RegistryProtocol } from './protocol.ts';
import { QuerySlots } from './query-slots.ts';
import { Retained } from './retained.ts';
import { Servers } from './servers.ts';

export interface RegistrySourceOptions<Instance, Cursor> {
  readonly protocol: RegistryProtocol<Instance, Cursor>;
  readonly servers: readonly URL[];
  readonly registry: Omit<RegistryOptions<unknown>, 'section' | 'secret'>;
}

/** Follows services of one registry: one subscription per service, however many backends refer to it. */
export class RegistrySource<Instance, Cursor> implements RegistryDiscovery {
  readonly type: string;
  readonly #protocol: RegistryProtocol<Instance, Cursor>;
  readonly #deps: FollowerDeps<Instance, Cursor>;
  readonly #registry: RegistrySourceOptions<Instance, Cursor>['registry'];
  /** By the protocol's key of the query. */
  readonly #followers = new Map<string, Follower<Instance, Cursor>>();
  readonly #health: RegistryHealth;
  readonly #prober: Prober<Instance, Cursor>;
  readonly #running = new Set<Promise<void>>();
  #credentials = new AbortController();
  #recovery = new AbortController();
  #isDown = false;
  #signal: AbortSignal | undefined;

  constructor({ protocol, servers, registry }: RegistrySourceOptions<Instance, Cursor>) {
    const { name, clock, random, log, limits, observer } = registry;
    this.#health = new RegistryHealth(clock, observer.changed);
    this.type = protocol.type;
    this.#protocol = protocol;
    this.#registry = registry;
    this.#deps = {
      name,
      protocol,
      observer,
      health: this.#health,
      servers: new Servers(servers, Math.floor(random() * servers.length)),
      slots: new QuerySlots(limits, () => this.#followers.size),
      sharedPace: new SharedPace(clock),
      retained: new Retained(),
      clock,
      random,
      requestTimeoutMs: limits.requestTimeoutMs,
      pollIntervalMs: limits.pollIntervalMs,
      credentials: () => this.#credentials.signal,
      recovery: () => this.#recovery.signal,
      answered: () => this.#answered(),
      failed: (error) => {
        if (!(error instanceof RegistryError)) log.error({ err: error }, 'A query of the registry failed');
        else if (error.scope === 'server') this.#isDown = true;
        if (!(error instanceof RegistryError) || error.scope !== 'service') this.#prober.suspect();
      },
    };
    this.#prober = new Prober({ ...this.#deps, changed: observer.changed });
  }

  facts(): RegistryFacts {
    const { api, isVersionRead, version } = this.#prober;
    return { ...this.#health.facts(), version, isVersionRead, api };
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    using _subscription = this.#registry.onSecretsChange(() => {
      const ended = this.#credentials;
      this.#credentials = new AbortController();
      ended.abort(new CredentialsChanged());
    });
    for (const follower of this.#followers.values()) this.#start(follower);
    const probing = this.#prober.run(signal);
    await aborted(signal);
    await Promise.all([...this.#running, probing]);
    this.#protocol.close();
  }

  key(query: ServiceQuery): string {
    return this.#protocol.key(query);
  }

  subscribe(query: ServiceQuery, changed: (what: SourceChange) => void): Disposable {
    const key = this.#protocol.key(query);
    let follower = this.#followers.get(key);
    if (follower === undefined) {
      follower = new Follower(this.#deps, query);
      this.#followers.set(key, follower);
      this.#health.began();
      this.#start(follower);
    }
    const used = follower;
    const listener = used.listen(changed);
    const dispose = () => {
      listener[Symbol.dispose]();
      if (!used.isUnused || this.#followers.get(key) !== used) return;
      this.#followers.delete(key);
      used.stop();
      this.#health.ended(used.state);
    };
    return { [Symbol.dispose]: dispose };
  }

  problem(query: ServiceQuery): string | undefined {
    return this.#followers.get(this.#protocol.key(query))?.problem;
  }

  read(query: ServiceQuery): Discovered {
    const follower = this.#followers.get(this.#protocol.key(query));
    return follower?.read(query.options) ?? new Follower(this.#deps, query).read(query.options);
  }

  departure(query: ServiceQuery, departed: Departed): RemovalCause {
    return this.#followers.get(this.#protocol.key(query))?.cause(departed, query.options) ?? 'unknown';
  }

  listedElsewhere(queries: readonly ServiceQuery[], addresses: ReadonlySet<string>): ReadonlySet<string> {
    const own = new Set(queries.map((query) => this.#protocol.key(query)));
    const found = new Set<string>();
    for (const [key, { endpoints }] of this.#followers) {
      if (own.has(key)) continue;
      for (const { address } of endpoints) if (addresses.has(address)) found.add(address);
    }
    return found;
  }

  #start(follower: Follower<Instance, Cursor>): void {
    if (this.#signal === undefined || this.#signal.aborted) return;
    const running = follower.run(this.#signal).finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Followers that wait out a failure of the whole registry need not wait longer. */
  #answered(): void {
    if (!this.#isDown) return;
    this.#isDown = false;
    const ended = this.#recovery;
    this.#recovery = new AbortController();
    ended.abort();
  }
}
