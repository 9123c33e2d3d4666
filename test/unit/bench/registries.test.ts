import { describe, expect, it } from 'vitest';
import { readOptions } from '../../../bench/options.ts';
import { firstWith, type Sighting, writesIn } from '../../../bench/registries/latency.ts';
import { registryFaultsIn } from '../../../bench/registries/report.ts';
import type { RegistryResult, Traffic } from '../../../bench/registries/results.ts';

const seen = (at: number, ...places: readonly string[]): Sighting => ({
  id: 'web',
  at,
  places: new Set(places),
});

describe('firstWith', () => {
  it('finds when an instance appeared, not before the change began', () => {
    const sightings = [seen(1, 'a'), seen(5, 'b'), seen(6, 'a', 'b'), seen(7, 'a', 'b')];
    const change = { from: 2, place: 'a', shows: 'appears' } as const;
    expect(firstWith(change, 'web', sightings)).toBe(6);
    expect(firstWith(change, 'other', sightings)).toBeUndefined();
  });

  it('finds when an instance disappeared permanently', () => {
    const sightings = [seen(5, 'a'), seen(6), seen(7, 'a'), seen(8)];
    expect(firstWith({ from: 2, place: 'a', shows: 'disappears' }, 'web', sightings)).toBe(8);
    expect(firstWith({ from: 2, place: 'a', shows: 'disappears' }, 'web', [seen(5, 'a')])).toBeUndefined();
  });

  it('does not take an instance that never appeared for one that expired', () => {
    const change = { from: 2, place: 'a', shows: 'expires' } as const;
    expect(firstWith(change, 'web', [seen(5, 'b')])).toBeUndefined();
    expect(firstWith(change, 'web', [seen(5, 'a', 'b'), seen(9, 'b')])).toBe(9);
  });
});

describe('writesIn', () => {
  it('takes only accepted PUTs of upstreams', () => {
    const request = {
      seq: 1,
      method: 'PUT',
      path: '/apisix/admin/upstreams/web',
      status: 200,
      body: JSON.stringify({ nodes: [{ host: 'a', port: 1 }] }),
      arrivedAt: 1,
      answeredAt: 2,
    };
    expect(writesIn([request])).toEqual([seen(2, 'a:1')]);
    expect(writesIn([{ ...request, status: 500 }])).toEqual([]);
    expect(writesIn([{ ...request, method: 'GET' }])).toEqual([]);
  });
});

describe('registryFaultsIn', () => {
  const quiet: Traffic = { seconds: 10, requests: 20, writes: 0 };
  const load = {
    services: 100,
    instances: 10,
    programmedSeconds: 1,
    wrong: [],
    rssMiB: 100,
    idle: { ...quiet, cpuPercent: 1 },
    reconnect: { ...quiet, requests: 120 },
    outage: { ...quiet, requests: 400 },
    recovery: { ...quiet, requests: 120 },
  };
  const of = (changes: Partial<NonNullable<RegistryResult['load']>>) =>
    registryFaultsIn([
      { type: 'Consul', pollIntervalMs: undefined, latencies: [], load: { ...load, ...changes } },
    ]);

  it('accepts one request per service after a reconnect', () => {
    expect(of({})).toEqual([]);
  });

  it('rejects requests that multiply after a reconnect, and writes without a change', () => {
    expect(of({ reconnect: { ...quiet, requests: 241 } })).toEqual([
      'Consul: 241 requests after a reconnect, more than 240',
    ]);
    expect(of({ outage: { ...quiet, writes: 1 } }).join()).toContain(
      '1 writes to the gateway during an outage',
    );
    expect(of({ wrong: ['web'] })).toEqual(['Consul: web was not written correctly at first']);
  });

  it('rejects lost changes', () => {
    const times = { p50: 1, p90: 1, p99: 1, max: 1 };
    const kind = {
      changes: 1,
      gateway: times,
      notification: undefined,
      lost: ['register of a'],
      needless: 0,
    };
    const latencies = [{ services: 5, kinds: { register: kind } }];
    expect(
      registryFaultsIn([{ type: 'Consul', pollIntervalMs: undefined, latencies, load: undefined }]),
    ).toEqual(['Consul: 5 services: register of a never reached the gateway']);
  });
});

describe('readOptions', () => {
  it('measures registries only with --registries', () => {
    expect(readOptions([])?.registries).toBeUndefined();
    expect(readOptions(['--registries'])?.registries).toMatchObject({
      types: ['Consul', 'Nacos', 'Eureka', 'Etcd'],
      manyServices: 1000,
    });
    expect(readOptions(['--registries', '--short', '--sizes', '50'])?.registries).toMatchObject({
      types: ['Consul'],
      manyServices: 50,
    });
  });

  it('rejects a registry that the benchmark does not know', () => {
    expect(() => readOptions(['--registries', '--registry', 'Other'])).toThrow(
      '--registry takes Consul, Nacos, Eureka, Etcd, not Other',
    );
  });
});
