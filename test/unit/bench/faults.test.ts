import { describe, expect, it } from 'vitest';
import { Ledger } from '../../../bench/ledger.ts';
import { quantiles } from '../../../bench/measure.ts';
import { FlagError, readOptions } from '../../../bench/options.ts';
import { faultsIn } from '../../../bench/report.ts';
import type { Programming, SizeResult } from '../../../bench/results.ts';
import type { RecordedRequest } from '../../support/apisix-stand-in/stand-in.ts';

let seq = 0;

function put(id: string, hosts: readonly string[], from: number, to: number | undefined): RecordedRequest {
  seq += 1;
  return {
    seq,
    method: 'PUT',
    path: `/apisix/admin/upstreams/${id}`,
    status: to === undefined ? undefined : 200,
    body: JSON.stringify({ nodes: hosts.map((host) => ({ host })) }),
    arrivedAt: from,
    answeredAt: to,
  };
}

describe('Ledger', () => {
  it('counts needless writes, also across batches', () => {
    const ledger = new Ledger();
    expect(ledger.enter([put('a', ['x'], 0, 1), put('a', ['x', 'y'], 2, 3)]).needless).toBe(0);
    expect(ledger.enter([put('a', ['x', 'y'], 4, 5), put('b', ['x', 'y'], 6, 7)]).needless).toBe(1);
  });

  it('counts overlapping writes of one id, and writes without a response', () => {
    const ledger = new Ledger();
    expect(
      ledger.enter([put('a', ['x'], 0, 5), put('b', ['x'], 1, 2), put('a', ['y'], 5, 6)]).overlapping,
    ).toBe(0);
    expect(ledger.enter([put('a', ['x'], 10, 15), put('a', ['y'], 14, 16)]).overlapping).toBe(1);
    const { overlapping, writes } = ledger.enter([put('a', ['x'], 20, undefined), put('a', ['y'], 30, 31)]);
    expect(overlapping).toBe(1);
    expect(writes.map(({ at }) => at)).toEqual([31]);
  });

  it('does not count the requests of the floor', () => {
    const get = { ...put('', [], 0, 1), method: 'GET', path: '/apisix/admin/upstreams' };
    const { requests } = new Ledger().enter([put('floor-1', ['x'], 0, 1), put('a', ['x'], 0, 1), get]);
    expect(requests).toEqual({ 'PUT upstreams/ID': 1, 'GET upstreams': 1 });
  });
});

describe('faultsIn', () => {
  const programming: Programming = {
    putsPerSecond: 1,
    barePutsPerSecond: 1,
    seconds: 1,
    lost: [],
    overlapping: 0,
    needless: 0,
    surplus: 0,
    apiRequests: {},
    gatewayRequests: {},
  };
  const start = { seconds: 1, bareSeconds: 1, writes: 0, apiRequests: {}, gatewayRequests: {} };
  const faultsOf = (size: Omit<SizeResult, 'upstreams'>) =>
    faultsIn({ machine: '', gateway: '', command: '', sizes: [{ upstreams: 100, ...size }] });

  it('returns an empty list for a correct run', () => {
    expect(faultsOf({ programming, start })).toEqual([]);
  });

  it.each<[string, Omit<SizeResult, 'upstreams'>]>([
    ['never reached the gateway', { programming: { ...programming, lost: ['a'] } }],
    ['overlapping writes', { programming: { ...programming, overlapping: 1 } }],
    ['needless writes', { programming: { ...programming, needless: 1 } }],
    ['more writes than changes', { programming: { ...programming, surplus: 1 } }],
    ['writes at a start', { start: { ...start, writes: 1 } }],
    [
      'wrong nodes after a storm',
      { storm: { services: 1, writes: 1, mostPerService: 1, lastMs: 1, totalMs: 1, wrong: 1 } },
    ],
    [
      'wrong nodes after a rolling update',
      { rollout: { endpoints: 1, changes: 1, writes: 1, lastMs: 1, wrong: 1 } },
    ],
    ['at a failover', { takeover: { afterSigtermMs: 1, afterSigkillMs: 1, needless: 1 } }],
  ])('reports: %s', (words, size) => {
    expect(faultsOf(size)).toEqual([expect.stringContaining(words)]);
  });
});

describe('quantiles', () => {
  it('returns measured values', () => {
    const values = Array.from({ length: 200 }, (_, index) => 200 - index);
    expect(quantiles(values)).toEqual({ p50: 100, p90: 180, p99: 198, max: 200 });
    expect(quantiles([7])).toEqual({ p50: 7, p90: 7, p99: 7, max: 7 });
  });
});

describe('readOptions', () => {
  it('limits the changes of one measurement', () => {
    const options = readOptions([]);
    expect(options?.changesAt(1)).toBe(300);
    expect(options?.changesAt(20)).toBe(600);
    expect(options?.changesAt(10_000)).toBe(1000);
    expect(readOptions(['--changes', '5'])?.changesAt(10)).toBe(5);
  });

  it.each([
    [['--sizes', '0']],
    [['--sizes', '1e9']],
    [['--rate', 'fast']],
    [['--only', 'everything']],
    [['--no-such-flag']],
  ])('rejects %j', (args) => {
    expect(() => readOptions(args)).toThrow(FlagError);
  });
});
