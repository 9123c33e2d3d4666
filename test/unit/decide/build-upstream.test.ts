import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { z } from 'zod';
import { backendTargets, type NotPermitted, type ResolvedBackend } from '../../../src/decide/backends.ts';
import { buildUpstream } from '../../../src/decide/build-upstream.ts';
import type { Desired } from '../../../src/decide/desired.ts';
import { ownerMark } from '../../../src/decide/ownership.ts';
import type { HeldNode } from '../../../src/decide/weighed-nodes.ts';
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
const heldNode = (host: string): HeldNode => ({
  node: { host, port: 8080, weight: 1, priority: 0 },
  backend: 0,
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

/** What one backend of a test is: what its Service's port was found to be, or addresses. */
type Part =
  | { readonly weight?: number; readonly found: Found }
  | { readonly weight?: number; readonly addresses: NonNullable<BackendInput['addresses']> };

function build(
  parts: readonly Part[],
  spec: Partial<SpecInput> = {},
  held: readonly HeldNode[] = [],
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

  it('keeps every backend in its place with its weight', () => {
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
    ['one Service: every node weighs 1', [{ found: ready('b', 'a'), weight: 50 }], ['a:8080=1', 'b:8080=1']],
    [
      'two Services: shares whatever their size',
      [{ found: ready('a', 'b', 'c') }, { found: ready('d') }],
      ['a:8080=1', 'b:8080=1', 'c:8080=1', 'd:8080=3'],
    ],
    [
      'a Service of weight 0 has no nodes',
      [{ found: ready('a') }, { found: ready('b'), weight: 0 }],
      ['a:8080=1'],
    ],
    [
      'its share is not given to it when the others have none',
      [{ found: known() }, { found: ready('b'), weight: 0 }],
      [],
    ],
    [
      'a Service without endpoints gives its share away',
      [{ found: ready('a') }, { found: known() }],
      ['a:8080=1'],
    ],
    ['an absent one too', [{ found: ready('a') }, { found: absent }], ['a:8080=1']],
    ['one that is not permitted too', [{ found: ready('a') }, { found: notPermitted }], ['a:8080=1']],
    [
      'each Service falls back to draining ones by itself',
      [{ found: ready('a') }, { found: known(endpoint('b', DRAINING)) }],
      ['a:8080=1', 'b:8080=1'],
    ],
    [
      'one place behind two backends is one node',
      [{ found: ready('a', 'b') }, { found: ready('a') }],
      ['a:8080=3', 'b:8080=1'],
    ],
    [
      'addresses keep their own weight and priority',
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
      'an address of weight 0 is a node of weight 0 beside others',
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
    ['nodes that all weigh 0 are none', [{ addresses: [{ host: 'a.example', port: 80, weight: 0 }] }], []],
    [
      'a name is one place in upper and lower case',
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
      'several backends scale the weights of addresses',
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

  it('takes the family that the Service prefers', () => {
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
  ])('%s keeps the sum of weights within %i and says that shares are only near', (type, bound) => {
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
        message: `The backends receive only approximately their shares: exact weights for this many endpoints exceed the total of ${bound}. Use weights that differ less, or fewer endpoints`,
      },
    ]);
  });

  it('warns of a consistent hash over more endpoints than its weights may add up to', () => {
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

  it('warns of zones and addresses whose weights are only near what was asked for', () => {
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
      /^The zones of spec\.backends\[0\] receive only approximately/,
    );
  });

  it('does not say so where the shares are right', () => {
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
      'ZeroWeight keeps what terminates and serves beside what is ready',
      [{ found: known(endpoint('a'), endpoint('b', DRAINING), endpoint('c', GONE)) }],
      { endpoints: { drain: 'ZeroWeight' } },
      ['a:8080=1', 'b:8080=0'],
    ],
    [
      'ZeroWeight gives the traffic to what serves where none is ready',
      [{ found: known(endpoint('b', DRAINING), endpoint('c', NOT_READY)) }],
      { endpoints: { drain: 'ZeroWeight' } },
      ['b:8080=1'],
    ],
    [
      'ZeroWeight costs a backend nothing of its share',
      [{ found: known(endpoint('a'), endpoint('b', DRAINING)) }, { found: ready('c'), weight: 3 }],
      { endpoints: { drain: 'ZeroWeight' } },
      ['a:8080=1', 'b:8080=0', 'c:8080=3'],
    ],
    [
      'no node without weight is alone in a priority, where the gateway would balance over it',
      [{ found: known(endpoint('a'), endpoint('b', { ...DRAINING, zone: 'near' })) }],
      { endpoints: { drain: 'ZeroWeight', zones } },
      ['a:8080=1'],
    ],
    [
      'zones are worth their share within a backend, whose own share stays',
      [{ found: known(endpoint('a', { zone: 'a' }), endpoint('b')) }, { found: ready('c') }],
      { endpoints: { zones } },
      ['a:8080=1', 'b:8080=2', 'c:8080=3'],
    ],
    [
      'a zone of weight 0 is left out',
      [{ found: known(endpoint('a', { zone: 'off' }), endpoint('b')) }],
      { endpoints: { zones } },
      ['b:8080=1'],
    ],
    [
      'the family of the spec comes before that of the Service',
      [{ found: known(endpoint('10.0.0.1'), endpoint('fd00::1', { family: 'IPv6' })) }],
      { endpoints: { family: 'IPv6' } },
      ['fd00::1:8080=1'],
    ],
  ])('%s', (_, parts, spec, nodes) => {
    expect(nodesOf(build(parts, spec))).toEqual(nodes);
  });

  it('says what to do where every endpoint is in a zone of weight 0', () => {
    const { ready: verdict } = build([{ found: known(endpoint('a', { zone: 'off' })) }], {
      endpoints: { zones },
    });
    expect(verdict).toMatchObject({
      reason: 'NoWeight',
      message: expect.stringContaining('spec.endpoints.zones'),
    });
  });

  it('counts what ZeroWeight keeps as draining', () => {
    const { counts } = build([{ found: known(endpoint('a'), endpoint('b', DRAINING)) }], {
      endpoints: { drain: 'ZeroWeight' },
    });
    expect(counts).toEqual({ ready: 1, draining: 1, excluded: 0, held: 0 });
  });
});

describe('a Service that is another name', () => {
  it('is one node that is always ready', () => {
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

  it('of the spec comes first, and says nothing of ports that disagree with it', () => {
    const { upstream, ready: verdict } = build([{ found: speaking('https') }, { found: speaking('grpc') }], {
      scheme: 'TLS',
    });
    expect(upstream.scheme).toBe('TLS');
    expect(verdict.message).not.toContain('appProtocol');
  });

  it.each<[string, readonly Part[], string, boolean]>([
    ['agree', [{ found: speaking('https') }, { found: speaking('kubernetes.io/wss') }], 'HTTPS', false],
    ['disagree', [{ found: speaking('https') }, { found: speaking('grpc') }], 'HTTP', true],
    ['disagree: one says nothing', [{ found: speaking('grpc') }, { found: speaking() }], 'HTTP', true],
    [
      'are one, beside addresses, which say nothing',
      [{ found: speaking('https') }, { addresses: [{ host: 'a.example', port: 443 }] }],
      'HTTPS',
      false,
    ],
    [
      'are one, beside a Service that is absent',
      [{ found: speaking('grpc') }, { found: absent }],
      'GRPC',
      false,
    ],
  ])('of ports that %s', (_, parts, scheme, isTold) => {
    const { upstream, ready: verdict } = build(parts);
    expect(upstream.scheme).toBe(scheme);
    expect(verdict.message.includes('set spec.scheme')).toBe(isTold);
  });
});

describe('action and ResolvedRefs', () => {
  it.each<[string, readonly Part[], Desired['action'], string, string]>([
    [
      'an external name that is not allowed',
      [{ found: { state: 'notPermitted', reason: 'StaticAddressesDenied', message: 'no' } }],
      'onlyIfHeld',
      'False',
      'StaticAddressesDenied',
    ],
    ['one that resolves', [{ found: ready('a') }], 'write', 'True', 'ResolvedRefs'],
    ['one without endpoints', [{ found: known() }], 'write', 'True', 'ResolvedRefs'],
    ['one that is absent', [{ found: absent }], 'onlyIfHeld', 'False', 'ServiceNotFound'],
    ['a port that is absent', [{ found: noPort }], 'onlyIfHeld', 'False', 'PortNotFound'],
    ['one that is not permitted', [{ found: notPermitted }], 'onlyIfHeld', 'False', 'RefNotPermitted'],
    ['one that is unknown', [{ found: unknown }], 'wait', 'Unknown', 'SourceUnavailable'],
    ['one that is not known yet', [{ found: beginning }], 'notYet', 'Unknown', 'SourceUnavailable'],
    [
      'one not known yet beside one that is known',
      [{ found: ready('a') }, { found: beginning }],
      'notYet',
      'Unknown',
      'SourceUnavailable',
    ],
    [
      'one not known yet beside one that stays unknown',
      [{ found: beginning }, { found: unknown }],
      'wait',
      'Unknown',
      'SourceUnavailable',
    ],
    ['all absent', [{ found: absent }, { found: noPort }], 'onlyIfHeld', 'False', 'ServiceNotFound'],
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
      'an unknown one of weight 0',
      [{ found: ready('a') }, { found: unknown, weight: 0 }],
      'wait',
      'Unknown',
      'SourceUnavailable',
    ],
    ['addresses', [{ addresses: [{ host: 'a.example', port: 80 }] }], 'write', 'True', 'ResolvedRefs'],
    [
      'addresses beside an absent one',
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

  it('names every backend that leads nowhere', () => {
    const { resolvedRefs } = build([{ found: absent }, { found: ready('a') }, { found: noPort }]);
    expect(resolvedRefs.message).toContain('no web');
    expect(resolvedRefs.message).toContain('no port');
  });
});

describe('Ready and counts', () => {
  const draining = known(endpoint('d', DRAINING));
  const zero = [{ host: 'a.example', port: 80, weight: 0 }];

  it.each<[string, readonly Part[], string]>([
    ['a ready one', [{ found: ready('a') }], 'Ready'],
    ['none at all', [{ found: known() }], 'NoReadyEndpoints'],
    ['draining ones only', [{ found: draining }], 'NoReadyEndpoints'],
    ['a ready one in one of two', [{ found: draining }, { found: ready('a') }], 'Ready'],
    ['every backend of weight 0', [{ found: ready('a'), weight: 0 }], 'NoWeight'],
    ['addresses', [{ addresses: [{ host: 'a.example', port: 80 }] }], 'Ready'],
    ['addresses of weight 0 only', [{ addresses: zero }], 'NoWeight'],
    [
      'the ready ones in a backend of weight 0',
      [{ found: ready('a'), weight: 0 }, { found: known() }],
      'NoReadyEndpoints',
    ],
    [
      'the ready ones in a backend of weight 0, draining else',
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

  it('is not Ready/Ready without a node that gets traffic', () => {
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

  it('counts the endpoints behind every backend', () => {
    const { counts } = build([
      { found: known(endpoint('a'), endpoint('b', DRAINING), endpoint('c', NOT_READY)) },
      { found: ready('d'), weight: 0 },
      { addresses: [{ host: 'a.example', port: 80 }] },
      { found: absent },
    ]);
    expect(counts).toEqual({ ready: 3, draining: 0, excluded: 2, held: 0 });
  });

  it('lists the first ten of what is left out and of what is held, in the order of nodes', () => {
    const many = Array.from({ length: 12 }, (_, n) => endpoint(`10.0.0.${n + 10}`, NOT_READY));
    const { counts, excluded } = build(
      [{ found: known(...many.toReversed()) }, { found: known(endpoint('10.0.0.9', GONE)) }],
      {},
      [heldNode('10.0.0.8'), heldNode('10.0.0.10')],
    );
    // 10.0.0.10 is listed as not ready, and stays in the gateway: it counts as held alone.
    expect(counts).toEqual({ ready: 0, draining: 0, excluded: 12, held: 2 });
    expect(excluded.map(({ host, reason }) => `${host} ${reason}`)).toEqual([
      '10.0.0.10 Held',
      ...Array.from({ length: 9 }, (_, n) => `10.0.0.${n + 11} NotReady`),
    ]);
  });

  it('takes what is held without a port in its slice for held, and another port of its address not', () => {
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
    ['no retries at all', { retries: 0 }, { retries: 0 }],
    [
      'timeouts, with defaults for what is not given',
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
  it('of endpoints and of backends changes nothing in the upstream', () => {
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

  it('is part of what is written', () => {
    const { upstream, action, resolvedRefs } = withCertificate({ state: 'known', pair });
    expect(upstream.tls).toEqual({ verify: false, clientCertificate: pair });
    expect([action, resolvedRefs.status]).toEqual(['write', 'True']);
  });

  it.each<[string, FoundKeyPair, Discovered, Desired['action'], string]>([
    ['that is not there', missing, ready('10.0.0.1'), 'wait', 'False/SecretNotFound: no Secret'],
    [
      'that may not be read',
      { state: 'unusable', reason: 'RefNotPermitted', message: 'not yours' },
      ready('10.0.0.1'),
      'wait',
      'False/RefNotPermitted: not yours',
    ],
    ['that is not known', notListed, ready('10.0.0.1'), 'wait', 'Unknown/SourceUnavailable: no list'],
    [
      'that is not known yet',
      { ...notListed, beginning: true },
      ready('10.0.0.1'),
      'notYet',
      'Unknown/SourceUnavailable: no list',
    ],
    [
      'that is not there, and a Service neither',
      missing,
      absent,
      'wait',
      'False/ServiceNotFound: no web; no Secret',
    ],
    [
      'that is not known, while the Service is not yet',
      notListed,
      beginning,
      'wait',
      'Unknown/SourceUnavailable',
    ],
  ])('%s leaves the gateway as it is', (_, certificate, found, action, words) => {
    const desired = withCertificate(certificate, found);
    const { status, reason, message } = desired.resolvedRefs;
    expect(desired.action).toBe(action);
    expect(`${status}/${reason}: ${message}`).toContain(words);
    expect(desired.upstream.tls).toEqual({ verify: false });
  });
});
