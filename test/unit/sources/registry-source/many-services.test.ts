import { describe, expect, it } from 'vitest';
import { RegistryError } from '../../../../src/sources/registry-source/protocol.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';
import { startFakeRegistry } from '../../../support/registries/fake-registry.ts';

describe('services that never had an instance', () => {
  it('do not slow down services that have instances, however many there are', async () => {
    const clock = createFakeClock();
    let asked = 0;
    let listed = ['10.0.0.1'];
    const wake = new Set<() => void>();
    const { follow, read } = startFakeRegistry({
      clock,
      limits: { concurrentQueries: 20 },
      async answer({ query, waitMs }, signal) {
        asked += 1;
        if (query.service !== 'web') {
          await clock.sleep(waitMs === 0 ? 5 : waitMs, signal);
          return { instances: waitMs === 0 ? [] : undefined, cursor: 1 };
        }
        if (waitMs > 0) {
          const changed = new Promise<void>((resolve) => void wake.add(resolve));
          await Promise.race([changed, clock.sleep(waitMs, signal)]);
        }
        return { instances: listed, cursor: 1 };
      },
    });
    const states: string[] = [];
    follow('web', () => states.push(read('web').state));
    await settle();
    for (let n = 0; n < 2000; n += 1) follow(`x${n}`);
    // The first question for each of them.
    await clock.advance(30_000);
    asked = 0;
    for (let n = 0; n < 4; n += 1) await clock.advance(30_000);
    expect(states).not.toContain('unknown');
    expect(asked / 120).toBeLessThan(25);
    listed = ['10.0.0.1', '10.0.0.2'];
    for (const resolve of wake) resolve();
    await clock.advance(1000);
    expect(read('web')).toMatchObject({ endpoints: [{ address: '10.0.0.1' }, { address: '10.0.0.2' }] });
  });
});

describe('more services than the registry can be asked about in a minute', () => {
  it('stay known while the registry answers others', async () => {
    const clock = createFakeClock();
    const { follow, read } = startFakeRegistry({
      clock,
      limits: { concurrentQueries: 1 },
      async answer(_, signal) {
        await clock.sleep(1000, signal);
        return { instances: ['10.0.0.1'], cursor: 1 };
      },
    });
    const services = Array.from({ length: 100 }, (_, n) => `x${n}`);
    let lost = 0;
    for (const service of services) {
      follow(service, () => {
        const { state } = read(service);
        if (state === 'unknown') lost += 1;
      });
    }
    for (let n = 0; n < 40; n += 1) await clock.advance(10_000);
    expect(lost).toBe(0);
    expect(new Set(services.map((service) => read(service).state))).toEqual(new Set(['known']));
  });
});

describe('a server that rejects the credentials', () => {
  it('is replaced by one that accepts them', async () => {
    const { clock, follow, read } = startFakeRegistry({
      servers: ['http://wrong:8500', 'http://right:8500'],
      random: () => 0,
      async answer({ server, waitMs }, signal) {
        if (server.host === 'wrong:8500') {
          throw new RegistryError('Unauthorized', 'registry', { problem: 'the token was rejected' });
        }
        if (waitMs > 0) await clock.sleep(waitMs, signal);
        return { instances: ['10.0.0.1'], cursor: 1 };
      },
    });
    follow('web');
    await settle();
    await clock.advance(20_000);
    expect(read('web').state).toBe('known');
  });
});
