import { describe, expect, it, onTestFinished } from 'vitest';
import type {
  InstancesAnswer,
  InstancesRequest,
  RegistryProtocol,
} from '../../../../src/sources/registry-source/protocol.ts';
import { RegistrySource } from '../../../../src/sources/registry-source/registry-source.ts';
import type { SourceChange } from '../../../../src/sources/source.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';
import { quietLogger } from '../../../support/registries/quiet-logger.ts';

/** Answers a query at once, unless the query may wait for a change. */
class PatientRegistry implements RegistryProtocol<string, number> {
  readonly type = 'Patient';
  readonly blocking = true;
  readonly probe = { service: 'probe', options: undefined };
  /** How long each query for an instance may have waited. */
  readonly waits: number[] = [];

  key({ service }: { readonly service: string }): string {
    return service;
  }

  async ask(
    { query, waitMs }: InstancesRequest<number>,
    signal: AbortSignal,
  ): Promise<InstancesAnswer<string, number>> {
    if (query.service === 'web') this.waits.push(waitMs);
    if (waitMs === 0) return { instances: ['10.0.0.1'], cursor: 1 };
    return await new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    });
  }

  async version(): Promise<undefined> {
    return undefined;
  }

  placeOptions() {
    return undefined;
  }

  endpoints() {
    return [];
  }

  close(): void {}
}

/** Runs a source over `registry` until the test ends. */
function runSource(
  registry: PatientRegistry,
  onSecretsChange: (changed: () => void) => void = () => undefined,
) {
  const source = new RegistrySource({
    protocol: registry,
    servers: [new URL('http://registry:8500')],
    registry: {
      name: 'main',
      limits: {
        concurrentQueries: 10,
        requestsPerSecond: undefined,
        requestTimeoutMs: 5000,
        pollIntervalMs: 5000,
      },
      observer: { requested: () => undefined, failed: () => undefined, changed: () => undefined },
      onSecretsChange(changed) {
        onSecretsChange(changed);
        return { [Symbol.dispose]: () => undefined };
      },
      clock: createFakeClock(),
      random: () => 0,
      log: quietLogger,
    },
  });
  const stop = new AbortController();
  const running = source.run(stop.signal);
  onTestFinished(async () => {
    stop.abort();
    await running;
  });
  return source;
}

describe('a follower', () => {
  it('requests an immediate answer after the credentials change, then waits for changes', async () => {
    const registry = new PatientRegistry();
    let rotate: () => void = () => undefined;
    const source = runSource(registry, (changed) => {
      rotate = changed;
    });
    source.subscribe({ service: 'web', options: undefined }, () => undefined);
    await settle();
    expect(registry.waits).toEqual([0, 50_000]);
    rotate();
    await settle();
    expect(registry.waits).toEqual([0, 50_000, 0, 50_000]);
  });

  it('does not report its first answer as a change of instances, which is urgent', async () => {
    const source = runSource(new PatientRegistry());
    const changes: SourceChange[] = [];
    source.subscribe({ service: 'web', options: undefined }, (what) => changes.push(what));
    await settle();
    expect(changes).toEqual(['source']);
  });
});
