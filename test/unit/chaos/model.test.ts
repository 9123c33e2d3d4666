import { describe, expect, it } from 'vitest';
import { isUntouched, ownersFields, problemOf } from '../../../chaos/comparison.ts';
import { Model, type Upstream } from '../../../chaos/model.ts';
import type { Service, Slice } from '../../../chaos/places.ts';

const FRONT = {
  shape: 'LoadBalancer',
  clusterIp: '10.96.0.1',
  nodePort: 30_001,
  balancers: ['lb.example.com'],
  isLocal: false,
} as const;

function given(
  services: Readonly<Record<string, readonly Slice[]>>,
  upstream: Partial<Upstream> = {},
  front: Partial<Service['front']> = {},
): { readonly model: Model; readonly upstream: Upstream } {
  const model = new Model();
  for (const [name, slices] of Object.entries(services)) {
    model.services.set(`apps/${name}`, {
      namespace: 'apps',
      name,
      exists: true,
      exposed: false,
      front: { ...FRONT, ...front },
      slices: new Map(slices.map((slice, index) => [`${name}-${index}`, slice])),
      steady: false,
      sameFront: false,
    });
  }
  model.writeNode('n1', { address: 'n1', ready: true });
  model.homes.set('a', 'n1').set('b', 'n2').set('c', 'n3');
  model.writeNode('n2', { address: 'n2' });
  model.writeNode('n3', { address: 'n3', ready: true, excluded: true });
  const object: Upstream = {
    namespace: 'apps',
    name: 'web',
    id: 'apps.web',
    isMember: false,
    secret: undefined,
    manage: 'Object',
    flapped: false,
    begun: false,
    backends: [{ service: 's', weight: 1 }],
    retries: 1,
    syncPolicy: 'Sync',
    deletionPolicy: 'Delete',
    guarded: false,
    state: 'live',
    referred: [],
    edited: false,
    settled: undefined,
    ...upstream,
  };
  model.refer(object);
  return { model, upstream: object };
}

const at = (...nodes: readonly (readonly [host: string, port: number, weight: number])[]) => ({
  retries: 1,
  nodes: nodes.map(([host, port, weight]) => ({ host, port, weight })),
});
const held = (...nodes: readonly (readonly [host: string, weight: number])[]) =>
  at(...nodes.map(([host, weight]) => [host, 8080, weight] as const));

const TWO = {
  backends: [
    { service: 's', weight: 1 },
    { service: 't', weight: 1 },
  ],
};

describe('Model', () => {
  it.each<
    [
      string,
      Readonly<Record<string, readonly Slice[]>>,
      Partial<Upstream>,
      object | undefined,
      string | undefined,
    ]
  >([
    [
      'the ready endpoints of all slices',
      { s: [{ a: 'ready' }, { b: 'ready', c: 'sick' }] },
      {},
      held(['a', 1], ['b', 1]),
      undefined,
    ],
    ['a missing node', { s: [{ a: 'ready', b: 'ready' }] }, {}, held(['a', 1]), 'lacks b:8080'],
    [
      'an extra node',
      { s: [{ a: 'ready', b: 'draining' }] },
      {},
      held(['a', 1], ['b', 1]),
      'still has b:8080',
    ],
    [
      'an extra node that the removal guard may keep',
      { s: [{ a: 'ready' }] },
      { guarded: true },
      held(['a', 1], ['b', 1]),
      undefined,
    ],
    [
      'terminating endpoints that still serve',
      { s: [{ a: 'draining', b: 'ending' }] },
      {},
      held(['a', 1]),
      undefined,
    ],
    ['a wrong weight', { s: [{ a: 'ready' }] }, {}, held(['a', 2]), 'has nodes with a weight other than 1'],
    ['a wrong port', { s: [{ a: 'ready' }] }, {}, at(['a', 80, 1]), 'lacks a:8080'],
    ['a missing upstream', { s: [{ a: 'ready' }] }, {}, undefined, 'is missing'],
    ['a missing upstream without a Service', {}, {}, undefined, undefined],
    [
      'a missing upstream with syncPolicy Observe',
      { s: [{ a: 'ready' }] },
      { syncPolicy: 'Observe' },
      undefined,
      undefined,
    ],
    ['a wrong field', { s: [{ a: 'ready' }] }, { retries: 2 }, held(['a', 1]), 'has retries 1 instead of 2'],
    [
      'correct shares',
      { s: [{ a: 'ready' }], t: [{ b: 'ready', c: 'ready' }] },
      TWO,
      held(['a', 2], ['b', 1], ['c', 1]),
      undefined,
    ],
    [
      'a wrong share',
      { s: [{ a: 'ready' }], t: [{ b: 'ready', c: 'ready' }] },
      TWO,
      held(['a', 1], ['b', 1], ['c', 1]),
      `gives a:8080 ${1 / 3 / 0.5} times its share`,
    ],
    [
      'a node of two backends',
      { s: [{ a: 'ready' }], t: [{ a: 'ready', b: 'ready' }] },
      TWO,
      held(['a', 3], ['b', 1]),
      undefined,
    ],
  ])('compares %s', (_, services, changes, upstream, expected) => {
    const { model, upstream: object } = given(services, changes);
    const problem = problemOf(model, object, upstream as Record<string, unknown> | undefined, {
      allowGuarded: true,
    });
    expect(problem).toBe(expected);
  });

  it.each([
    ['Pod', {}, ['a:8080']],
    ['DNS', {}, ['s.apps.svc.cluster.local:80']],
    ['DNS', { shape: 'Headless' }, ['s.apps.svc.cluster.local:8080']],
    ['ClusterIP', {}, ['10.96.0.1:80']],
    ['ClusterIP', { clusterIp: undefined }, undefined],
    ['LoadBalancer', {}, ['lb.example.com:80']],
    ['LoadBalancer', { balancers: [] }, undefined],
    ['Node', {}, ['n1:30001']],
    ['Node', { nodePort: undefined }, undefined],
    ['Node', { isLocal: true }, ['n1:30001']],
  ] as const)('resolves a Service in mode %s, with %o', (mode, front, expected) => {
    const slices = { s: [{ a: 'ready' }] } as const;
    const backend = { service: 's', weight: 1, mode };
    const { model } = given(slices, {}, front);
    const found = model.placesOf('apps', backend)?.map(({ host, port }) => `${host}:${port}`);
    expect(found).toEqual(expected);
    // A backend without a mode uses the connection's.
    model.addressing = mode;
    expect(model.placesOf('apps', { service: 's', weight: 1 })).toEqual(model.placesOf('apps', backend));
    if (expected !== undefined) {
      expect(given({ s: [{ a: 'sick' }] }, {}, front).model.placesOf('apps', backend)).toEqual([]);
    }
  });

  it('expects the current certificate of the Secret, and nothing while it is missing', () => {
    const { model, upstream } = given({ s: [{ a: 'ready' }] }, { secret: 'c' });
    const shows = (client_cert: string | undefined) =>
      problemOf(model, upstream, { ...held(['a', 1]), tls: { client_cert } }, { allowGuarded: false });
    model.writeSecret('apps', 'c', 'first');
    expect(shows('first')).toBeUndefined();
    model.writeSecret('apps', 'c', 'second');
    expect(shows('first')).toBe('has a different certificate');
    expect(shows(undefined)).toBe('has a different certificate');
    model.writeSecret('apps', 'c', undefined);
    expect(shows('first')).toBeUndefined();
    expect(model.secretOf(upstream)?.had).toEqual(new Set(['first', 'second']));
  });

  it('expects only the nodes with manage: Nodes, after the first ones were written', () => {
    const { model, upstream } = given({ s: [{ a: 'ready' }] }, { manage: 'Nodes' });
    const problem = (...nodes: readonly (readonly [host: string, weight: number])[]) =>
      problemOf(model, upstream, { ...held(...nodes), retries: 7 }, { allowGuarded: false });
    expect(problemOf(model, upstream, undefined, { allowGuarded: false })).toBeUndefined();
    expect(problem(['a', 1])).toBeUndefined();
    expect(problem(['b', 1])).toBe('lacks a:8080');
    expect(isUntouched(model, upstream)).toBe(false);
    model.services.get('apps/s')?.slices.set('s-0', { a: 'sick' });
    expect(isUntouched(model, upstream)).toBe(true);
    expect(problem(['b', 1])).toBeUndefined();
    upstream.begun = true;
    expect(problem(['b', 1])).toBe('still has b:8080');
  });

  it('compares all fields except nodes with those of the owner', () => {
    const fields = { retries: 1, labels: { team: 'a' } };
    const nodes = [{ host: 'a', port: 1, weight: 1 }];
    expect(ownersFields({ ...fields, nodes, update_time: 5 })).toBe(ownersFields(fields));
    expect(ownersFields({ ...fields, labels: { team: 'b' } })).not.toBe(ownersFields(fields));
    expect(ownersFields(undefined)).toBeUndefined();
  });

  it('adds and removes members of the set with the label of Services', () => {
    const { model } = given({ s: [{ a: 'ready' }] });
    const service = model.service('apps', 's');
    if (service === undefined) throw new Error('missing Service');
    const member = () => model.upstreams.get('apps.s-http');
    model.namespaces.add('apps');
    Object.assign(model.set, { exists: true, retries: 3 });
    model.followSet();
    expect(member()).toBeUndefined();
    service.exposed = true;
    model.followSet();
    expect(member()).toMatchObject({ name: 's-http', state: 'live', retries: 3, flapped: false });
    expect(model.owned).toContain('apps.s-http');
    model.set.retries = 4;
    model.followSet();
    expect(member()).toMatchObject({ retries: 4 });
    model.checkpoint();
    expect(member()).toMatchObject({ settled: 'Sync' });
    service.exposed = false;
    model.followSet();
    expect(member()).toMatchObject({ state: 'deleting' });
    // The operator may still delete it when everything matches again.
    service.exposed = true;
    model.followSet();
    expect(member()).toMatchObject({ state: 'live', flapped: true, settled: undefined });
    model.checkpoint();
    expect(member()).toMatchObject({ flapped: false, settled: undefined });
    model.checkpoint();
    expect(member()).toMatchObject({ settled: 'Sync' });
    model.set.exists = false;
    model.followSet();
    expect(member()).toMatchObject({ state: 'deleting' });
  });

  it('resolves to usable cluster nodes with a usable endpoint, with externalTrafficPolicy: Local', () => {
    const backend = { service: 's', weight: 1, mode: 'Node' } as const;
    const found = (slice: Slice) =>
      given({ s: [slice] }, {}, { isLocal: true })
        .model.placesOf('apps', backend)
        ?.map(({ host }) => host);
    expect(found({ a: 'ready', b: 'ready', c: 'ready' })).toEqual(['n1']);
    expect(found({ a: 'draining', b: 'ready' })).toEqual([]);
    expect(found({ a: 'draining', b: 'sick' })).toEqual(['n1']);
    expect(found({ d: 'ready' })).toEqual([]);
  });

  it('treats an upstream as steady from a checkpoint until its Service has no ready endpoint', () => {
    const { model, upstream } = given({ s: [{ a: 'ready' }, {}] });
    const service = model.service('apps', 's');
    if (service === undefined) throw new Error('missing Service');
    expect(model.isSteady(upstream)).toBe(false);
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(true);
    model.writeSlice(service, 's-1', { a: 'ready' });
    model.writeSlice(service, 's-0', {});
    expect(model.isSteady(upstream)).toBe(true);
    model.writeSlice(service, 's-1', { a: 'sick' });
    model.writeSlice(service, 's-1', { a: 'ready' });
    expect(model.isSteady(upstream)).toBe(false);
  });

  it('treats an upstream in mode Node as steady until no cluster node is usable', () => {
    const backends = [{ service: 's', weight: 1, mode: 'Node' }] as const;
    const { model, upstream } = given({ s: [{ a: 'ready' }] }, { backends });
    model.upstreams.set(upstream.id, upstream);
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(true);
    model.writeNode('n2', { ready: true });
    model.writeNode('n1', undefined);
    expect(model.isSteady(upstream)).toBe(true);
    model.writeNode('n2', { excluded: true });
    model.writeNode('n2', { excluded: false });
    expect(model.isSteady(upstream)).toBe(false);
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(true);
    // Earlier references count until the next checkpoint, in any mode.
    upstream.backends = [{ service: 's', weight: 1, mode: 'Pod' }];
    model.refer(upstream);
    model.writeNode('n2', undefined);
    expect(model.isSteady(upstream)).toBe(false);
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(true);
  });

  it('does not treat an upstream as steady if its Service does not support the mode all the time', () => {
    const backends = [{ service: 's', weight: 1, mode: 'LoadBalancer' }] as const;
    const { model, upstream } = given({ s: [{ a: 'ready' }] }, { backends }, { balancers: [] });
    const service = model.service('apps', 's');
    if (service === undefined) throw new Error('missing Service');
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(false);
    service.front = FRONT;
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(true);
    service.sameFront = false;
    expect(model.isSteady(upstream)).toBe(false);
  });
});
