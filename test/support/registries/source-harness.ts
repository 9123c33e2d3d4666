import { randomBytes } from 'node:crypto';
import { systemClock } from '../../../src/runtime/clock.ts';
import type { RegistryType, ServiceQuery } from '../../../src/sources/registry.ts';
import type { Instance, SourceHarness } from '../../contract/discovery-source.ts';
import { eventually } from '../eventually.ts';
import { type BreakableProxy, FaultProxy, type RegistryFault } from './fault-proxy.ts';
import { quietLogger } from './quiet-logger.ts';

/** A source of a registry behind a proxy that breaks on command. */
export interface RegistryHarness extends SourceHarness<ServiceQuery> {
  readonly proxy: BreakableProxy;
  /** Values of the operator's Secret by key; a key without a value is missing. */
  secret: Readonly<Record<string, string | undefined>>;
  /** Replaces values of the Secret, and tells the source. */
  change(values: RegistryHarness['secret']): void;
  readonly isFollowing: () => boolean;
}

export interface RegistryHarnessOptions<Section> {
  readonly type: Pick<RegistryType<Section>, 'section' | 'create'>;
  readonly server: {
    readonly url: URL;
    /** Makes `instances` everything that the registry has of the service. */
    register(service: string, instances: readonly Instance[]): Promise<void>;
  };
  readonly section: (proxyUrl: string) => Section;
  readonly secret: Readonly<Record<string, string>>;
  /** The values that no message may contain. */
  readonly secrets: readonly string[];
  readonly pollIntervalMs: number;
  /** Default: 100. */
  readonly concurrentQueries?: number;
  /** Default: a proxy for HTTP. */
  readonly startProxy?: (target: URL) => Promise<BreakableProxy>;
  /** What the requests for a service contain. Absent: the registry is asked only once while nothing changes. */
  readonly requestOf?: (service: string) => string;
}

/** All tests share one server: each harness has services of its own. */
export async function createRegistryHarness<Section>({
  type,
  server,
  section,
  secret,
  secrets,
  pollIntervalMs,
  concurrentQueries = 100,
  startProxy = (target) => FaultProxy.start(target),
  requestOf,
}: RegistryHarnessOptions<Section>): Promise<RegistryHarness> {
  const proxy = await startProxy(server.url);
  const prefix = `t${randomBytes(4).toString('hex')}-`;
  const registered = new Set<string>();
  const listeners = new Set<() => void>();
  const followed = new Set<string>();
  let isRunning = false;
  const register = (service: string, instances: readonly Instance[]) => {
    registered.add(service);
    return server.register(prefix + service, instances);
  };
  const harness: RegistryHarness = {
    proxy,
    secret,
    change(values) {
      harness.secret = { ...harness.secret, ...values };
      for (const changed of listeners) changed();
    },
    isFollowing: () => isRunning && followed.size > 0,
    source: type.create({
      name: type.section,
      section: section(proxy.url),
      secret({ key }) {
        const value = harness.secret[key];
        return value === undefined
          ? { ok: false, message: `the Secret has no entry ${key}` }
          : { ok: true, value };
      },
      onSecretsChange(changed) {
        listeners.add(changed);
        return { [Symbol.dispose]: () => void listeners.delete(changed) };
      },
      limits: {
        concurrentQueries,
        requestsPerSecond: undefined,
        requestTimeoutMs: 1000,
        pollIntervalMs,
      },
      observer: { requested: () => undefined, failed: () => undefined, changed: () => undefined },
      clock: systemClock,
      random: Math.random,
      log: quietLogger,
    }),
    async run(signal) {
      isRunning = true;
      await harness.source.run(signal);
    },
    ref(service) {
      followed.add(service);
      return { service: prefix + service, options: undefined };
    },
    register,
    remove: (service) => register(service, []),
    ...(requestOf === undefined
      ? {}
      : { requestsFor: (service: string) => proxy.requestsFor(requestOf(prefix + service)) }),
    secrets,
    async [Symbol.asyncDispose]() {
      await Promise.all([...registered].map((service) => register(service, [])));
      await proxy[Symbol.asyncDispose]();
    },
  };
  return harness;
}

type BeginFault = (harness: RegistryHarness) => Promise<AsyncDisposable>;

/** Every request meets the fault. */
function proxyFault(fault: RegistryFault): BeginFault {
  return async ({ proxy, isFollowing }) => {
    const met = proxy.faultsMet;
    const repair = proxy.fail(fault);
    if (isFollowing()) {
      await eventually(() => {
        if (proxy.faultsMet <= met) throw new Error('no request met the fault yet');
      });
    }
    return { [Symbol.asyncDispose]: async () => repair[Symbol.dispose]() };
  };
}

/** The Secret has other values. */
export function secretFault(values: () => RegistryHarness['secret']): BeginFault {
  return async (harness) => {
    const before = harness.secret;
    harness.change(values());
    return { [Symbol.asyncDispose]: async () => harness.change(before) };
  };
}

/** What every registry over HTTP must survive. */
export const HTTP_FAULTS: Readonly<Record<string, BeginFault>> = {
  'the registry closes every connection': proxyFault('closes every connection'),
  'the registry answers 500': proxyFault('answers 500'),
  'the registry answers with a web page': proxyFault('answers with a web page'),
  'answers are truncated': proxyFault('truncates its answers'),
  'answers are not UTF-8': proxyFault('sends bytes that are not UTF-8'),
  'answers have another shape': proxyFault('sends JSON of another shape'),
  'the registry does not answer': proxyFault('does not answer'),
  'answers end after their headers': proxyFault('sends only headers'),
};
