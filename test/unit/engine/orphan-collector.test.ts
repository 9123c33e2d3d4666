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

const held = (id: string, labels: Readonly<Record<string, string>>): ObservedUpstream => ({
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
  const sweep = new OrphanCollector({
    clusterId: 'c1',
    onlyNamespaces,
    upstreams,
    connections,
    connectionState: () => state.current,
    reporter,
    log,
  });
  const put = (id: string, labels: Readonly<Record<string, string>>) =>
    session.exclusive(id, (turn) =>
      turn.put({ id, labels, nodes: [], scheme: 'HTTP', loadBalancing: { type: 'RoundRobin' } }, never),
    );
  return { sweep, upstreams, connections, driver, deleted, event, state, put };
}

/** What the second of two equal lists gives. */
function twice(sweep: OrphanCollector, observed: ReadonlyMap<string, ObservedUpstream>): readonly string[] {
  expect(sweep.listed('default', observed).confirmed).toEqual([]);
  return sweep.listed('default', observed).confirmed;
}

describe('listed', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['written for an object that is gone', labelsOf(), true],
    ['of nobody', {}, false],
    ['of somebody else', { team: 'a' }, false],
    ['of another cluster', labelsOf({ cluster: 'c2' }), false],
    ['of another connection', labelsOf({ connection: 'edge' }), false],
    ['written to stay behind', labelsOf({}, true), false],
    ['whose labels name no object', { ...labelsOf(), 'gatewayupstream.dev/name': undefined } as never, false],
  ])('an upstream %s: %3$s', async (_, labels, expected) => {
    const { sweep } = await start();
    const present = Object.fromEntries(Object.entries(labels).filter(([, value]) => value !== undefined));
    expect(twice(sweep, lists(held('shop.web', present)))).toEqual(expected ? ['shop.web'] : []);
  });

  it('is none whose object is there and wants it', async () => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('web'));
    expect(twice(sweep, lists(held('shop.web', labelsOf())))).toEqual([]);
  });

  it('is none of an object with a long name', async () => {
    const { sweep, upstreams } = await start();
    const name = 'x'.repeat(200);
    const object = upstream(name, { upstreamId: 'shop.x' });
    upstreams.upsert(object);
    expect(twice(sweep, lists(held('shop.x', labelsOf({ name }))))).toEqual([]);
  });

  it('is one whose object wants another id by now', async () => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('web', { upstreamId: 'shop.new' }));
    const observed = lists(held('shop.web', labelsOf()), held('shop.new', labelsOf()));
    expect(twice(sweep, observed)).toEqual(['shop.web']);
  });

  it('is one whose object uses another connection by now', async () => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('web', { connectionRef: { name: 'edge' } }));
    expect(twice(sweep, lists(held('shop.web', labelsOf())))).toEqual(['shop.web']);
  });

  it('is none of an object whose spec cannot be read: it may want any id', async () => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('web', { backends: [] }));
    expect(twice(sweep, lists(held('shop.other', labelsOf())))).toEqual([]);
  });

  it('is none of an object whose connection cannot be read: it may be this one', async () => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('web', { connectionRef: { name: ['edge'] } }));
    expect(twice(sweep, lists(held('shop.web', labelsOf({ connection: 'default' }))))).toEqual([]);
    expect(sweep.listed('edge', lists(held('shop.web', labelsOf({ connection: 'edge' })))).confirmed).toEqual(
      [],
    );
    expect(sweep.listed('edge', lists(held('shop.web', labelsOf({ connection: 'edge' })))).confirmed).toEqual(
      [],
    );
  });

  it('is none of an object while the connection cannot be read', async () => {
    const { sweep, upstreams, connections } = await start();
    connections.upsert({ ...connection({ type: 'Other' }), resourceVersion: '2' });
    upstreams.upsert(upstream('web'));
    expect(twice(sweep, lists(held('shop.other', labelsOf())))).toEqual([]);
  });

  it('is only one that two lists in a row showed, and by each connection for itself', async () => {
    const { sweep, upstreams } = await start();
    const observed = lists(held('shop.web', labelsOf()));
    expect(sweep.listed('default', observed).confirmed).toEqual([]);
    expect(sweep.listed('edge', observed).confirmed).toEqual([]);
    upstreams.upsert(upstream('web'));
    expect(sweep.listed('default', observed).confirmed).toEqual([]);
    upstreams.remove(upstream('web'));
    expect(sweep.listed('default', observed).confirmed).toEqual([]);
    expect(sweep.listed('default', lists()).confirmed).toEqual([]);
    expect(sweep.listed('default', observed).confirmed).toEqual([]);
    expect(sweep.listed('default', observed).confirmed).toEqual(['shop.web']);
  });

  it.each([{ state: 'absent' }, { state: 'syncing' }] as const)(
    'is none while the objects are $state, and that list counts for nothing',
    async (state) => {
      const { sweep, upstreams } = await start();
      const observed = lists(held('shop.web', labelsOf()));
      upstreams.setState(state);
      expect(twice(sweep, observed)).toEqual([]);
      upstreams.setState({ state: 'synced' });
      expect(sweep.listed('default', observed).confirmed).toEqual([]);
      expect(sweep.listed('default', observed).confirmed).toEqual(['shop.web']);
    },
  );
});

describe('an upstream of a namespace that is not followed', () => {
  it('is never an orphan, since its object is unknown and not gone', async () => {
    const { sweep } = await start({ onlyNamespaces: ['other'] });
    const observed = lists(held('shop.web', labelsOf()));
    expect(twice(sweep, observed)).toEqual([]);
    expect(sweep.suspect('default', held('shop.web', labelsOf()))).toBe(false);
  });

  it('remains in the gateway until the connection can go', async () => {
    const { sweep } = await start({ onlyNamespaces: ['other'] });
    sweep.listed('default', lists(held('shop.web', labelsOf())));
    expect(sweep.remaining('default')).toEqual(['shop.web']);
  });

  it('stays left alone while its namespace is not followed', async () => {
    const { sweep } = await start({ onlyNamespaces: ['other'] });
    sweep.retain('default', 'shop.web');
    sweep.listed('default', lists(held('shop.web', labelsOf())));
    expect(sweep.retained('default')).toEqual(['shop.web']);
  });

  it('is not deleted by a removal that was decided before', async () => {
    const { sweep, deleted, put } = await start({ onlyNamespaces: ['other'] });
    await put('shop.web', labelsOf());
    await sweep.remove('default', 'shop.web', never);
    expect(deleted).not.toHaveBeenCalled();
  });

  it('is an orphan where its namespace is one of those that are followed', async () => {
    const { sweep } = await start({ onlyNamespaces: ['other', 'shop'] });
    expect(twice(sweep, lists(held('shop.web', labelsOf())))).toEqual(['shop.web']);
  });
});

describe('remaining', () => {
  it('names what the last list showed of this operator, and nothing that is to stay', async () => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('web'));
    const observed = lists(
      held('shop.web', labelsOf()),
      held('shop.gone', labelsOf({ name: 'gone' })),
      held('shop.kept', labelsOf({ name: 'kept' }, true)),
      held('shop.left', labelsOf({ name: 'left' })),
      held('foreign', {}),
    );
    sweep.retain('default', 'shop.left');
    expect(sweep.listed('default', observed)).toEqual({ confirmed: [], isUnconfirmed: true });
    expect(sweep.remaining('default')).toEqual(['shop.gone', 'shop.web']);
    expect(sweep.unwatched('default')).toEqual([]);
    expect(sweep.listed('default', observed)).toEqual({ confirmed: ['shop.gone'], isUnconfirmed: false });
    sweep.listed('default', lists());
    expect(sweep.remaining('default')).toEqual([]);
  });
});

describe('suspect', () => {
  it('counts as the first of the two readings', async () => {
    const { sweep } = await start();
    const orphan = held('shop.web', labelsOf());
    expect(sweep.suspect('default', orphan)).toBe(true);
    expect(sweep.listed('default', lists(orphan)).confirmed).toEqual(['shop.web']);
  });

  it.each([
    ['that an object wants', labelsOf({ name: 'here' }), 'shop.here'],
    ['of another operator', labelsOf({ cluster: 'c2' }), 'shop.web'],
    ['that was left behind', labelsOf(), 'shop.left'],
  ])('ignores an upstream %s', async (_, labels, id) => {
    const { sweep, upstreams } = await start();
    upstreams.upsert(upstream('here'));
    sweep.retain('default', 'shop.left');
    expect(sweep.suspect('default', held(id, labels))).toBe(false);
  });
});

describe('remove', () => {
  it('deletes it and says so on the connection', async () => {
    const { sweep, driver, event, put } = await start();
    await put('shop.web', labelsOf());
    await sweep.remove('default', 'shop.web', never);
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

  it('deletes nothing whose object came back', async () => {
    const { sweep, upstreams, deleted, event, put } = await start();
    await put('shop.web', labelsOf());
    upstreams.upsert(upstream('web'));
    await sweep.remove('default', 'shop.web', never);
    expect(deleted).not.toHaveBeenCalled();
    expect(event).not.toHaveBeenCalled();
  });

  it('deletes nothing that somebody else took over, or that is gone', async () => {
    const { sweep, deleted, put } = await start();
    await put('shop.web', { team: 'a' });
    await sweep.remove('default', 'shop.web', never);
    await sweep.remove('default', 'shop.gone', never);
    expect(deleted).not.toHaveBeenCalled();
  });

  it('leaves one that a route refers to, and names the route', async () => {
    const { sweep, driver, event, put } = await start();
    await put('shop.web', labelsOf());
    using _route = driver.refer('shop.web', 'route [r1]');
    await sweep.remove('default', 'shop.web', never);
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

  it('leaves it to the next sweep while the gateway is down', async () => {
    const { sweep, deleted, event, put } = await start();
    await put('shop.web', labelsOf());
    deleted.mockRejectedValueOnce(new GatewayUnavailableError('no answer'));
    await sweep.remove('default', 'shop.web', never);
    expect(event).not.toHaveBeenCalled();
  });

  it('does not hide a defect', async () => {
    const { sweep, deleted, put } = await start();
    await put('shop.web', labelsOf());
    deleted.mockRejectedValueOnce(new TypeError('defect'));
    await expect(sweep.remove('default', 'shop.web', never)).rejects.toThrow('defect');
  });

  it('does nothing while the connection cannot be used', async () => {
    const { sweep, state, deleted, put } = await start();
    await put('shop.web', labelsOf());
    state.current = { kind: 'unusable', reason: 'SecretNotFound', message: 'no key' };
    await sweep.remove('default', 'shop.web', never);
    expect(deleted).not.toHaveBeenCalled();
  });
});
