import { afterEach, describe, expect, it, vi } from 'vitest';
import type { Owner } from '../../../src/decide/ownership.ts';
import { upstreamIndexes } from '../../../src/decide/upstream-indexes.ts';
import type { ConnectionState } from '../../../src/engine/connection/connections.ts';
import { OrphanCollector } from '../../../src/engine/orphan-collector.ts';
import { GatewaySession } from '../../../src/engine/session/session.ts';
import type { Reporter } from '../../../src/engine/status/reporter.ts';
import { createStore } from '../../../src/kube/store.ts';
import { GatewayUnavailableError } from '../../../src/model/errors.ts';
import type { GatewayConnection, GatewayUpstream } from '../../../src/model/objects.ts';
import type { ObservedUpstream } from '../../../src/model/upstream.ts';
import { createBackoff } from '../../../src/runtime/backoff.ts';
import { transformGatewayConnection, transformGatewayUpstream } from '../../support/catalog.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { createMemoryDriver } from '../../support/memory-gateway.ts';
import { noReports } from '../../support/no-reports.ts';
import { observedLabels, ownerLabels } from '../../support/owner-labels.ts';

const never = new AbortController().signal;

function connection(spec: object = {}): GatewayConnection {
  const trimmed = transformGatewayConnection({
    metadata: { name: 'default', uid: 'c', resourceVersion: '1', generation: 1 },
    spec: {
      type: 'APISIX',
      apisix: { adminUrl: 'http://apisix:9180', adminKeySecretRef: { name: 'k' } },
      ...spec,
    },
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

function upstream(name: string, spec: object = {}): GatewayUpstream {
  const trimmed = transformGatewayUpstream({
    metadata: { namespace: 'shop', name, uid: name, resourceVersion: '1', generation: 1 },
    spec: { backends: [{ serviceRef: { name: 'web', port: 80 } }], ...spec },
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

const labelsOf = (change: Partial<Owner> = {}, orphan = false) =>
  ownerLabels(
    { cluster: 'c1', connection: 'default', namespace: 'shop', name: 'web', ...change },
    { orphan },
  );

const observedUpstream = (id: string, labels: Readonly<Record<string, string>>): ObservedUpstream => ({
  id,
  ...observedLabels(labels),
  nodes: [],
  canonical: '',
});

const lists = (...upstreams: readonly ObservedUpstream[]) => new Map(upstreams.map((one) => [one.id, one]));

const open = { sessions: [] as GatewaySession[] };
afterEach(async () => {
  await Promise.all(open.sessions.splice(0).map((session) => session.close()));
});

async function start({ onlyNamespaces = [] }: { readonly onlyNamespaces?: readonly string[] } = {}) {
  const driver = createMemoryDriver({ nowSeconds: () => 1 });
  const deleted = vi.spyOn(driver, 'delete');
  const clock = createFakeClock();
  const log = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn(), child: () => log };
  const session = new GatewaySession({
    driver,
    clock,
    random: () => 0.5,
    backoff: createBackoff({ baseMs: 500, factor: 2, maxMs: 30_000, jitter: 0, random: () => 0.5 }),
    log,
    resyncMs: 600_000,
    limit: (request) => request(),
    mayWrite: () => true,
    onList: () => undefined,
    onLateWrite: () => undefined,
    isWanted: () => true,
    onState: () => undefined,
  });
  open.sessions.push(session);
  void session.run();
  await settle();

  const reportError = (error: unknown) => {
    throw error;
  };
  const upstreams = createStore<GatewayUpstream>({ indexes: upstreamIndexes, reportError });
  const connections = createStore<GatewayConnection>({ indexes: {}, reportError });
  for (const store of [upstreams, connections]) store.setState({ state: 'synced' });
  connections.upsert(connection());
  const event = vi.fn<Reporter['event']>();
  const reporter: Reporter = { ...noReports, event };
  const state: { current: ConnectionState } = { current: { kind: 'usable', session } };
  const collector = new OrphanCollector({
    clusterId: 'c1',
    onlyNamespaces,
    upstreams,
    connections,
    connectionState: () => state.current,
    reporter,
    log,
  });
  const put = (id: string, labels: Readonly<Record<string, string>>) =>
    session.exclusive(id, (lock) =>
      lock.put({ id, labels, nodes: [], scheme: 'HTTP', loadBalancing: { type: 'RoundRobin' } }, never),
    );
  return { collector, upstreams, connections, driver, deleted, event, state, put };
}

/** The confirmed orphans after two equal lists. */
function twice(
  collector: OrphanCollector,
  observed: ReadonlyMap<string, ObservedUpstream>,
): readonly string[] {
  expect(collector.listed('default', observed).confirmed).toEqual([]);
  return collector.listed('default', observed).confirmed;
}

describe('listed', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['of a deleted object', labelsOf(), true],
    ['without labels', {}, false],
    ['without ownership labels', { team: 'a' }, false],
    ['of another cluster', labelsOf({ cluster: 'c2' }), false],
    ['of another connection', labelsOf({ connection: 'edge' }), false],
    ['with the label that retains it', labelsOf({}, true), false],
    [
      'whose labels do not name an object',
      { ...labelsOf(), 'gatewayupstream.dev/name': undefined } as never,
      false,
    ],
  ])('reports an upstream %s as orphan: %3$s', async (_, labels, expected) => {
    const { collector } = await start();
    const present = Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== undefined));
    expect(twice(collector, lists(observedUpstream('shop.web', present)))).toEqual(
      expected ? ['shop.web'] : [],
    );
  });

  it('keeps an upstream that its object uses', async () => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('web'));
    expect(twice(collector, lists(observedUpstream('shop.web', labelsOf())))).toEqual([]);
  });

  it('keeps the upstream of an object with a long name', async () => {
    const { collector, upstreams } = await start();
    const name = 'x'.repeat(200);
    const object = upstream(name, { upstreamId: 'shop.x' });
    upstreams.upsert(object);
    expect(twice(collector, lists(observedUpstream('shop.x', labelsOf({ name }))))).toEqual([]);
  });

  it('reports an upstream whose object now uses another id', async () => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('web', { upstreamId: 'shop.new' }));
    const observed = lists(
      observedUpstream('shop.web', labelsOf()),
      observedUpstream('shop.new', labelsOf()),
    );
    expect(twice(collector, observed)).toEqual(['shop.web']);
  });

  it('reports an upstream whose object now uses another connection', async () => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('web', { connectionRef: { name: 'edge' } }));
    expect(twice(collector, lists(observedUpstream('shop.web', labelsOf())))).toEqual(['shop.web']);
  });

  it('keeps the upstream of an object with an unreadable spec, which may use any id', async () => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('web', { backends: [] }));
    expect(twice(collector, lists(observedUpstream('shop.other', labelsOf())))).toEqual([]);
  });

  it('keeps the upstream of an object whose connection reference is unreadable', async () => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('web', { connectionRef: { name: ['edge'] } }));
    expect(
      twice(collector, lists(observedUpstream('shop.web', labelsOf({ connection: 'default' })))),
    ).toEqual([]);
    expect(
      collector.listed('edge', lists(observedUpstream('shop.web', labelsOf({ connection: 'edge' }))))
        .confirmed,
    ).toEqual([]);
    expect(
      collector.listed('edge', lists(observedUpstream('shop.web', labelsOf({ connection: 'edge' }))))
        .confirmed,
    ).toEqual([]);
  });

  it('keeps the upstream of an object while the connection is unreadable', async () => {
    const { collector, upstreams, connections } = await start();
    connections.upsert({ ...connection({ type: 'Other' }), resourceVersion: '2' });
    upstreams.upsert(upstream('web'));
    expect(twice(collector, lists(observedUpstream('shop.other', labelsOf())))).toEqual([]);
  });

  it('confirms an orphan after two consecutive lists of the same connection', async () => {
    const { collector, upstreams } = await start();
    const observed = lists(observedUpstream('shop.web', labelsOf()));
    expect(collector.listed('default', observed).confirmed).toEqual([]);
    expect(collector.listed('edge', observed).confirmed).toEqual([]);
    upstreams.upsert(upstream('web'));
    expect(collector.listed('default', observed).confirmed).toEqual([]);
    upstreams.remove(upstream('web'));
    expect(collector.listed('default', observed).confirmed).toEqual([]);
    expect(collector.listed('default', lists()).confirmed).toEqual([]);
    expect(collector.listed('default', observed).confirmed).toEqual([]);
    expect(collector.listed('default', observed).confirmed).toEqual(['shop.web']);
  });

  it.each([{ state: 'absent' }, { state: 'syncing' }] as const)(
    'ignores lists while the store of objects is $state',
    async (state) => {
      const { collector, upstreams } = await start();
      const observed = lists(observedUpstream('shop.web', labelsOf()));
      upstreams.setState(state);
      expect(twice(collector, observed)).toEqual([]);
      upstreams.setState({ state: 'synced' });
      expect(collector.listed('default', observed).confirmed).toEqual([]);
      expect(collector.listed('default', observed).confirmed).toEqual(['shop.web']);
    },
  );
});

describe('an upstream of a namespace that is not watched', () => {
  it('is never an orphan, because its object is unknown', async () => {
    const { collector } = await start({ onlyNamespaces: ['other'] });
    const observed = lists(observedUpstream('shop.web', labelsOf()));
    expect(twice(collector, observed)).toEqual([]);
    expect(collector.suspect('default', observedUpstream('shop.web', labelsOf()))).toBe(false);
  });

  it('counts as remaining, so that it blocks the deletion of the connection', async () => {
    const { collector } = await start({ onlyNamespaces: ['other'] });
    collector.listed('default', lists(observedUpstream('shop.web', labelsOf())));
    expect(collector.remaining('default')).toEqual(['shop.web']);
  });

  it('stays retained', async () => {
    const { collector } = await start({ onlyNamespaces: ['other'] });
    collector.retain('default', 'shop.web');
    collector.listed('default', lists(observedUpstream('shop.web', labelsOf())));
    expect(collector.retained('default')).toEqual(['shop.web']);
  });

  it('is not deleted by an earlier decision', async () => {
    const { collector, deleted, put } = await start({ onlyNamespaces: ['other'] });
    await put('shop.web', labelsOf());
    await collector.remove('default', 'shop.web', never);
    expect(deleted).not.toHaveBeenCalled();
  });

  it('is an orphan once its namespace is watched', async () => {
    const { collector } = await start({ onlyNamespaces: ['other', 'shop'] });
    expect(twice(collector, lists(observedUpstream('shop.web', labelsOf())))).toEqual(['shop.web']);
  });
});

describe('remaining', () => {
  it('lists the upstreams of this operator in the last list, except retained ones', async () => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('web'));
    const observed = lists(
      observedUpstream('shop.web', labelsOf()),
      observedUpstream('shop.gone', labelsOf({ name: 'gone' })),
      observedUpstream('shop.kept', labelsOf({ name: 'kept' }, true)),
      observedUpstream('shop.left', labelsOf({ name: 'left' })),
      observedUpstream('foreign', {}),
    );
    collector.retain('default', 'shop.left');
    expect(collector.listed('default', observed)).toEqual({ confirmed: [], isUnconfirmed: true });
    expect(collector.remaining('default')).toEqual(['shop.gone', 'shop.web']);
    expect(collector.unwatched('default')).toEqual([]);
    expect(collector.listed('default', observed)).toEqual({ confirmed: ['shop.gone'], isUnconfirmed: false });
    collector.listed('default', lists());
    expect(collector.remaining('default')).toEqual([]);
  });
});

describe('suspect', () => {
  it('counts as the first of two consecutive reads', async () => {
    const { collector } = await start();
    const orphan = observedUpstream('shop.web', labelsOf());
    expect(collector.suspect('default', orphan)).toBe(true);
    expect(collector.listed('default', lists(orphan)).confirmed).toEqual(['shop.web']);
  });

  it.each([
    ['that an object uses', labelsOf({ name: 'here' }), 'shop.here'],
    ['of another operator', labelsOf({ cluster: 'c2' }), 'shop.web'],
    ['that is retained', labelsOf(), 'shop.left'],
  ])('ignores an upstream %s', async (_, labels, id) => {
    const { collector, upstreams } = await start();
    upstreams.upsert(upstream('here'));
    collector.retain('default', 'shop.left');
    expect(collector.suspect('default', observedUpstream(id, labels))).toBe(false);
  });
});

describe('remove', () => {
  it('deletes the upstream and records an Event on the connection', async () => {
    const { collector, driver, event, put } = await start();
    await put('shop.web', labelsOf());
    await collector.remove('default', 'shop.web', never);
    expect(await driver.get('shop.web', never)).toBeUndefined();
    expect(event.mock.calls).toEqual([
      [
        expect.objectContaining({ name: 'default' }),
        expect.objectContaining({
          type: 'Normal',
          reason: 'Deleted',
          message: expect.stringContaining('shop.web'),
        }),
      ],
    ]);
  });

  it('keeps an upstream whose object was created again', async () => {
    const { collector, upstreams, deleted, event, put } = await start();
    await put('shop.web', labelsOf());
    upstreams.upsert(upstream('web'));
    await collector.remove('default', 'shop.web', never);
    expect(deleted).not.toHaveBeenCalled();
    expect(event).not.toHaveBeenCalled();
  });

  it('deletes nothing if another client took the upstream over or deleted it', async () => {
    const { collector, deleted, put } = await start();
    await put('shop.web', { team: 'a' });
    await collector.remove('default', 'shop.web', never);
    await collector.remove('default', 'shop.gone', never);
    expect(deleted).not.toHaveBeenCalled();
  });

  it('keeps an upstream that a route refers to, and names the route', async () => {
    const { collector, driver, event, put } = await start();
    await put('shop.web', labelsOf());
    using _route = driver.refer('shop.web', 'route [r1]');
    await collector.remove('default', 'shop.web', never);
    expect(await driver.get('shop.web', never)).toBeDefined();
    expect(event.mock.calls).toEqual([
      [
        expect.objectContaining({ name: 'default' }),
        expect.objectContaining({
          type: 'Warning',
          reason: 'InUse',
          message: expect.stringContaining('route [r1]'),
        }),
      ],
    ]);
  });

  it('keeps the upstream until the next list while the gateway is unavailable', async () => {
    const { collector, deleted, event, put } = await start();
    await put('shop.web', labelsOf());
    deleted.mockRejectedValueOnce(new GatewayUnavailableError('no answer'));
    await collector.remove('default', 'shop.web', never);
    expect(event).not.toHaveBeenCalled();
  });

  it('rethrows unexpected errors', async () => {
    const { collector, deleted, put } = await start();
    await put('shop.web', labelsOf());
    deleted.mockRejectedValueOnce(new TypeError('defect'));
    await expect(collector.remove('default', 'shop.web', never)).rejects.toThrow('defect');
  });

  it('does nothing while the connection is unusable', async () => {
    const { collector, state, deleted, put } = await start();
    await put('shop.web', labelsOf());
    state.current = { kind: 'unusable', reason: 'SecretNotFound', message: 'no key' };
    await collector.remove('default', 'shop.web', never);
    expect(deleted).not.toHaveBeenCalled();
  });
});
