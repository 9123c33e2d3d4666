import PQueue from 'p-queue';
import { z } from 'zod';
import type { Discovered, RemovalCause } from '../../../src/model/discovered.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';
import type { RegistryFacts } from '../../../src/model/registry-facts.ts';
import { aborted } from '../../../src/runtime/aborted.ts';
import type {
  ProbeOptions,
  RegistryDiscovery,
  RegistryOptions,
  RegistryType,
  SecretKeyRef,
  ServerProbe,
  ServiceQuery,
} from '../../../src/sources/registry.ts';
import type { SourceChange } from '../../../src/sources/source.ts';

const REQUEST_TIMEOUT_MS = 200;
const CONCURRENT_REQUESTS = 16;

const registrySchema = z
  .object({
    url: z.string().max(256).describe('The URL of the registry.'),
    pollIntervalMs: z
      .int()
      .min(1)
      .max(60_000)
      .default(1000)
      .describe('Pause between two requests for a service.'),
    tokenSecretRef: z
      .object({ name: z.string().max(253), key: z.string().max(253).default('token') })
      .describe('Entry of a Secret with the token.'),
  })
  .describe('A toy registry.');

export type ToySection = z.output<typeof registrySchema>;

const backendSchema = z
  .object({
    only: z.string().max(64).optional().describe('Use only instances whose address starts with this text.'),
  })
  .describe('For a toy registry.');

type ToyBackend = z.output<typeof backendSchema>;

const answer = z
  .object({
    instances: z.array(
      z.object({ address: z.string(), port: z.int(), state: z.enum(['up', 'down', 'leaving']) }),
    ),
    count: z.int(),
  })
  .refine(({ instances, count }) => instances.length === count, 'the answer is not complete');

/** The registry type `Toy`: a complete example that polls and uses a token. */
export const toySource: RegistryType<ToySection> = {
  type: 'Toy',
  section: 'toy',
  registrySchema,
  backendSchema,
  secretRefs: ({ tokenSecretRef }): readonly SecretKeyRef[] => [tokenSecretRef],
  saved: {
    serviceName: ({ service }) => service,
    expected: 'the answer to GET /services/NAME',
    read(body) {
      const { data } = answer.safeParse(body);
      return (
        data && {
          count: data.instances.length,
          endpoints: (options) => selected(endpointsOf(data.instances), options),
        }
      );
    },
  },
  create: (options) => new ToySource(options),
  probe,
};

async function probe({ section, secret }: ProbeOptions<ToySection>): Promise<readonly ServerProbe[]> {
  const { url, tokenSecretRef } = section;
  const token = secret(tokenSecretRef);
  const refused = (reason: 'Unreachable' | 'Unauthorized' | 'SecretMissing', problem: string) => [
    { url, result: { ok: false, reason, problem } as const },
  ];
  if (!token.ok) return refused('SecretMissing', token.message);
  try {
    const headers = { authorization: `Bearer ${token.value}` };
    const { status } = await fetch(`${url}/services/probe`, {
      headers,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    if (status === 401) return refused('Unauthorized', 'the registry rejects the token');
    return [{ url, result: { ok: true, version: undefined, api: undefined } }];
  } catch {
    return refused('Unreachable', 'the registry does not answer');
  }
}

/** A service with subscribers. */
interface Followed {
  readonly listeners: Map<symbol, (what: SourceChange) => void>;
  readonly stop: AbortController;
  found: Discovered;
  /** The last listed state of each instance, by address. */
  readonly gone: Map<string, RemovalCause>;
}

const BEGINNING: Discovered = {
  state: 'unknown',
  beginning: true,
  message: 'the registry has not answered yet',
};

class ToySource implements RegistryDiscovery {
  readonly type = 'Toy';
  readonly #options: RegistryOptions<ToySection>;
  readonly #followed = new Map<string, Followed>();
  readonly #polls = new Set<Promise<void>>();
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });
  #signal: AbortSignal | undefined;
  #lastAnswerAt: number | undefined;

  constructor(options: RegistryOptions<ToySection>) {
    this.#options = options;
  }

  problem(): undefined {}

  key({ service }: ServiceQuery): string {
    return service;
  }

  async run(signal: AbortSignal): Promise<void> {
    this.#signal = signal;
    for (const [service, followed] of this.#followed) this.#start(service, followed);
    await aborted(signal);
    await Promise.all(this.#polls);
  }

  subscribe({ service }: ServiceQuery, changed: (what: SourceChange) => void): Disposable {
    let followed = this.#followed.get(service);
    if (followed === undefined) {
      followed = { listeners: new Map(), stop: new AbortController(), found: BEGINNING, gone: new Map() };
      this.#followed.set(service, followed);
      this.#start(service, followed);
    }
    const { listeners, stop } = followed;
    const token = Symbol('subscription');
    listeners.set(token, changed);
    const dispose = () => {
      if (!listeners.delete(token) || listeners.size > 0) return;
      stop.abort();
      this.#followed.delete(service);
    };
    return { [Symbol.dispose]: dispose };
  }

  read({ service, options }: ServiceQuery): Discovered {
    const found = this.#followed.get(service)?.found ?? BEGINNING;
    return found.state === 'known' ? { ...found, endpoints: selected(found.endpoints, options) } : found;
  }

  departure({ service }: ServiceQuery, what: Parameters<RegistryDiscovery['departure']>[1]) {
    if (what.kind !== 'address') return 'unknown';
    return this.#followed.get(service)?.gone.get(what.address) ?? 'unknown';
  }

  listedElsewhere(refs: readonly ServiceQuery[], addresses: ReadonlySet<string>): ReadonlySet<string> {
    const own = new Set(refs.map(({ service }) => service));
    const others = [...this.#followed].filter(([service]) => !own.has(service));
    const listed = others.flatMap(([, { found }]) => endpointsIn(found).map(({ address }) => address));
    return new Set(listed.filter((address) => addresses.has(address)));
  }

  /** A toy looks broken while one of its services is unknown. */
  facts(): RegistryFacts {
    const found = [...this.#followed.values()].map((one) => one.found);
    const unknown = found.filter(({ state }) => state === 'unknown');
    const failing = unknown.filter((one) => one !== BEGINNING);
    const services = {
      waiting: unknown.length - failing.length,
      current: found.length - unknown.length,
      failing: failing.length,
      refused: 0,
    };
    const problem = { reason: 'Unreachable', message: 'a service is unknown' } as const;
    return {
      standing: failing.length > 0 ? { kind: 'failing', problem } : { kind: 'answering' },
      version: undefined,
      isVersionRead: true,
      api: undefined,
      services,
      lastCompleteAnswerAt: this.#lastAnswerAt,
    };
  }

  #start(service: string, followed: Followed): void {
    if (this.#signal === undefined) return;
    const signal = AbortSignal.any([this.#signal, followed.stop.signal]);
    const poll = this.#poll(service, followed, signal).finally(() => this.#polls.delete(poll));
    this.#polls.add(poll);
  }

  async #poll(service: string, followed: Followed, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const found = await this.#requests.add(() => this.#ask(service, signal));
      if (signal.aborted) return;
      this.#take(followed, found);
      try {
        await this.#options.clock.sleep(this.#options.section.pollIntervalMs, signal);
      } catch {
        return;
      }
    }
  }

  #take(followed: Followed, found: Discovered): void {
    if (found.state !== 'unknown') this.#lastAnswerAt = this.#options.clock.now();
    if (JSON.stringify(found) === JSON.stringify(followed.found)) return;
    if (found.state !== 'unknown') noteRemovals(followed, found);
    followed.found = found;
    this.#options.observer.changed();
    for (const changed of [...followed.listeners.values()]) changed('instances');
  }

  async #ask(service: string, signal: AbortSignal): Promise<Discovered> {
    const { name, section, secret } = this.#options;
    const unknown = (why: string): Discovered => ({
      state: 'unknown',
      beginning: false,
      message: `ServiceRegistry ${name} has not answered for service ${service} (${why}): the gateway's current nodes are unchanged`,
    });
    const token = secret(section.tokenSecretRef);
    if (!token.ok) return unknown(token.message);
    try {
      const response = await fetch(`${section.url}/services/${encodeURIComponent(service)}`, {
        headers: { authorization: `Bearer ${token.value}` },
        signal: AbortSignal.any([signal, AbortSignal.timeout(REQUEST_TIMEOUT_MS)]),
      });
      const text = await response.text();
      if (response.status === 404) return absent(name, service);
      if (response.status !== 200) return unknown(`HTTP ${response.status}`);
      return knownFrom(answer.parse(JSON.parse(text)));
    } catch (error) {
      return unknown(
        error instanceof z.ZodError || error instanceof SyntaxError ? 'not a complete answer' : 'no answer',
      );
    }
  }
}

function absent(name: string, service: string): Discovered {
  return {
    state: 'absent',
    reason: 'ServiceNotFound',
    message: `ServiceRegistry ${name} has no service ${service}: register it or correct the name`,
  };
}

function knownFrom({ instances }: z.output<typeof answer>): Discovered {
  return {
    state: 'known',
    preferredFamily: 'IPv4',
    basis: 'Toy',
    endpoints: endpointsOf(instances),
  };
}

function endpointsOf(instances: z.output<typeof answer>['instances']): readonly Endpoint[] {
  return instances.map(({ address, port, state }) => ({
    address,
    port,
    family: 'IPv4',
    ready: state === 'up',
    serving: state !== 'down',
    terminating: state === 'leaving',
  }));
}

function selected(endpoints: readonly Endpoint[], options: unknown): readonly Endpoint[] {
  const only = (options as ToyBackend | undefined)?.only;
  return only === undefined ? endpoints : endpoints.filter(({ address }) => address.startsWith(only));
}

function endpointsIn(found: Discovered): readonly Endpoint[] {
  return found.state === 'known' ? found.endpoints : [];
}

/** An outage explains no removal. Only the state in the last complete answer counts. */
function noteRemovals({ found, gone }: Followed, next: Discovered): void {
  const current = new Set(endpointsIn(next).map(({ address }) => address));
  for (const { address, terminating } of endpointsIn(found)) {
    if (!current.has(address)) gone.set(address, terminating ? 'explained' : 'vanished');
  }
  for (const address of current) gone.delete(address);
}
