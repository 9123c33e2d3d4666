import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseEndpoints, compareNodes, mergeNodes } from '../../../src/decide/nodes.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';

const STATES = {
  ready: { ready: true, serving: true, terminating: false },
  notReady: { ready: false, serving: false, terminating: false },
  draining: { ready: false, serving: true, terminating: true },
  stopped: { ready: false, serving: false, terminating: true },
  /** A Service with publishNotReadyAddresses: the slice always reports ready. */
  published: { ready: true, serving: false, terminating: true },
} as const;
type State = keyof typeof STATES;

const v4 = (address: string, state: State, port: number | 'none' = 80): Endpoint => ({
  address,
  family: 'IPv4',
  ...(port === 'none' ? {} : { port }),
  ...STATES[state],
});
const v6 = (address: string, state: State, port: number | 'none' = 80): Endpoint => ({
  ...v4(address, state, port),
  family: 'IPv6',
});

const chosen = (endpoints: readonly Endpoint[], family: 'IPv4' | 'IPv6' = 'IPv4') => {
  const { endpoints: nodes, ready, draining, excluded } = chooseEndpoints(endpoints, family);
  return {
    nodes: nodes.map(({ host, port }) => `${host} ${port}`),
    counts: [ready, draining, excluded.length],
  };
};

describe('chooseEndpoints', () => {
  const { family: _family, ...named } = v4('vm-1.example.com', 'ready');

  it('uses addresses of every family if none is required', () => {
    const { endpoints, excluded } = chooseEndpoints([v4('a', 'ready'), v6('b', 'ready'), named], undefined);
    expect(endpoints.map(({ host }) => host)).toEqual(['a', 'b', 'vm-1.example.com']);
    expect(excluded).toEqual([]);
  });

  it('uses names with every family', () => {
    for (const family of ['IPv4', 'IPv6'] as const) {
      expect(chooseEndpoints([named], family).endpoints.map(({ host }) => host)).toEqual([
        'vm-1.example.com',
      ]);
    }
  });

  it('keeps the weights of endpoints', () => {
    const { endpoints } = chooseEndpoints([{ ...v4('a', 'ready'), weight: 3 }, v4('b', 'ready')], 'IPv4');
    expect(endpoints.map(({ host, unit }) => [host, unit])).toEqual([
      ['a', 3],
      ['b', undefined],
    ]);
  });

  it.each<[string, readonly Endpoint[], readonly string[], readonly [number, number, number]]>([
    ['selects nothing without endpoints', [], [], [0, 0, 0]],
    ['selects only ready endpoints', [v4('a', 'ready'), v4('b', 'notReady')], ['a 80'], [1, 0, 1]],
    [
      'excludes draining endpoints while one is ready',
      [v4('a', 'ready'), v4('b', 'draining')],
      ['a 80'],
      [1, 0, 1],
    ],
    [
      'selects draining endpoints if none of the Service is ready',
      [v4('a', 'draining'), v4('b', 'notReady'), v4('c', 'stopped'), v4('d', 'draining')],
      ['a 80', 'd 80'],
      [0, 2, 2],
    ],
    ['selects nothing if no endpoint serves', [v4('a', 'notReady'), v4('b', 'stopped')], [], [0, 0, 2]],
    [
      'selects endpoints that are published before they are ready',
      [v4('a', 'published')],
      ['a 80'],
      [1, 0, 0],
    ],
    [
      'prefers ready if an address is in two slices',
      [v4('a', 'notReady'), v4('a', 'draining'), v4('a', 'ready')],
      ['a 80'],
      [1, 0, 0],
    ],
    [
      'prefers draining to not ready if an address is in two slices',
      [v4('a', 'stopped'), v4('a', 'draining'), v4('a', 'notReady')],
      ['a 80'],
      [0, 1, 0],
    ],
    [
      'selects one address with two ports as two nodes',
      [v4('a', 'ready', 81), v4('a', 'ready', 80)],
      ['a 80', 'a 81'],
      [2, 0, 0],
    ],
    [
      'excludes endpoints without the port',
      [v4('a', 'ready'), v4('b', 'ready', 'none')],
      ['a 80'],
      [1, 0, 1],
    ],
    [
      'does not exclude an address that has the port in another slice',
      [v4('a', 'ready', 'none'), v4('a', 'ready')],
      ['a 80'],
      [1, 0, 0],
    ],
    [
      'selects draining endpoints if the only ready one lacks the port',
      [v4('a', 'ready', 'none'), v4('b', 'draining')],
      ['b 80'],
      [0, 1, 1],
    ],
    [
      'selects draining endpoints if the only ready one is of the other family',
      [v6('::1', 'ready'), v4('b', 'draining')],
      ['b 80'],
      [0, 1, 0],
    ],
    [
      'does not exclude a dual-stack Pod for its other address',
      [v4('a', 'ready'), v6('::1', 'ready')],
      ['a 80'],
      [1, 0, 0],
    ],
    [
      'excludes each address of the other family once if the family has none',
      [v6('::1', 'ready'), v6('::1', 'draining'), v6('::2', 'notReady')],
      [],
      [0, 0, 2],
    ],
  ])('%s', (_, endpoints, nodes, counts) => {
    expect(chosen(endpoints)).toEqual({ nodes, counts });
  });

  const of = (target: string, endpoint: Endpoint): Endpoint => ({ ...endpoint, target });
  const reasons = (endpoints: readonly Endpoint[], family: 'IPv4' | 'IPv6' = 'IPv4') =>
    chooseEndpoints(endpoints, family)
      .excluded.map(({ host, port, reason }) =>
        [host, ...(port === undefined ? [] : [port]), reason].join(' '),
      )
      .sort();

  it.each<[string, readonly Endpoint[], readonly string[]]>([
    ['an endpoint that is not ready', [v4('a', 'notReady')], ['a 80 NotReady']],
    ['a terminating endpoint that no longer serves', [v4('a', 'stopped')], ['a 80 Terminating']],
    [
      'a serving terminating endpoint while another is ready',
      [v4('a', 'draining'), v4('b', 'ready')],
      ['a 80 Terminating'],
    ],
    ['nothing if the only endpoint serves while terminating', [v4('a', 'draining')], []],
    ['an endpoint without the port, whatever its state', [v4('a', 'stopped', 'none')], ['a PortMissing']],
    ['an endpoint of another family, whatever its state', [v6('::1', 'stopped')], ['::1 80 WrongFamily']],
    ['an endpoint of another family without the port', [v6('::1', 'ready', 'none')], ['::1 WrongFamily']],
    [
      'a single-stack Pod of the other family beside dual-stack Pods',
      [of('p1', v4('a', 'ready')), of('p1', v6('::1', 'ready')), of('p2', v6('::2', 'ready'))],
      ['::2 80 WrongFamily'],
    ],
    [
      'a dual-stack Pod once, by its address in the family',
      [of('p1', v4('a', 'notReady')), of('p1', v6('::1', 'notReady'))],
      ['a 80 NotReady'],
    ],
    [
      'a dual-stack Pod whose address in the family lacks the port',
      [of('p1', v4('a', 'ready', 'none')), of('p1', v6('::1', 'ready'))],
      ['a PortMissing'],
    ],
    [
      'no address without targetRef while the family has addresses',
      [v4('a', 'ready'), v6('::1', 'ready')],
      [],
    ],
    [
      'an address once, with the better of two unused states',
      [v4('a', 'stopped'), v4('a', 'notReady')],
      ['a 80 NotReady'],
    ],
    [
      'each port of an address separately',
      [v4('a', 'notReady', 81), v4('a', 'stopped', 82)],
      ['a 81 NotReady', 'a 82 Terminating'],
    ],
  ])('excludes %s', (_, endpoints, expected) => {
    expect(reasons(endpoints)).toEqual(expected);
    expect(reasons(endpoints.toReversed())).toEqual(expected);
  });

  it('lists each instance of a registry that has no port or is of the other family', () => {
    const instances = [v4('10.0.0.1', 'ready'), v4('10.0.0.1', 'ready', 'none'), v6('::1', 'ready')];
    const { endpoints, excluded } = chooseEndpoints(instances, 'IPv4', 'Remove', 'instance');
    expect(endpoints.map(({ host, port }) => `${host} ${port}`)).toEqual(['10.0.0.1 80']);
    expect(excluded).toEqual([
      { host: '::1', port: 80, reason: 'WrongFamily' },
      { host: '10.0.0.1', reason: 'PortMissing' },
    ]);
  });

  it('uses the given family', () => {
    expect(chosen([v4('10.0.0.1', 'ready'), v6('fd00::1', 'ready')], 'IPv6').nodes).toEqual(['fd00::1 80']);
  });

  const endpoint = fc
    .record({
      address: fc.constantFrom('10.0.0.1', '10.0.0.2', '10.0.0.10', '10.0.0.9'),
      state: fc.constantFrom<State>('ready', 'notReady', 'draining', 'stopped', 'published'),
      port: fc.constantFrom<number | 'none'>(80, 8080, 'none'),
      family: fc.constantFrom('IPv4', 'IPv6'),
      target: fc.constantFrom('p1', 'p2', 'p3', undefined),
    })
    .map(({ address, state, port, family, target }) => ({
      ...(family === 'IPv4' ? v4(address, state, port) : v6(`fd00::${address.slice(-1)}`, state, port)),
      ...(target === undefined ? {} : { target }),
    }));

  it('does not depend on the order', () => {
    const listAndOrder = fc
      .array(endpoint, { maxLength: 12 })
      .chain((list) =>
        fc.tuple(
          fc.constant(list),
          fc.shuffledSubarray(list, { minLength: list.length, maxLength: list.length }),
        ),
      );
    fc.assert(
      fc.property(listAndOrder, ([list, order]) => {
        const sorted = ({ excluded, ...rest }: ReturnType<typeof chooseEndpoints>) => ({
          ...rest,
          excluded: excluded.map((one) => JSON.stringify(one)).sort(),
        });
        expect(sorted(chooseEndpoints(order, 'IPv4'))).toEqual(sorted(chooseEndpoints(list, 'IPv4')));
      }),
    );
  });

  it('selects only serving endpoints, and at least one if any serves', () => {
    fc.assert(
      fc.property(fc.array(endpoint, { maxLength: 12 }), (list) => {
        const { endpoints, ...counts } = chooseEndpoints(list, 'IPv4');
        const usable = (wanted: (state: Endpoint) => boolean) =>
          new Set(
            list
              .filter((one) => one.family === 'IPv4' && one.port !== undefined && wanted(one))
              .map(({ address, port }) => `${address} ${port}`),
          );
        const ready = usable((one) => one.ready);
        const draining = usable((one) => !one.ready && one.serving && one.terminating);
        expect(new Set(endpoints.map(({ host, port }) => `${host} ${port}`))).toEqual(
          ready.size > 0 ? ready : draining,
        );
        expect(counts.ready).toBe(ready.size);
        expect(counts.draining).toBe(ready.size > 0 ? 0 : draining.size);
        // Every endpoint of the family with the port is either selected or excluded.
        const listed = usable(() => true);
        const left = counts.excluded.filter(
          ({ reason }) => reason === 'NotReady' || reason === 'Terminating',
        );
        expect(endpoints.length + left.length).toBe(listed.size);
      }),
    );
  });
});

describe('mergeNodes', () => {
  it('sums the weights of one host and port, keeps the highest priority, and sorts by host, then port', () => {
    expect(
      mergeNodes([
        { host: 'b', port: 80, weight: 1, priority: -1 },
        { host: 'a', port: 443, weight: 2, priority: 0 },
        { host: 'b', port: 80, weight: 4, priority: 1 },
        { host: 'a', port: 80, weight: 8, priority: 0 },
      ]),
    ).toEqual([
      { host: 'a', port: 80, weight: 8, priority: 0 },
      { host: 'a', port: 443, weight: 2, priority: 0 },
      { host: 'b', port: 80, weight: 5, priority: 1 },
    ]);
  });

  it('sorts ports as numbers', () => {
    const ports = [8080, 80, 443].map((port) => ({ host: 'a', port }));
    expect(ports.toSorted(compareNodes).map(({ port }) => port)).toEqual([80, 443, 8080]);
  });
});
