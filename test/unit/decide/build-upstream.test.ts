import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { backendTargets, type NotPermitted, type ResolvedBackend } from '../../../src/decide/backends.ts';
import { buildUpstream } from '../../../src/decide/build-upstream.ts';
import type { Desired } from '../../../src/decide/desired.ts';
import { ownerMark } from '../../../src/decide/ownership.ts';
import type { GuardedNode } from '../../../src/decide/weighed-nodes.ts';
import type { Discovered } from '../../../src/model/discovered.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';
import type { FoundKeyPair } from '../../../src/model/key-pair.ts';
import type { ServicePortRef } from '../../../src/model/reference.ts';
import { gatewayUpstreamSpec } from '../../support/catalog.ts';

type SpecInput = z.input<typeof gatewayUpstreamSpec>;
type BackendInput = SpecInput['backends'][number];

const parse = (spec: Partial<SpecInput> = {}) =>
  gatewayUpstreamSpec.parse({ backends: [{ serviceRef: { name: 'web', port: 80 } }], ...spec });

const identity = {
  id: 'shop.web',
  owner: ownerMark(
    { cluster: 'c', connection: 'default', namespace: 'shop', name: 'web' },
    { retain: false },
  ),
  section: 'apisix',
};

const endpoint = (address: string, change: Partial<Endpoint> = {}): Endpoint => ({
  address,
  family: 'IPv4',
  port: 8080,
  ready: true,
  serving: true,
  terminating: false,
  ...change,
});
const DRAINING = { ready: false, terminating: true };
const NOT_READY = { ready: false, serving: false };
const GONE = { ...NOT_READY, terminating: true };
const heldNode = (host: string): GuardedNode => ({
  node: { host, port: 8080, weight: 1, priority: 0 },
  backend: 0,
  unit: 1,
});

const known = (...endpoints: readonly Endpoint[]): Discovered => ({
  state: 'known',
  basis: '',
  preferredFamily: 'IPv4',
  endpoints,
});
const ready = (...addresses: readonly string[]) => known(...addresses.map((address) => endpoint(address)));
const absent: Discovered = { state: 'absent', reason: 'ServiceNotFound', message: 'no web' };
const noPort: Discovered = { state: 'absent', reason: 'PortNotFound', message: 'no port' };
const unknown: Discovered = { state: 'unknown', beginning: false, message: 'not listed' };
const beginning: Discovered = { state: 'unknown', beginning: true, message: 'not listed yet' };
const notPermitted = { state: 'notPermitted', reason: 'RefNotPermitted', message: 'not yours' } as const;
type Found = Discovered | NotPermitted;

/** One backend of a test: the answer for its Service port, or addresses. */
type Part =
  | { readonly weight?: number; readonly found: Found }
  | { readonly weight?: number; readonly addresses: NonNullable<BackendInput['addresses']> };

function build(
  parts: readonly Part[],
  spec: Partial<SpecInput> = {},
  held: readonly GuardedNode[] = [],
): Desired {
  const parsed = parse({
    ...spec,
    backends: parts.map((part, index) => ({
      ...('found' in part
        ? { serviceRef: { name: `service-${index}`, port: 80 } }
        : { addresses: part.addresses }),
      ...(part.weight === undefined ? {} : { weight: part.weight }),
    })),
  });
  const resolved = backendTargets(parsed, 'shop').map((target, index): ResolvedBackend => {
    if (target.kind === 'addresses') return { target };
    const part = parts[index];
    return { target, found: part !== undefined && 'found' in part ? part.found : unknown };
  });
  return buildUpstream(parsed, identity, resolved, held);
}

const nodesOf = ({ upstream }: Desired) =>
  upstream.nodes.map(
    ({ host, port, weight, priority }) => `${host}:${port}=${weight}${priority === 0 ? '' : `@${priority}`}`,
  );

describe('backendTargets', () => {
  const refOf = (backend: BackendInput, scheme?: SpecInput['scheme']) => {
    const spec = parse({ backends: [backend], ...(scheme === undefined ? {} : { scheme }) });
    const [target] = backendTargets(spec, 'shop');
    return target?.kind === 'service' ? target.ref : undefined;
  };

  it.each<[string, BackendInput, ServicePortRef]>([
    [
      'a Service of the own namespace, port by number',
      { serviceRef: { name: 'web', port: 80 } },
      {
        source: 'Kubernetes',
        namespace: 'shop',
        name: 'web',
        port: { by: 'servicePort', port: 80 },
        protocol: 'TCP',
      },
    ],
    [
      'a Service of another namespace, port by name',
      { serviceRef: { name: 'web', namespace: 'other', port: 'http' } },
      {
        source: 'Kubernetes',
        namespace: 'other',
        name: 'web',
        port: { by: 'servicePort', port: 'http' },
        protocol: 'TCP',
      },
    ],
    [
      "APISIX's spelling, port by name",
      { serviceName: 'default/cms:http' },
      {
        source: 'Kubernetes',
        namespace: 'default',
        name: 'cms',
        port: { by: 'endpointPort', port: 'http' },
        protocol: 'TCP',
      },
    ],
    [
      "APISIX's spelling, port by number",
      { serviceName: 'default/cms:8080' },
      {
        source: 'Kubernetes',
        namespace: 'default',
        name: 'cms',
        port: { by: 'endpointPort', port: '8080' },
        protocol: 'TCP',
      },
    ],
  ])('%s', (_, backend, ref) => {
    expect(refOf(backend)).toEqual(ref);
  });

  it.each([
    [undefined, 'TCP'],
    ['HTTP', 'TCP'],
    ['HTTPS', 'TCP'],
    ['GRPC', 'TCP'],
    ['GRPCS', 'TCP'],
    ['TCP', 'TCP'],
    ['TLS', 'TCP'],
    ['UDP', 'UDP'],
  ] as const)('scheme %s is over %s', (scheme, protocol) => {
    expect(refOf({ serviceRef: { name: 'web', port: 80 } }, scheme)?.protocol).toBe(protocol);
  });

  it('keeps the order and weights of the backends', () => {
    const spec = parse({
      backends: [
        { addresses: [{ host: 'a.example', port: 1 }], weight: 0 },
        { serviceName: 'shop/web:http', weight: 7 },
        { serviceRef: { name: 'web', port: 80 } },
      ],
    });
    expect(backendTargets(spec, 'shop').map(({ kind, weight }) => `${kind} ${weight}`)).toEqual([
      'addresses 0',
      'service 7',
      'service 1',
    ]);
  });
});

describe('nodes', () => {
  it.each<[string, readonly Part[], readonly string[]]>([
    [
      'gives each node of a single Service weight 1',
      [{ found: ready('b', 'a'), weight: 50 }],
      ['a:8080=1', 'b:8080=1'],
    ],
    [
      'gives two Services their shares, whatever their size',
      [{ found: ready('a', 'b', 'c') }, { found: ready('d') }],
      ['a:8080=1', 'b:8080=1', 'c:8080=1', 'd:8080=3'],
    ],
    [
      'writes no nodes for a Service of weight 0',
      [{ found: ready('a') }, { found: ready('b'), weight: 0 }],
      ['a:8080=1'],
    ],
    [
      'gives a Service of weight 0 no share if the others have no endpoints',
      [{ found: known() }, { found: ready('b'), weight: 0 }],
      [],
    ],
    [
      'distributes the share of a Service without endpoints',
      [{ found: ready('a') }, { found: known() }],
      ['a:8080=1'],
    ],
    ['distributes the share of an absent Service', [{ found: ready('a') }, { found: absent }], ['a:8080=1']],
    [
      'distributes the share of a Service that is not permitted',
      [{ found: ready('a') }, { found: notPermitted }],
      ['a:8080=1'],
    ],
    [
      'falls back to draining endpoints for each Service separately',
      [{ found: ready('a') }, { found: known(endpoint('b', DRAINING)) }],
      ['a:8080=1', 'b:8080=1'],
    ],
    [
      'merges an endpoint behind two backends into one node',
      [{ found: ready('a', 'b') }, { found: ready('a') }],
      ['a:8080=3', 'b:8080=1'],
    ],
    [
      'keeps the weights and priorities of addresses',
      [
        {
          addresses: [
            { host: 'a.example', port: 443, weight: 10 },
            { host: '2001:db8::1', port: 80, priority: -1 },
          ],
        },
      ],
      ['2001:db8::1:80=1@-1', 'a.example:443=10'],
    ],
    [
      'keeps an address of weight 0 beside others',
      [
        {
          addresses: [
            { host: 'a.example', port: 80, weight: 0 },
            { host: 'b.example', port: 80 },
          ],
        },
      ],
      ['a.example:80=0', 'b.example:80=1'],
    ],
    [
      'writes no nodes if all weights are 0',
      [{ addresses: [{ host: 'a.example', port: 80, weight: 0 }] }],
      [],
    ],
    [
      'merges names that differ only in case',
      [
        {
          addresses: [
            { host: 'A.example', port: 80 },
            { host: 'a.Example', port: 80 },
          ],
        },
      ],
      ['a.example:80=2'],
    ],
    [
      'scales the weights of addresses to the share of their backend',
      [
        { found: ready('a') },
        {
          addresses: [
            { host: 'x.example', port: 80, weight: 1 },
            { host: 'y.example', port: 80, weight: 3 },
          ],
        },
      ],
      ['a:8080=4', 'x.example:80=1', 'y.example:80=3'],
    ],
  ])('%s', (_, parts, nodes) => {
    expect(nodesOf(build(parts))).toEqual(nodes);
  });

  it('uses the preferred family of the Service', () => {
    const both = [endpoint('10.0.0.1'), endpoint('fd00::1', { family: 'IPv6' })];
    const found = (preferredFamily: 'IPv4' | 'IPv6'): Discovered => ({
      state: 'known',
      basis: '',
      preferredFamily,
      endpoints: both,
    });
    expect(nodesOf(build([{ found: found('IPv4') }]))).toEqual(['10.0.0.1:8080=1']);
    expect(nodesOf(build([{ found: found('IPv6') }]))).toEqual(['fd00::1:8080=1']);
  });

  const addresses = (count: number, first: number) =>
    Array.from({ length: count }, (_, index) => `10.0.${first}.${index}`);

  it.each<['ConsistentHash' | 'RoundRobin', number]>([
    ['ConsistentHash', 1000],
    ['RoundRobin', 10_000],
  ])('%s keeps the sum of weights within %i and reports approximate shares', (type, bound) => {
    const loadBalancing = type === 'ConsistentHash' ? { type, key: 'remote_addr' } : { type };
    const {
      upstream,
      ready: verdict,
      warnings,
    } = build(
      [
        { found: ready(...addresses(bound / 10, 1)), weight: 1 },
        { found: ready(...addresses(1, 2)), weight: 100 },
      ],
      { loadBalancing },
    );
    const sum = upstream.nodes.reduce((total, { weight }) => total + weight, 0);
    expect(sum).toBeLessThanOrEqual(bound);
    expect(Math.min(...upstream.nodes.map(({ weight }) => weight))).toBe(1);
    expect(verdict).toMatchObject({
      reason: 'Ready',
      message: expect.stringContaining('weights are approximate'),
    });
    expect(warnings).toEqual([
      {
        reason: 'WeightsApproximate',
        field: 'spec.backends',
        message: `The backends receive their shares only approximately: exact weights for this many endpoints exceed the total of ${bound}. Use weights that differ less, or fewer endpoints`,
      },
    ]);
  });

  it('warns if a consistent hash has more endpoints than the maximum sum of weights', () => {
    const many = Array.from({ length: 5000 }, (_, index) => `10.1.${index >> 8}.${index & 255}`);
    const loadBalancing = { type: 'ConsistentHash', key: 'remote_addr' } as const;
    const { warnings, ready: verdict } = build([{ found: ready(...many) }], { loadBalancing });
    expect(warnings).toEqual([
      {
        reason: 'WeightSumTooLarge',
        field: 'spec.backends',
        message:
          'The upstream has more than 1000 endpoints. With ConsistentHash, each endpoint costs the gateway memory and time. Use another loadBalancing.type, or fewer endpoints',
      },
    ]);
    expect(verdict.message).toContain('weights are approximate');
    expect(build([{ found: ready(...many) }]).warnings).toEqual([]);
  });

  it('warns about approximate weights of zones and addresses', () => {
    const inZone = (zone: string, first: number) =>
      Array.from({ length: 500 }, (_, index) =>
        endpoint(`10.${first}.${index >> 8}.${index & 255}`, { zone }),
      );
    const zones = [
      { zone: 'near', priority: 0, weight: 100 },
      { zone: 'far', priority: 0, weight: 1 },
    ];
    const zoned = build([{ found: known(...inZone('near', 1), ...inZone('far', 2)) }], {
      endpoints: { drain: 'Remove', zones },
    });
    expect(new Set(zoned.upstream.nodes.map(({ weight }) => weight))).toEqual(new Set([19, 1]));
    expect(zoned.warnings).toMatchObject([{ reason: 'WeightsApproximate', field: 'spec.endpoints.zones' }]);
    expect(zoned.warnings[0]?.message).toMatch(
      /^The zones of spec\.backends\[0\] receive their weights only approximately/,
    );
  });

  it('reports no warning if the shares are exact', () => {
    const { ready: verdict, warnings } = build([{ found: ready('a', 'b', 'c') }, { found: ready('d') }]);
    expect(verdict.message).not.toContain('approximate');
    expect(warnings).toEqual([]);
  });
});

describe('endpoints', () => {
  const zones = [
    { zone: 'a', weight: 50 },
    { zone: 'off', weight: 0 },
    { zone: 'near', priority: 1 },
  ];

  it.each<[string, readonly Part[], Partial<SpecInput>, readonly string[]]>([
    [
      'ZeroWeight keeps serving terminating endpoints beside ready ones',
      [{ found: known(endpoint('a'), endpoint('b', DRAINING), endpoint('c', GONE)) }],
      { endpoints: { drain: 'ZeroWeight' } },
      ['a:8080=1', 'b:8080=0'],
    ],
    [
      'ZeroWeight sends traffic to serving terminating endpoints if none is ready',
      [{ found: known(endpoint('b', DRAINING), endpoint('c', NOT_READY)) }],
      { endpoints: { drain: 'ZeroWeight' } },
      ['b:8080=1'],
    ],
    [
      'ZeroWeight does not reduce the share of a backend',
      [{ found: known(endpoint('a'), endpoint('b', DRAINING)) }, { found: ready('c'), weight: 3 }],
      { endpoints: { drain: 'ZeroWeight' } },
      ['a:8080=1', 'b:8080=0', 'c:8080=3'],
    ],
    [
      'omits nodes of weight 0 if their priority has no other node',
      [{ found: known(endpoint('a'), endpoint('b', { ...DRAINING, zone: 'near' })) }],
      { endpoints: { drain: 'ZeroWeight', zones } },
      ['a:8080=1'],
    ],
    [
      'applies zone weights within a backend and keeps its share',
      [{ found: known(endpoint('a', { zone: 'a' }), endpoint('b')) }, { found: ready('c') }],
      { endpoints: { zones } },
      ['a:8080=1', 'b:8080=2', 'c:8080=3'],
    ],
    [
      'omits a zone of weight 0',
      [{ found: known(endpoint('a', { zone: 'off' }), endpoint('b')) }],
      { endpoints: { zones } },
      ['b:8080=1'],
    ],
    [
      'prefers the family in the spec to that of the Service',
      [{ found: known(endpoint('10.0.0.1'), endpoint('fd00::1', { family: 'IPv6' })) }],
      { endpoints: { family: 'IPv6' } },
      ['fd00::1:8080=1'],
    ],
  ])('%s', (_, parts, spec, nodes) => {
    expect(nodesOf(build(parts, spec))).toEqual(nodes);
  });

  it('names the field to change if all endpoints are in zones of weight 0', () => {
    const { ready: verdict } = build([{ found: known(endpoint('a', { zone: 'off' })) }], {
      endpoints: { zones },
    });
    expect(verdict).toMatchObject({
      reason: 'NoWeight',
      message: expect.stringContaining('spec.endpoints.zones'),
    });
  });

  it('counts the endpoints that ZeroWeight keeps as draining', () => {
    const { counts } = build([{ found: known(endpoint('a'), endpoint('b', DRAINING)) }], {
      endpoints: { drain: 'ZeroWeight' },
    });
    expect(counts).toEqual({ ready: 1, draining: 1, excluded: 0, held: 0 });
  });
});

describe('a Service of type ExternalName', () => {
  it('is a single node that is always ready', () => {
    const found: Discovered = { state: 'external', host: 'db.example.com', port: 3306, basis: '' };
    const desired = build([{ found }, { found: ready('a', 'b') }]);
    expect(nodesOf(desired)).toEqual(['a:8080=1', 'b:8080=1', 'db.example.com:3306=2']);
    expect(desired).toMatchObject({ action: 'write', counts: { ready: 3 } });
    expect(build([{ found }]).ready.reason).toBe('Ready');
  });
});

describe('the scheme', () => {
  const speaking = (appProtocol?: string): Discovered => ({
    ...known(endpoint('a')),
    ...{
      front: {
        namespace: 'shop',
        name: 'web',
        type: 'ClusterIP',
        isHeadless: false,
        clusterIps: ['10.96.0.1'],
        loadBalancer: [],
        isLocal: false,
        port: {
          name: 'http',
          port: 80,
          protocol: 'TCP',
          ...(appProtocol === undefined ? {} : { appProtocol }),
        },
      },
    },
  });

  it.each([
    [undefined, 'HTTP'],
    ['http', 'HTTP'],
    ['https', 'HTTPS'],
    ['HTTPS', 'HTTPS'],
    ['grpc', 'GRPC'],
    ['grpcs', 'GRPCS'],
    ['kubernetes.io/h2c', 'GRPC'],
    ['kubernetes.io/ws', 'HTTP'],
    ['kubernetes.io/wss', 'HTTPS'],
    ['mysql', 'HTTP'],
    ['example.com/own', 'HTTP'],
    ['constructor', 'HTTP'],
  ])('of a port with appProtocol %s is %s', (appProtocol, scheme) => {
    expect(build([{ found: speaking(appProtocol) }]).upstream.scheme).toBe(scheme);
  });

  it('of the spec has priority, and different ports are not reported', () => {
    const { upstream, ready: verdict } = build([{ found: speaking('https') }, { found: speaking('grpc') }], {
      scheme: 'TLS',
    });
    expect(upstream.scheme).toBe('TLS');
    expect(verdict.message).not.toContain('appProtocol');
  });

  it.each<[string, readonly Part[], string, boolean]>([
    ['agree', [{ found: speaking('https') }, { found: speaking('kubernetes.io/wss') }], 'HTTPS', false],
    ['disagree', [{ found: speaking('https') }, { found: speaking('grpc') }], 'HTTP', true],
    [
      'disagree, one of them without appProtocol',
      [{ found: speaking('grpc') }, { found: speaking() }],
      'HTTP',
      true,
    ],
    [
      'agree, beside addresses, which have no appProtocol',
      [{ found: speaking('https') }, { addresses: [{ host: 'a.example', port: 443 }] }],
      'HTTPS',
      false,
    ],
    ['agree, beside an absent Service', [{ found: speaking('grpc') }, { found: absent }], 'GRPC', false],
  ])('of ports that %s', (_, parts, scheme, isReported) => {
    const { upstream, ready: verdict } = build(parts);
    expect(upstream.scheme).toBe(scheme);
    expect(verdict.message.includes('set spec.scheme')).toBe(isReported);
  });
});

describe('action and ResolvedRefs', () => {
  it.each<[string, readonly Part[], Desired['action'], string, string]>([
    [
      'a denied external name',
      [{ found: { state: 'notPermitted', reason: 'StaticAddressesDenied', message: 'no' } }],
      'onlyIfPresent',
      'False',
      'StaticAddressesDenied',
    ],
    ['a resolved backend', [{ found: ready('a') }], 'write', 'True', 'ResolvedRefs'],
    ['a backend without endpoints', [{ found: known() }], 'write', 'True', 'ResolvedRefs'],
    ['an absent Service', [{ found: absent }], 'onlyIfPresent', 'False', 'ServiceNotFound'],
    ['an absent port', [{ found: noPort }], 'onlyIfPresent', 'False', 'PortNotFound'],
    [
      'a backend that is not permitted',
      [{ found: notPermitted }],
      'onlyIfPresent',
      'False',
      'RefNotPermitted',
    ],
    ['an unknown backend', [{ found: unknown }], 'wait', 'Unknown', 'SourceUnavailable'],
    ['a backend that is not listed yet', [{ found: beginning }], 'notYet', 'Unknown', 'SourceUnavailable'],
    [
      'a backend that is not listed yet beside a known one',
      [{ found: ready('a') }, { found: beginning }],
      'notYet',
      'Unknown',
      'SourceUnavailable',
    ],
    [
      'a backend that is not listed yet beside an unknown one',
      [{ found: beginning }, { found: unknown }],
      'wait',
      'Unknown',
      'SourceUnavailable',
    ],
    ['all absent', [{ found: absent }, { found: noPort }], 'onlyIfPresent', 'False', 'ServiceNotFound'],
    ['one of two absent', [{ found: ready('a') }, { found: absent }], 'write', 'False', 'ServiceNotFound'],
    [
      'one of two not permitted',
      [{ found: notPermitted }, { found: ready('a') }],
      'write',
      'False',
      'RefNotPermitted',
    ],
    [
      'one of two unknown',
      [{ found: ready('a') }, { found: unknown }],
      'wait',
      'Unknown',
      'SourceUnavailable',
    ],
    ['one unknown, one absent', [{ found: unknown }, { found: absent }], 'wait', 'False', 'ServiceNotFound'],
    [
      'an unknown backend of weight 0',
      [{ found: ready('a') }, { found: unknown, weight: 0 }],
      'wait',
      'Unknown',
      'SourceUnavailable',
    ],
    ['addresses', [{ addresses: [{ host: 'a.example', port: 80 }] }], 'write', 'True', 'ResolvedRefs'],
    [
      'addresses beside an absent Service',
      [{ addresses: [{ host: 'a.example', port: 80 }] }, { found: absent }],
      'write',
      'False',
      'ServiceNotFound',
    ],
  ])('%s: %s', (_, parts, action, status, reason) => {
    const desired = build(parts);
    expect(desired.action).toBe(action);
    expect(desired.resolvedRefs).toMatchObject({ status, reason });
  });

  it('names every backend that is not resolved', () => {
    const { resolvedRefs } = build([{ found: absent }, { found: ready('a') }, { found: noPort }]);
    expect(resolvedRefs.message).toContain('no web');
    expect(resolvedRefs.message).toContain('no port');
  });
});

describe('Ready and counts', () => {
  const draining = known(endpoint('d', DRAINING));
  const zero = [{ host: 'a.example', port: 80, weight: 0 }];

  it.each<[string, readonly Part[], string]>([
    ['a ready endpoint', [{ found: ready('a') }], 'Ready'],
    ['no endpoint', [{ found: known() }], 'NoReadyEndpoints'],
    ['only draining endpoints', [{ found: draining }], 'NoReadyEndpoints'],
    ['a ready endpoint in one of two backends', [{ found: draining }, { found: ready('a') }], 'Ready'],
    ['all backends of weight 0', [{ found: ready('a'), weight: 0 }], 'NoWeight'],
    ['addresses', [{ addresses: [{ host: 'a.example', port: 80 }] }], 'Ready'],
    ['only addresses of weight 0', [{ addresses: zero }], 'NoWeight'],
    [
      'ready endpoints only in a backend of weight 0',
      [{ found: ready('a'), weight: 0 }, { found: known() }],
      'NoReadyEndpoints',
    ],
    [
      'ready endpoints only in a backend of weight 0, draining ones in another',
      [{ found: ready('a'), weight: 0 }, { found: draining }],
      'NoReadyEndpoints',
    ],
    [
      'addresses of weight 0 beside a Service without endpoints',
      [{ addresses: zero }, { found: known() }],
      'NoReadyEndpoints',
    ],
  ])('%s: %s', (_, parts, reason) => {
    expect(build(parts).ready).toMatchObject({ status: 'True', reason });
  });

  it('does not have reason Ready without a node that receives traffic', () => {
    const part = fc.record({
      weight: fc.integer({ min: 0, max: 2 }),
      found: fc.constantFrom<Found>(ready('a'), draining, known(endpoint('n', NOT_READY)), known(), absent),
    });
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 4 }), (parts) => {
        const { upstream, ready: verdict } = build(parts);
        if (upstream.nodes.length === 0) expect(verdict.reason).not.toBe('Ready');
        expect(upstream.nodes.every(({ weight }) => weight > 0)).toBe(true);
      }),
    );
  });

  it('counts the endpoints of all backends', () => {
    const { counts } = build([
      { found: known(endpoint('a'), endpoint('b', DRAINING), endpoint('c', NOT_READY)) },
      { found: ready('d'), weight: 0 },
      { addresses: [{ host: 'a.example', port: 80 }] },
      { found: absent },
    ]);
    expect(counts).toEqual({ ready: 3, draining: 0, excluded: 2, held: 0 });
  });

  it('lists the first ten excluded endpoints and guarded nodes in node order', () => {
    const many = Array.from({ length: 12 }, (_, n) => endpoint(`10.0.0.${n + 10}`, NOT_READY));
    const { counts, excluded } = build(
      [{ found: known(...many.toReversed()) }, { found: known(endpoint('10.0.0.9', GONE)) }],
      {},
      [heldNode('10.0.0.8'), heldNode('10.0.0.10')],
    );
    // 10.0.0.10 is not ready but stays in the gateway, so it counts only as guarded.
    expect(counts).toEqual({ ready: 0, draining: 0, excluded: 12, held: 2 });
    expect(excluded.map(({ host, reason }) => `${host} ${reason}`)).toEqual([
      '10.0.0.10 Held',
      ...Array.from({ length: 9 }, (_, n) => `10.0.0.${n + 11} NotReady`),
    ]);
  });

  it('lists a guarded node only as guarded, but another port of its address as excluded', () => {
    const found = known(
      { ...endpoint('a', NOT_READY), port: 81 },
      { address: 'b', family: 'IPv4', ready: false, serving: false, terminating: false },
    );
    const { excluded } = build([{ found }], {}, [heldNode('a'), heldNode('b')]);
    expect(excluded.map(({ host, port, reason }) => `${host} ${port} ${reason}`)).toEqual([
      'a 81 NotReady',
      'a 8080 Held',
      'b 8080 Held',
    ]);
  });
});

describe('the other fields', () => {
  it('are the identity and the defaults', () => {
    expect(build([{ found: known() }]).upstream).toEqual({
      id: identity.id,
      owner: identity.owner,
      labels: {},
      nodes: [],
      scheme: 'HTTP',
      loadBalancing: { type: 'RoundRobin' },
    });
  });

  it.each<[string, Partial<SpecInput>, Partial<Desired['upstream']>]>([
    ['scheme', { scheme: 'GRPCS' }, { scheme: 'GRPCS' }],
    ['retries', { retries: 3 }, { retries: 3 }],
    ['retries disabled', { retries: 0 }, { retries: 0 }],
    [
      'timeouts, with defaults for unset values',
      { timeouts: { connect: '500ms', read: '1m30s' } },
      { timeouts: { connectMs: 500, sendMs: 60_000, readMs: 90_000 } },
    ],
    [
      'a type without key',
      { loadBalancing: { type: 'LeastConn' } },
      { loadBalancing: { type: 'LeastConn' } },
    ],
    [
      'a hash on a variable',
      { loadBalancing: { type: 'ConsistentHash', key: 'remote_addr' } },
      { loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'remote_addr' } },
    ],
    [
      'a hash on the consumer, without key',
      { loadBalancing: { type: 'ConsistentHash', hashOn: 'Consumer' } },
      { loadBalancing: { type: 'ConsistentHash', hashOn: 'Consumer' } },
    ],
  ])('%s', (_, spec, expected) => {
    const { upstream } = build([{ found: known() }], spec);
    for (const [field, value] of Object.entries(expected)) {
      expect(upstream[field as keyof typeof upstream]).toEqual(value);
    }
  });
});

describe('order', () => {
  it('of endpoints and backends does not change the upstream', () => {
    const one = fc.record({
      address: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.10'),
      state: fc.constantFrom<Partial<Endpoint>>({}, DRAINING, NOT_READY),
    });
    const part = fc.record({
      weight: fc.integer({ min: 0, max: 9 }),
      endpoints: fc.array(one, { maxLength: 6 }),
    });
    const shuffled = <T>(list: readonly T[]) =>
      fc.shuffledSubarray([...list], { minLength: list.length, maxLength: list.length });
    const partsAndOrder = fc
      .array(part, { minLength: 1, maxLength: 4 })
      .chain((parts) =>
        fc
          .tuple(
            ...parts.map(({ weight, endpoints }) =>
              fc.record({ weight: fc.constant(weight), endpoints: shuffled(endpoints) }),
            ),
          )
          .chain((reordered) => fc.tuple(fc.constant(parts), shuffled(reordered))),
      );
    const toParts = (
      parts: readonly {
        weight: number;
        endpoints: readonly { address: string; state: Partial<Endpoint> }[];
      }[],
    ): Part[] =>
      parts.map(({ weight, endpoints }) => ({
        weight,
        found: known(...endpoints.map(({ address, state }) => endpoint(address, state))),
      }));
    fc.assert(
      fc.property(partsAndOrder, ([parts, reordered]) => {
        const { upstream, counts, excluded, ready: verdict, action } = build(toParts(parts));
        const again = build(toParts(reordered));
        expect(again).toMatchObject({ upstream, counts, ready: verdict, action });
        expect(again.excluded).toEqual(excluded);
        expect(excluded).toHaveLength(Math.min(10, counts.excluded));
      }),
      { numRuns: 300 },
    );
  });
});

describe('a client certificate', () => {
  const pair = { certificate: 'C', key: 'K' };
  const backends = (found: Discovered): readonly ResolvedBackend[] => {
    const spec = parse();
    const [target] = backendTargets(spec, 'shop');
    if (target?.kind !== 'service') throw new Error('no Service');
    return [{ target, found }];
  };
  const withCertificate = (certificate: FoundKeyPair, found: Discovered = ready('10.0.0.1')) =>
    buildUpstream(
      parse({ tls: { clientCertificateSecretRef: { name: 'client' } } }),
      identity,
      backends(found),
      [],
      certificate,
    );
  const missing: FoundKeyPair = { state: 'unusable', reason: 'SecretNotFound', message: 'no Secret' };
  const notListed = { state: 'unknown', message: 'no list', beginning: false } as const;

  it('is written with the upstream', () => {
    const { upstream, action, resolvedRefs } = withCertificate({ state: 'known', pair });
    expect(upstream.tls).toEqual({ verify: false, clientCertificate: pair });
    expect([action, resolvedRefs.status]).toEqual(['write', 'True']);
  });

  it.each<[string, FoundKeyPair, Discovered, Desired['action'], string]>([
    ['that does not exist', missing, ready('10.0.0.1'), 'wait', 'False/SecretNotFound: no Secret'],
    [
      'that is not permitted',
      { state: 'unusable', reason: 'RefNotPermitted', message: 'not yours' },
      ready('10.0.0.1'),
      'wait',
      'False/RefNotPermitted: not yours',
    ],
    ['that is unknown', notListed, ready('10.0.0.1'), 'wait', 'Unknown/SourceUnavailable: no list'],
    [
      'that is not listed yet',
      { ...notListed, beginning: true },
      ready('10.0.0.1'),
      'notYet',
      'Unknown/SourceUnavailable: no list',
    ],
    [
      'that does not exist, like the Service',
      missing,
      absent,
      'wait',
      'False/ServiceNotFound: no web; no Secret',
    ],
    [
      'that is unknown while the Service is not listed yet',
      notListed,
      beginning,
      'wait',
      'Unknown/SourceUnavailable',
    ],
  ])('%s leaves the gateway unchanged', (_, certificate, found, action, words) => {
    const desired = withCertificate(certificate, found);
    const { status, reason, message } = desired.resolvedRefs;
    expect(desired.action).toBe(action);
    expect(`${status}/${reason}: ${message}`).toContain(words);
    expect(desired.upstream.tls).toEqual({ verify: false });
  });
});

describe('buildUpstream with nodes in place of the endpoints of an unknown backend', () => {
  it('keeps their weights and the priorities of their zones', () => {
    const spec = parse();
    const [target] = backendTargets(spec, 'shop');
    if (target?.kind !== 'service') throw new Error('no Service');
    const recognized = [
      { host: '10.0.0.1', port: 8080, weight: 2, priority: 0 },
      { host: '10.0.0.2', port: 8080, weight: 1, priority: -1 },
    ];
    expect(nodesOf(buildUpstream(spec, identity, [{ target, found: unknown, recognized }]))).toEqual([
      '10.0.0.1:8080=2',
      '10.0.0.2:8080=1@-1',
    ]);
  });
});
