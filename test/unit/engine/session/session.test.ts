import { describe, expect, it, vi } from 'vitest';
import { ownerMark } from '../../../../src/decide/ownership.ts';
import type { ListReport } from '../../../../src/engine/session/options.ts';
import { GatewaySession } from '../../../../src/engine/session/session.ts';
import type { GatewayDriver } from '../../../../src/gateways/driver.ts';
import {
  GatewayAuthError,
  GatewayRejectedError,
  GatewayUnavailableError,
  UpstreamInUseError,
} from '../../../../src/model/errors.ts';
import type { GatewayInfo } from '../../../../src/model/gateway.ts';
import type { OwnerMark } from '../../../../src/model/ownership.ts';
import type { ObservedUpstream, Upstream } from '../../../../src/model/upstream.ts';
import { createBackoff } from '../../../../src/runtime/backoff.ts';
import { createFakeClock, settle } from '../../../support/fake-clock.ts';

const upstream = (id: string, port = 80): Upstream => ({
  id,
  labels: {},
  nodes: [{ host: '10.0.0.1', port, weight: 1, priority: 0 }],
  scheme: 'HTTP',
  loadBalancing: { type: 'RoundRobin' },
});

const canonical = (desired: Upstream) => JSON.stringify(desired.nodes);

/** An in-memory gateway that counts its calls and fails on request. */
class Gateway implements GatewayDriver {
  readonly type = 'test';
  readonly calls: string[] = [];
  readonly upstreams = new Map<string, Upstream>();
  fail: ((call: string) => Error | undefined) | undefined;
  /** Resolvers of blocked calls, by call. */
  readonly waiting: (() => void)[] = [];
  /** Content of every `put`, in order. */
  readonly signals: AbortSignal[] = [];
  holdBack = false;

  canonical = canonical;

  async #call<T>(name: string, work: () => T, applyFirst = false): Promise<T> {
    this.calls.push(name);
    const error = this.fail?.(name);
    const result = error === undefined || applyFirst ? work() : undefined;
    if (this.holdBack) await new Promise<void>((resolve) => this.waiting.push(resolve));
    if (error !== undefined) throw error;
    return result as T;
  }

  #observe(id: string): ObservedUpstream | undefined {
    const stored = this.upstreams.get(id);
    return stored === undefined
      ? undefined
      : {
          id,
          owner: stored.owner,
          labels: stored.labels,
          nodes: stored.nodes,
          canonical: canonical(stored),
          createTime: 1,
        };
  }

  info: GatewayInfo = { version: '1.2.3' };

  get = (id: string) => this.#call(`get ${id}`, () => this.#observe(id));
  list = () =>
    this.#call('list', () => ({
      upstreams: new Map([...this.upstreams.keys()].map((id) => [id, this.#observe(id) as ObservedUpstream])),
      info: this.info,
    }));
  put = (desired: Upstream, signal: AbortSignal) => {
    this.signals.push(signal);
    return this.#call(
      `put ${desired.id}`,
      () => {
        this.upstreams.set(desired.id, desired);
        return this.#observe(desired.id) as ObservedUpstream;
      },
      true,
    );
  };
  putNodes = (id: string, nodes: Upstream['nodes']) =>
    this.#call(`putNodes ${id}`, () => {
      const before = this.upstreams.get(id);
      if (before !== undefined) this.upstreams.set(id, { ...before, nodes });
      return this.#observe(id);
    });
  mark = (id: string, owner: OwnerMark) =>
    this.#call(`mark ${id}`, () => {
      const before = this.upstreams.get(id);
      if (before !== undefined) this.upstreams.set(id, { ...before, owner });
      return this.#observe(id);
    });
  delete = (id: string) =>
    this.#call(`delete ${id}`, () => {
      this.upstreams.delete(id);
    });
  checkWrite = () => this.#call('checkWrite', () => undefined);
  check = () => this.#call('check', () => ({}));
  close(): void {
    this.calls.push('close');
  }
}

const never = new AbortController().signal;

async function start(prepare?: (gateway: Gateway) => void) {
  const gateway = new Gateway();
  prepare?.(gateway);
  const clock = createFakeClock();
  const reports: ListReport[] = [];
  const onState = vi.fn();
  const onLateWrite = vi.fn();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
  const mayWrite = vi.fn(() => true);
  const onWrite = vi.fn();
  const onError = vi.fn();
  const session = new GatewaySession({
    driver: gateway,
    clock,
    random: () => 0.5,
    backoff: createBackoff({ baseMs: 500, factor: 2, maxMs: 30_000, jitter: 0, random: () => 0.5 }),
    log,
    resyncMs: 600_000,
    limit: (request) => request(),
    mayWrite,
    onList: (report) => reports.push(report),
    onLateWrite,
    isWanted: (id) => !id.startsWith('foreign'),
    onState,
    onWrite,
    onError,
  });
  const running = session.run();
  await settle();
  const stop = async () => {
    await session.close();
    await running;
  };
  return { gateway, clock, session, reports, onState, onLateWrite, onWrite, onError, log, mayWrite, stop };
}

describe('GatewaySession', () => {
  it('reports every write, and every failed request by its reason', async () => {
    const { gateway, session, onWrite, onError, mayWrite, stop } = await start();
    const put = () => session.exclusive('a', (lock) => lock.put(upstream('a'), never));
    await put();
    gateway.fail = () => new GatewayRejectedError('no');
    await expect(put()).rejects.toThrow('no');
    gateway.fail = () => new UpstreamInUseError('a route');
    await expect(session.exclusive('a', (lock) => lock.delete('respect', never))).rejects.toThrow('a route');
    gateway.fail = (call) => (call === 'get a' ? new GatewayRejectedError('no') : undefined);
    await expect(session.exclusive('a', (lock) => lock.readFresh(never))).rejects.toThrow('no');
    mayWrite.mockReturnValue(false);
    await expect(put()).rejects.toThrow('no longer allowed to write');
    expect(onWrite.mock.calls).toEqual([
      ['put', 'accepted'],
      ['put', 'Rejected'],
      ['delete', 'InUse'],
    ]);
    expect(onError.mock.calls).toEqual([['Rejected'], ['InUse'], ['Rejected']]);
    await stop();
  });

  it('starts with one list and needs no GET for listed upstreams', async () => {
    const { gateway, session, reports, stop } = await start((g) => g.upstreams.set('a', upstream('a')));
    expect(session.state.kind).toBe('ready');
    expect(session.info).toEqual({ version: '1.2.3' });
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatchObject({ recovered: true });
    const seen = await session.exclusive('a', (lock) => lock.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a')));
    expect(gateway.calls).toEqual(['list']);
    await stop();
  });

  it('reconciles everything when the version of the gateway changes', async () => {
    const { gateway, session, clock, onState, stop } = await start();
    onState.mockClear();
    await clock.advance(600_000);
    expect(gateway.calls).toEqual(['list', 'list']);
    expect(onState).not.toHaveBeenCalled();
    gateway.info = { version: '1.3.0' };
    await clock.advance(600_000);
    expect(session.info).toEqual({ version: '1.3.0' });
    expect(onState.mock.calls).toEqual([['everything']]);
    await stop();
  });

  it('trusts the absence of an id only if it was observed recently and after the object was created', async () => {
    const { gateway, clock, session, stop } = await start();
    const read = (since: number) => session.exclusive('new', (lock) => lock.read(since, never));
    expect(await read(clock.monotonic())).toBeUndefined();
    expect(gateway.calls).toEqual(['list']);
    await clock.advance(1);
    gateway.upstreams.set('new', upstream('new'));
    expect((await read(clock.monotonic()))?.id).toBe('new');
    expect(gateway.calls).toEqual(['list', 'get new']);
    expect(await session.exclusive('old', (lock) => lock.read(0, never))).toBeUndefined();
    await clock.advance(11_000);
    gateway.upstreams.set('old', upstream('old'));
    expect((await session.exclusive('old', (lock) => lock.read(0, never)))?.id).toBe('old');
    await stop();
  });

  it('needs no GET after an answered write', async () => {
    const { gateway, session, stop } = await start();
    for (const port of [1, 2, 3]) {
      await session.exclusive('a', async (lock) => {
        await lock.read(0, never);
        await lock.put(upstream('a', port), never);
      });
    }
    expect(gateway.calls).toEqual(['list', 'put a', 'put a', 'put a']);
    await stop();
  });

  it('serializes requests for one id and does not block other ids', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    const first = session.exclusive('a', (lock) => lock.put(upstream('a', 1), never));
    const second = session.exclusive('a', (lock) => lock.put(upstream('a', 2), never));
    const other = session.exclusive('b', (lock) => lock.put(upstream('b'), never));
    await settle();
    expect(gateway.calls).toEqual(['list', 'put a', 'put b']);
    gateway.holdBack = false;
    for (const release of gateway.waiting) release();
    await Promise.all([first, second, other]);
    expect(gateway.calls).toEqual(['list', 'put a', 'put b', 'put a']);
    expect(gateway.upstreams.get('a')).toEqual(upstream('a', 2));
    await stop();
  });

  it('reads an id back after a write with an unknown result', async () => {
    const { gateway, session, stop } = await start();
    gateway.fail = (call) => (call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a', 1), never))).rejects.toThrow(
      'timeout',
    );
    gateway.fail = undefined;
    await settle();
    const seen = await session.exclusive('a', (lock) => lock.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a', 1)));
    expect(gateway.calls).toEqual(['list', 'put a', 'check', 'get a']);
    expect(session.state.kind).toBe('ready');
    await stop();
  });

  it.each([
    ['rejected', new GatewayRejectedError('no')],
    ['in use', new UpstreamInUseError('route')],
  ])('neither probes nor reads back after a definite response: %s', async (_, error) => {
    const { gateway, session, stop } = await start((g) => g.upstreams.set('a', upstream('a')));
    gateway.fail = (call) => (call === 'delete a' ? error : undefined);
    await expect(session.exclusive('a', (lock) => lock.delete('respect', never))).rejects.toBe(error);
    await settle();
    await session.exclusive('a', (lock) => lock.read(0, never));
    expect(gateway.calls).toEqual(['list', 'delete a']);
    await stop();
  });

  it('only retries the list with growing delays during an outage, and reconciles everything afterwards', async () => {
    const { gateway, clock, session, reports, onState, log, stop } = await start((g) =>
      g.upstreams.set('a', upstream('a')),
    );
    gateway.fail = () => new GatewayUnavailableError('down');
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a', 2), never))).rejects.toThrow('down');
    await settle();
    expect(session.state.kind).toBe('failing');
    const states = onState.mock.calls.length;
    for (let n = 0; n < 100; n += 1) {
      await expect(session.exclusive(`x${n}`, (lock) => lock.read(0, never))).rejects.toThrow('down');
    }
    expect(gateway.calls).toEqual(['list', 'put a', 'check']);
    await clock.advance(500);
    expect(gateway.calls.slice(3)).toEqual(['list']);
    await clock.advance(999);
    expect(gateway.calls.slice(3)).toEqual(['list']);
    await clock.advance(1);
    expect(gateway.calls.slice(3)).toEqual(['list', 'list']);
    await clock.advance(600_000);
    expect(gateway.calls.length).toBeLessThan(40);
    expect(onState.mock.calls.length).toBe(states);
    expect(log.warn).toHaveBeenCalledTimes(1);
    gateway.fail = undefined;
    await clock.advance(31_000);
    expect(session.state.kind).toBe('ready');
    expect(reports.at(-1)).toMatchObject({ recovered: true });
    await stop();
  });

  it('keeps the cached content after a write with an unknown result, but reads it back before it uses it', async () => {
    const { gateway, session, stop } = await start((g) => g.upstreams.set('a', upstream('a', 1)));
    gateway.fail = (call) => (call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a', 2), never))).rejects.toThrow(
      'timeout',
    );
    // The ownership of the id stays known when its content becomes unknown.
    expect(session.peek('a')?.canonical).toBe(canonical(upstream('a', 1)));
    gateway.fail = undefined;
    const seen = await session.exclusive('a', (lock) => lock.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a', 2)));
    await stop();
  });

  it('does not use a list that started before a write as the result of that write', async () => {
    const { gateway, clock, session, stop } = await start((g) => g.upstreams.set('a', upstream('a', 1)));
    gateway.holdBack = true;
    await clock.advance(600_000 * 1.1);
    expect(gateway.calls.slice(1)).toEqual(['list']);
    gateway.holdBack = false;
    gateway.fail = (call) => (call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a', 2), never))).rejects.toThrow(
      'timeout',
    );
    gateway.fail = undefined;
    for (const release of gateway.waiting) release();
    await settle();
    const seen = await session.exclusive('a', (lock) => lock.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a', 2)));
    await stop();
  });

  it('continues after unexpected errors of a probe and a list', async () => {
    const { gateway, clock, session, stop } = await start();
    gateway.fail = (call) =>
      call.startsWith('put') ? new GatewayUnavailableError('timeout') : new Error('odd');
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a'), never))).rejects.toThrow('timeout');
    await settle();
    expect(session.state.kind).toBe('failing');
    gateway.fail = undefined;
    await clock.advance(60_000);
    expect(session.state.kind).toBe('ready');
    await stop();
  });

  it('reconciles the objects once per outage, even if its error message varies', async () => {
    const { gateway, clock, onState, stop } = await start();
    let n = 0;
    gateway.fail = () => new GatewayUnavailableError(`502, request ${++n}`);
    await clock.advance(3_600_000);
    const scopes = onState.mock.calls.map(([scope]) => scope);
    expect(scopes.filter((scope) => scope === 'everything').length).toBeLessThanOrEqual(2);
    expect(scopes.filter((scope) => scope === 'connection').length).toBeGreaterThan(5);
    await stop();
  });

  it('keeps drift until it is taken', async () => {
    const { gateway, clock, session, stop } = await start((g) => {
      for (const id of ['edited', 'deleted', 'same']) g.upstreams.set(id, upstream(id));
    });
    gateway.upstreams.set('edited', upstream('edited', 9));
    gateway.upstreams.delete('deleted');
    await clock.advance(600_000 * 1.1);
    for (const [id, drifted] of [
      ['edited', true],
      ['deleted', true],
      ['same', false],
      ['edited', false],
    ] as const) {
      expect(session.takeDrift(id) !== undefined).toBe(drifted);
    }
    await stop();
  });

  it('waits as long as Retry-After demands', async () => {
    const { gateway, clock, stop } = await start((g) => {
      g.fail = () => new GatewayUnavailableError('busy', { retryAfterMs: 60_000 });
    });
    await clock.advance(59_000);
    expect(gateway.calls).toEqual(['list']);
    await clock.advance(1000);
    expect(gateway.calls).toEqual(['list', 'list']);
    await stop();
  });

  it('lists again a minute after its start, because a write of an earlier session may take effect late', async () => {
    const { gateway, clock, reports, stop } = await start((g) => g.upstreams.set('a', upstream('a', 1)));
    await clock.advance(59_999);
    expect(gateway.calls).toEqual(['list']);
    gateway.upstreams.set('a', upstream('a', 2));
    await clock.advance(1);
    expect(gateway.calls).toEqual(['list', 'list']);
    expect([...(reports[1]?.changed ?? [])]).toEqual(['a']);
    await clock.advance(599_999);
    expect(gateway.calls).toEqual(['list', 'list']);
    await stop();
  });

  it('records no drift of unused ids', async () => {
    const { gateway, clock, session, stop } = await start((g) => {
      for (const id of ['foreign', 'ours']) g.upstreams.set(id, upstream(id, 1));
    });
    for (const id of ['foreign', 'ours']) gateway.upstreams.set(id, upstream(id, 2));
    await clock.advance(60_000);
    expect(session.takeDrift('foreign')).toBeUndefined();
    expect(session.takeDrift('ours')?.canonical).toBe(canonical(upstream('ours', 1)));
    await stop();
  });

  it('writes the ownership mark and caches the response', async () => {
    const { gateway, session, stop } = await start((g) => g.upstreams.set('a', upstream('a')));
    const mark = ownerMark(
      { cluster: 'c', connection: 'default', namespace: 'shop', name: 'web' },
      { retain: true },
    );
    const answered = await session.exclusive('a', (lock) => lock.mark(mark, never));
    expect(answered?.owner).toEqual(mark);
    expect(session.peek('a')).toBe(answered);
    expect(gateway.calls).toEqual(['list', 'mark a']);
    await stop();
  });

  describe('after an unanswered write', () => {
    const unanswered = (call: string) =>
      call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined;

    /** A session with an unanswered write of `a`, followed by an accepted one. */
    async function startAfterTimeout() {
      const started = await start((g) => g.upstreams.set('a', upstream('a', 1)));
      const { gateway, clock, session } = started;
      // Until after the list that follows a minute after the start.
      await clock.advance(60_000);
      gateway.fail = unanswered;
      await expect(session.exclusive('a', (lock) => lock.put(upstream('a', 2), never))).rejects.toThrow();
      gateway.fail = undefined;
      await session.exclusive('a', async (lock) => {
        await lock.read(0, never);
        await lock.put(upstream('a', 3), never);
      });
      expect(session.hasUnsettledWrites).toBe(true);
      gateway.calls.length = 0;
      return started;
    }

    it('reads the upstream back a minute later and reports that the old write overwrote the new one', async () => {
      const { gateway, clock, session, onLateWrite, stop } = await startAfterTimeout();
      gateway.upstreams.set('a', upstream('a', 2));
      await clock.advance(59_999);
      expect(gateway.calls).toEqual([]);
      await clock.advance(1);
      expect(gateway.calls).toEqual(['get a']);
      expect(onLateWrite.mock.calls).toEqual([
        ['a', expect.objectContaining({ canonical: canonical(upstream('a', 2)) })],
      ]);
      expect(session.hasUnsettledWrites).toBe(false);
      await clock.advance(60_000);
      expect(gateway.calls).toEqual(['get a']);
      await stop();
    });

    it('reports an upstream that a late request deleted, and one that a late request created', async () => {
      const { gateway, clock, session, onLateWrite, stop } = await startAfterTimeout();
      gateway.upstreams.delete('a');
      await clock.advance(60_000);
      expect(onLateWrite.mock.calls).toEqual([['a', undefined]]);
      gateway.fail = unanswered;
      await expect(session.exclusive('a', (lock) => lock.put(upstream('a', 2), never))).rejects.toThrow();
      gateway.fail = undefined;
      await session.exclusive('a', (lock) => lock.delete('respect', never));
      gateway.upstreams.set('a', upstream('a', 2));
      await clock.advance(60_000);
      expect(onLateWrite.mock.calls.slice(1)).toEqual([['a', expect.objectContaining({ id: 'a' })]]);
      await stop();
    });

    it('reports nothing if the newer write is still in effect', async () => {
      const { gateway, clock, onLateWrite, stop } = await startAfterTimeout();
      await clock.advance(60_000);
      expect(gateway.calls).toEqual(['get a']);
      expect(onLateWrite).not.toHaveBeenCalled();
      await stop();
    });

    it('skips the read-back if a list comes first', async () => {
      const { gateway, clock, session, stop } = await startAfterTimeout();
      await clock.advance(60_000 - 1);
      session.listWithin(1);
      await clock.advance(1);
      await settle();
      expect(gateway.calls).toEqual(['list']);
      expect(session.hasUnsettledWrites).toBe(false);
      await stop();
    });

    it('lists once instead of reading back many upstreams', async () => {
      const { gateway, clock, session, stop } = await startAfterTimeout();
      gateway.fail = unanswered;
      const ids = Array.from({ length: 50 }, (_, n) => `x${n}`);
      for (const id of ids) {
        await expect(session.exclusive(id, (lock) => lock.put(upstream(id), never))).rejects.toThrow();
      }
      gateway.fail = undefined;
      gateway.calls.length = 0;
      await clock.advance(60_000);
      expect(gateway.calls.filter((call) => call === 'list')).toHaveLength(1);
      expect(gateway.calls.filter((call) => call.startsWith('get'))).toEqual([]);
      expect(session.hasUnsettledWrites).toBe(false);
      await stop();
    });
  });

  describe('while writes are rejected', () => {
    const put = (session: GatewaySession, id: string) =>
      session.exclusive(id, (lock) => lock.put(upstream(id), never));
    const refused = (...ids: readonly string[]) => {
      const calls = ids.map((id) => `put ${id}`);
      return (call: string) =>
        calls.includes(call) ? new GatewayAuthError('no', { status: 403 }) : undefined;
    };

    it('blocks only the upstream whose content is rejected', async () => {
      const { gateway, session, onState, stop } = await start();
      onState.mockClear();
      gateway.fail = refused('hostile');
      await expect(put(session, 'hostile')).rejects.toMatchObject({
        reason: 'Rejected',
        message: expect.stringContaining('rejected this upstream (403) but accepts other writes'),
      });
      await put(session, 'b');
      await settle();
      expect(gateway.calls).toEqual(['list', 'put hostile', 'checkWrite', 'check', 'put b']);
      expect(session.writeRefused).toBeUndefined();
      expect(onState).not.toHaveBeenCalled();
      await stop();
    });

    it('reports a read-only key, and sends few writes until one is accepted', async () => {
      const { gateway, clock, session, onState, stop } = await start();
      const readOnly = (call: string) =>
        /^(put|checkWrite)/.test(call) ? new GatewayAuthError('may only read') : undefined;
      gateway.fail = readOnly;
      onState.mockClear();
      for (const id of ['a', 'b', 'c']) await expect(put(session, id)).rejects.toThrow('may only read');
      await settle();
      // The gateway responds and accepts the key for reads.
      expect(session.state.kind).toBe('ready');
      expect(session.writeRefused?.message).toBe('may only read');
      expect(onState.mock.calls).toEqual([['connection']]);

      gateway.calls.length = 0;
      for (let second = 1; second < 30; second += 1) {
        await clock.advance(1000);
        for (const id of ['a', 'b', 'c']) await expect(put(session, id)).rejects.toThrow('may only read');
      }
      expect(gateway.calls).toEqual([]);
      await clock.advance(1000);
      await expect(put(session, 'a')).rejects.toThrow('may only read');
      await expect(put(session, 'b')).rejects.toThrow('may only read');
      await clock.advance(1000);
      // Not the upstream that was tried last.
      await expect(put(session, 'a')).rejects.toThrow('may only read');
      gateway.fail = undefined;
      await put(session, 'b');
      expect(gateway.calls.filter((call) => call.startsWith('put'))).toEqual(['put a', 'put b']);
      expect(session.writeRefused).toBeUndefined();
      expect(onState.mock.calls).toEqual([['connection'], ['connection']]);
      await put(session, 'a');
      await stop();
    });

    it('writes an upstream that was not rejected yet immediately, in case only the probe is rejected', async () => {
      const { gateway, session, stop } = await start();
      const hostile = refused('hostile');
      gateway.fail = (call) => (call === 'checkWrite' ? new GatewayAuthError('no') : hostile(call));
      await expect(put(session, 'hostile')).rejects.toMatchObject({ reason: 'Unauthorized' });
      expect(session.writeRefused).toBeDefined();
      await put(session, 'b');
      expect(session.writeRefused).toBeUndefined();
      await stop();
    });

    it('does not block writes if the probe gets no response', async () => {
      const { gateway, session, stop } = await start();
      const hostile = refused('a');
      gateway.fail = (call) =>
        call === 'checkWrite' ? new GatewayUnavailableError('timeout') : hostile(call);
      await expect(put(session, 'a')).rejects.toMatchObject({ reason: 'Unauthorized', message: 'no' });
      expect(session.writeRefused).toBeUndefined();
      await stop();
    });
  });

  it('lists again after the resync interval, and reports changed, added and deleted upstreams', async () => {
    const { gateway, clock, reports, stop } = await start((g) => {
      for (const id of ['same', 'edited', 'deleted']) g.upstreams.set(id, upstream(id));
    });
    gateway.upstreams.set('edited', upstream('edited', 9));
    gateway.upstreams.delete('deleted');
    gateway.upstreams.set('added', upstream('added'));
    await clock.advance(600_000);
    expect(reports).toHaveLength(2);
    expect(reports[1]?.recovered).toBe(false);
    expect([...(reports[1]?.changed ?? [])].sort()).toEqual(['added', 'deleted', 'edited']);
    await stop();
  });

  it('prefers a response that arrived during a list to the list', async () => {
    const { gateway, clock, session, reports, stop } = await start((g) =>
      g.upstreams.set('a', upstream('a', 1)),
    );
    gateway.holdBack = true;
    await clock.advance(600_000);
    expect(gateway.calls).toEqual(['list', 'list']);
    gateway.holdBack = false;
    await session.exclusive('a', (lock) => lock.put(upstream('a', 2), never));
    for (const release of gateway.waiting) release();
    await settle();
    expect(reports).toHaveLength(2);
    expect([...(reports[1]?.changed ?? [])]).toEqual([]);
    expect(session.peek('a')?.canonical).toBe(canonical(upstream('a', 2)));
    await stop();
  });

  it('starts no write while mayWrite is false, and counts as closed', async () => {
    const { gateway, session, mayWrite, stop } = await start((g) => g.upstreams.set('a', upstream('a')));
    gateway.holdBack = true;
    const first = session.exclusive('a', (lock) => lock.put(upstream('a', 1), never));
    const second = session.exclusive('a', (lock) => lock.put(upstream('a', 2), never));
    const third = session.exclusive('a', (lock) => lock.delete('respect', never));
    await settle();
    expect(session.closed).toBe(false);
    mayWrite.mockReturnValue(false);
    gateway.holdBack = false;
    for (const release of gateway.waiting) release();
    expect((await first).canonical).toBe(canonical(upstream('a', 1)));
    await expect(second).rejects.toThrow('no longer allowed to write');
    await expect(third).rejects.toThrow('no longer allowed to write');
    expect(session.closed).toBe(true);
    expect(session.state.kind).toBe('ready');
    expect(gateway.calls).toEqual(['list', 'put a']);
    expect(await session.exclusive('b', (lock) => lock.read(0, never))).toBeUndefined();
    await stop();
  });

  it('waits for a running write when it is closed, so that the write cannot take effect later', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    const stopping = new AbortController();
    const writing = session.exclusive('a', (lock) => lock.put(upstream('a'), stopping.signal));
    const waiting = session.exclusive('a', (lock) => lock.put(upstream('a', 2), stopping.signal));
    await settle();
    stopping.abort();
    const closed = vi.fn();
    const closing = stop().then(closed);
    await settle();
    expect(gateway.signals.map(({ aborted }) => aborted)).toEqual([false]);
    expect(closed).not.toHaveBeenCalled();
    for (const release of gateway.waiting) release();
    expect((await writing).id).toBe('a');
    await expect(waiting).rejects.toThrow();
    await closing;
    expect(gateway.calls).toEqual(['list', 'put a', 'close']);
  });

  it('lists again if a list is requested during a list or a probe', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    session.listWithin(0);
    await settle();
    expect(gateway.calls).toEqual(['list', 'list']);
    session.listWithin(0);
    session.listWithin(0);
    gateway.holdBack = false;
    for (const release of gateway.waiting.splice(0)) release();
    await settle();
    expect(gateway.calls).toEqual(['list', 'list', 'list']);

    gateway.fail = (call) => (call === 'put a' ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a'), never))).rejects.toThrow('timeout');
    session.listWithin(0);
    await settle();
    expect(gateway.calls.slice(3)).toEqual(['put a', 'check', 'list']);
    await stop();
  });

  it('has no running request after close', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    const writing = session.exclusive('a', (lock) => lock.put(upstream('a'), never));
    await settle();
    const stopped = stop();
    for (const release of gateway.waiting) release();
    await Promise.allSettled([writing, stopped]);
    await expect(session.exclusive('a', (lock) => lock.put(upstream('a'), never))).rejects.toThrow();
    expect(gateway.calls.at(-1)).toBe('close');
  });
});
