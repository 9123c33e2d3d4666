import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { eventually } from '../support/eventually.ts';
import type { RegistryFault } from '../support/registries/fault-proxy.ts';
import { FaultStage, type Scene } from '../support/registries/fault-stage.ts';
import type { RegistryUnderTest } from '../support/registries/registry-under-test.ts';

const A = '10.1.0.1';
const B = '10.1.0.2';
const C = '10.1.0.3';
const D = '10.1.0.4';
const POD = '10.9.0.1';
const ANOTHER_POD = '10.9.0.2';

const UNKNOWN = { status: 'Unknown', reason: 'SourceUnavailable' } as const;
const RESOLVED = { status: 'True', reason: 'ResolvedRefs' } as const;

/** Long enough for a write that must not happen. */
const QUIET_MS = 1500;

/** What the proxy does, and what the condition says about it. */
const ANSWERS: readonly (readonly [RegistryFault, RegExp])[] = [
  ['closes every connection', /closed the connection without an answer/],
  ['answers 500', /HTTP 500/],
  ['answers with a web page', /JSON/],
  ['truncates its answers', /in the middle of its answer/],
  ['sends bytes that are not UTF-8', /invalid|not valid|without JSON/],
  ['sends JSON of another shape', /invalid|not valid/],
  ['announces more than the limit', /MiB/],
  ['sends more than the limit', /MiB|did not answer within|without JSON/],
  ['does not answer', /did not answer within 1000 ms/],
  ['sends only headers', /did not answer within 1000 ms/],
];

/**
 * The faults of a registry, with the condition and the number of writes to the gateway that each may cause. Every scene has
 * an upstream `only` of the registry's service, and an upstream `mixed` of the same and of a Kubernetes Service.
 */
export function testRegistryFaults({
  name,
  start,
}: {
  readonly name: string;
  readonly start: () => Promise<RegistryUnderTest>;
}): void {
  describe(`${name} fails`, () => {
    let stage: FaultStage;

    beforeAll(async () => {
      stage = await FaultStage.start(start);
    }, 900_000);

    afterAll(async () => {
      await stage?.[Symbol.asyncDispose]();
    });

    /** Both upstreams have the nodes of three instances. */
    async function follow(scene: Scene, instances: readonly string[] = [A, B, C]): Promise<void> {
      await scene.register(instances);
      await scene.connect();
      await scene.upstream('only');
      await scene.upstream('mixed', [await scene.pods([POD])]);
      await scene.shows('only', instances);
      await scene.shows('mixed', [...instances, POD]);
      for (const one of ['only', 'mixed']) await scene.resolves(one, RESOLVED);
      scene.mark();
    }

    /** During the fault only the Pods move. Afterwards both upstreams have what changed in the registry. */
    async function outlives(scene: Scene, message: RegExp, repair: () => Promise<void>): Promise<void> {
      for (const one of ['only', 'mixed']) {
        const { message: text } = await scene.resolves(one, UNKNOWN);
        expect(text).toContain("The gateway's current nodes are unchanged");
        // A tenant learns nothing about servers and Secrets of the platform team.
        expect(text).not.toMatch(/127\.0\.0\.1|Secret/);
        // The first problem may be that the proxy closed the connection.
        await scene.names(message, one);
      }
      await scene.movePods([ANOTHER_POD]);
      await scene.shows('mixed', [A, B, C, ANOTHER_POD]);
      await sleep(QUIET_MS);
      expect(scene.writes('only')).toEqual([]);
      expect(scene.writes('mixed')).toEqual([[A, B, C, ANOTHER_POD].sort()]);
      await repair();
      await recovers(scene);
      expect(scene.writes('only')).toHaveLength(1);
      expect(scene.writes('mixed')).toHaveLength(2);
    }

    /** Without a restart. */
    async function recovers(scene: Scene, instances: readonly string[] = [B, C, D]): Promise<void> {
      await scene.shows('only', instances);
      await scene.shows('mixed', [...instances, ANOTHER_POD]);
      for (const one of ['only', 'mixed']) await scene.resolves(one, RESOLVED);
      await sleep(QUIET_MS);
    }

    describe.concurrent('while it runs: keeps its nodes, updates the other backend, and recovers with one write per upstream', () => {
      // The longest one comes first: the others run beside it.
      it('the credentials expire', async ({ skip }) => {
        const { expiring } = stage.registry;
        if (expiring === undefined) return skip('the credentials of the registry do not expire');
        const { data, expiresAtMs } = await expiring();
        await using scene = await stage.scene({ credentials: data });
        await follow(scene);
        await sleep(expiresAtMs - performance.now() + 1000);
        await scene.register([B, C, D]);
        await outlives(scene, /rejected/, async () => scene.rotate(await stage.registry.credentials()));
      });

      it.each(ANSWERS)('the registry %s', async (fault, message) => {
        await using scene = await stage.scene();
        await follow(scene);
        const failing = scene.proxy.fail(fault);
        await outlives(scene, stage.registry.messages?.[fault] ?? message, async () => {
          await scene.register([B, C, D]);
          failing[Symbol.dispose]();
        });
      });

      it('the Secret contains unknown credentials', async () => {
        await using scene = await stage.scene();
        await follow(scene);
        await scene.rotate(stage.registry.unknown);
        await outlives(scene, /rejected/, async () => {
          await scene.register([B, C, D]);
          await scene.rotate(await stage.registry.credentials());
        });
      });

      it('the Secret contains credentials without permissions', async ({ skip }) => {
        const { withoutRights } = stage.registry;
        if (withoutRights === undefined) return skip('the registry has no permissions');
        await using scene = await stage.scene();
        await follow(scene);
        await scene.rotate(await withoutRights());
        await outlives(scene, /ACL|rights|permission|grant/i, async () => {
          await scene.register([B, C, D]);
          await scene.rotate(await stage.registry.credentials());
        });
      });

      it('the credentials are revoked', async ({ skip }) => {
        const { revocable } = stage.registry;
        if (revocable === undefined) return skip('the registry keeps a session that it began');
        const { data, revoke } = await revocable();
        await using scene = await stage.scene({ credentials: data });
        await follow(scene);
        await revoke();
        // A query that waits for a change notices it with the change.
        await scene.register([B, C, D]);
        await outlives(scene, /rejected/, async () => scene.rotate(await stage.registry.credentials()));
      });

      it('the Secret is deleted', async () => {
        await using scene = await stage.scene();
        await follow(scene);
        await stage.removeSecret(scene.name);
        await outlives(scene, /Secret/, async () => {
          await scene.register([B, C, D]);
          await scene.rotate(await stage.registry.credentials());
        });
      });
    });

    describe.concurrent('at the start: writes nothing before the first complete answer, then writes once', () => {
      it.each(ANSWERS)('the registry %s', async (fault, message) => {
        await using scene = await stage.scene();
        await scene.register([A, B]);
        const failing = scene.proxy.fail(fault);
        await scene.connect();
        await scene.upstream('only');
        await scene.upstream('mixed', [await scene.pods([POD])]);
        for (const one of ['only', 'mixed']) {
          await scene.resolves(one, UNKNOWN);
          await scene.names(stage.registry.messages?.[fault] ?? message, one);
        }
        await sleep(QUIET_MS);
        expect([...scene.writes('only'), ...scene.writes('mixed')]).toEqual([]);
        failing[Symbol.dispose]();
        await scene.shows('only', [A, B]);
        await scene.shows('mixed', [A, B, POD]);
        for (const one of ['only', 'mixed']) await scene.resolves(one, RESOLVED);
        await sleep(QUIET_MS);
        expect(scene.writes('only')).toHaveLength(1);
        expect(scene.writes('mixed')).toHaveLength(1);
      });
    });

    describe('and returns with other data', () => {
      it('empty: keeps the nodes while instances register again, and the missing one until the hold ends', async () => {
        await using scene = await stage.scene({ spec: { vanishedHold: '25s' } });
        await follow(scene);
        await stage.registry.kill();
        await scene.resolves('only', UNKNOWN);
        await stage.registry.start();
        await scene.rotate(await stage.registry.credentials());
        for (const one of ['only', 'mixed']) await held(scene, one);
        await sleep(QUIET_MS);
        expect([...scene.writes('only'), ...scene.writes('mixed')]).toEqual([]);
        await scene.register([B, C, D]);
        await scene.shows('only', [B, C, D]);
        await scene.shows('mixed', [B, C, D, POD]);
        for (const one of ['only', 'mixed']) await released(scene, one);
        expect(scene.writes('only')).toEqual([
          [A, B, C, D],
          [B, C, D],
        ]);
        expect(scene.writes('mixed')).toHaveLength(2);
      });

      it('empty permanently: keeps all nodes until the hold ends, then removes them with one write', async () => {
        const holdMs = 8000;
        await using scene = await stage.scene({ spec: { vanishedHold: `${holdMs / 1000}s` } });
        await follow(scene);
        await stage.registry.kill();
        await stage.registry.start();
        const emptyAt = performance.now();
        await scene.rotate(await stage.registry.credentials());
        for (const one of ['only', 'mixed']) await held(scene, one);
        await eventually(() => expect(scene.writes('only')).not.toEqual([]), { intervalMs: 10 });
        expect(performance.now() - emptyAt).toBeGreaterThanOrEqual(holdMs);
        await scene.shows('mixed', [POD]);
        await sleep(QUIET_MS);
        expect(scene.writes('only')).toEqual([[]]);
        expect(scene.writes('mixed')).toEqual([[POD]]);
      });

      it('from an older backup: uses the restored instances, with one write', async ({ skip }) => {
        const { backup } = stage.registry;
        if (backup === undefined) return skip('the registry has no backups');
        await using scene = await stage.scene();
        await scene.register([A, B, C]);
        const restore = await backup();
        await scene.register([B, C, D]);
        await scene.connect();
        await scene.upstream('only');
        await scene.shows('only', [B, C, D]);
        await scene.resolves('only', RESOLVED);
        scene.mark();
        await restore();
        await scene.shows('only', [A, B, C]);
        await sleep(QUIET_MS);
        expect(scene.writes('only')).toHaveLength(1);
        await scene.register([A, B, C, D]);
        await scene.shows('only', [A, B, C, D]);
      });
    });

    describe('with a fault on one of three servers', () => {
      const current = (scene: Scene) => {
        const index = scene.proxies.findIndex(({ underWay }) => underWay > 0);
        if (index < 0) throw new Error('no server has a request');
        return index;
      };

      it('which fails: uses another server and writes nothing', async () => {
        await using scene = await stage.scene({ servers: 3 });
        await follow(scene);
        const used = scene.proxies[await eventually(() => current(scene))];
        using _failing = used?.fail('closes every connection');
        await eventually(() => expect(scene.proxies[current(scene)]).not.toBe(used));
        await sleep(QUIET_MS);
        expect(await scene.condition('only', 'ResolvedRefs')).toMatchObject(RESOLVED);
        expect([...scene.writes('only'), ...scene.writes('mixed')]).toEqual([]);
        await scene.register([B, C, D]);
        await scene.shows('only', [B, C, D]);
      });

      it('which lags behind: ignores its older answer', async ({ skip }) => {
        const { answer } = stage.registry;
        if (answer === undefined) return skip('an older answer of this registry cannot be recognized');
        await using scene = await stage.scene({ servers: 3 });
        await scene.register([A, B, C]);
        const older = await answer(scene.service);
        await follow(scene, [B, C, D]);
        const used = await eventually(() => current(scene));
        const next = scene.proxies[(used + 1) % 3];
        using _behind = next?.lag(older);
        using _failing = scene.proxies[used]?.fail('closes every connection');
        await eventually(() => expect(next?.faultsMet).toBeGreaterThan(0));
        await sleep(QUIET_MS);
        expect(await scene.condition('only', 'ResolvedRefs')).toMatchObject(RESOLVED);
        expect([...scene.writes('only'), ...scene.writes('mixed')]).toEqual([]);
        await scene.register([A, D]);
        await scene.shows('only', [A, D]);
        expect(next?.faultsMet, 'requests to a server that answers at once').toBeLessThan(100);
      });
    });

    describe('with large services', () => {
      const MANY = Array.from({ length: 10_000 }, (_, n) => `10.2.${n >> 8}.${n & 255}`);

      it('a service has 10,000 instances: adds them with one write, and keeps them while the registry fails', async () => {
        await using scene = await stage.scene({ spec: { requestTimeout: '30s' } });
        await scene.register(MANY);
        await scene.connect();
        await scene.upstream('only');
        await scene.shows('only', MANY, 120_000);
        await scene.resolves('only', RESOLVED);
        expect(scene.writes('only')).toHaveLength(1);
        scene.mark();
        const failing = scene.proxy.fail('truncates its answers');
        await scene.resolves('only', UNKNOWN);
        await scene.register([...MANY.slice(1), A]);
        await sleep(QUIET_MS);
        expect(scene.writes('only')).toEqual([]);
        failing[Symbol.dispose]();
        await scene.shows('only', [...MANY.slice(1), A], 120_000);
        await scene.resolves('only', RESOLVED);
        expect(scene.writes('only')).toHaveLength(1);
      });

      it('a service of 10,000 instances changes all the time: other services are updated within 2 s', async () => {
        await using scene = await stage.scene({ spec: { requestTimeout: '30s' } });
        const other = `${scene.name}-other`;
        await scene.register(MANY);
        await scene.register([A], other);
        await scene.connect();
        await scene.upstream('only');
        await scene.upstream('other', [], other);
        await scene.shows('only', MANY, 120_000);
        await scene.shows('other', [A]);
        const before = scene.proxy.requestsFor(scene.service);
        const beganAt = performance.now();
        const stop = new AbortController();
        const changing = changeForever(scene, MANY.slice(0, 5), stop.signal);
        const tookMs: number[] = [];
        try {
          for (let n = 0; n < 10; n += 1) {
            const changedAt = performance.now();
            const next = n % 2 === 0 ? [A, B] : [A];
            await scene.register(next, other);
            await scene.shows('other', next);
            tookMs.push(performance.now() - changedAt);
          }
        } finally {
          stop.abort();
          await changing;
        }
        const elapsedS = (performance.now() - beganAt) / 1000;
        expect(tookMs.toSorted((a, b) => a - b)[5], 'the median').toBeLessThan(2000);
        // Each answer has several megabytes. Reading one costs a pause of a second.
        expect(scene.proxy.requestsFor(scene.service) - before).toBeLessThanOrEqual(elapsedS + 2);
      });
    });

    it('while the operator restarts: keeps the nodes of the registry and updates the other backend', async () => {
      await using scene = await stage.scene();
      await follow(scene);
      await stage.killOperator();
      const failing = scene.proxy.fail('closes every connection');
      await scene.register([B, C, D]);
      await scene.movePods([ANOTHER_POD]);
      await stage.startOperator();
      await scene.shows('mixed', [A, B, C, ANOTHER_POD]);
      for (const one of ['only', 'mixed']) await scene.resolves(one, UNKNOWN);
      await sleep(QUIET_MS);
      expect(scene.writes('only')).toEqual([]);
      expect(scene.writes('mixed')).toEqual([[A, B, C, ANOTHER_POD].sort()]);
      failing[Symbol.dispose]();
      await recovers(scene);
      expect(scene.writes('only')).toHaveLength(1);
      expect(scene.writes('mixed')).toHaveLength(2);
    });

    it('does not fail while a Secret is rotated during a query: writes nothing until the next change', async ({
      skip,
    }) => {
      const { revocable } = stage.registry;
      if (revocable === undefined) return skip('the registry keeps a session that it began');
      const first = await revocable();
      await using scene = await stage.scene({ credentials: first.data });
      await follow(scene);
      await scene.rotate((await revocable()).data);
      await sleep(QUIET_MS);
      await first.revoke();
      await sleep(QUIET_MS);
      expect(await scene.condition('only', 'ResolvedRefs')).toMatchObject(RESOLVED);
      expect([...scene.writes('only'), ...scene.writes('mixed')]).toEqual([]);
      await scene.register([B, C, D]);
      await scene.shows('only', [B, C, D]);
      await sleep(QUIET_MS);
      expect(scene.writes('only')).toHaveLength(1);
    });
  });
}

/** Instances of the service come and go, one after the other. */
async function changeForever(scene: Scene, addresses: readonly string[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    for (const address of addresses) await scene.touch(address);
  }
}

async function held(scene: Scene, name: string): Promise<void> {
  await eventually(async () =>
    expect(await scene.condition(name, 'RemovalHeld')).toMatchObject({ status: 'True' }),
  );
}

async function released(scene: Scene, name: string): Promise<void> {
  await eventually(async () => expect(await scene.condition(name, 'RemovalHeld')).toBeUndefined());
}
