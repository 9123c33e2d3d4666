import { describe, expect, it, vi } from 'vitest';
import { UPSTREAM_FINALIZER } from '../../../src/api/group.ts';
import type { Ending } from '../../../src/controller/evaluate.ts';
import { LateFinalizers } from '../../../src/controller/late-finalizers.ts';
import type { UpstreamOutcome } from '../../../src/controller/reconcile-upstream.ts';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import { type GatewayUpstream, trimGatewayUpstream } from '../../../src/kube/objects.ts';
import { createStore } from '../../../src/kube/store.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const never = new AbortController().signal;
const done = { kind: 'done' };
const again = { kind: 'backoff' };

function upstream(metadata: object = {}, spec: object = {}): GatewayUpstream {
  const trimmed = trimGatewayUpstream({
    metadata: { namespace: 'shop', name: 'web', uid: 'u1', resourceVersion: '1', ...metadata },
    spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }], ...spec },
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

const verdict = { status: 'True', reason: 'Ready', message: '' } as const;
const outcome = (id: string, ready: UpstreamOutcome['ready'] = verdict): UpstreamOutcome => ({
  accepted: verdict,
  resolvedRefs: verdict,
  programmed: verdict,
  ready,
  upstreamId: id,
});

function start() {
  const upstreams = createStore<GatewayUpstream>({
    indexes: {},
    reportError: (error) => expect.fail(String(error)),
  });
  upstreams.setState({ state: 'synced' });
  const clock = createFakeClock();
  const addFinalizer = vi.fn(async () => true);
  const report = vi.fn();
  const enqueue = vi.fn();
  const remove = vi.fn(async () => true);
  const leaveAlone = vi.fn();
  const settled = vi.fn();
  const endingOf = vi.fn(({ spec }: GatewayUpstream): Ending => {
    const policy = spec.ok ? spec.value.deletionPolicy : 'Delete';
    return { kind: 'ends', id: 'shop.web', policy };
  });
  const late = new LateFinalizers({
    upstreams,
    writer: { addFinalizer },
    reporter: { upstream: report },
    clock,
    enqueue,
    endingOf,
    remove,
    leaveAlone,
    done: settled,
  });
  const settle = () => late.settle('shop/web', never);
  const owe = (object = upstream()) => {
    upstreams.upsert(object);
    late.owe(object, 'shop.web');
    return object;
  };
  return { upstreams, clock, addFinalizer, report, enqueue, remove, leaveAlone, settled, late, settle, owe };
}

describe('LateFinalizers', () => {
  it('says nothing of an object before its finalizer is on, and then what was come to last', async () => {
    const { addFinalizer, report, enqueue, settled, late, settle, owe } = start();
    const object = owe();
    expect(enqueue).toHaveBeenCalledWith('shop/web');
    expect(late.isOwed(object)).toBe(true);
    expect(late.holds('default')).toBe(true);
    expect(late.holds('other')).toBe(false);
    late.report(object, outcome('first'));
    late.report(object, outcome('last'));
    expect(report).not.toHaveBeenCalled();
    expect(await settle()).toEqual(done);
    expect(addFinalizer).toHaveBeenCalledOnce();
    expect(report).toHaveBeenCalledExactlyOnceWith(object, outcome('last'));
    expect(late.isOwed(object)).toBe(false);
    expect(late.holds('default')).toBe(false);
    expect(settled).not.toHaveBeenCalled();
    late.report(object, outcome('later'));
    expect(report).toHaveBeenLastCalledWith(object, outcome('later'));
  });

  it('says what was come to of the version of the object that it was come to of', async () => {
    const { upstreams, report, late, settle, owe } = start();
    const object = owe();
    late.report(object, outcome('a'));
    upstreams.upsert(upstream({ resourceVersion: '2', generation: 2 }));
    expect(await settle()).toEqual(done);
    expect(report).toHaveBeenCalledExactlyOnceWith(object, outcome('a'));
  });

  it('says nothing of what is looked at anew', async () => {
    const { report, late, settle, owe } = start();
    const object = owe();
    late.report(object, outcome('a'));
    late.look('shop/web');
    expect(await settle()).toEqual(done);
    expect(report).not.toHaveBeenCalled();
    late.report(object, outcome('b'));
    expect(report).toHaveBeenCalledExactlyOnceWith(object, outcome('b'));
  });

  it('reports at once what is not owed, what has its finalizer by now, and why it cannot have it', async () => {
    const { upstreams, addFinalizer, report, late, settle, owe } = start();
    const object = upstream();
    late.report(object, outcome('a'));
    expect(report).toHaveBeenCalledTimes(1);
    owe(object);
    const missing = outcome('b', { status: 'False', reason: 'PermissionMissing', message: '' });
    late.report(object, missing);
    expect(report).toHaveBeenLastCalledWith(object, missing);
    const seen = upstream({ finalizers: [UPSTREAM_FINALIZER], resourceVersion: '2' });
    upstreams.upsert(seen);
    late.report(seen, outcome('c'));
    expect(report).toHaveBeenLastCalledWith(seen, outcome('c'));
    expect(await settle()).toEqual(done);
    expect(addFinalizer).not.toHaveBeenCalled();
    expect(late.isOwed(seen)).toBe(false);
  });

  it('goes on trying where the API server refuses, fails, or knows nothing of an object that is there', async () => {
    const { addFinalizer, report, late, settle, owe } = start();
    const object = owe();
    late.report(object, outcome('a'));
    addFinalizer.mockRejectedValueOnce(new KubeApiError('refused', { status: 403 }));
    await expect(settle()).rejects.toThrow('refused');
    addFinalizer.mockResolvedValueOnce(false);
    expect(await settle()).toEqual(again);
    expect(late.isOwed(object)).toBe(true);
    expect(report).not.toHaveBeenCalled();
    expect(await settle()).toEqual(done);
    expect(report).toHaveBeenCalledExactlyOnceWith(object, outcome('a'));
  });

  it.each([
    ['Delete', 'respect'],
    ['Force', 'ignore'],
  ])(
    'deletes what an object with deletionPolicy %s left that went before',
    async (deletionPolicy, references) => {
      const { upstreams, addFinalizer, report, enqueue, remove, settled, late, settle, owe } = start();
      const object = owe();
      late.report(object, outcome('a'));
      // Whoever says so last is heeded.
      upstreams.upsert(upstream({ resourceVersion: '2' }, { deletionPolicy }));
      late.look('shop/web');
      expect(remove).not.toHaveBeenCalled();
      upstreams.remove(object);
      enqueue.mockClear();
      late.look('shop/web');
      expect(enqueue).toHaveBeenCalledExactlyOnceWith('shop/web');
      remove.mockResolvedValueOnce(false);
      expect(await settle()).toEqual(again);
      expect(late.holds('default')).toBe(true);
      expect(await settle()).toEqual(done);
      expect(remove).toHaveBeenLastCalledWith('default', 'shop.web', references, never);
      expect(late.holds('default')).toBe(false);
      expect(settled).toHaveBeenCalledOnce();
      expect(addFinalizer).not.toHaveBeenCalled();
      expect(report).not.toHaveBeenCalled();
      expect(await settle()).toEqual(done);
      expect(remove).toHaveBeenCalledTimes(2);
    },
  );

  it('gives up after deletionTimeout: a gateway that is gone must not keep its connection for ever', async () => {
    const { upstreams, clock, remove, leaveAlone, late, settle, owe } = start();
    upstreams.remove(owe(upstream({}, { deletionTimeout: '1m' })));
    remove.mockResolvedValue(false);
    expect(await settle()).toEqual(again);
    await clock.advance(60_000);
    expect(await settle()).toEqual(done);
    expect(late.holds('default')).toBe(false);
    expect(leaveAlone).not.toHaveBeenCalled();
  });

  it('leaves alone what was to stay', async () => {
    const { upstreams, remove, leaveAlone, settle, owe } = start();
    upstreams.remove(owe(upstream({}, { deletionPolicy: 'Orphan' })));
    expect(await settle()).toEqual(done);
    expect(leaveAlone).toHaveBeenCalledExactlyOnceWith('default', 'shop.web');
    expect(remove).not.toHaveBeenCalled();
  });

  it('takes another object of that name for another one', async () => {
    const { upstreams, addFinalizer, remove, late, settle, owe } = start();
    const object = owe();
    const next = upstream({ uid: 'u2' });
    upstreams.upsert(next);
    expect(late.isOwed(next)).toBe(false);
    expect(await settle()).toEqual(done);
    expect(remove).toHaveBeenCalledExactlyOnceWith('default', 'shop.web', 'respect', never);
    expect(addFinalizer).not.toHaveBeenCalled();
    expect(late.isOwed(object)).toBe(false);
  });

  it('takes no object for gone while nobody knows which there are', async () => {
    const { upstreams, remove, late, settle, owe } = start();
    const object = owe();
    upstreams.setState({ state: 'absent' });
    upstreams.replaceAll([]);
    late.look('shop/web');
    expect(await settle()).toEqual(done);
    expect(remove).not.toHaveBeenCalled();
    expect(late.isOwed(object)).toBe(false);
  });

  it('puts no finalizer on an object that ends already, and waits for its end', async () => {
    const { upstreams, addFinalizer, remove, settle, owe } = start();
    const object = owe();
    const ending = upstream({ deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['somebody/else'] });
    upstreams.upsert({ ...ending, resourceVersion: '2' });
    expect(await settle()).toEqual(done);
    expect(addFinalizer).not.toHaveBeenCalled();
    expect(remove).not.toHaveBeenCalled();
    upstreams.remove(object);
    expect(await settle()).toEqual(done);
    expect(remove).toHaveBeenCalledOnce();
  });
});
