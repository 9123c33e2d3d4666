import { describe, expect, it, vi } from 'vitest';
import type { GatewayUpstreamStatus } from '../../../../src/api/gateway-upstream-status.ts';
import { pendingStatusInNamespace } from '../../../../src/api/schema.ts';
import { ObjectStates } from '../../../../src/engine/object-state.ts';
import { createReporter } from '../../../../src/engine/status/reporter.ts';
import type { GatewayUpstream } from '../../../../src/model/objects.ts';
import type { UpstreamOutcome } from '../../../../src/model/outcome.ts';
import type { Verdict } from '../../../../src/model/verdict.ts';
import { Pace } from '../../../../src/runtime/pace.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';

const good = (reason: 'Accepted' | 'ResolvedRefs' | 'Programmed' | 'Ready'): Verdict => ({
  status: 'True',
  reason,
  message: `${reason} it is`,
});

const outcome = (ready: number, extra: Partial<UpstreamOutcome> = {}): UpstreamOutcome => ({
  accepted: good('Accepted'),
  resolvedRefs: good('ResolvedRefs'),
  programmed: good('Programmed'),
  ready: good('Ready'),
  upstreamId: 'ns.a',
  createTime: 1_700_000_000,
  endpoints: {
    counts: { ready, draining: 0, excluded: 1, held: 2 },
    excluded: [
      { host: '10.0.0.3', port: 80, reason: 'NotReady' },
      { host: 'fd00::1', port: 80, reason: 'Held' },
      { host: 'fd00::2', reason: 'PortMissing' },
    ],
    warnings: [],
  },
  ...extra,
});

const down: Verdict = { status: 'Unknown', reason: 'GatewayUnavailable', message: 'down' };

const object = (extra: Partial<GatewayUpstream> = {}): GatewayUpstream => ({
  namespace: 'ns',
  name: 'a',
  uid: 'uid-1',
  resourceVersion: '1',
  generation: 3,
  creationTimestamp: '2026-01-01T00:00:00Z',
  deletionTimestamp: undefined,
  finalizers: [],
  spec: { ok: false, message: 'not looked at here' },
  connection: 'default',
  acceptRemoval: undefined,
  madeBy: undefined,
  status: pendingStatusInNamespace as unknown as GatewayUpstreamStatus,
  ...extra,
});

function start({ concurrency = 2 }: { readonly concurrency?: number } = {}) {
  const clock = createFakeClock();
  const written: GatewayUpstreamStatus[] = [];
  let failures = 0;
  let held: Promise<void> | undefined;
  const record = vi.fn();
  const statusWritten = vi.fn();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
  const pace = new Pace(clock);
  const states = new ObjectStates(clock);
  const reporter = createReporter({
    states,
    pace,
    clock,
    log,
    events: { record },
    backoffMs: () => 1000,
    countsEveryMs: 10_000,
    concurrency,
    instruments: { waited: vi.fn(), statusWritten },
    writer: {
      addFinalizer: vi.fn(),
      removeFinalizer: vi.fn(),
      async applyStatus(_kind, _object, status) {
        if (failures > 0) {
          failures -= 1;
          throw new Error('the API server is away');
        }
        written.push(status as GatewayUpstreamStatus);
        await held;
      },
    },
  });
  const report = reporter.upstream.bind(reporter);
  reporter.upstream = (seen, result) => {
    // The controller does this as soon as it sees an object.
    states.track(seen);
    report(seen, result);
  };
  return {
    clock,
    states,
    pace,
    written,
    record,
    statusWritten,
    log,
    reporter,
    /** Delays the response to the next write. The returned functions accept or reject it. */
    hold() {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      held = promise;
      return (error: Error | undefined) => {
        held = undefined;
        if (error === undefined) resolve();
        else reject(error);
      };
    },
    failNext: (count: number) => {
      failures = count;
    },
  };
}

describe('reporter', () => {
  it('writes the complete first outcome immediately', async () => {
    const { reporter, written } = start();
    reporter.upstream(object(), outcome(2));
    await settle();
    expect(written).toHaveLength(1);
    expect(written[0]).toMatchObject({
      observedGeneration: 3,
      upstreamId: 'ns.a',
      upstreamCreateTime: '2023-11-14T22:13:20Z',
      endpoints: { summary: '2/5', ready: 2, draining: 0, excluded: 1, held: 2 },
      excluded: [
        { address: '10.0.0.3:80', reason: 'NotReady' },
        { address: '[fd00::1]:80', reason: 'Held' },
        { address: 'fd00::2', reason: 'PortMissing' },
      ],
    });
    expect(written[0]?.conditions?.map(({ type, status }) => `${type}=${status}`)).toEqual([
      'Ready=True',
      'Accepted=True',
      'ResolvedRefs=True',
      'Programmed=True',
    ]);
  });

  it.each(['arrives', 'does not arrive'])(
    'writes an earlier status again if the response to a different one %s',
    async (answer) => {
      const { reporter, written, clock, hold } = start();
      reporter.upstream(object(), outcome(2));
      await settle();
      const end = hold();
      reporter.upstream(object(), outcome(2, { ready: down }));
      await settle();
      // Within the same second, so that lastTransitionTime does not differ either.
      reporter.upstream(object(), outcome(2));
      await settle();
      end(answer === 'comes' ? undefined : new Error('no answer'));
      await clock.advance(60_000);
      expect(written.map(({ conditions }) => conditions?.[0]?.status)).toEqual(['True', 'Unknown', 'True']);
    },
  );

  it('writes nothing if nothing changed', async () => {
    const { reporter, written, clock } = start();
    for (let n = 0; n < 50; n += 1) {
      reporter.upstream(object(), outcome(2));
      await clock.advance(60_000);
    }
    expect(written).toHaveLength(1);
  });

  it('writes counts at most every 10 s, and ends with the latest', async () => {
    const { reporter, written, clock } = start();
    reporter.upstream(object(), outcome(0));
    await settle();
    for (let n = 1; n <= 500; n += 1) {
      reporter.upstream(object(), outcome(n));
      await clock.advance(20);
    }
    expect(written.length).toBeLessThanOrEqual(2);
    await clock.advance(10_000);
    expect(written.length).toBeLessThanOrEqual(3);
    expect(written.at(-1)?.endpoints?.ready).toBe(500);
  });

  const readyCounts = (written: readonly GatewayUpstreamStatus[]) =>
    written.map(({ endpoints }) => endpoints?.ready);

  it('writes the first change of counts immediately', async () => {
    const { reporter, written, clock } = start();
    reporter.upstream(object(), outcome(3));
    await settle();
    await clock.advance(10_000);
    reporter.upstream(object(), outcome(4));
    await settle();
    expect(readyCounts(written)).toEqual([3, 4]);
  });

  it('writes counts again as soon as they are settled after scaling', async () => {
    const { reporter, written, clock } = start();
    reporter.upstream(object(), outcome(3));
    await settle();
    await clock.advance(60_000);
    for (const ready of [4, 5, 6, 7, 8, 9, 10]) {
      reporter.upstream(object(), outcome(ready));
      await clock.advance(400);
    }
    expect(readyCounts(written)).toEqual([3, 4]);
    await clock.advance(600);
    expect(readyCounts(written)).toEqual([3, 4, 10]);
    await clock.advance(60_000);
    expect(written).toHaveLength(3);
  });

  it('writes counts of a new object as soon as they are settled', async () => {
    const { reporter, written, clock } = start();
    const empty: Verdict = { status: 'True', reason: 'NoReadyEndpoints', message: 'none' };
    reporter.upstream(object(), outcome(0, { ready: empty }));
    await clock.advance(500);
    reporter.upstream(object(), outcome(1));
    await clock.advance(500);
    reporter.upstream(object(), outcome(3));
    await clock.advance(1000);
    expect(readyCounts(written)).toEqual([0, 1, 3]);
  });

  it.each([20, 500, 2000, 5000, 9000])(
    'writes counts that change every %i ms three times and then every 10 s, and ends with the latest',
    async (everyMs) => {
      const { reporter, written, clock } = start();
      const durationMs = 300_000;
      for (let n = 1; n * everyMs <= durationMs; n += 1) {
        reporter.upstream(object(), outcome(n));
        await clock.advance(everyMs);
      }
      expect(written.length).toBeLessThanOrEqual(3 + durationMs / 10_000);
      await clock.advance(10_000);
      expect(written.at(-1)?.endpoints?.ready).toBe(Math.floor(durationMs / everyMs));
    },
  );

  it('writes excluded endpoints at most every 10 s, and keeps them while they are unknown', async () => {
    const { reporter, written, clock } = start();
    const { counts } = outcome(1).endpoints ?? expect.unreachable();
    const host = (n: number): Partial<UpstreamOutcome> => ({
      endpoints: { counts, excluded: [{ host: `10.0.0.${n}`, reason: 'NotReady' }], warnings: [] },
    });
    reporter.upstream(object(), outcome(1, host(0)));
    await settle();
    for (let n = 1; n <= 100; n += 1) {
      reporter.upstream(object(), outcome(1, host(n)));
      await clock.advance(90);
    }
    expect(written).toHaveLength(1);
    await clock.advance(10_000);
    expect(written).toHaveLength(2);
    expect(written[1]?.excluded).toEqual([{ address: '10.0.0.100', reason: 'NotReady' }]);
    const { endpoints: _, ...unknown } = outcome(1, { programmed: down, ready: down });
    reporter.upstream(object(), unknown);
    await settle();
    expect(written).toHaveLength(3);
    expect(written[2]?.excluded).toEqual(written[1]?.excluded);
    expect(written[2]?.endpoints).toEqual(written[1]?.endpoints);
  });

  it('writes warnings at most every 10 s, keeps them while they are unknown, and removes them', async () => {
    const { reporter, written, clock } = start();
    const known = outcome(1).endpoints ?? expect.unreachable();
    const warned = (message: string): Partial<UpstreamOutcome> => ({
      endpoints: {
        ...known,
        warnings: [{ reason: 'WeightsApproximate', field: 'spec.backends', message }],
      },
    });
    reporter.upstream(object(), outcome(1));
    await settle();
    expect(written[0]).not.toHaveProperty('warnings');
    for (let n = 1; n <= 20; n += 1) reporter.upstream(object(), outcome(1, warned(`words ${n}`)));
    await settle();
    expect(written).toHaveLength(1);
    await clock.advance(10_000);
    expect(written).toHaveLength(2);
    const warnings = [{ reason: 'WeightsApproximate', field: 'spec.backends', message: 'words 20' }];
    expect(written[1]?.warnings).toEqual(warnings);
    const { endpoints: _, ...unknown } = outcome(1, { programmed: down, ready: down });
    reporter.upstream(object(), unknown);
    await settle();
    expect(written[2]?.warnings).toEqual(warnings);
    reporter.upstream(object(), outcome(1));
    await clock.advance(10_000);
    expect(written.at(-1)).not.toHaveProperty('warnings');
  });

  it('writes at most two statuses at a time while endpoint changes arrive', async () => {
    const { reporter, written, hold, pace, clock } = start({ concurrency: 4 });
    const end = hold();
    pace.urge();
    const names = Array.from({ length: 12 }, (_, n) => `web-${n}`);
    for (const name of names) reporter.upstream(object({ name, uid: name }), outcome(1));
    await settle();
    expect(written).toHaveLength(2);
    await clock.advance(500);
    expect(written).toHaveLength(4);
    end(undefined);
    await settle();
    expect(written).toHaveLength(12);
  });

  it('writes flapping conditions at most five times in 10 s, and ends with the latest', async () => {
    const { reporter, written, clock } = start();
    const empty: Verdict = { status: 'True', reason: 'NoReadyEndpoints', message: 'none' };
    for (let n = 1; n <= 500; n += 1) {
      reporter.upstream(object(), outcome(n % 2, n % 2 === 0 ? { ready: empty } : {}));
      await clock.advance(19);
    }
    expect(written).toHaveLength(5);
    await clock.advance(10_000);
    expect(written.length).toBeLessThanOrEqual(7);
    expect(written.at(-1)).toMatchObject({ endpoints: { ready: 0 } });
    expect(written.at(-1)?.conditions?.[0]?.reason).toBe('NoReadyEndpoints');
    await clock.advance(600_000);
    const before = written.length;
    reporter.upstream(object(), outcome(1));
    await settle();
    expect(written).toHaveLength(before + 1);
  });

  it('writes conditions and counts immediately when a condition changes', async () => {
    const { reporter, written } = start();
    reporter.upstream(object(), outcome(1));
    await settle();
    reporter.upstream(object(), outcome(2, { programmed: down, ready: down }));
    await settle();
    expect(written).toHaveLength(2);
    expect(written[1]?.endpoints?.ready).toBe(2);
    expect(written[1]?.conditions?.find(({ type }) => type === 'Reconciling')).toMatchObject({
      status: 'True',
    });
  });

  it('changes lastTransitionTime only when the status of the condition changes', async () => {
    const { reporter, written, clock } = start();
    const time = (type: string) =>
      written.at(-1)?.conditions?.find((condition) => condition.type === type)?.lastTransitionTime;
    reporter.upstream(object(), outcome(1));
    await settle();
    const first = time('Ready');
    expect(first).not.toBe('1970-01-01T00:00:00Z');
    await clock.advance(5000);
    reporter.upstream(object({ generation: 4 }), outcome(1));
    await settle();
    expect(written).toHaveLength(2);
    expect(time('Ready')).toBe(first);
    await clock.advance(5000);
    reporter.upstream(object({ generation: 4 }), outcome(1, { programmed: down, ready: down }));
    await settle();
    expect(time('Ready')).not.toBe(first);
    expect(time('Accepted')).toBe(first);
  });

  it('writes nothing after a restart if nothing changed', async () => {
    const before = start();
    before.reporter.upstream(object(), outcome(2));
    await settle();
    const after = start();
    await after.clock.advance(3_600_000);
    after.reporter.upstream(object({ status: before.written[0] }), outcome(2));
    await after.clock.advance(60_000);
    expect(after.written).toEqual([]);
    expect(after.record).not.toHaveBeenCalled();
  });

  it('retries while the API server is unavailable, and writes the latest status', async () => {
    const { reporter, written, clock, failNext } = start();
    failNext(3);
    reporter.upstream(object(), outcome(1));
    await settle();
    reporter.upstream(object(), outcome(7));
    await settle();
    await clock.advance(10_000);
    expect(written).toHaveLength(1);
    expect(written[0]?.endpoints?.ready).toBe(7);
  });

  it('starts a new report for another object of the same name', async () => {
    const { reporter, written } = start();
    reporter.upstream(object(), outcome(1));
    await settle();
    reporter.upstream(object({ uid: 'uid-2' }), outcome(1));
    await settle();
    expect(written).toHaveLength(2);
  });

  it('announces changes of Ready once, and an outage of a gateway not on its objects', async () => {
    const { reporter, record, log } = start();
    reporter.upstream(object(), outcome(1));
    reporter.upstream(object(), outcome(2));
    reporter.upstream(object(), outcome(2, { programmed: down, ready: down }));
    reporter.upstream(object(), outcome(2));
    const refused: Verdict = { status: 'False', reason: 'Rejected', message: 'no' };
    reporter.upstream(object(), outcome(2, { programmed: refused, ready: refused }));
    await settle();
    expect(record.mock.calls.map(([, , event]) => `${event.type} ${event.reason}`)).toEqual([
      'Normal Ready',
      'Warning Rejected',
    ]);
    expect(log.warn).toHaveBeenCalledTimes(2);
    expect(log.info).toHaveBeenCalledTimes(2);
  });

  it.each<[string, Verdict]>([
    ['does not answer', down],
    ['rejects the key', { status: 'False', reason: 'Unauthorized', message: 'wrong key' }],
  ])(
    'announces a gateway that %s, and its recovery, only on the connection, even across a restart',
    async (_, verdict) => {
      const failing = { programmed: verdict, ready: verdict };
      const before = start();
      before.reporter.upstream(object(), outcome(1));
      before.reporter.upstream(object(), outcome(1, failing));
      before.reporter.upstream(object(), outcome(1));
      before.reporter.upstream(object(), outcome(1, failing));
      await settle();
      expect(before.record).toHaveBeenCalledTimes(1);
      const after = start();
      after.reporter.upstream(object({ status: before.written.at(-1) }), outcome(1));
      await settle();
      expect(after.record).not.toHaveBeenCalled();
      const fresh = start();
      fresh.reporter.upstream(object(), outcome(1, failing));
      fresh.reporter.upstream(object(), outcome(1));
      expect(fresh.record).toHaveBeenCalledTimes(1);
    },
  );

  it('writes nothing for an object whose state was dropped, and nothing after close', async () => {
    const { reporter, states, written, failNext, clock } = start();
    failNext(1);
    reporter.upstream(object(), outcome(1));
    await settle();
    states.drop('ns/a');
    await clock.advance(60_000);
    expect(written).toEqual([]);
    await reporter.close();
    reporter.upstream(object(), outcome(1));
    await clock.advance(60_000);
    expect(written).toEqual([]);
  });
});

describe('data planes', () => {
  const lagging = {
    total: 2,
    current: 1,
    lagging: [{ dataPlane: 'http://10.0.0.1:9090', reason: 'OlderContent' as const }],
  };

  it('are written at most every 10 s and change no condition', async () => {
    const { reporter, written, clock, record } = start();
    reporter.upstream(object(), outcome(2));
    await settle();
    const events = record.mock.calls.length;
    for (let n = 0; n < 100; n += 1) {
      reporter.dataPlanes(object(), n % 2 === 0 ? lagging : { total: 2, current: 2 });
      await clock.advance(100);
    }
    reporter.dataPlanes(object(), lagging);
    await clock.advance(10_000);
    expect(written.length).toBeLessThanOrEqual(3);
    expect(written.at(-1)).toEqual({ ...written[0], dataPlanes: lagging });
    expect(record.mock.calls.length).toBe(events);
  });

  it('stay in the status while the outcome changes, until they are removed', async () => {
    const { reporter, written, clock } = start();
    reporter.upstream(object(), outcome(2));
    reporter.dataPlanes(object(), lagging);
    reporter.upstream(object(), outcome(1, { ready: down }));
    await settle();
    expect(written.at(-1)?.dataPlanes).toEqual(lagging);
    reporter.dataPlanes(object(), undefined);
    await clock.advance(10_000);
    expect(written.at(-1)).not.toHaveProperty('dataPlanes');
    expect(written.at(-1)?.conditions?.find(({ type }) => type === 'Ready')?.status).toBe('Unknown');
  });

  it('compares with the latest seen object, and writes nothing if its status is already correct', async () => {
    const { reporter, written, statusWritten } = start();
    reporter.upstream(object(), outcome(2));
    await settle();
    const status = structuredClone(written[0]);
    reporter.seen('GatewayUpstream', object({ resourceVersion: '2', status }));
    // Another object of the same name, and an object without a report.
    reporter.seen('GatewayUpstream', object({ uid: 'uid-2', status: undefined }));
    reporter.seen('GatewayUpstream', object({ name: 'b', status }));
    reporter.upstream(object({ resourceVersion: '2', status }), outcome(2));
    await settle();
    expect(statusWritten).toHaveBeenCalledOnce();
    // A status that another client wrote does not count as the wanted status.
    reporter.seen(
      'GatewayUpstream',
      object({ resourceVersion: '3', status: { ...status, upstreamId: 'other' } }),
    );
    reporter.upstream(object({ resourceVersion: '3', generation: 4 }), outcome(2, { upstreamId: 'ns.b' }));
    await settle();
    expect(written).toHaveLength(2);
    expect(written[1]).toMatchObject({ observedGeneration: 4, upstreamId: 'ns.b' });
  });

  it('corrects a status that the last leader wrote after this process had read the object', async () => {
    const first = start();
    first.reporter.upstream(object(), outcome(2));
    await settle();
    const [correct] = first.written;
    const { reporter, written } = start();
    // The cache of the new leader is behind: as far as it knows, there is nothing to write.
    reporter.upstream(object({ status: structuredClone(correct) }), outcome(2));
    await settle();
    expect(written).toEqual([]);
    first.reporter.upstream(object(), outcome(2, { programmed: down, ready: down }));
    await settle();
    reporter.seen(
      'GatewayUpstream',
      object({ resourceVersion: '2', status: structuredClone(first.written[1]) }),
    );
    await settle();
    expect(written).toMatchObject([correct as object]);
    // An event of an own write that is late.
    reporter.seen(
      'GatewayUpstream',
      object({ resourceVersion: '2', status: structuredClone(first.written[1]) }),
    );
    await settle();
    expect(written).toHaveLength(1);
  });
});
