import { describe, expect, it } from 'vitest';
import { RegistryError } from '../../../../src/sources/registry-source/protocol.ts';
import type { SourceChange } from '../../../../src/sources/source.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';
import { startFakeRegistry } from '../../../support/registries/fake-registry.ts';

const INSTANCES = { instances: ['10.0.0.1'], cursor: 1 };
const UNCHANGED = { instances: undefined, cursor: 1 };

/** A registry that can be switched off. */
function startSwitchable(
  down: (host: string) => RegistryError | 'silent',
  { servers, concurrentQueries }: { servers?: readonly string[]; concurrentQueries?: number },
) {
  const clock = createFakeClock();
  const state = { isDown: false };
  let seed = 0;
  const random = () => {
    seed = (seed * 7 + 3) % 101;
    return seed / 101;
  };
  const registry = startFakeRegistry({
    clock,
    random,
    ...(servers === undefined ? {} : { servers }),
    ...(concurrentQueries === undefined ? {} : { limits: { concurrentQueries } }),
    async answer({ server, waitMs, timeoutMs }, signal) {
      if (!state.isDown) {
        if (waitMs === 0) return INSTANCES;
        await clock.sleep(waitMs, signal);
        if (!state.isDown) return UNCHANGED;
      }
      const failure = down(server.host);
      await clock.sleep(failure === 'silent' ? waitMs + timeoutMs : 1 + random() * 20, signal);
      throw failure === 'silent'
        ? new RegistryError('Unreachable', 'server', { problem: 'no answer' })
        : failure;
    },
  });
  return { ...registry, state };
}

describe('a registry that is down', () => {
  const servers = ['http://a:8500', 'http://b:8500', 'http://c:8500'];
  const refused = (host: string) =>
    new RegistryError('Unreachable', 'server', { problem: `${host} refused the connection` });

  it('does not report another problem with every retry', async () => {
    const { clock, follow, seen, state } = startSwitchable(refused, { servers });
    const changes: SourceChange[] = [];
    for (let n = 0; n < 50; n += 1) follow(`x${n}`, (what) => changes.push(what));
    await settle();
    await clock.advance(60_000);
    state.isDown = true;
    changes.length = 0;
    seen.facts = 0;
    for (let n = 0; n < 60; n += 1) await clock.advance(5000);
    // One for each service, and none is urgent: no instance has changed.
    expect(changes).toEqual(Array.from({ length: 50 }, () => 'source'));
    expect(seen.facts).toBeLessThan(100);
  });

  it('does not show servers to the users of its services', async () => {
    const { clock, follow, read, source, state } = startSwitchable(refused, { servers });
    follow('web');
    await settle();
    state.isDown = true;
    await clock.advance(120_000);
    expect(read('web')).toMatchObject({
      state: 'unknown',
      message:
        "ServiceRegistry main gave no complete answer for service web (no server of the registry gives a complete answer: ask the platform team, which sees the cause in the status of the ServiceRegistry). The gateway's current nodes are unchanged",
    });
    expect(source.facts().standing).toMatchObject({
      kind: 'failing',
      problem: { message: expect.stringMatching(/^[abc]:8500 refused the connection$/) },
    });
  });

  it.each([1, 2, 5])(
    'makes its services unknown 60 s after its last answer when it is silent, with %i slots for as many services',
    async (concurrentQueries) => {
      const { clock, follow, read, state } = startSwitchable(() => 'silent', { concurrentQueries });
      const services = Array.from({ length: concurrentQueries }, (_, n) => `x${n}`);
      for (const service of services) follow(service);
      await settle();
      await clock.advance(120_000);
      state.isDown = true;
      for (let seconds = 0; seconds < 61; seconds += 1) await clock.advance(1000);
      expect(services.map((service) => read(service).state)).toEqual(services.map(() => 'unknown'));
    },
  );

  it('reports that it answers again without urgency when no instance has changed', async () => {
    const { clock, follow, state } = startSwitchable(refused, {});
    const changes: SourceChange[] = [];
    follow('web', (what) => changes.push(what));
    await settle();
    state.isDown = true;
    await clock.advance(60_000);
    changes.length = 0;
    state.isDown = false;
    await clock.advance(20_000);
    expect([...new Set(changes)]).toEqual(['source']);
  });
});

describe('a service that fails while the registry answers others', () => {
  it('is asked with back-off', async () => {
    const clock = createFakeClock();
    let seed = 0;
    const random = () => {
      seed = (seed * 7 + 3) % 101;
      return seed / 101;
    };
    let asked = 0;
    const { follow } = startFakeRegistry({
      clock,
      random,
      async answer({ query, waitMs }, signal) {
        if (query.service === 'broken') {
          asked += 1;
          throw new RegistryError('ServerError', 'server', { problem: 'a proxy answered HTTP 502' });
        }
        await clock.sleep(waitMs === 0 ? 1 + random() * 50 : 200 + random() * 200, signal);
        return { ...(waitMs === 0 ? INSTANCES : UNCHANGED) };
      },
    });
    for (let n = 0; n < 10; n += 1) follow(`x${n}`);
    follow('broken');
    await settle();
    await clock.advance(30_000);
    asked = 0;
    await clock.advance(60_000);
    expect(asked).toBeGreaterThan(3);
    expect(asked).toBeLessThan(15);
  });
});

describe('a registry that fails from time to time', () => {
  it('does not change the state of its services with each failed request', async () => {
    const clock = createFakeClock();
    let seed = 1;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    const { follow, read, seen } = startFakeRegistry({
      clock,
      random,
      async answer({ cursor, waitMs }, signal) {
        await clock.sleep(waitMs === 0 ? 10 : waitMs / 10, signal);
        if (random() < 0.1) throw new RegistryError('Unreachable', 'server', { problem: 'connection reset' });
        return cursor === undefined ? INSTANCES : UNCHANGED;
      },
    });
    let changes = 0;
    for (let n = 0; n < 20; n += 1) {
      follow(`x${n}`, () => {
        changes += 1;
      });
    }
    await settle();
    await clock.advance(1000);
    changes = 0;
    await clock.advance(600_000);
    expect(seen.failed.length).toBeGreaterThan(200);
    expect(changes).toBeLessThan(seen.failed.length / 3);
    expect(read('x0').state).toBe('known');
  });
});
