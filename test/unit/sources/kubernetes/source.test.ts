import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { chooseEndpoints } from '../../../../src/decide/nodes.ts';
import { createStore } from '../../../../src/kube/store.ts';
import type { Discovered } from '../../../../src/model/discovered.ts';
import type { Protocol } from '../../../../src/model/endpoint.ts';
import type { PortRef, ServicePortRef } from '../../../../src/model/reference.ts';
import { resolveService } from '../../../../src/sources/kubernetes/resolve.ts';
import { createKubernetesSource } from '../../../../src/sources/kubernetes/source.ts';
import {
  type EndpointsFacts,
  type ServiceFacts,
  type SliceFacts,
  sliceIndexes,
  transformEndpoints,
  transformService,
  transformSlice,
  unreadableEndpoints,
  unreadableService,
  unreadableSlice,
} from '../../../../src/sources/kubernetes/transform.ts';

const metadata = (name: string, change: object = {}) => ({
  namespace: 'shop',
  name,
  uid: `uid-${name}`,
  resourceVersion: '1',
  ...change,
});

type PortInput = { name?: string | null; port?: number | null; protocol?: string | null };

function service(spec: object = {}): ServiceFacts {
  const trimmed = transformService({
    metadata: metadata('web'),
    spec: { type: 'ClusterIP', ipFamilies: ['IPv4'], ports: [{ name: 'http', port: 80 }], ...spec },
  });
  if (trimmed === undefined) throw new Error('no Service');
  return trimmed;
}

function slice(
  name: string,
  ports: readonly PortInput[] | null,
  endpoints: readonly object[],
  change: { readonly addressType?: string; readonly service?: string } = {},
): SliceFacts {
  const trimmed = transformSlice({
    metadata: metadata(name, { labels: { 'kubernetes.io/service-name': change.service ?? 'web' } }),
    addressType: change.addressType ?? 'IPv4',
    ports,
    endpoints,
  });
  if (trimmed === undefined) throw new Error('no slice');
  return trimmed;
}

const at = (address: string, conditions: object = {}) => ({ addresses: [address], conditions });

const refOf = (port: PortRef, protocol: Protocol = 'TCP'): ServicePortRef => ({
  source: 'Kubernetes',
  namespace: 'shop',
  name: 'web',
  port,
  protocol,
});
const byService = (port: number | string, protocol?: Protocol) =>
  refOf({ by: 'servicePort', port }, protocol);
const byEndpoint = (port: string, protocol?: Protocol) => refOf({ by: 'endpointPort', port }, protocol);

/** The resolved nodes as `address:port`, or the reason for the failure. */
function nodesOf(found: Discovered): readonly string[] | string {
  if (found.state === 'unknown') return 'unknown';
  if (found.state === 'absent') return found.reason;
  if (found.state === 'external') return [`${found.host}:${found.port}`];
  return chooseEndpoints(found.endpoints, found.preferredFamily).endpoints.map(
    ({ host, port }) => `${host}:${port}`,
  );
}

describe('transformService', () => {
  it('applies the defaults of the API server', () => {
    expect(transformService({ metadata: metadata('web'), spec: { ports: [{ port: 80 }] } })).toMatchObject({
      type: 'ClusterIP',
      ipFamilies: [],
      ports: [{ name: '', port: 80, protocol: 'TCP' }],
    });
  });

  it('keeps the addresses of the Service', () => {
    const status = { loadBalancer: { ingress: [{ ip: '203.0.113.1' }, { hostname: 'LB.example' }, {}] } };
    const spec = {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      clusterIPs: ['10.96.0.1', 'fd00::1'],
      externalTrafficPolicy: 'Local',
      ports: [{ port: 80, nodePort: 30080, appProtocol: 'https' }],
    };
    expect(transformService({ metadata: metadata('web'), spec, status })).toMatchObject({
      clusterIps: ['10.96.0.1', 'fd00::1'],
      loadBalancer: ['203.0.113.1', 'lb.example'],
      isLocal: true,
      ports: [{ name: '', port: 80, protocol: 'TCP', nodePort: 30080, appProtocol: 'https' }],
    });
    // An address that a former type left behind is not used.
    expect(
      transformService({ metadata: metadata('web'), spec: { ...spec, type: 'NodePort' }, status })
        ?.loadBalancer,
    ).toEqual([]);
    expect(service({ clusterIP: 'None', clusterIPs: ['None'] }).clusterIps).toEqual([]);
    expect(service({ ports: [{ port: 80, nodePort: 0 }] }).ports).toEqual([
      { name: '', port: 80, protocol: 'TCP' },
    ]);
  });

  it('changes its basis with selector, ports, type or traffic policy', () => {
    const ports = [{ name: 'http', port: 80, nodePort: 30080 }];
    const all = [
      service({ ports }),
      service({ ports, type: 'NodePort' }),
      service({ ports, externalTrafficPolicy: 'Local' }),
      service({ ports: [{ name: 'http', port: 80, nodePort: 30081 }] }),
      service({ ports, selector: { app: 'web' } }),
    ];
    expect(new Set(all.map(({ basis }) => basis)).size).toBe(all.length);
  });

  it.each([undefined, null, 'x', [], {}, { metadata: { name: 'web' } }])('ignores %o', (value) => {
    expect(transformService(value)).toBeUndefined();
  });
});

describe('transformSlice', () => {
  const conditionsOf = (conditions: unknown) => {
    const [endpoint] = slice('s', [], [{ addresses: ['10.0.0.1'], conditions }]).endpoints;
    return endpoint && [endpoint.ready, endpoint.serving, endpoint.terminating];
  };

  it.each<[unknown, readonly [boolean, boolean, boolean]]>([
    [undefined, [true, true, false]],
    [{}, [true, true, false]],
    [{ ready: null, serving: null, terminating: null }, [true, true, false]],
    [{ ready: false }, [false, true, false]],
    [{ ready: false, serving: false, terminating: true }, [false, false, true]],
    [{ ready: false, serving: null, terminating: true }, [false, true, true]],
    [{ ready: true, serving: true, terminating: true }, [true, true, true]],
  ])('reads conditions %o as ready, serving, terminating %o', (conditions, expected) => {
    expect(conditionsOf(conditions)).toEqual(expected);
  });

  it('keeps the target of an endpoint if the slice has one', () => {
    const { endpoints } = slice(
      's',
      [],
      [{ ...at('10.0.0.1'), targetRef: { kind: 'Pod', name: 'web-1', uid: 'p1' } }, at('10.0.0.2')],
    );
    expect(endpoints.map(({ target }) => target)).toEqual(['p1', undefined]);
  });

  it('keeps node and zone if the slice has them', () => {
    const { endpoints } = slice(
      's',
      [],
      [
        { ...at('10.0.0.1'), nodeName: 'n1', zone: 'a' },
        { ...at('10.0.0.2'), nodeName: null },
      ],
    );
    expect(endpoints.map(({ node, zone }) => [node, zone])).toEqual([
      ['n1', 'a'],
      [undefined, undefined],
    ]);
  });

  it('uses the first address of an endpoint and ignores endpoints without addresses', () => {
    const { endpoints } = slice(
      's',
      [],
      [{ addresses: ['10.0.0.2', '10.0.0.1'] }, { addresses: [] }, { addresses: null }, {}],
    );
    expect(endpoints.map(({ address }) => address)).toEqual(['10.0.0.2']);
  });

  it.each<[string, object]>([
    ['of type FQDN', { addressType: 'FQDN' }],
    ['of an unknown type', { addressType: 'IPv7' }],
    ['without a Service', { metadata: metadata('s', { labels: {} }) }],
    ['without labels', { metadata: metadata('s') }],
    ['without uid', { metadata: { namespace: 'shop', name: 's' } }],
  ])('ignores a slice %s', (_, change) => {
    const whole = {
      metadata: metadata('s', { labels: { 'kubernetes.io/service-name': 'web' } }),
      addressType: 'IPv4',
      ports: [],
      endpoints: [],
    };
    expect(transformSlice(whole)).toBeDefined();
    expect(transformSlice({ ...whole, ...change })).toBeUndefined();
  });

  it('treats null as an empty list', () => {
    expect(
      transformSlice({
        metadata: metadata('s', { labels: { 'kubernetes.io/service-name': 'web' } }),
        addressType: 'IPv4',
        ports: null,
        endpoints: null,
      }),
    ).toMatchObject({ ports: [], endpoints: [] });
  });
});

describe('an object with fields of an unexpected type', () => {
  const slice = {
    metadata: metadata('web-1', { labels: { 'kubernetes.io/service-name': 'web' } }),
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.0.0.1'], conditions: { ready: true } }],
  };
  const endpoint = (change: object) => ({ endpoints: [{ addresses: ['10.0.0.1'], ...change }] });

  it.each([
    { endpoints: 'none' },
    { endpoints: {} },
    { endpoints: [7] },
    { endpoints: [null] },
    endpoint({ addresses: '10.0.0.1' }),
    endpoint({ addresses: [10] }),
    endpoint({ conditions: 'ready' }),
    endpoint({ conditions: { ready: 'false' } }),
    endpoint({ conditions: { serving: 0 } }),
    endpoint({ conditions: { terminating: 'yes' } }),
    { ports: 8080 },
    { ports: [{ port: '8080' }] },
    { ports: [{ name: 1, port: 8080 }] },
    { ports: [{ port: 8080, protocol: ['TCP'] }] },
    { addressType: 4 },
    { metadata: metadata('web-1', { labels: { 'kubernetes.io/service-name': ['web'] } }) },
  ])('is an unreadable slice, not one without endpoints: %j', (change) => {
    expect(transformSlice(slice)).toBeDefined();
    expect(() => transformSlice({ ...slice, ...change })).toThrow('expected a');
  });

  it.each([
    { type: 7 },
    { ipFamilies: 'IPv4' },
    { ipFamilies: [4] },
    { ports: { http: 80 } },
    { ports: [{ name: 'http', port: '80' }] },
    { ports: [{ name: {}, port: 80 }] },
    { selector: ['app'] },
    { selector: { app: 1 } },
  ])('is an unreadable Service, not one without ports: %j', (change) => {
    expect(() => service(change)).toThrow('expected a');
  });
});

describe('resolveService', () => {
  const http = { name: 'http', port: 8080, protocol: 'TCP' };
  const two = [
    { name: 'http', port: 80 },
    { name: 'admin', port: 81 },
  ];
  const dns = [
    { name: 'dns', port: 53, protocol: 'UDP' },
    { name: 'dns-tcp', port: 53, protocol: 'TCP' },
  ];

  it.each<[string, ServicePortRef, object, readonly SliceFacts[], readonly string[] | string]>([
    ['port by name', byService('http'), {}, [slice('a', [http], [at('10.0.0.1')])], ['10.0.0.1:8080']],
    ['port by number', byService(80), {}, [slice('a', [http], [at('10.0.0.1')])], ['10.0.0.1:8080']],
    [
      "the endpoints' number is not the Service's",
      byService(8080),
      {},
      [slice('a', [http], [])],
      'PortNotFound',
    ],
    ['another name', byService('grpc'), {}, [slice('a', [http], [])], 'PortNotFound'],
    [
      'a headless Service',
      byService('http'),
      { clusterIP: 'None' },
      [slice('a', [http], [at('10.0.0.1')])],
      ['10.0.0.1:8080'],
    ],
    ['a Service without ports', byService(80), { ports: null }, [slice('a', [http], [])], 'PortNotFound'],
    ['no slices', byService(80), {}, [], []],
    [
      'every slice of the Service, each with its own number of the port',
      byService('http'),
      {},
      [
        slice('a', [http], [at('10.0.0.2')]),
        slice('b', [{ ...http, port: 9090 }], [at('10.0.0.1')]),
        slice('c', [{ name: 'admin', port: 1 }], [at('10.0.0.3')]),
      ],
      ['10.0.0.1:9090', '10.0.0.2:8080'],
    ],
    [
      'the port that was asked for',
      byService(81),
      { ports: two },
      [slice('a', [http, { name: 'admin', port: 8081 }], [at('10.0.0.1')])],
      ['10.0.0.1:8081'],
    ],
    [
      'an unnamed port',
      byService(80),
      { ports: [{ port: 80 }] },
      [slice('a', [{ name: '', port: 8080 }], [at('10.0.0.1')])],
      ['10.0.0.1:8080'],
    ],
    [
      'an unnamed port whose name is null in the slice',
      byService(80),
      { ports: [{ port: 80 }] },
      [slice('a', [{ name: null, port: 8080, protocol: null }], [at('10.0.0.1')])],
      ['10.0.0.1:8080'],
    ],
    [
      'a port without number',
      byService(80),
      {},
      [slice('a', [{ ...http, port: null }], [at('10.0.0.1')])],
      [],
    ],
    ['a slice without ports', byService(80), {}, [slice('a', null, [at('10.0.0.1')])], []],
    [
      'an endpoint twice: its better state',
      byService(80),
      {},
      [slice('a', [http], [at('10.0.0.1', { ready: false })]), slice('b', [http], [at('10.0.0.1')])],
      ['10.0.0.1:8080'],
    ],
    [
      'draining ones of one slice are left out for a ready one of another',
      byService(80),
      {},
      [
        slice('a', [http], [at('10.0.0.1', { ready: false, terminating: true })]),
        slice('b', [http], [at('10.0.0.2')]),
      ],
      ['10.0.0.2:8080'],
    ],
    [
      'draining ones where no slice has a ready one',
      byService(80),
      {},
      [
        slice('a', [http], [at('10.0.0.1', { ready: false, terminating: true })]),
        slice('b', [http], [at('10.0.0.2', { ready: false, serving: false })]),
      ],
      ['10.0.0.1:8080'],
    ],
    [
      "the Service's first family",
      byService(80),
      { ipFamilies: ['IPv6', 'IPv4'] },
      [slice('a', [http], [at('10.0.0.1')]), slice('b', [http], [at('fd00::1')], { addressType: 'IPv6' })],
      ['fd00::1:8080'],
    ],
    [
      'TCP only by number',
      byService(53),
      { ports: dns },
      [
        slice(
          'a',
          [
            { name: 'dns', port: 5353, protocol: 'UDP' },
            { name: 'dns-tcp', port: 5354, protocol: 'TCP' },
          ],
          [at('10.0.0.1')],
        ),
      ],
      ['10.0.0.1:5354'],
    ],
    [
      'UDP by number',
      byService(53, 'UDP'),
      { ports: dns },
      [
        slice(
          'a',
          [
            { name: 'dns', port: 5353, protocol: 'UDP' },
            { name: 'dns-tcp', port: 5354, protocol: 'TCP' },
          ],
          [at('10.0.0.1')],
        ),
      ],
      ['10.0.0.1:5353'],
    ],
    ['a UDP port for a TCP scheme', byService('dns'), { ports: dns }, [], 'UnsupportedProtocol'],
    ['a TCP port for scheme UDP', byService('dns-tcp', 'UDP'), { ports: dns }, [], 'UnsupportedProtocol'],
    [
      'SCTP',
      byService('sig'),
      { ports: [{ name: 'sig', port: 3868, protocol: 'SCTP' }] },
      [],
      'UnsupportedProtocol',
    ],
    [
      'SCTP for scheme UDP',
      byService(3868, 'UDP'),
      { ports: [{ name: 'sig', port: 3868, protocol: 'SCTP' }] },
      [],
      'UnsupportedProtocol',
    ],
    [
      'a slice whose port is of another protocol',
      byService('http'),
      {},
      [slice('a', [{ ...http, protocol: 'UDP' }], [at('10.0.0.1')])],
      [],
    ],
    [
      'an ExternalName, whose ports need not be named',
      byService(80),
      { type: 'ExternalName', externalName: 'A.example.', ports: null },
      [],
      ['a.example:80'],
    ],
    [
      'an ExternalName, a port by name',
      byService('db'),
      { type: 'ExternalName', externalName: 'a.example', ports: [{ name: 'db', port: 3306 }] },
      [],
      ['a.example:3306'],
    ],
    [
      'an ExternalName without a port of that name',
      byService('db'),
      { type: 'ExternalName', externalName: 'a.example' },
      [],
      'PortNotFound',
    ],
    [
      "an ExternalName in APISIX's spelling",
      byEndpoint('8080'),
      { type: 'ExternalName', externalName: 'a.example' },
      [],
      ['a.example:8080'],
    ],
    [
      "APISIX's spelling, by name",
      byEndpoint('http'),
      {},
      [slice('a', [http], [at('10.0.0.1')])],
      ['10.0.0.1:8080'],
    ],
    [
      "APISIX's spelling, a name that is not there",
      byEndpoint('grpc'),
      {},
      [slice('a', [http], [])],
      'PortNotFound',
    ],
    [
      "APISIX's spelling, the number of an unnamed endpoint port",
      byEndpoint('8080'),
      { ports: [{ port: 80 }] },
      [
        slice('a', [{ name: '', port: 8080 }], [at('10.0.0.1')]),
        slice('b', [{ name: '', port: 9090 }], [at('10.0.0.2')]),
      ],
      ['10.0.0.1:8080'],
    ],
    [
      "APISIX's spelling, the Service's number is none",
      byEndpoint('80'),
      { ports: [{ port: 80 }] },
      [slice('a', [{ name: '', port: 8080 }], [at('10.0.0.1')])],
      [],
    ],
    [
      "APISIX's spelling, a number does not name a named port",
      byEndpoint('8080'),
      {},
      [slice('a', [http], [at('10.0.0.1')])],
      'PortNotFound',
    ],
    [
      "APISIX's spelling, an endpoint port that the Service does not name",
      byEndpoint('metrics'),
      {},
      [slice('a', [http, { name: 'metrics', port: 9100 }], [at('10.0.0.1')])],
      ['10.0.0.1:9100'],
    ],
    [
      "APISIX's spelling, a headless Service without ports and slices made by hand",
      byEndpoint('3306'),
      { clusterIP: 'None', ports: null },
      [slice('a', [{ port: 3306 }], [at('10.5.10.109'), at('10.5.10.110')])],
      ['10.5.10.109:3306', '10.5.10.110:3306'],
    ],
    [
      "APISIX's spelling, another protocol",
      byEndpoint('http', 'UDP'),
      {},
      [slice('a', [http], [])],
      'UnsupportedProtocol',
    ],
  ])('%s', (_, ref, spec, slices, expected) => {
    expect(nodesOf(resolveService(ref, service(spec), slices))).toEqual(expected);
  });

  it('returns the addresses of the Service port, unless only the endpoints have the port', () => {
    const frontOf = (ref: ServicePortRef, spec: object, slices: readonly SliceFacts[]) => {
      const found = resolveService(ref, service(spec), slices);
      return found.state === 'known' ? found.front : undefined;
    };
    const spec = { type: 'NodePort', ports: [{ name: 'http', port: 80, nodePort: 30080 }] };
    const slices = [slice('a', [http, { name: 'metrics', port: 9100 }], [at('10.0.0.1')])];
    for (const ref of [byService(80), byService('http'), byEndpoint('http')]) {
      expect(frontOf(ref, spec, slices)).toMatchObject({
        type: 'NodePort',
        port: { port: 80, nodePort: 30080 },
      });
    }
    expect(frontOf(byEndpoint('metrics'), spec, slices)).not.toHaveProperty('port');
  });

  it('uses endpoints that publishNotReadyAddresses marks as ready', () => {
    const found = resolveService(byService(80), service({ publishNotReadyAddresses: true }), [
      slice('a', [http], [at('10.0.0.1', { ready: true, serving: false, terminating: true })]),
    ]);
    expect(nodesOf(found)).toEqual(['10.0.0.1:8080']);
  });

  it('names what is missing and what exists', () => {
    const messageOf = (found: Discovered) => ('message' in found ? found.message : '');
    expect(messageOf(resolveService(byService(80), undefined, []))).toContain(
      'Service shop/web does not exist',
    );
    const wrongPort = messageOf(resolveService(byService('grpc'), service({ ports: two }), []));
    expect(wrongPort).toContain('no port grpc');
    expect(wrongPort).toContain('80 (http), 81 (admin)');
    const wrongProtocol = resolveService(byEndpoint('http', 'UDP'), service(), [slice('a', [http], [])]);
    expect(messageOf(wrongProtocol)).toContain('only for TCP, but the scheme requires UDP');
    const external = resolveService(byService('db'), service({ type: 'ExternalName' }), []);
    expect(messageOf(external)).toContain('use the port number');
  });

  it('counts endpoints without the port as excluded', () => {
    const found = resolveService(byService(80), service(), [
      slice('a', [http], [at('10.0.0.1')]),
      slice('b', [{ name: 'admin', port: 1 }], [at('10.0.0.2')]),
      slice('c', [{ ...http, port: null }], [at('10.0.0.3')]),
    ]);
    if (found.state !== 'known') throw new Error(found.state);
    expect(chooseEndpoints(found.endpoints, 'IPv4')).toMatchObject({
      ready: 1,
      draining: 0,
      excluded: [{}, {}],
    });
  });

  it('does not depend on the order of slices', () => {
    const slices = [
      slice('a', [http], [at('10.0.0.1'), at('10.0.0.2', { ready: false })]),
      slice('b', [{ ...http, port: 9090 }], [at('10.0.0.1'), at('10.0.0.2')]),
      slice('c', [http], [at('10.0.0.2'), at('10.0.0.3', { ready: false, terminating: true })]),
      slice('d', [http], [at('fd00::1')], { addressType: 'IPv6' }),
    ];
    const expected = nodesOf(resolveService(byService(80), service(), slices));
    expect(expected).toHaveLength(4);
    fc.assert(
      fc.property(fc.shuffledSubarray(slices, { minLength: 4 }), (order) => {
        expect(nodesOf(resolveService(byService(80), service(), order))).toEqual(expected);
      }),
    );
  });
});

describe('createKubernetesSource', () => {
  const stop = { controller: new AbortController() };
  afterEach(() => stop.controller.abort());

  function start() {
    stop.controller = new AbortController();
    const reportError = (error: unknown) => {
      throw error;
    };
    const services = createStore<ServiceFacts>({ indexes: {}, reportError });
    const slices = createStore<SliceFacts>({ indexes: sliceIndexes, reportError });
    const source = createKubernetesSource({ services, slices });
    const running = source.run(stop.controller.signal);
    return { services, slices, source, running };
  }

  function synced() {
    const started = start();
    started.services.setState({ state: 'synced' });
    started.slices.setState({ state: 'synced' });
    return started;
  }

  const http = [{ name: 'http', port: 8080 }];

  describe('with Endpoints', () => {
    const written = (subsets: unknown, name = 'web'): EndpointsFacts => {
      const trimmed = transformEndpoints({ metadata: metadata(name), subsets });
      if (trimmed === undefined) throw new Error('no Endpoints');
      return trimmed;
    };
    const subset = {
      addresses: [{ ip: '10.0.0.1', nodeName: 'n1' }, { ip: 'fd00::1' }],
      notReadyAddresses: [{ ip: '10.0.0.2' }],
      ports: [{ name: 'http', port: 8080 }],
    };

    function withEndpoints() {
      stop.controller = new AbortController();
      const reportError = (error: unknown) => {
        throw error;
      };
      const services = createStore<ServiceFacts>({ indexes: {}, reportError });
      const slices = createStore<SliceFacts>({ indexes: sliceIndexes, reportError });
      const endpoints = createStore<EndpointsFacts>({ indexes: {}, reportError });
      const source = createKubernetesSource({ services, slices, endpoints });
      const running = source.run(stop.controller.signal);
      services.setState({ state: 'synced' });
      slices.setState({ state: 'synced' });
      return { services, slices, endpoints, source, running };
    }

    it('reads them for a serviceName without a Service', () => {
      const { endpoints, source } = withEndpoints();
      endpoints.setState({ state: 'synced' });
      endpoints.upsert(written([subset, { addresses: [{ ip: '10.0.0.9' }], ports: [{ port: 3306 }] }]));
      expect(nodesOf(source.read(byEndpoint('http')))).toEqual(['10.0.0.1:8080']);
      expect(nodesOf(source.read(byEndpoint('3306')))).toEqual(['10.0.0.9:3306']);
      expect(source.read(byEndpoint('grpc'))).toMatchObject({
        reason: 'PortNotFound',
        message: 'Endpoints shop/web has no port grpc, only 8080 (http), 3306: correct the port',
      });
      expect(nodesOf(source.read(byService('http')))).toBe('ServiceNotFound');
      expect(nodesOf(source.read({ ...byEndpoint('http'), name: 'api' }))).toBe('ServiceNotFound');
    });

    it('does not read them if the Service exists', () => {
      const { services, slices, endpoints, source } = withEndpoints();
      endpoints.setState({ state: 'synced' });
      endpoints.upsert(written([subset]));
      services.upsert(service());
      expect(nodesOf(source.read(byEndpoint('http')))).toEqual([]);
      slices.upsert(slice('a', http, [at('10.0.0.7')]));
      expect(nodesOf(source.read(byEndpoint('http')))).toEqual(['10.0.0.7:8080']);
    });

    it('answers unknown only for names without a Service until they are listed', () => {
      const { services, endpoints, source } = withEndpoints();
      services.upsert({ ...service(), name: 'api', uid: 'api' });
      expect(source.read(byEndpoint('http'))).toMatchObject({
        state: 'unknown',
        message: expect.stringContaining('Endpoints are not listed'),
      });
      expect(nodesOf(source.read({ ...byEndpoint('http'), name: 'api' }))).toEqual([]);
      const changed = vi.fn();
      source.subscribe(byEndpoint('http'), changed);
      endpoints.setState({ state: 'synced' });
      endpoints.upsert(written([subset]));
      endpoints.remove(written([]));
      expect(changed).toHaveBeenCalledTimes(3);
    });

    it('answers unknown for a name whose Endpoints cannot be read', () => {
      const { endpoints, source } = withEndpoints();
      endpoints.setState({ state: 'synced' });
      endpoints.upsert(unreadableEndpoints({ metadata: metadata('web') }, 'bad') as EndpointsFacts);
      expect(source.read(byEndpoint('http'))).toMatchObject({
        state: 'unknown',
        message: expect.stringContaining('Endpoints shop/web cannot be read (bad)'),
      });
    });

    it('ignores objects that are not Endpoints', () => {
      expect(transformEndpoints({ metadata: { name: 'web' } })).toBeUndefined();
      expect(written(null).slices).toEqual([]);
    });
  });

  it('answers unknown until both kinds are listed', () => {
    const { services, slices, source } = start();
    services.upsert(service());
    slices.upsert(slice('a', http, [at('10.0.0.1')]));
    expect(source.read(byService(80)).state).toBe('unknown');
    services.setState({ state: 'synced' });
    expect(source.read(byService(80))).toMatchObject({
      state: 'unknown',
      message: expect.stringContaining('EndpointSlices'),
    });
    slices.setState({ state: 'synced' });
    expect(nodesOf(source.read(byService(80)))).toEqual(['10.0.0.1:8080']);
  });

  it('answers unknown while the Service or one of its slices cannot be read', () => {
    const { services, slices, source, running: _running } = synced();
    const other = { ...byService(80), name: 'api' };
    const unknown = (what: string) => ({
      state: 'unknown',
      beginning: false,
      message: expect.stringContaining(`${what} cannot be read (bad)`),
    });
    services.upsert(service());
    services.upsert({ ...service(), name: 'api', uid: 'api' });
    slices.upsert(slice('a', http, [at('10.0.0.1')]));
    const bad = (name: string, labels: unknown) =>
      unreadableSlice({ metadata: { ...metadata(name), labels } }, 'bad') as SliceFacts;
    const changed = vi.fn();
    source.subscribe(other, changed);

    slices.upsert(bad('b', { 'kubernetes.io/service-name': 'web' }));
    expect(source.read(byService(80))).toMatchObject(unknown('EndpointSlice shop/b'));
    expect(nodesOf(source.read(other))).toEqual([]);
    slices.remove(bad('b', {}));
    expect(nodesOf(source.read(byService(80)))).toEqual(['10.0.0.1:8080']);
    expect(changed).not.toHaveBeenCalled();

    // Its Service cannot be read either.
    slices.upsert(bad('c', 7));
    expect(source.read(byService(80))).toMatchObject(unknown('EndpointSlice shop/c'));
    expect(source.read(other)).toMatchObject(unknown('EndpointSlice shop/c'));
    expect(changed).toHaveBeenCalledTimes(1);
    slices.remove(bad('c', 7));
    expect(changed).toHaveBeenCalledTimes(2);

    const unread = { metadata: { ...metadata('web'), resourceVersion: '9' } };
    services.upsert(unreadableService(unread, 'bad') as ServiceFacts);
    expect(source.read(byService(80))).toMatchObject(unknown('Service shop/web'));
  });

  it('answers unknown if the API server does not serve a kind', () => {
    const { slices, source } = synced();
    slices.setState({ state: 'absent' });
    expect(source.read(byService(80))).toMatchObject({
      state: 'unknown',
      beginning: false,
      message: expect.stringContaining('does not serve'),
    });
  });

  it('notifies of every change of the Service and its slices, and of no other change', () => {
    const { services, slices, source } = synced();
    const changed = vi.fn();
    const other = vi.fn();
    source.subscribe(byService(80), changed);
    source.subscribe({ ...byService(80), name: 'api' }, other);
    const steps: readonly (() => void)[] = [
      () => services.upsert(service()),
      () => services.upsert({ ...service(), resourceVersion: '2' }),
      () => slices.upsert(slice('a', http, [at('10.0.0.1')])),
      () => slices.upsert({ ...slice('a', http, []), resourceVersion: '2' }),
      () => slices.remove(slice('a', http, [])),
      () => services.remove(service()),
    ];
    for (const [index, step] of steps.entries()) {
      step();
      expect(changed).toHaveBeenCalledTimes(index + 1);
    }
    expect(other).not.toHaveBeenCalled();
  });

  it('notifies both Services when a slice moves between them', () => {
    const { slices, source } = synced();
    slices.upsert(slice('a', http, []));
    const from = vi.fn();
    const to = vi.fn();
    source.subscribe(byService(80), from);
    source.subscribe({ ...byService(80), name: 'api' }, to);
    slices.upsert({ ...slice('a', http, [], { service: 'api' }), resourceVersion: '2' });
    expect(from).toHaveBeenCalledTimes(1);
    expect(to).toHaveBeenCalledTimes(1);
  });

  it('notifies all subscribers when the state of a store changes', () => {
    const { services, slices, source } = start();
    const changed = vi.fn();
    source.subscribe(byService(80), changed);
    services.setState({ state: 'synced' });
    slices.setState({ state: 'synced' });
    slices.setState({ state: 'absent' });
    expect(changed.mock.calls).toEqual([['source'], ['source'], ['source']]);
  });

  it('does not report the objects of the first list as changes of instances', () => {
    const { services, slices, source } = start();
    const changed = vi.fn();
    source.subscribe(byService(80), changed);
    services.upsert(service());
    slices.upsert(slice('a', http, [at('10.0.0.1')]));
    expect(changed).not.toHaveBeenCalled();
    for (const store of [services, slices]) store.setState({ state: 'synced' });
    slices.upsert({ ...slice('a', http, []), resourceVersion: '2' });
    expect(changed.mock.calls).toEqual([['source'], ['source'], ['instances']]);
  });

  it('notifies the remaining subscribers of a Service after one unsubscribes', () => {
    const { services, source } = synced();
    const stays = vi.fn();
    const leaves = vi.fn();
    const staying = source.subscribe(byService(80), stays);
    source.subscribe(byService('http'), leaves)[Symbol.dispose]();
    services.upsert(service());
    staying[Symbol.dispose]();
    services.remove(service());
    expect(stays).toHaveBeenCalledTimes(1);
    expect(leaves).not.toHaveBeenCalled();
  });

  it('sends no notifications after it stopped', async () => {
    const { services, source, running } = synced();
    const changed = vi.fn();
    source.subscribe(byService(80), changed);
    stop.controller.abort();
    await running;
    services.upsert(service());
    expect(changed).not.toHaveBeenCalled();
  });
});
