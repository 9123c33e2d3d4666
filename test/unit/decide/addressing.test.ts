import { describe, expect, it } from 'vitest';
import type { Addressing } from '../../../src/api/addressing.ts';
import { type KnownNodes, place, viaOf } from '../../../src/decide/addressing.ts';
import { chooseEndpoints, type Drain } from '../../../src/decide/nodes.ts';
import type { Discovered } from '../../../src/model/discovered.ts';
import type {
  ClusterNode,
  Endpoint,
  IpFamily,
  ServiceFront,
  ServicePort,
} from '../../../src/model/endpoint.ts';

const READY = { ready: true, serving: true, terminating: false };
const NOT_READY = { ready: false, serving: false, terminating: false };
const DRAINING = { ready: false, serving: true, terminating: true };

const endpoint = (address: string, node: string | undefined, change: Partial<Endpoint> = {}): Endpoint => ({
  address,
  family: address.includes(':') ? 'IPv6' : 'IPv4',
  port: 8080,
  ...READY,
  ...(node === undefined ? {} : { node }),
  ...change,
});

const ip = (address: string, type = 'InternalIP') => ({ type, address });

const node = (
  name: string,
  addresses: ClusterNode['addresses'],
  { ready = true, labels = {} }: Partial<ClusterNode> = {},
): ClusterNode => ({ name, ready, labels, addresses });

const EXCLUDED = { 'node.kubernetes.io/exclude-from-external-load-balancers': '' };
const inZone = (zone: string) => ({ 'topology.kubernetes.io/zone': zone });

const PORT: ServicePort = { name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 };
const front = (change: Partial<ServiceFront> = {}): ServiceFront => ({
  namespace: 'shop',
  name: 'web',
  type: 'LoadBalancer',
  isHeadless: false,
  clusterIps: ['10.96.0.1', 'fd00:96::1'],
  loadBalancer: ['203.0.113.9'],
  isLocal: false,
  port: PORT,
  ...change,
});
const { port: _, ...withoutPort } = front();

interface Case {
  readonly addressing: Addressing;
  readonly endpoints?: readonly Endpoint[];
  /** `none`: endpoints exist without a Service. */
  readonly front?: ServiceFront | 'none';
  readonly nodes?: readonly ClusterNode[];
  readonly family?: IpFamily;
  readonly drain?: Drain;
  readonly zones?: Parameters<typeof place>[2];
}

function resolve({ addressing, family = 'IPv4', ...rest }: Case) {
  const { endpoints = [endpoint('10.0.0.1', 'n1')], nodes = [] } = rest;
  const found: Extract<Discovered, { state: 'known' }> = {
    state: 'known',
    endpoints,
    preferredFamily: 'IPv4',
    basis: '',
    ...(rest.front === 'none' ? {} : { front: rest.front ?? front() }),
  };
  const via = viaOf(found, addressing, family, { kind: 'listed', nodes });
  if ('state' in via) return via;
  return place(chooseEndpoints(endpoints, family, rest.drain), via, rest.zones);
}

/** Places as `host:port=unit@priority`, counts, and excluded endpoints; or the reason why there are none. */
function said(given: Case) {
  const result = resolve(given);
  if ('state' in result) return result.state === 'absent' ? result.reason : result.state;
  const { places, ready, draining, excluded } = result;
  return {
    places: places.map(
      (at) => `${at.host}:${at.port}=${at.unit}${at.priority === 0 ? '' : `@${at.priority}`}`,
    ),
    counts: [ready, draining],
    excluded: excluded.map(({ host, port, reason }) => `${host}:${port} ${reason}`),
  };
}
const nothing = { places: [], counts: [0, 0], excluded: [] };

const A = node('n1', [
  ip('192.0.2.1'),
  ip('2001:db8::1'),
  ip('203.0.113.1', 'ExternalIP'),
  ip('n1.lan', 'Hostname'),
]);
const B = node('n2', [ip('192.0.2.2')]);
const C = node('n3', [ip('192.0.2.3')]);

describe('addressing mode Pod', () => {
  it('uses the endpoints, with or without a Service', () => {
    const expected = { ...nothing, places: ['10.0.0.1:8080=1'], counts: [1, 0] };
    expect(said({ addressing: { mode: 'Pod' } })).toEqual(expected);
    expect(said({ addressing: { mode: 'Pod' }, front: 'none' })).toEqual(expected);
  });
});

describe('addressing mode Node', () => {
  const addressing: Addressing = { mode: 'Node' };
  const local = front({ isLocal: true });
  const dual = [endpoint('10.0.0.1', 'n1'), endpoint('fd00::1', 'n1')];

  it.each<[string, Omit<Case, 'addressing'> & { readonly addressing?: Addressing }, object]>([
    [
      'uses every ready node, wherever the endpoints run',
      { nodes: [A, B, C] },
      { places: ['192.0.2.1:30080=1', '192.0.2.2:30080=1', '192.0.2.3:30080=1'], counts: [1, 0] },
    ],
    [
      'excludes nodes that are not ready',
      { nodes: [A, { ...B, ready: false }] },
      { places: ['192.0.2.1:30080=1'], counts: [1, 0], excluded: ['192.0.2.2:30080 NodeUnusable'] },
    ],
    [
      'excludes nodes with the exclude-from-external-load-balancers label, whatever its value',
      { nodes: [A, { ...B, labels: EXCLUDED }] },
      { places: ['192.0.2.1:30080=1'], counts: [1, 0], excluded: ['192.0.2.2:30080 NodeUnusable'] },
    ],
    [
      'excludes a node without an address of the type, and lists it by node name',
      { addressing: { mode: 'Node', nodeAddressType: 'ExternalIP' }, nodes: [A, B] },
      { places: ['203.0.113.1:30080=1'], counts: [1, 0], excluded: ['n2:30080 NodeUnusable'] },
    ],
    [
      'uses node names',
      { addressing: { mode: 'Node', nodeAddressType: 'Hostname' }, nodes: [A] },
      { places: ['n1.lan:30080=1'], counts: [1, 0] },
    ],
    [
      'uses addresses of the selected family',
      { nodes: [A, B], family: 'IPv6', endpoints: dual },
      {
        places: ['2001:db8::1:30080=1'],
        counts: [1, 0],
        excluded: ['n2:30080 NodeUnusable'],
      },
    ],
    [
      'uses only selected nodes and does not list the others as excluded',
      {
        addressing: { mode: 'Node', nodeSelector: { matchLabels: { edge: 'yes' } } },
        nodes: [A, { ...B, labels: { edge: 'yes' } }],
      },
      { places: ['192.0.2.2:30080=1'], counts: [1, 0] },
    ],
    [
      'uses no node if no endpoint is ready',
      { nodes: [A, B], endpoints: [endpoint('10.0.0.1', 'n1', NOT_READY)] },
      { excluded: ['10.0.0.1:8080 NotReady'] },
    ],
    [
      'uses every node if only terminating endpoints serve, as kube-proxy does',
      { nodes: [A, B], endpoints: [endpoint('10.0.0.1', 'n1', DRAINING)] },
      { places: ['192.0.2.1:30080=1', '192.0.2.2:30080=1'], counts: [0, 1] },
    ],
    [
      'counts no endpoint as ready if no node is usable',
      { nodes: [{ ...A, ready: false }] },
      { excluded: ['192.0.2.1:30080 NodeUnusable'] },
    ],
    ['uses no node if the cluster has none', { nodes: [] }, {}],
    [
      'Local: uses only nodes with a ready endpoint',
      {
        front: local,
        nodes: [A, B, C],
        endpoints: [
          endpoint('10.0.0.1', 'n1'),
          endpoint('10.0.0.2', 'n1'),
          endpoint('10.0.0.3', 'n2', NOT_READY),
        ],
      },
      { places: ['192.0.2.1:30080=1'], counts: [2, 0], excluded: ['10.0.0.3:8080 NotReady'] },
    ],
    [
      'Local: uses nodes with serving terminating endpoints if none is ready',
      {
        front: local,
        nodes: [A, B],
        endpoints: [endpoint('10.0.0.1', 'n1', DRAINING), endpoint('10.0.0.3', 'n2', NOT_READY)],
      },
      { places: ['192.0.2.1:30080=1'], counts: [0, 1], excluded: ['10.0.0.3:8080 NotReady'] },
    ],
    [
      'Local: lists an unusable node once, and only if it has endpoints',
      {
        front: local,
        nodes: [A, { ...B, ready: false }, { ...C, ready: false }],
        endpoints: [endpoint('10.0.0.1', 'n1'), endpoint('10.0.0.2', 'n2'), endpoint('10.0.0.3', 'n2')],
      },
      { places: ['192.0.2.1:30080=1'], counts: [1, 0], excluded: ['192.0.2.2:30080 NodeUnusable'] },
    ],
    [
      'Local: excludes an endpoint on an unknown node',
      { front: local, nodes: [A], endpoints: [endpoint('10.0.0.1', undefined), endpoint('10.0.0.2', 'n9')] },
      { excluded: ['10.0.0.1:8080 NodeUnusable', '10.0.0.2:8080 NodeUnusable'] },
    ],
    [
      'Local with ZeroWeight: keeps a node with only terminating endpoints at weight 0',
      {
        front: local,
        drain: 'ZeroWeight',
        nodes: [A, B],
        endpoints: [
          endpoint('10.0.0.1', 'n1', DRAINING),
          endpoint('10.0.0.2', 'n1'),
          endpoint('10.0.0.3', 'n2', DRAINING),
        ],
      },
      { places: ['192.0.2.1:30080=1', '192.0.2.2:30080=0'], counts: [1, 2] },
    ],
    [
      'uses the zones of the nodes, not of the endpoints',
      {
        nodes: [{ ...A, labels: inZone('a') }, { ...B, labels: inZone('b') }, C],
        endpoints: [endpoint('10.0.0.1', 'n1', { zone: 'b' })],
        zones: [
          { zone: 'a', priority: 1, weight: 100 },
          { zone: 'b', priority: 0, weight: 50 },
        ],
      },
      { places: ['192.0.2.1:30080=2@1', '192.0.2.2:30080=1', '192.0.2.3:30080=2'], counts: [1, 0] },
    ],
  ])('%s', (_title, given, expected) => {
    expect(said({ addressing, ...given })).toEqual({ ...nothing, ...expected });
  });

  it('requires a node port, a Service, and a port that the Service defines', () => {
    expect(said({ addressing, front: front({ port: { name: 'http', port: 80, protocol: 'TCP' } }) })).toBe(
      'NodePortMissing',
    );
    expect(said({ addressing, front: 'none' })).toBe('ServiceNotFound');
    expect(said({ addressing, front: withoutPort })).toBe('PortNotFound');
  });

  it('is unknown while the Nodes are not listed', () => {
    const unknown: KnownNodes = { kind: 'unknown', beginning: true, message: 'not listed yet' };
    const found: Extract<Discovered, { state: 'known' }> = {
      state: 'known',
      endpoints: [],
      preferredFamily: 'IPv4',
      basis: '',
      front: front(),
    };
    expect(viaOf(found, addressing, 'IPv4', unknown)).toEqual({
      state: 'unknown',
      beginning: true,
      message: 'not listed yet',
    });
    // A missing node port is reported first, because it does not depend on the Nodes.
    const headless = { ...found, front: front({ port: { name: '', port: 80, protocol: 'TCP' } }) };
    expect(viaOf(headless, addressing, 'IPv4', unknown)).toMatchObject({ reason: 'NodePortMissing' });
  });
});

describe('addresses of the Service itself', () => {
  const headless = front({ isHeadless: true, clusterIps: [], type: 'ClusterIP', loadBalancer: [] });
  const dual = [endpoint('10.0.0.1', 'n1'), endpoint('fd00::1', 'n1')];

  it.each<[string, Case, readonly string[] | string]>([
    ['ClusterIP', { addressing: { mode: 'ClusterIP' } }, ['10.96.0.1:80=1']],
    [
      'ClusterIP of the second family',
      { addressing: { mode: 'ClusterIP' }, family: 'IPv6', endpoints: dual },
      ['fd00:96::1:80=1'],
    ],
    [
      'ClusterIP of a family that the Service lacks',
      { addressing: { mode: 'ClusterIP' }, family: 'IPv6', front: front({ clusterIps: ['10.96.0.1'] }) },
      'NoClusterIP',
    ],
    [
      'ClusterIP of a headless Service',
      { addressing: { mode: 'ClusterIP' }, front: headless },
      'NoClusterIP',
    ],
    [
      'ClusterIP that is not assigned yet',
      { addressing: { mode: 'ClusterIP' }, front: front({ clusterIps: [] }) },
      'NoClusterIP',
    ],
    ['LoadBalancer', { addressing: { mode: 'LoadBalancer' } }, ['203.0.113.9:80=1']],
    [
      'LoadBalancer: all addresses of the family, and names',
      {
        addressing: { mode: 'LoadBalancer' },
        front: front({ loadBalancer: ['203.0.113.9', '2001:db8::9', 'lb.example.com'] }),
      },
      ['203.0.113.9:80=1', 'lb.example.com:80=1'],
    ],
    [
      'LoadBalancer without an address',
      { addressing: { mode: 'LoadBalancer' }, front: front({ loadBalancer: [] }) },
      'NoLoadBalancerAddress',
    ],
    [
      'LoadBalancer with addresses of the other family only',
      { addressing: { mode: 'LoadBalancer' }, front: front({ loadBalancer: ['2001:db8::9'] }) },
      'NoLoadBalancerAddress',
    ],
    ['DNS', { addressing: { mode: 'DNS' } }, ['web.shop.svc.cluster.local:80=1']],
    [
      'DNS with a suffix',
      { addressing: { mode: 'DNS', dnsSuffix: 'svc.k8s.example.com' } },
      ['web.shop.svc.k8s.example.com:80=1'],
    ],
    ['DNS without a suffix', { addressing: { mode: 'DNS', dnsSuffix: '' } }, ['web.shop:80=1']],
    [
      'DNS of a headless Service uses the port of its endpoints',
      { addressing: { mode: 'DNS' }, front: headless },
      ['web.shop.svc.cluster.local:8080=1'],
    ],
    [
      'DNS of a headless Service uses every port number of its endpoints',
      {
        addressing: { mode: 'DNS' },
        front: headless,
        endpoints: [endpoint('10.0.0.1', 'n1'), endpoint('10.0.0.2', 'n1', { port: 9090 })],
      },
      ['web.shop.svc.cluster.local:8080=1', 'web.shop.svc.cluster.local:9090=1'],
    ],
  ])('%s', (_title, given, expected) => {
    const result = said(given);
    expect(typeof result === 'string' ? result : result.places).toEqual(expected);
  });

  it.each<Addressing>([{ mode: 'ClusterIP' }, { mode: 'LoadBalancer' }, { mode: 'DNS' }])(
    '%o: has no node without a ready endpoint, and counts the endpoints',
    (addressing) => {
      expect(said({ addressing, endpoints: [endpoint('10.0.0.1', 'n1', NOT_READY)] })).toEqual({
        ...nothing,
        excluded: ['10.0.0.1:8080 NotReady'],
      });
      const three = [
        endpoint('10.0.0.1', 'n1'),
        endpoint('10.0.0.2', 'n1'),
        endpoint('10.0.0.3', 'n2', DRAINING),
      ];
      expect(said({ addressing, endpoints: three })).toMatchObject({
        counts: [2, 0],
        excluded: ['10.0.0.3:8080 Terminating'],
      });
    },
  );
});

describe('zones of endpoints', () => {
  const at = (address: string, zone?: string, change: Partial<Endpoint> = {}) =>
    endpoint(address, undefined, { ...(zone === undefined ? {} : { zone }), ...change });
  const endpoints = [at('10.0.0.1', 'a'), at('10.0.0.2', 'b'), at('10.0.0.3')];
  const zoned = (...zones: NonNullable<Case['zones']>) => {
    const result = said({ addressing: { mode: 'Pod' }, endpoints, zones });
    return typeof result === 'string' ? result : result.places;
  };

  it.each<[string, NonNullable<Case['zones']>, readonly string[]]>([
    ['no zones', [], ['10.0.0.1:8080=1', '10.0.0.2:8080=1', '10.0.0.3:8080=1']],
    [
      'a priority',
      [{ zone: 'a', priority: 1, weight: 100 }],
      ['10.0.0.1:8080=1@1', '10.0.0.2:8080=1', '10.0.0.3:8080=1'],
    ],
    [
      'weights, reduced to the smallest integers',
      [{ zone: 'b', priority: 0, weight: 25 }],
      ['10.0.0.1:8080=4', '10.0.0.2:8080=1', '10.0.0.3:8080=4'],
    ],
    [
      'weight 0 omits the zone',
      [{ zone: 'a', priority: 5, weight: 0 }],
      ['10.0.0.2:8080=1', '10.0.0.3:8080=1'],
    ],
    [
      'a zone without endpoints',
      [{ zone: 'z', priority: 1, weight: 7 }],
      ['10.0.0.1:8080=1', '10.0.0.2:8080=1', '10.0.0.3:8080=1'],
    ],
  ])('%s', (_title, zones, expected) => {
    expect(zoned(...zones)).toEqual(expected);
  });
});
