import { describe, expect, it } from 'vitest';
import type { JudgedNode, Via } from '../../../src/decide/addressing.ts';
import type { BackendTarget, ResolvedBackend } from '../../../src/decide/backends.ts';
import { createRemovalReasonOf, type DepartureOf } from '../../../src/decide/removal-reason.ts';
import type { Discovered } from '../../../src/model/discovered.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';

const target = (name: string): Extract<BackendTarget, { kind: 'service' }> => ({
  kind: 'service',
  weight: 1,
  addressing: { mode: 'Pod' },
  ref: {
    source: 'Kubernetes',
    namespace: 'shop',
    name,
    port: { by: 'servicePort', port: 80 },
    protocol: 'TCP',
  },
});

const endpoint = (address: string, change: Partial<Endpoint> = {}): Endpoint => ({
  address,
  family: 'IPv4',
  port: 8080,
  ready: false,
  serving: false,
  terminating: false,
  ...change,
});

const known = (...endpoints: readonly Endpoint[]): Discovered => ({
  state: 'known',
  preferredFamily: 'IPv4',
  basis: '',
  endpoints,
});
const absent: Discovered = { state: 'absent', reason: 'ServiceNotFound', message: 'not found' };

const removalOf = (found: readonly Discovered[], departureOf: DepartureOf = () => 'unknown') => {
  const backends: ResolvedBackend[] = found.map((one, index) => ({
    target: target(`s${index}`),
    found: one,
  }));
  return createRemovalReasonOf(
    backends,
    departureOf,
  )({ host: '10.0.0.1', port: 8080, weight: 1, priority: 0 });
};

describe('the removal reason of an endpoint', () => {
  it.each<[string, Partial<Endpoint>, string]>([
    ['listed, not ready', {}, 'sick'],
    ['terminating', { terminating: true }, 'explained'],
    ['terminating and serving', { terminating: true, serving: true }, 'explained'],
    ['ready on another port', { ready: true, port: 9090 }, 'explained'],
  ])('%s: is %s', (_, change, expected) => {
    expect(removalOf([known(endpoint('10.0.0.1', change))]).reason).toBe(expected);
  });

  it('is explained if any slice reports the endpoint as terminating', () => {
    expect(removalOf([known(endpoint('10.0.0.1'), endpoint('10.0.0.1', { terminating: true }))]).reason).toBe(
      'explained',
    );
  });

  it.each([
    ['explained', 'explained'],
    ['vanished', 'vanished'],
    ['unknown', 'vanished'],
  ] as const)('not listed, removal cause %s: is %s', (departure, expected) => {
    expect(removalOf([known()], () => departure)).toEqual({
      reason: expected,
      backend: expected === 'vanished' ? 0 : undefined,
    });
  });

  it('is explained if its Service no longer exists', () => {
    const departureOf: DepartureOf = (backend) => (backend === 1 ? 'vanished' : 'unknown');
    expect(removalOf([known(), absent], departureOf).reason).toBe('explained');
    expect(removalOf([known(), known()], departureOf)).toEqual({ reason: 'vanished', backend: 1 });
  });

  it('is explained if its Service is unknown and a Service no longer exists', () => {
    expect(removalOf([known(), absent]).reason).toBe('explained');
    expect(removalOf([known(), known()])).toEqual({ reason: 'vanished', backend: undefined });
  });

  it('is sick if one of two Services lists it as sick', () => {
    expect(removalOf([known(), known(endpoint('10.0.0.1'))], () => 'explained')).toEqual({
      reason: 'sick',
      backend: 1,
    });
  });
});

describe('the removal reason of a cluster node', () => {
  const HOST = '192.0.2.1';
  const PORT = 30080;
  const judged = (state: JudgedNode['state'], host: string | undefined = HOST): JudgedNode => ({
    node: {
      name: 'n1',
      ready: state !== 'notReady',
      labels: {},
      addresses: [
        { type: 'InternalIP', address: HOST },
        { type: 'ExternalIP', address: '203.0.113.1' },
      ],
    },
    host,
    state,
  });
  const nodes = (isLocal: boolean, ...list: readonly JudgedNode[]): Via => ({
    kind: 'nodes',
    port: PORT,
    isLocal,
    nodes: list,
  });
  const on = (node: string, change: Partial<Endpoint> = {}) =>
    endpoint(`10.0.0.${node}`, { node, ...change });
  const removalReasonOf = (
    via: Via,
    endpoints: readonly Endpoint[],
    departureOf: DepartureOf = () => 'unknown',
    { host = HOST, port = PORT } = {},
  ) => {
    const backend: ResolvedBackend = { target: target('s'), found: known(...endpoints), via };
    return createRemovalReasonOf([backend], departureOf)({ host, port, weight: 1, priority: 0 }).reason;
  };
  const READY = { ready: true, serving: true };

  it.each<[string, Via, readonly Endpoint[], string]>([
    ['not ready, whatever its endpoints', nodes(false, judged('notReady')), [on('n2', READY)], 'sick'],
    [
      'no longer usable for external traffic',
      nodes(false, judged('unusable')),
      [on('n2', READY)],
      'explained',
    ],
    ['no longer selected', nodes(false, judged('unselected')), [on('n2', READY)], 'explained'],
    ['address changed', nodes(false, judged('usable', '203.0.113.1')), [], 'explained'],
    ['Node deleted', nodes(false), [on('n2', READY)], 'vanished'],
    ['all endpoints are sick', nodes(false, judged('usable')), [on('n2'), on('n3')], 'sick'],
    [
      'one endpoint is sick and the others are terminating',
      nodes(false, judged('usable')),
      [on('n2', { terminating: true }), on('n3')],
      'sick',
    ],
    [
      'all endpoints are terminating',
      nodes(false, judged('usable')),
      [on('n2', { terminating: true }), on('n3', { terminating: true })],
      'explained',
    ],
    ['no endpoint is listed', nodes(false, judged('usable')), [], 'vanished'],
    ['Local: its endpoint is sick', nodes(true, judged('usable')), [on('n1'), on('n2', READY)], 'sick'],
    [
      'Local: its endpoint is terminating',
      nodes(true, judged('usable')),
      [on('n1', { terminating: true }), on('n2')],
      'explained',
    ],
    ['Local: it has no endpoint', nodes(true, judged('usable')), [on('n2', READY)], 'vanished'],
  ])('%s: %s', (_, via, endpoints, expected) => {
    expect(removalReasonOf(via, endpoints)).toBe(expected);
  });

  it('is explained if the node port changed', () => {
    expect(removalReasonOf(nodes(false, judged('usable')), [], undefined, { port: 30081 })).toBe('explained');
  });

  it('is explained if it is an endpoint address from before addressing mode Node was set', () => {
    expect(removalReasonOf(nodes(false), [on('n1')], undefined, { host: '10.0.0.n1' })).toBe('explained');
  });

  it.each([
    [true, { kind: 'node', node: 'n1' }],
    [false, { kind: 'all' }],
  ] as const)('asks for the removal cause of the endpoints behind it (Local: %s)', (isLocal, expected) => {
    const via = nodes(isLocal, judged('usable'));
    const asked: unknown[] = [];
    const departureOf: DepartureOf = (_, removedEndpoints) => {
      asked.push(removedEndpoints);
      return 'explained';
    };
    expect(removalReasonOf(via, [], departureOf)).toBe('explained');
    expect(asked).toEqual([expected]);
  });
});

describe('the removal reason of an address of the Service itself', () => {
  const via: Via = { kind: 'front', hosts: ['10.96.0.1'], port: 80 };
  const removalReasonOf = (host: string, ...endpoints: readonly Endpoint[]) => {
    const backend: ResolvedBackend = { target: target('s'), found: known(...endpoints), via };
    return createRemovalReasonOf([backend], () => 'unknown')({ host, port: 80, weight: 1, priority: 0 })
      .reason;
  };

  it.each<[string, string, readonly Endpoint[], string]>([
    ['its endpoints are sick', '10.96.0.1', [endpoint('10.0.0.1')], 'sick'],
    [
      'its endpoints are terminating',
      '10.96.0.1',
      [endpoint('10.0.0.1', { terminating: true })],
      'explained',
    ],
    ['its endpoints vanished', '10.96.0.1', [], 'vanished'],
    ['the address of the Service changed', '10.96.0.2', [], 'explained'],
  ])('%s: %s', (_, host, endpoints, expected) => {
    expect(removalReasonOf(host, ...endpoints)).toBe(expected);
  });

  it('is explained if the external name of a Service changed', () => {
    const external: Discovered = { state: 'external', host: 'b.example', port: 80, basis: '' };
    expect(removalOf([external]).reason).toBe('explained');
  });
});

describe('the removal reason of an instance in a registry', () => {
  const registry = (service: string): Extract<BackendTarget, { kind: 'registry' }> => ({
    kind: 'registry',
    weight: 1,
    choice: { metadata: {}, weights: 'Registry' },
    ref: { source: 'Registry', registry: 'vms', service, options: {} },
  });
  const node = { host: '10.0.0.1', port: 8080, weight: 1, priority: 0 };
  const removal = (found: Discovered, departureOf: DepartureOf = () => 'unknown') =>
    createRemovalReasonOf([{ target: registry('web'), found }], departureOf)(node);

  it.each<[string, Partial<Endpoint>, string]>([
    ['unhealthy', {}, 'sick'],
    ['out of service', { terminating: true }, 'explained'],
    ['ready on another port', { ready: true, port: 9090 }, 'vanished'],
    ['unhealthy on another port', { port: 9090 }, 'vanished'],
    ['at the same place, but not chosen', { ready: true }, 'explained'],
  ])('%s: is %s', (_, change, expected) => {
    expect(removal(known(endpoint('10.0.0.1', change))).reason).toBe(expected);
  });

  it('asks the source for the address and port', () => {
    const asked: unknown[] = [];
    removal(known(), (_, departed) => {
      asked.push(departed);
      return 'vanished';
    });
    expect(asked).toEqual([{ kind: 'address', address: '10.0.0.1', port: 8080 }]);
  });

  it('follows from the backend that the mark names', () => {
    const backends: ResolvedBackend[] = [
      { target: target('pods'), found: known(endpoint('10.0.0.1', { ready: true, port: 9090 })) },
      { target: registry('web'), found: known() },
    ];
    const marks = ['aaaaaaaa', 'bbbbbbbb'];
    const marked = (backendMark: string) =>
      createRemovalReasonOf(backends, () => 'unknown', marks)({ ...node, backendMark });
    expect(marked('bbbbbbbb')).toEqual({ reason: 'vanished', backend: 1 });
    expect(marked('aaaaaaaa')).toEqual({ reason: 'explained', backend: 0 });
    // Unknown marks explain nothing.
    expect(marked('cccccccc').reason).toBe('explained');
  });
});
