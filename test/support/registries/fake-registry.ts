import { onTestFinished } from 'vitest';
import type { Endpoint } from '../../../src/model/endpoint.ts';
import type { RegistryErrorReason } from '../../../src/model/registry-facts.ts';
import type { RegistryLimits } from '../../../src/sources/registry.ts';
import type {
  InstancesAnswer,
  InstancesRequest,
  RegistryProtocol,
} from '../../../src/sources/registry-source/protocol.ts';
import { RegistrySource } from '../../../src/sources/registry-source/registry-source.ts';
import type { SourceChange } from '../../../src/sources/source.ts';
import { createFakeClock } from '../fake-clock.ts';
import { quietLogger } from './quiet-logger.ts';

type Answer = InstancesAnswer<string, number>;

export interface FakeRegistryOptions {
  readonly answer: (request: InstancesRequest<number>, signal: AbortSignal) => Promise<Answer>;
  readonly servers?: readonly string[];
  readonly limits?: Partial<RegistryLimits>;
  readonly clock?: ReturnType<typeof createFakeClock>;
  readonly random?: () => number;
  readonly version?: () => Promise<string | undefined>;
}

/** A source whose registry answers as the test says, on a clock that the test advances. Instances are addresses. */
export function startFakeRegistry({
  answer,
  servers = ['http://registry:8500'],
  limits = {},
  clock = createFakeClock(),
  random = () => 0.5,
  version = async () => undefined,
}: FakeRegistryOptions) {
  const protocol: RegistryProtocol<string, number> = {
    type: 'Fake',
    blocking: true,
    probe: { service: 'probe', options: undefined },
    key: ({ service }) => service,
    ask: answer,
    version,
    placeOptions: () => undefined,
    endpoints: (instances) => instances.map(endpointAt),
    close: () => undefined,
  };
  const seen = { failed: [] as RegistryErrorReason[], facts: 0 };
  let rotate: () => void = () => undefined;
  const source = new RegistrySource({
    protocol,
    servers: servers.map((url) => new URL(url)),
    registry: {
      name: 'main',
      limits: {
        concurrentQueries: 100,
        requestsPerSecond: undefined,
        requestTimeoutMs: 5000,
        pollIntervalMs: 5000,
        ...limits,
      },
      observer: {
        requested: () => undefined,
        failed: (reason) => void seen.failed.push(reason),
        changed: () => {
          seen.facts += 1;
        },
      },
      onSecretsChange(changed) {
        rotate = changed;
        return { [Symbol.dispose]: () => undefined };
      },
      clock,
      random,
      log: quietLogger,
    },
  });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  const read = (service: string) => source.read({ service, options: undefined });
  const follow = (service: string, changed: (what: SourceChange) => void = () => undefined) =>
    source.subscribe({ service, options: undefined }, changed);
  return { clock, source, seen, read, follow, rotateSecrets: () => rotate() };
}

/** Waits until the signal ends the query, as a registry does in which nothing changes. */
export function noChange(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
  });
}

function endpointAt(address: string): Endpoint {
  return {
    address,
    family: 'IPv4',
    port: 80,
    ready: true,
    serving: true,
    terminating: false,
    metadata: {},
  };
}
