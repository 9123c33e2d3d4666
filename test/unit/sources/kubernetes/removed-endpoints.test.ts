import { describe, expect, it } from 'vitest';
import type { Departed } from '../../../../src/model/discovered.ts';
import { RemovedEndpoints } from '../../../../src/sources/kubernetes/removed-endpoints.ts';
import { type SliceFacts, transformSlice } from '../../../../src/sources/kubernetes/transform.ts';

const slice = (
  endpoints: Readonly<Record<string, 'here' | 'terminating'>>,
  { name = 'web-1', service = 'web' } = {},
): SliceFacts => {
  const trimmed = transformSlice({
    metadata: {
      namespace: 'shop',
      name,
      uid: name,
      resourceVersion: '1',
      labels: { 'kubernetes.io/service-name': service },
    },
    addressType: 'IPv4',
    ports: [],
    endpoints: Object.entries(endpoints).map(([address, state]) => ({
      addresses: [address],
      nodeName: `node-of-${address}`,
      conditions: { terminating: state === 'terminating', ready: state === 'here' },
    })),
  });
  if (trimmed === undefined) throw new Error('no slice');
  return trimmed;
};

const A = '10.0.0.1';
const was = (departures: RemovedEndpoints, service = 'web') =>
  departures.wasTerminating('shop', service, { kind: 'address', address: A });

describe('RemovedEndpoints', () => {
  it('returns undefined for an endpoint that was never listed', () => {
    expect(was(new RemovedEndpoints())).toBeUndefined();
  });

  it.each([
    ['here', false],
    ['terminating', true],
  ] as const)('remembers an address that was %s when it was last listed', (state, expected) => {
    const departures = new RemovedEndpoints();
    departures.note({
      previous: slice({ [A]: state, '10.0.0.2': 'here' }),
      current: slice({ '10.0.0.2': 'here' }),
    });
    expect(was(departures)).toBe(expected);
    expect(was(departures, 'other')).toBeUndefined();
  });

  it('remembers every address of a slice that is deleted or moves to another Service', () => {
    const deleted = new RemovedEndpoints();
    deleted.note({ previous: slice({ [A]: 'terminating' }), current: undefined });
    expect(was(deleted)).toBe(true);
    const moved = new RemovedEndpoints();
    moved.note({ previous: slice({ [A]: 'here' }), current: slice({ [A]: 'here' }, { service: 'other' }) });
    expect(was(moved)).toBe(false);
  });

  it('forgets an address that is listed again', () => {
    const departures = new RemovedEndpoints();
    departures.note({ previous: slice({ [A]: 'terminating' }), current: undefined });
    departures.note({ previous: undefined, current: slice({ [A]: 'here' }) });
    expect(was(departures)).toBeUndefined();
  });

  it('keeps an address terminating if an older copy in another slice is removed later', () => {
    const departures = new RemovedEndpoints();
    departures.note({ previous: slice({ [A]: 'terminating' }), current: slice({}) });
    departures.note({ previous: slice({ [A]: 'here' }, { name: 'web-2' }), current: undefined });
    expect(was(departures)).toBe(true);
  });

  it('forgets the oldest entries first when it is full', () => {
    const departures = new RemovedEndpoints();
    departures.note({ previous: slice({ [A]: 'terminating' }), current: undefined });
    for (let n = 0; n < 9_999; n += 1) {
      const address = `10.${1 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
      departures.note({ previous: slice({ [address]: 'here' }), current: undefined });
    }
    expect(was(departures)).toBeUndefined();
    expect(departures.wasTerminating('shop', 'web', { kind: 'address', address: '10.1.0.0' })).toBe(false);
  });

  describe('for a cluster node and for the whole Service', () => {
    const B = '10.0.0.2';
    const ALL: Departed = { kind: 'all' };
    const ON_A: Departed = { kind: 'node', node: `node-of-${A}` };
    const wasThat = (departures: RemovedEndpoints, removedEndpoints: Departed) =>
      departures.wasTerminating('shop', 'web', removedEndpoints);

    it.each<[string, Readonly<Record<string, 'here' | 'terminating'>>, boolean, boolean]>([
      ['all terminated', { [A]: 'terminating', [B]: 'terminating' }, true, true],
      ['one vanished', { [A]: 'terminating', [B]: 'here' }, true, false],
      ['the other one vanished', { [B]: 'terminating', [A]: 'here' }, false, false],
    ])('%s', (_, endpoints, onA, all) => {
      const departures = new RemovedEndpoints();
      departures.note({ previous: slice(endpoints), current: undefined });
      expect(wasThat(departures, ON_A)).toBe(onA);
      expect(wasThat(departures, ALL)).toBe(all);
    });

    it('uses the endpoints that were removed last, and returns undefined while one is listed', () => {
      const departures = new RemovedEndpoints();
      departures.note({ previous: slice({ [A]: 'here', [B]: 'here' }), current: slice({ [B]: 'here' }) });
      expect(wasThat(departures, ON_A)).toBe(false);
      expect(wasThat(departures, ALL)).toBeUndefined();
      departures.note({ previous: slice({ [B]: 'terminating' }), current: slice({}) });
      expect(wasThat(departures, ALL)).toBe(true);
    });
  });
});
