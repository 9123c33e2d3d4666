import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { LEASE_SUCCESSOR_ANNOTATION } from '../../../src/api/group.ts';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import {
  createLeaderElection,
  guardWrites,
  type LeaderElection,
  LeaseLostError,
  NO_LEADER_ELECTION,
  NotLeaderError,
} from '../../../src/kube/leader.ts';
import type { KubeTransport, RequestSettings, SendRequest } from '../../../src/kube/transport.ts';
import type { Logger } from '../../../src/runtime/logger.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const COLLECTION = '/apis/coordination.k8s.io/v1/namespaces/ops/leases';
const PATH = `${COLLECTION}/operator`;
const LEASE_MS = 15_000;
const DEADLINE_MS = 8000;
const RETRY_MS = 2000;

interface LeaseObject {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly spec: Readonly<Record<string, unknown>>;
}

type Step = 'get' | 'create' | 'update';

/** A fake API server with one Lease. It assigns resource versions and answers 409 to writes based on an old version. */
class Api implements KubeTransport {
  lease: LeaseObject | undefined;
  readonly calls: string[] = [];
  /** Runs before each call. It may delay the call, or make it fail. */
  fault: ((step: Step) => Promise<void> | undefined) | undefined;
  /** Timeouts of the calls, in order. */
  readonly timeouts: (number | undefined)[] = [];
  #version = 0;

  /** Writes the Lease as another client. */
  set(
    spec: Readonly<Record<string, unknown>> | undefined,
    metadata: Readonly<Record<string, unknown>> = {},
  ): void {
    this.#version += 1;
    this.lease =
      spec === undefined
        ? undefined
        : {
            metadata: {
              name: 'operator',
              namespace: 'ops',
              ...metadata,
              resourceVersion: `${this.#version}`,
            },
            spec,
          };
  }

  async get(path: string, { timeoutMs, signal }: RequestSettings): Promise<unknown> {
    expect(path).toBe(PATH);
    return await this.#call('get', timeoutMs, signal, () => {
      if (this.lease === undefined) throw new KubeApiError('no such lease', { status: 404 });
      return this.lease;
    });
  }

  async send({ method, path, body, timeoutMs, signal }: SendRequest): Promise<unknown> {
    const step = method === 'POST' ? 'create' : 'update';
    expect(path).toBe(method === 'POST' ? COLLECTION : PATH);
    return await this.#call(step, timeoutMs, signal, () => {
      const { metadata, spec } = body as LeaseObject;
      const known = this.lease?.metadata['resourceVersion'];
      if (metadata['resourceVersion'] !== known) throw new KubeApiError('changed', { status: 409 });
      this.set(spec, metadata);
      return this.lease;
    });
  }

  async #call<T>(step: Step, timeoutMs: number | undefined, signal: AbortSignal, work: () => T): Promise<T> {
    this.calls.push(step);
    this.timeouts.push(timeoutMs);
    signal.throwIfAborted();
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    await Promise.race([this.fault?.(step), aborted]);
    signal.removeEventListener('abort', abort);
    return work();
  }

  watch(): never {
    throw new Error('leader election does not watch');
  }

  close(): void {}
}

/** A fake clock that can also advance without firing timers, as for a suspended process. */
function createTestClock() {
  const clock = createFakeClock();
  let unseenMs = 0;
  return {
    ...clock,
    now: () => clock.now() + unseenMs,
    monotonic: () => clock.monotonic() + unseenMs,
    suspend(ms: number) {
      unseenMs += ms;
    },
  };
}

type TestClock = ReturnType<typeof createTestClock>;

interface Replica {
  readonly election: LeaderElection;
  readonly events: string[];
  /** `released`, or the error that `run` rejected with. */
  readonly outcome: Promise<unknown>;
  /** SIGTERM. */
  stop(): void;
  /** Ends the work. It continues after its signal has aborted until this is called. */
  finish(): void;
  fail(error: Error): void;
}

function elect(transport: KubeTransport, clock: TestClock, identity: string, log: Logger): LeaderElection {
  return createLeaderElection({
    transport,
    clock,
    log,
    namespace: 'ops',
    leaseName: 'operator',
    identity,
    leaseDurationMs: LEASE_MS,
    renewDeadlineMs: DEADLINE_MS,
    retryPeriodMs: RETRY_MS,
  });
}

/** Resolves after the first read of the Lease. */
async function start(api: KubeTransport, clock: TestClock, identity = 'me'): Promise<Replica> {
  const events: string[] = [];
  const write =
    (level: string) =>
    (fields: object, message: string): void => {
      const { reason } = fields as { readonly reason?: string };
      events.push([level, message, ...(reason === undefined ? [] : [reason])].join(' | '));
    };
  const log: Logger = {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: () => log,
  };
  const election = elect(api, clock, identity, log);
  const stopped = new AbortController();
  const finished = Promise.withResolvers<void>();
  const outcome = election
    .run(async (signal) => {
      events.push('work');
      signal.addEventListener('abort', () => events.push(`abort, may write: ${election.mayWrite()}`));
      await finished.promise;
    }, stopped.signal)
    .then(
      () => 'released',
      (error: unknown) => error,
    );
  const replica = {
    election,
    events,
    outcome,
    stop: () => stopped.abort(),
    finish: () => finished.resolve(),
    fail: (error: Error) => finished.reject(error),
  };
  onTestFinished(async () => {
    replica.stop();
    replica.finish();
    await clock.advance(60_000);
    await outcome;
  });
  await clock.advance(0);
  return replica;
}

const held = (holderIdentity: string, more: Readonly<Record<string, unknown>> = {}) => ({
  holderIdentity,
  leaseDurationSeconds: 15,
  leaseTransitions: 3,
  acquireTime: '2020-01-01T00:00:00.000000Z',
  renewTime: '2020-01-01T00:00:00.000000Z',
  ...more,
});

describe('leader election', () => {
  it('creates the Lease and renews it every retry period without counting a transition', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    expect(me.election.mayWrite()).toBe(true);
    expect(me.events).toEqual(['info | became the leader', 'work']);
    expect(api.lease?.spec).toEqual({
      holderIdentity: 'me',
      leaseDurationSeconds: 15,
      acquireTime: '2026-01-01T00:00:00.000000Z',
      renewTime: '2026-01-01T00:00:00.000000Z',
      leaseTransitions: 0,
    });
    await clock.advance(3 * RETRY_MS);
    expect(api.calls).toEqual(['get', 'create', 'update', 'update', 'update']);
    expect(api.lease?.spec).toMatchObject({
      acquireTime: '2026-01-01T00:00:00.000000Z',
      renewTime: '2026-01-01T00:00:06.000000Z',
      leaseTransitions: 0,
    });
    await clock.advance(10 * DEADLINE_MS);
    expect(me.election.mayWrite()).toBe(true);
  });

  it('measures the expiry of the Lease on its own monotonic clock and ignores renewTime', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held('other'));
    const me = await start(api, clock);
    await clock.advance(LEASE_MS - 1000);
    expect(me.events).toEqual(['info | standing by']);
    api.set(held('other', { renewTime: '2020-01-01T00:00:01.000000Z' }));
    await clock.advance(LEASE_MS);
    expect(api.calls).not.toContain('update');
    expect(me.election.mayWrite()).toBe(false);
    clock.setWall(clock.now() + 86_400_000);
    await clock.advance(0);
    expect(me.election.mayWrite()).toBe(false);
    await clock.advance(2 * RETRY_MS);
    expect(me.events).toEqual(['info | standing by', 'info | became the leader', 'work']);
    expect(api.lease?.spec).toMatchObject({ holderIdentity: 'me', leaseTransitions: 4 });
  });

  it('reports the holder, and what a standby replica waits for', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held('other', { leaseDurationSeconds: 20 }));
    const me = await start(api, clock);
    expect(me.election.leaseStatus()).toEqual({
      lease: 'ops/operator',
      identity: 'me',
      role: 'standby',
      holder: 'other',
      waitsFor: 'other to release Lease ops/operator or to stop renewing it for 20 s',
    });
    api.set(held(''));
    await clock.advance(RETRY_MS);
    expect(me.election.leaseStatus()).toMatchObject({ role: 'leader', holder: 'me' });
    me.stop();
    me.finish();
    await me.outcome;
    expect(me.election.leaseStatus()).toMatchObject({ role: 'ended' });
    expect(NO_LEADER_ELECTION.leaseStatus()).toBeUndefined();
  });

  it('reports that it waits for the API server until it has read the Lease', async () => {
    const api = new Api();
    api.fault = () => Promise.reject(new KubeApiError('no answer'));
    const me = await start(api, createTestClock());
    expect(me.election.leaseStatus()).toMatchObject({
      role: 'standby',
      waitsFor: 'the API server to return Lease ops/operator',
    });
  });

  it('uses the lease duration of the holder', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held('other', { leaseDurationSeconds: 60 }));
    const me = await start(api, clock);
    await clock.advance(60_000 - RETRY_MS);
    expect(me.election.mayWrite()).toBe(false);
    await clock.advance(2 * RETRY_MS);
    expect(me.election.mayWrite()).toBe(true);
  });

  it('uses its own lease duration if the Lease has none', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set({ holderIdentity: 'other' });
    const me = await start(api, clock);
    await clock.advance(LEASE_MS - RETRY_MS);
    expect(me.election.mayWrite()).toBe(false);
    await clock.advance(2 * RETRY_MS);
    expect(me.election.mayWrite()).toBe(true);
    expect(api.lease?.spec).toMatchObject({ leaseTransitions: 1 });
  });

  it.each([['' as string | undefined], [undefined]])(
    'acquires a released Lease immediately: holder %j',
    async (holder) => {
      const api = new Api();
      const clock = createTestClock();
      api.set({ ...held('x'), holderIdentity: holder }, { labels: { team: 'gateways' } });
      const me = await start(api, clock);
      await clock.advance(0);
      expect(me.election.mayWrite()).toBe(true);
      expect(api.lease).toMatchObject({
        metadata: { labels: { team: 'gateways' } },
        spec: { holderIdentity: 'me', leaseTransitions: 4, leaseDurationSeconds: 15 },
      });
    },
  );

  it('waits for the lease duration after the Lease of a leader was deleted', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held('other'));
    const me = await start(api, clock);
    await clock.advance(RETRY_MS);
    api.set(undefined);
    await clock.advance(RETRY_MS);
    await clock.advance(LEASE_MS - RETRY_MS);
    expect(api.calls).not.toContain('create');
    expect(me.election.mayWrite()).toBe(false);
    await clock.advance(2 * RETRY_MS);
    expect(me.election.mayWrite()).toBe(true);
    expect(api.calls.filter((call) => call === 'create')).toHaveLength(1);
  });

  it.each([
    ['the Lease does not exist', undefined],
    ['the Lease has expired', held('dead')],
  ])('elects one of three replicas if %s', async (_, lease) => {
    const api = new Api();
    const clock = createTestClock();
    api.set(lease);
    const replicas = await Promise.all(['a', 'b', 'c'].map((name) => start(api, clock, name)));
    await clock.advance(LEASE_MS + 2 * RETRY_MS);
    expect(replicas.filter(({ election }) => election.mayWrite())).toHaveLength(1);
    await clock.advance(10 * LEASE_MS);
    expect(replicas.filter(({ election }) => election.mayWrite())).toHaveLength(1);
    expect(replicas.flatMap(({ events }) => events).filter((event) => event === 'work')).toHaveLength(1);
  });

  it('remains leader until the renew deadline while renewals fail', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    await clock.advance(RETRY_MS);
    api.fault = () => Promise.reject(new KubeApiError('the API server is away', { status: 503 }));
    await clock.advance(DEADLINE_MS - 1);
    expect(me.election.mayWrite()).toBe(true);
    expect(me.events).toEqual([
      'info | became the leader',
      'work',
      'warn | cannot acquire or renew the lease: the API server is away',
    ]);
    await clock.advance(1);
    expect(me.election.mayWrite()).toBe(false);
    const reason = `it was not renewed within ${DEADLINE_MS} ms: the API server is away`;
    expect(me.events.slice(3)).toEqual([`error | lost the lease | ${reason}`, 'abort, may write: false']);
    expect(me.election.problem()).toContain(reason);
    me.finish();
    const error = await me.outcome;
    expect(error).toBeInstanceOf(LeaseLostError);
    expect((error as Error).message).toContain(reason);
    expect(api.lease?.spec['holderIdentity']).toBe('me');
  });

  it('loses the lease exactly at the deadline, independent of the retry period', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.fault = async () => {
      await clock.sleep(1500, new AbortController().signal);
      throw new KubeApiError('slow');
    };
    await clock.advance(DEADLINE_MS - 1);
    expect(me.events.slice(2)).toEqual(['warn | cannot acquire or renew the lease: slow']);
    await clock.advance(1);
    expect(me.events.slice(3)).toEqual([
      `error | lost the lease | it was not renewed within ${DEADLINE_MS} ms: slow`,
      'abort, may write: false',
    ]);
  });

  it('recovers within the deadline and logs the next outage again', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    for (let round = 0; round < 3; round += 1) {
      api.fault = () => Promise.reject(new KubeApiError('away'));
      await clock.advance(DEADLINE_MS - RETRY_MS - 1);
      api.fault = undefined;
      await clock.advance(RETRY_MS + 1);
      expect(me.election.mayWrite()).toBe(true);
    }
    expect(me.events.filter((event) => event.startsWith('warn'))).toHaveLength(3);
  });

  it('counts the deadline from the start of a renewal, not from its response', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    let answer = () => {};
    api.fault = () => new Promise((resolve) => (answer = resolve));
    await clock.advance(RETRY_MS + 3000);
    answer();
    api.fault = () => new Promise(() => {});
    await clock.advance(0);
    await clock.advance(DEADLINE_MS - 3000 - 1);
    expect(me.election.mayWrite()).toBe(true);
    await clock.advance(1);
    expect(me.election.mayWrite()).toBe(false);
  });

  it('stays stopped when a renewal succeeds after the deadline', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    let answer = () => {};
    api.fault = () => new Promise((resolve) => (answer = resolve));
    await clock.advance(DEADLINE_MS);
    expect(me.election.mayWrite()).toBe(false);
    answer();
    await clock.advance(0);
    expect(me.election.mayWrite()).toBe(false);
    await clock.advance(LEASE_MS);
    expect(me.election.mayWrite()).toBe(false);
    expect(me.events.filter((event) => event.includes('leader'))).toHaveLength(1);
  });

  it('stays stopped when the Lease still names it after the deadline', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.fault = () => Promise.reject(new KubeApiError('away'));
    await clock.advance(RETRY_MS);
    let answer = () => {};
    api.fault = () => new Promise((resolve) => (answer = resolve));
    await clock.advance(RETRY_MS);
    expect(api.calls.at(-1)).toBe('get');
    clock.suspend(DEADLINE_MS);
    expect(me.election.mayWrite()).toBe(false);
    api.fault = undefined;
    answer();
    await clock.advance(0);
    expect(me.election.mayWrite()).toBe(false);
    expect(me.election.leaseStatus()).toMatchObject({ role: 'ended' });
    expect(api.calls.at(-1)).toBe('get');
  });

  it('limits a request to half of the deadline and to the remaining time', async () => {
    const api = new Api();
    const clock = createTestClock();
    await start(api, clock);
    api.fault = () => Promise.reject(new KubeApiError('away'));
    await clock.advance(DEADLINE_MS);
    expect(api.timeouts).toEqual([4000, 4000, 4000, 4000, 2000]);
  });

  it.each([
    ['the process was suspended', (clock: TestClock) => clock.suspend(DEADLINE_MS)],
    ['the wall clock was set forward', (clock: TestClock) => clock.setWall(clock.now() + DEADLINE_MS)],
    ['the machine slept', (clock: TestClock) => clock.setWall(clock.now() + 3_600_000)],
  ])('denies writes immediately after %s, before any timer fires', async (_, happens) => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    happens(clock);
    const calls = api.calls.length;
    expect(me.election.mayWrite()).toBe(false);
    expect(me.events.at(-1)).toBe('abort, may write: false');
    me.finish();
    await clock.advance(LEASE_MS);
    expect(await me.outcome).toBeInstanceOf(LeaseLostError);
    expect(api.calls).toHaveLength(calls);
  });

  it('ignores a wall clock that is set back', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    clock.setWall(clock.now() - 3_600_000);
    api.fault = () => Promise.reject(new KubeApiError('away'));
    await clock.advance(DEADLINE_MS - 1);
    expect(me.election.mayWrite()).toBe(true);
    await clock.advance(1);
    expect(me.election.mayWrite()).toBe(false);
  });

  it.each([
    ['another replica is the holder', held('other'), 'its holder is now other'],
    ['its holder was cleared', held(''), 'another client cleared its holder'],
  ])('loses the lease as soon as it reads that %s', async (_, lease, reason) => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.set(lease);
    await clock.advance(RETRY_MS);
    expect(me.events.slice(2)).toEqual([`error | lost the lease | ${reason}`, 'abort, may write: false']);
    me.finish();
    expect(await me.outcome).toBeInstanceOf(LeaseLostError);
    expect(api.lease?.spec).toEqual(lease);
  });

  it('keeps labels of other clients on the Lease, and creates a deleted Lease again', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.set(api.lease?.spec, { labels: { team: 'gateways' } });
    await clock.advance(RETRY_MS);
    expect(api.calls.slice(2)).toEqual(['update', 'get', 'update']);
    expect(api.lease?.metadata['labels']).toEqual({ team: 'gateways' });
    api.set(undefined);
    await clock.advance(RETRY_MS);
    expect(api.calls.slice(5)).toEqual(['update', 'get', 'create']);
    expect(api.lease?.spec).toMatchObject({
      holderIdentity: 'me',
      acquireTime: '2026-01-01T00:00:00.000000Z',
      leaseTransitions: 0,
    });
    expect(me.election.mayWrite()).toBe(true);
  });

  it('becomes the leader when the response to its first write was lost', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held(''));
    api.fault = (step) => {
      if (step !== 'update') return undefined;
      api.set(held('me', { leaseTransitions: 4 }));
      return Promise.reject(new KubeApiError('no answer'));
    };
    const me = await start(api, clock);
    expect(me.election.mayWrite()).toBe(false);
    api.fault = undefined;
    await clock.advance(RETRY_MS);
    expect(me.election.mayWrite()).toBe(true);
    expect(api.lease?.spec).toMatchObject({ holderIdentity: 'me', leaseTransitions: 4 });
  });

  it('renews the Lease until the work has ended, and then releases it', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    me.stop();
    await clock.advance(2 * DEADLINE_MS);
    expect(me.events.slice(2)).toEqual(['abort, may write: true']);
    expect(me.election.mayWrite()).toBe(true);
    expect(api.lease?.spec).toMatchObject({ holderIdentity: 'me', renewTime: '2026-01-01T00:00:16.000000Z' });
    me.finish();
    expect(await me.outcome).toBe('released');
    expect(me.election.mayWrite()).toBe(false);
    expect(me.election.problem()).toBeUndefined();
    expect(api.lease?.spec).toMatchObject({
      holderIdentity: '',
      leaseDurationSeconds: 1,
      leaseTransitions: 0,
    });

    const next = await start(api, clock, 'next');
    expect(next.election.mayWrite()).toBe(true);
    expect(api.lease?.spec).toMatchObject({ holderIdentity: 'next', leaseTransitions: 1 });
  });

  it('hands the Lease to the named successor after the work has ended', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    const standby = await start(api, clock, 'standby');
    api.set(held('me'), { annotations: { [LEASE_SUCCESSOR_ANNOTATION]: 'uninstall', kept: 'yes' } });
    await clock.advance(RETRY_MS);
    expect(me.events.slice(2)).toEqual([
      'info | handing the lease over to its named successor',
      'abort, may write: true',
    ]);
    await clock.advance(2 * DEADLINE_MS);
    expect(me.election.mayWrite()).toBe(true);
    expect(api.lease?.spec).toMatchObject({ holderIdentity: 'me' });

    me.finish();
    expect(await me.outcome).toBe('released');
    expect(me.election.mayWrite()).toBe(false);
    expect(api.lease).toMatchObject({
      metadata: { annotations: { kept: 'yes' } },
      spec: { holderIdentity: 'uninstall', leaseDurationSeconds: 30, leaseTransitions: 1 },
    });
    expect(api.lease?.metadata['annotations']).not.toHaveProperty([LEASE_SUCCESSOR_ANNOTATION]);

    // If the successor does not renew, another standby replica acquires the Lease after 30 s.
    await clock.advance(28_000);
    expect(standby.election.mayWrite()).toBe(false);
    await clock.advance(2 * RETRY_MS);
    expect(standby.election.mayWrite()).toBe(true);
  });

  it('hands the Lease over if it is stopped before it has read the annotation', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.set(held('me'), { annotations: { [LEASE_SUCCESSOR_ANNOTATION]: 'uninstall' } });
    me.stop();
    me.finish();
    expect(await me.outcome).toBe('released');
    expect(api.lease?.spec).toMatchObject({ holderIdentity: 'uninstall' });
  });

  it('ignores a successor that was named under an earlier holder', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held(''), { annotations: { [LEASE_SUCCESSOR_ANNOTATION]: 'uninstall' } });
    const me = await start(api, clock);
    await clock.advance(5 * RETRY_MS);
    expect(me.election.mayWrite()).toBe(true);
    expect(me.events).not.toContain('info | handing the lease over to its named successor');
  });

  it('releases the Lease after an aborted renewal', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.fault = (step) => {
      if (step !== 'update') return undefined;
      api.fault = undefined;
      api.set(held('me'));
      return new Promise(() => {});
    };
    await clock.advance(RETRY_MS);
    me.stop();
    me.finish();
    expect(await me.outcome).toBe('released');
    expect(api.lease?.spec['holderIdentity']).toBe('');
  });

  it.each([
    ['another client labeled the Lease', held('me'), ''],
    ['another replica acquired the Lease', held('other'), 'other'],
  ])('reads the Lease again before it releases it, after %s', async (_, lease, holder) => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    api.set(lease, { labels: { team: 'gateways' } });
    me.stop();
    me.finish();
    expect(await me.outcome).toBe('released');
    expect(api.lease).toMatchObject({
      metadata: { labels: { team: 'gateways' } },
      spec: { holderIdentity: holder },
    });
  });

  it('releases only its own Lease, and resolves even if the release fails', async () => {
    const api = new Api();
    const clock = createTestClock();
    api.set(held('other'));
    const me = await start(api, clock);
    me.stop();
    expect(await me.outcome).toBe('released');
    expect(api.lease?.spec).toEqual(held('other'));
    expect(me.events).toEqual(['info | standing by']);

    api.set(undefined);
    const leader = await start(api, clock, 'leader');
    api.fault = () => Promise.reject(new KubeApiError('away'));
    leader.stop();
    leader.finish();
    expect(await leader.outcome).toBe('released');
    expect(leader.events.at(-1)).toBe(
      'warn | could not release the lease; other replicas wait until it expires',
    );
  });

  it('does not release the Lease if the work fails', async () => {
    const api = new Api();
    const clock = createTestClock();
    const me = await start(api, clock);
    me.fail(new Error('a defect'));
    expect(await me.outcome).toEqual(new Error('a defect'));
    expect(api.lease?.spec['holderIdentity']).toBe('me');
    expect(clock.pending).toBe(0);
  });

  it('sends no request if it is stopped before it starts', async () => {
    const api = new Api();
    const log: Logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
    const work = vi.fn(() => Promise.resolve());
    const election = elect(api, createTestClock(), 'me', log);
    expect(election.mayWrite()).toBe(false);
    await election.run(work, AbortSignal.abort());
    expect(election.mayWrite()).toBe(false);
    expect(work).not.toHaveBeenCalled();
    expect(api.calls).toEqual([]);
  });

  it('may always write without leader election', async () => {
    const work = vi.fn(() => Promise.resolve());
    await NO_LEADER_ELECTION.run(work, new AbortController().signal);
    expect(NO_LEADER_ELECTION.mayWrite()).toBe(true);
    expect(NO_LEADER_ELECTION.problem()).toBeUndefined();
    expect(work).toHaveBeenCalledTimes(1);
  });
});

describe('guardWrites', () => {
  it('always passes reads, and passes writes only while they are allowed', async () => {
    const api = new Api();
    let allowed = true;
    const guarded = guardWrites(api, () => allowed);
    const signal = new AbortController().signal;
    const create = { method: 'POST', path: COLLECTION, body: { metadata: {}, spec: {} }, signal } as const;
    await guarded.send(create);
    allowed = false;
    await expect(guarded.send(create)).rejects.toBeInstanceOf(NotLeaderError);
    await guarded.get(PATH, { signal });
    expect(api.calls).toEqual(['create', 'get']);
  });
});
