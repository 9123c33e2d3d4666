import { describe, expect, it, vi } from 'vitest';
import { UPSTREAM_FINALIZER } from '../../../src/api/group.ts';
import { LateFinalizers } from '../../../src/controller/late-finalizers.ts';
import type { UpstreamOutcome } from '../../../src/controller/reconcile-upstream.ts';
import { KubeApiError } from '../../../src/kube/kube-error.ts';
import { type GatewayUpstream, trimGatewayUpstream } from '../../../src/kube/objects.ts';
import { createStore } from '../../../src/kube/store.ts';

const never = new AbortController().signal;

function upstream(metadata: object = {}): GatewayUpstream {
  const trimmed = trimGatewayUpstream({
    metadata: { namespace: 'shop', name: 'web', uid: 'u1', resourceVersion: '1', ...metadata },
    spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }] },
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

const verdict = { status: 'True', reason: 'Ready', message: '' } as const;
const outcome = (id: string): UpstreamOutcome => ({
  accepted: verdict,
  resolvedRefs: verdict,
  programmed: verdict,
  ready: verdict,
  upstreamId: id,
});

function start() {
  const upstreams = createStore<GatewayUpstream>({
    indexes: {},
    reportListenerError: (error) => expect.fail(String(error)),
  });
  const addFinalizer = vi.fn(async () => true);
  const report = vi.fn();
  const enqueue = vi.fn();
  const abandoned = vi.fn();
  const late = new LateFinalizers({
    upstreams,
    writer: { addFinalizer },
    reporter: { upstream: report },
    enqueue,
    abandoned,
  });
  return { upstreams, addFinalizer, report, enqueue, abandoned, late };
}

describe('LateFinalizers', () => {
  it('says nothing of an object before its finalizer is on, and then what was come to last', async () => {
    const { upstreams, addFinalizer, report, enqueue, late } = start();
    const object = upstream();
    upstreams.upsert(object);
    late.owe(object, 'shop.web');
    expect(enqueue).toHaveBeenCalledWith('shop/web');
    expect(late.isOwed(object)).toBe(true);
    late.report(object, outcome('first'));
    late.report(object, outcome('last'));
    expect(report).not.toHaveBeenCalled();
    expect(await late.settle('shop/web', never)).toEqual({ kind: 'done' });
    expect(addFinalizer).toHaveBeenCalledOnce();
    expect(report).toHaveBeenCalledExactlyOnceWith(object, outcome('last'));
    expect(late.isOwed(object)).toBe(false);
    late.report(object, outcome('later'));
    expect(report).toHaveBeenLastCalledWith(object, outcome('later'));
  });

  it('reports at once what it is not asked about, and what has its finalizer by now', async () => {
    const { upstreams, addFinalizer, report, late } = start();
    const object = upstream();
    late.report(object, outcome('a'));
    expect(report).toHaveBeenCalledTimes(1);
    upstreams.upsert(object);
    late.owe(object, 'shop.web');
    const seen = upstream({ finalizers: [UPSTREAM_FINALIZER], resourceVersion: '2' });
    upstreams.upsert(seen);
    late.report(seen, outcome('b'));
    expect(report).toHaveBeenLastCalledWith(seen, outcome('b'));
    expect(await late.settle('shop/web', never)).toEqual({ kind: 'done' });
    expect(addFinalizer).not.toHaveBeenCalled();
  });

  it('is not under way any more once the API server refused, and goes on trying', async () => {
    const { upstreams, addFinalizer, report, late } = start();
    const object = upstream();
    upstreams.upsert(object);
    late.owe(object, 'shop.web');
    late.report(object, outcome('a'));
    addFinalizer.mockRejectedValueOnce(new KubeApiError('refused', { status: 403 }));
    await expect(late.settle('shop/web', never)).rejects.toThrow('refused');
    expect(late.isOwed(object)).toBe(false);
    expect(report).not.toHaveBeenCalled();
    await late.settle('shop/web', never);
    expect(report).toHaveBeenCalledExactlyOnceWith(object, outcome('a'));
  });

  it('has the upstream of an object deleted that went before, whoever notices first, once', async () => {
    for (const isNoticedFirst of [true, false]) {
      const { upstreams, addFinalizer, report, abandoned, late } = start();
      const object = upstream();
      upstreams.upsert(object);
      late.owe(object, 'shop.web');
      late.report(object, outcome('a'));
      late.look('shop/web');
      expect(abandoned).not.toHaveBeenCalled();
      upstreams.remove(object);
      if (isNoticedFirst) late.look('shop/web');
      await late.settle('shop/web', never);
      late.look('shop/web');
      expect(abandoned).toHaveBeenCalledExactlyOnceWith('default', 'shop.web');
      expect(addFinalizer).not.toHaveBeenCalled();
      expect(report).not.toHaveBeenCalled();
    }
  });

  it('does the same where another object of that name is there, or the API server knows first', async () => {
    const { upstreams, addFinalizer, abandoned, late } = start();
    const object = upstream();
    upstreams.upsert(object);
    late.owe(object, 'shop.web');
    addFinalizer.mockResolvedValueOnce(false);
    await late.settle('shop/web', never);
    expect(abandoned).not.toHaveBeenCalled();
    const next = upstream({ uid: 'u2' });
    upstreams.upsert(next);
    expect(late.isOwed(next)).toBe(false);
    late.look('shop/web');
    expect(abandoned).toHaveBeenCalledExactlyOnceWith('default', 'shop.web');
  });

  it('puts no finalizer on an object that ends already', async () => {
    const { upstreams, addFinalizer, abandoned, late } = start();
    const object = upstream();
    upstreams.upsert(object);
    late.owe(object, 'shop.web');
    const ending = upstream({ deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: ['somebody/else'] });
    upstreams.upsert({ ...ending, resourceVersion: '2' });
    await late.settle('shop/web', never);
    expect(addFinalizer).not.toHaveBeenCalled();
    upstreams.remove(object);
    late.look('shop/web');
    expect(abandoned).toHaveBeenCalledOnce();
  });
});
