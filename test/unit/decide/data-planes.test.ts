import { describe, expect, it } from 'vitest';
import {
  type DataPlaneVerdict,
  type ExpectedView,
  endpointUrls,
  judgeView,
  noDataPlanes,
  summarizeVerdicts,
  unwatchedProblem,
} from '../../../src/decide/data-planes.ts';
import type { Endpoint } from '../../../src/model/endpoint.ts';

const expected: ExpectedView = {
  shown: 'new',
  superseded: [{ shown: 'old', at: 10_000 }],
  createdAt: undefined,
};

describe('judgeView', () => {
  it.each<[string, Partial<ExpectedView>, string | undefined, number, DataPlaneVerdict | undefined]>([
    ['the last write', {}, 'new', 10_000, 'Current'],
    ['a write that was replaced less than 5 s ago', {}, 'old', 14_999, undefined],
    ['a write that was replaced 5 s ago', {}, 'old', 15_000, 'OlderContent'],
    ['content that was never written', {}, 'other', 10_001, 'OlderContent'],
    ['no upstream, created less than 5 s ago', { createdAt: 10_000 }, undefined, 14_999, undefined],
    ['no upstream, created 5 s ago', { createdAt: 10_000 }, undefined, 15_000, 'Missing'],
    ['no upstream, created before the start', {}, undefined, 10_001, 'Missing'],
    [
      'an earlier write that is current again',
      { shown: 'old', superseded: [{ shown: 'new', at: 10_000 }] },
      'old',
      20_000,
      'Current',
    ],
  ])('%s', (_, change, answer, now, verdict) => {
    expect(judgeView({ ...expected, ...change }, answer, now)).toBe(verdict);
  });
});

describe('summarizeVerdicts', () => {
  it('counts the data planes and lists lagging ones by address', () => {
    expect(
      summarizeVerdicts(
        new Map<string, DataPlaneVerdict>([
          ['http://c', 'Missing'],
          ['http://a', 'Current'],
          ['http://b', 'Unreachable'],
        ]),
      ),
    ).toEqual({
      total: 3,
      current: 1,
      lagging: [
        { dataPlane: 'http://b', reason: 'Unreachable' },
        { dataPlane: 'http://c', reason: 'Missing' },
      ],
    });
  });

  it('lists at most ten, whatever their order', () => {
    const urls = Array.from({ length: 12 }, (_, n) => `http://10.0.0.${10 + n}:9090`);
    const of = (order: readonly string[]) =>
      summarizeVerdicts(new Map(order.map((url) => [url, 'OlderContent'] as const)));
    expect(of(urls)).toMatchObject({ total: 12, current: 0 });
    expect(of(urls)?.lagging?.map(({ dataPlane }) => dataPlane)).toEqual(urls.slice(0, 10));
    expect(of(urls.toReversed())).toEqual(of(urls));
  });

  it('returns nothing until all data planes have answered', () => {
    expect(
      summarizeVerdicts(
        new Map([
          ['http://a', 'Current'],
          ['http://b', undefined],
        ]),
      ),
    ).toBeUndefined();
  });

  it('returns zero counts without data planes', () => {
    expect(summarizeVerdicts(new Map())).toEqual({ total: 0, current: 0 });
  });
});

describe('endpointUrls', () => {
  const endpoint = (address: string, change: Partial<Endpoint> = {}): Endpoint => ({
    address,
    family: 'IPv4',
    port: 9090,
    ready: true,
    serving: true,
    terminating: false,
    ...change,
  });
  const urls = (endpoints: readonly Endpoint[], preferredFamily: 'IPv4' | 'IPv6' = 'IPv4') =>
    endpointUrls({ state: 'known', endpoints, preferredFamily, basis: '' });

  it('lists the ready endpoints of one family, sorted and without duplicates', () => {
    const endpoints = [
      endpoint('10.0.0.2'),
      endpoint('10.0.0.1'),
      endpoint('10.0.0.2'),
      endpoint('10.0.0.3', { ready: false }),
      endpoint('fd00::1', { family: 'IPv6' }),
    ];
    expect(urls(endpoints)).toEqual(['http://10.0.0.1:9090', 'http://10.0.0.2:9090']);
    expect(urls(endpoints, 'IPv6')).toEqual(['http://[fd00::1]:9090']);
    expect(urls([])).toEqual([]);
  });
});

describe('problems of a data-plane Service', () => {
  it('reports a namespace that the operator does not watch', () => {
    expect(unwatchedProblem([], 'gateway', 'spec.serviceRef')).toBeUndefined();
    expect(unwatchedProblem(['shop', 'gateway'], 'gateway', 'spec.serviceRef')).toBeUndefined();
    expect(unwatchedProblem(['shop'], 'gateway', 'spec.serviceRef')).toContain(
      "add it to namespaces in the operator's configuration",
    );
  });

  it('reports a Service without ready endpoints', () => {
    const ref = {
      source: 'Kubernetes',
      namespace: 'gateway',
      name: 'control',
      port: { by: 'servicePort', port: 9090 },
    } as const;
    expect(noDataPlanes({ ...ref, protocol: 'TCP' }, 'spec.serviceRef')).toContain('Service gateway/control');
  });
});
