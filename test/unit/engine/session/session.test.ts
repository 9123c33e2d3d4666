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

/** A gateway whose every call is counted and can be made to fail, over a plain map. */
class Gateway implements GatewayDriver {
  readonly type = 'test';
  readonly calls: string[] = [];
  readonly held = new Map<string, Upstream>();
  fail: ((call: string) => Error | undefined) | undefined;
  /** Resolvers of calls that are held back, by call. */
  readonly waiting: (() => void)[] = [];
  /** Of every `put`, in order. */
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
    const held = this.held.get(id);
    return held === undefined
      ? undefined
      : {
          id,
          owner: held.owner,
          labels: held.labels,
          nodes: held.nodes,
          canonical: canonical(held),
          createTime: 1,
        };
  }

  info: GatewayInfo = { version: '1.2.3' };

  get = (id: string) => this.#call(`get ${id}`, () => this.#observe(id));
  list = () =>
    this.#call('list', () => ({
      upstreams: new Map([...this.held.keys()].map((id) => [id, this.#observe(id) as ObservedUpstream])),
      info: this.info,
    }));
  put = (desired: Upstream, signal: AbortSignal) => {
    this.signals.push(signal);
    return this.#call(
      `put ${desired.id}`,
      () => {
        this.held.set(desired.id, desired);
        return this.#observe(desired.id) as ObservedUpstream;
      },
      true,
    );
  };
  putNodes = (id: string, nodes: Upstream['nodes']) =>
    this.#call(`putNodes ${id}`, () => {
      const before = this.held.get(id);
      if (before !== undefined) this.held.set(id, { ...before, nodes });
      return this.#observe(id);
    });
  mark = (id: string, owner: OwnerMark) =>
    this.#call(`mark ${id}`, () => {
      const before = this.held.get(id);
      if (before !== undefined) this.held.set(id, { ...before, owner });
      return this.#observe(id);
    });
  delete = (id: string) =>
    this.#call(`delete ${id}`, () => {
      this.held.delete(id);
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
  it('tells of every write that the gateway was asked for, and of every failed request by its reason', async () => {
    const { gateway, session, onWrite, onError, mayWrite, stop } = await start();
    const put = () => session.exclusive('a', (turn) => turn.put(upstream('a'), never));
    await put();
    gateway.fail = () => new GatewayRejectedError('no');
    await expect(put()).rejects.toThrow('no');
    gateway.fail = () => new UpstreamInUseError('a route');
    await expect(session.exclusive('a', (turn) => turn.delete('respect', never))).rejects.toThrow('a route');
    gateway.fail = (call) => (call === 'get a' ? new GatewayRejectedError('no') : undefined);
    await expect(session.exclusive('a', (turn) => turn.ask(never))).rejects.toThrow('no');
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

  it('begins with one list, and needs no GET for what it showed', async () => {
    const { gateway, session, reports, stop } = await start((g) => g.held.set('a', upstream('a')));
    expect(session.state.kind).toBe('ready');
    expect(session.info).toEqual({ version: '1.2.3' });
    expect(reports).toHaveLength(1);
    expect(reports[0]).toMatchObject({ recovered: true });
    const seen = await session.exclusive('a', (turn) => turn.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a')));
    expect(gateway.calls).toEqual(['list']);
    await stop();
  });

  it('tells everything anew when another version answers a list, since that takes other fields', async () => {
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

  it('believes that an id is free only if the gateway was asked after the object came, and not long ago', async () => {
    const { gateway, clock, session, stop } = await start();
    const read = (since: number) => session.exclusive('new', (turn) => turn.read(since, never));
    expect(await read(clock.monotonic())).toBeUndefined();
    expect(gateway.calls).toEqual(['list']);
    await clock.advance(1);
    gateway.held.set('new', upstream('new'));
    expect((await read(clock.monotonic()))?.id).toBe('new');
    expect(gateway.calls).toEqual(['list', 'get new']);
    expect(await session.exclusive('old', (turn) => turn.read(0, never))).toBeUndefined();
    await clock.advance(11_000);
    gateway.held.set('old', upstream('old'));
    expect((await session.exclusive('old', (turn) => turn.read(0, never)))?.id).toBe('old');
    await stop();
  });

  it('learns from the answer of a write, so that the next one needs no GET', async () => {
    const { gateway, session, stop } = await start();
    for (const port of [1, 2, 3]) {
      await session.exclusive('a', async (turn) => {
        await turn.read(0, never);
        await turn.put(upstream('a', port), never);
      });
    }
    expect(gateway.calls).toEqual(['list', 'put a', 'put a', 'put a']);
    await stop();
  });

  it('never lets two requests for one id overlap, and lets other ids go on', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    const first = session.exclusive('a', (turn) => turn.put(upstream('a', 1), never));
    const second = session.exclusive('a', (turn) => turn.put(upstream('a', 2), never));
    const other = session.exclusive('b', (turn) => turn.put(upstream('b'), never));
    await settle();
    expect(gateway.calls).toEqual(['list', 'put a', 'put b']);
    gateway.holdBack = false;
    for (const release of gateway.waiting) release();
    await Promise.all([first, second, other]);
    expect(gateway.calls).toEqual(['list', 'put a', 'put b', 'put a']);
    expect(gateway.held.get('a')).toEqual(upstream('a', 2));
    await stop();
  });

  it('reads an id back after a write that may have happened', async () => {
    const { gateway, session, stop } = await start();
    gateway.fail = (call) => (call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a', 1), never))).rejects.toThrow(
      'timeout',
    );
    gateway.fail = undefined;
    await settle();
    const seen = await session.exclusive('a', (turn) => turn.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a', 1)));
    expect(gateway.calls).toEqual(['list', 'put a', 'check', 'get a']);
    expect(session.state.kind).toBe('ready');
    await stop();
  });

  it.each([
    ['refused', new GatewayRejectedError('no')],
    ['in use', new UpstreamInUseError('route')],
  ])('neither probes nor reads back after an answer that is clear: %s', async (_, error) => {
    const { gateway, session, stop } = await start((g) => g.held.set('a', upstream('a')));
    gateway.fail = (call) => (call === 'delete a' ? error : undefined);
    await expect(session.exclusive('a', (turn) => turn.delete('respect', never))).rejects.toBe(error);
    await settle();
    await session.exclusive('a', (turn) => turn.read(0, never));
    expect(gateway.calls).toEqual(['list', 'delete a']);
    await stop();
  });

  it('asks a gateway that is down nothing but one list, with growing pauses, and tells everything when it is back', async () => {
    const { gateway, clock, session, reports, onState, log, stop } = await start((g) =>
      g.held.set('a', upstream('a')),
    );
    gateway.fail = () => new GatewayUnavailableError('down');
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a', 2), never))).rejects.toThrow('down');
    await settle();
    expect(session.state.kind).toBe('failing');
    const states = onState.mock.calls.length;
    for (let n = 0; n < 100; n += 1) {
      await expect(session.exclusive(`x${n}`, (turn) => turn.read(0, never))).rejects.toThrow('down');
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

  it('keeps what it saw of an id whose write may have happened, but reads it before it believes it', async () => {
    const { gateway, session, stop } = await start((g) => g.held.set('a', upstream('a', 1)));
    gateway.fail = (call) => (call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a', 2), never))).rejects.toThrow(
      'timeout',
    );
    // Whose the id is does not become unknown with the content.
    expect(session.peek('a')?.canonical).toBe(canonical(upstream('a', 1)));
    gateway.fail = undefined;
    const seen = await session.exclusive('a', (turn) => turn.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a', 2)));
    await stop();
  });

  it('does not take a list that began before a write for proof of that write', async () => {
    const { gateway, clock, session, stop } = await start((g) => g.held.set('a', upstream('a', 1)));
    gateway.holdBack = true;
    await clock.advance(600_000 * 1.1);
    expect(gateway.calls.slice(1)).toEqual(['list']);
    gateway.holdBack = false;
    gateway.fail = (call) => (call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined);
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a', 2), never))).rejects.toThrow(
      'timeout',
    );
    gateway.fail = undefined;
    for (const release of gateway.waiting) release();
    await settle();
    const seen = await session.exclusive('a', (turn) => turn.read(0, never));
    expect(seen?.canonical).toBe(canonical(upstream('a', 2)));
    await stop();
  });

  it('survives a probe and a list that fail in a way that nobody foresaw', async () => {
    const { gateway, clock, session, stop } = await start();
    gateway.fail = (call) =>
      call.startsWith('put') ? new GatewayUnavailableError('timeout') : new Error('odd');
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a'), never))).rejects.toThrow('timeout');
    await settle();
    expect(session.state.kind).toBe('failing');
    gateway.fail = undefined;
    await clock.advance(60_000);
    expect(session.state.kind).toBe('ready');
    await stop();
  });

  it('tells the objects of an outage once, however its words change', async () => {
    const { gateway, clock, onState, stop } = await start();
    let n = 0;
    gateway.fail = () => new GatewayUnavailableError(`502, request ${++n}`);
    await clock.advance(3_600_000);
    const scopes = onState.mock.calls.map(([scope]) => scope);
    expect(scopes.filter((scope) => scope === 'everything').length).toBeLessThanOrEqual(2);
    expect(scopes.filter((scope) => scope === 'connection').length).toBeGreaterThan(5);
    await stop();
  });

  it('remembers what somebody changed until that is told', async () => {
    const { gateway, clock, session, stop } = await start((g) => {
      for (const id of ['edited', 'deleted', 'same']) g.held.set(id, upstream(id));
    });
    gateway.held.set('edited', upstream('edited', 9));
    gateway.held.delete('deleted');
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

  it('waits as long as the gateway asks for', async () => {
    const { gateway, clock, stop } = await start((g) => {
      g.fail = () => new GatewayUnavailableError('busy', { retryAfterMs: 60_000 });
    });
    await clock.advance(59_000);
    expect(gateway.calls).toEqual(['list']);
    await clock.advance(1000);
    expect(gateway.calls).toEqual(['list', 'list']);
    await stop();
  });

  it('lists once more a minute after its start, since a write of an earlier session may be carried out late', async () => {
    const { gateway, clock, reports, stop } = await start((g) => g.held.set('a', upstream('a', 1)));
    await clock.advance(59_999);
    expect(gateway.calls).toEqual(['list']);
    gateway.held.set('a', upstream('a', 2));
    await clock.advance(1);
    expect(gateway.calls).toEqual(['list', 'list']);
    expect([...(reports[1]?.changed ?? [])]).toEqual(['a']);
    await clock.advance(599_999);
    expect(gateway.calls).toEqual(['list', 'list']);
    await stop();
  });

  it('keeps no copy of what changes under ids that no object wants', async () => {
    const { gateway, clock, session, stop } = await start((g) => {
      for (const id of ['foreign', 'ours']) g.held.set(id, upstream(id, 1));
    });
    for (const id of ['foreign', 'ours']) gateway.held.set(id, upstream(id, 2));
    await clock.advance(60_000);
    expect(session.takeDrift('foreign')).toBeUndefined();
    expect(session.takeDrift('ours')?.canonical).toBe(canonical(upstream('ours', 1)));
    await stop();
  });

  it('marks the owner and learns from the answer', async () => {
    const { gateway, session, stop } = await start((g) => g.held.set('a', upstream('a')));
    const mark = ownerMark(
      { cluster: 'c', connection: 'default', namespace: 'shop', name: 'web' },
      { retain: true },
    );
    const answered = await session.exclusive('a', (turn) => turn.mark(mark, never));
    expect(answered?.owner).toEqual(mark);
    expect(session.peek('a')).toBe(answered);
    expect(gateway.calls).toEqual(['list', 'mark a']);
    await stop();
  });

  describe('after a write without an answer', () => {
    const unanswered = (call: string) =>
      call.startsWith('put') ? new GatewayUnavailableError('timeout') : undefined;

    /** A session whose write of `a` got no answer, and whose next one was accepted. */
    async function startAfterTimeout() {
      const started = await start((g) => g.held.set('a', upstream('a', 1)));
      const { gateway, clock, session } = started;
      // Past the list a minute after the start.
      await clock.advance(60_000);
      gateway.fail = unanswered;
      await expect(session.exclusive('a', (turn) => turn.put(upstream('a', 2), never))).rejects.toThrow();
      gateway.fail = undefined;
      await session.exclusive('a', async (turn) => {
        await turn.read(0, never);
        await turn.put(upstream('a', 3), never);
      });
      expect(session.unsettled).toBe(true);
      gateway.calls.length = 0;
      return started;
    }

    it('reads the upstream again a minute later and reports that the old write was carried out over the new one', async () => {
      const { gateway, clock, session, onLateWrite, stop } = await startAfterTimeout();
      gateway.held.set('a', upstream('a', 2));
      await clock.advance(59_999);
      expect(gateway.calls).toEqual([]);
      await clock.advance(1);
      expect(gateway.calls).toEqual(['get a']);
      expect(onLateWrite.mock.calls).toEqual([
        ['a', expect.objectContaining({ canonical: canonical(upstream('a', 2)) })],
      ]);
      expect(session.unsettled).toBe(false);
      await clock.advance(60_000);
      expect(gateway.calls).toEqual(['get a']);
      await stop();
    });

    it('reports an upstream that a late deletion took away, and one that a late write created', async () => {
      const { gateway, clock, session, onLateWrite, stop } = await startAfterTimeout();
      gateway.held.delete('a');
      await clock.advance(60_000);
      expect(onLateWrite.mock.calls).toEqual([['a', undefined]]);
      gateway.fail = unanswered;
      await expect(session.exclusive('a', (turn) => turn.put(upstream('a', 2), never))).rejects.toThrow();
      gateway.fail = undefined;
      await session.exclusive('a', (turn) => turn.delete('respect', never));
      gateway.held.set('a', upstream('a', 2));
      await clock.advance(60_000);
      expect(onLateWrite.mock.calls.slice(1)).toEqual([['a', expect.objectContaining({ id: 'a' })]]);
      await stop();
    });

    it('reports nothing where the newer write is still in force', async () => {
      const { gateway, clock, onLateWrite, stop } = await startAfterTimeout();
      await clock.advance(60_000);
      expect(gateway.calls).toEqual(['get a']);
      expect(onLateWrite).not.toHaveBeenCalled();
      await stop();
    });

    it('leaves the reading to a list that is asked for in time', async () => {
      const { gateway, clock, session, stop } = await startAfterTimeout();
      await clock.advance(60_000 - 1);
      session.listWithin(1);
      await clock.advance(1);
      await settle();
      expect(gateway.calls).toEqual(['list']);
      expect(session.unsettled).toBe(false);
      await stop();
    });

    it('lists once instead of reading many upstreams one by one', async () => {
      const { gateway, clock, session, stop } = await startAfterTimeout();
      gateway.fail = unanswered;
      const ids = Array.from({ length: 50 }, (_, n) => `x${n}`);
      for (const id of ids) {
        await expect(session.exclusive(id, (turn) => turn.put(upstream(id), never))).rejects.toThrow();
      }
      gateway.fail = undefined;
      gateway.calls.length = 0;
      await clock.advance(60_000);
      expect(gateway.calls.filter((call) => call === 'list')).toHaveLength(1);
      expect(gateway.calls.filter((call) => call.startsWith('get'))).toEqual([]);
      expect(session.unsettled).toBe(false);
      await stop();
    });
  });

  describe('while writes are refused', () => {
    const put = (session: GatewaySession, id: string) =>
      session.exclusive(id, (turn) => turn.put(upstream(id), never));
    const refused = (...ids: readonly string[]) => {
      const calls = ids.map((id) => `put ${id}`);
      return (call: string) =>
        calls.includes(call) ? new GatewayAuthError('no', { status: 403 }) : undefined;
    };

    it('refuses only the upstream whose content is refused, and lets every other one go on', async () => {
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

    it('reports that the key may only read, and asks the gateway for few writes until one is accepted', async () => {
      const { gateway, clock, session, onState, stop } = await start();
      const readOnly = (call: string) =>
        /^(put|checkWrite)/.test(call) ? new GatewayAuthError('may only read') : undefined;
      gateway.fail = readOnly;
      onState.mockClear();
      for (const id of ['a', 'b', 'c']) await expect(put(session, id)).rejects.toThrow('may only read');
      await settle();
      // The gateway answers, and takes the key for reading.
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
      // Another one than the one that tried last.
      await expect(put(session, 'a')).rejects.toThrow('may only read');
      gateway.fail = undefined;
      await put(session, 'b');
      expect(gateway.calls.filter((call) => call.startsWith('put'))).toEqual(['put a', 'put b']);
      expect(session.writeRefused).toBeUndefined();
      expect(onState.mock.calls).toEqual([['connection'], ['connection']]);
      await put(session, 'a');
      await stop();
    });

    it('lets an upstream that was not refused yet write at once, in case the probe is refused by mistake', async () => {
      const { gateway, session, stop } = await start();
      const hostile = refused('hostile');
      gateway.fail = (call) => (call === 'checkWrite' ? new GatewayAuthError('no') : hostile(call));
      await expect(put(session, 'hostile')).rejects.toMatchObject({ reason: 'Unauthorized' });
      expect(session.writeRefused).toBeDefined();
      await put(session, 'b');
      expect(session.writeRefused).toBeUndefined();
      await stop();
    });

    it('judges nothing where the probe gets no answer', async () => {
      const { gateway, session, stop } = await start();
      const hostile = refused('a');
      gateway.fail = (call) =>
        call === 'checkWrite' ? new GatewayUnavailableError('timeout') : hostile(call);
      await expect(put(session, 'a')).rejects.toMatchObject({ reason: 'Unauthorized', message: 'no' });
      expect(session.writeRefused).toBeUndefined();
      await stop();
    });
  });

  it('lists again after the resync time, and names what somebody changed, added or deleted', async () => {
    const { gateway, clock, reports, stop } = await start((g) => {
      for (const id of ['same', 'edited', 'deleted']) g.held.set(id, upstream(id));
    });
    gateway.held.set('edited', upstream('edited', 9));
    gateway.held.delete('deleted');
    gateway.held.set('added', upstream('added'));
    await clock.advance(600_000);
    expect(reports).toHaveLength(2);
    expect(reports[1]?.recovered).toBe(false);
    expect([...(reports[1]?.changed ?? [])].sort()).toEqual(['added', 'deleted', 'edited']);
    await stop();
  });

  it('prefers what it learned while a list was under way to what the list shows', async () => {
    const { gateway, clock, session, reports, stop } = await start((g) => g.held.set('a', upstream('a', 1)));
    gateway.holdBack = true;
    await clock.advance(600_000);
    expect(gateway.calls).toEqual(['list', 'list']);
    gateway.holdBack = false;
    await session.exclusive('a', (turn) => turn.put(upstream('a', 2), never));
    for (const release of gateway.waiting) release();
    await settle();
    expect(reports).toHaveLength(2);
    expect([...(reports[1]?.changed ?? [])]).toEqual([]);
    expect(session.peek('a')?.canonical).toBe(canonical(upstream('a', 2)));
    await stop();
  });

  it('begins no write without the right to, and then is closed', async () => {
    const { gateway, session, mayWrite, stop } = await start((g) => g.held.set('a', upstream('a')));
    gateway.holdBack = true;
    const first = session.exclusive('a', (turn) => turn.put(upstream('a', 1), never));
    const second = session.exclusive('a', (turn) => turn.put(upstream('a', 2), never));
    const third = session.exclusive('a', (turn) => turn.delete('respect', never));
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
    expect(await session.exclusive('b', (turn) => turn.read(0, never))).toBeUndefined();
    await stop();
  });

  it('waits for a write under way when it is stopped, instead of leaving it to be carried out later', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    const stopping = new AbortController();
    const writing = session.exclusive('a', (turn) => turn.put(upstream('a'), stopping.signal));
    const waiting = session.exclusive('a', (turn) => turn.put(upstream('a', 2), stopping.signal));
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

  it('lists once more when that is asked for while a list is under way, or a probe', async () => {
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
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a'), never))).rejects.toThrow('timeout');
    session.listWithin(0);
    await settle();
    expect(gateway.calls.slice(3)).toEqual(['put a', 'check', 'list']);
    await stop();
  });

  it('ends with nothing under way', async () => {
    const { gateway, session, stop } = await start();
    gateway.holdBack = true;
    const writing = session.exclusive('a', (turn) => turn.put(upstream('a'), never));
    await settle();
    const stopped = stop();
    for (const release of gateway.waiting) release();
    await Promise.allSettled([writing, stopped]);
    await expect(session.exclusive('a', (turn) => turn.put(upstream('a'), never))).rejects.toThrow();
    expect(gateway.calls.at(-1)).toBe('close');
  });
});
