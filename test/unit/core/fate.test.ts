import { describe, expect, it } from 'vitest';
import type { BackendTarget, ResolvedBackend } from '../../../src/core/desired.ts';
import { createFateOf, type DepartureOf } from '../../../src/core/fate.ts';
import type { Discovered, Endpoint } from '../../../src/core/model.ts';

const target = (name: string): Extract<BackendTarget, { kind: 'service' }> => ({
  kind: 'service',
  weight: 1,
  ref: { namespace: 'shop', name, port: { by: 'servicePort', port: 80 }, protocol: 'TCP' },
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
const gone: Discovered = { state: 'absent', reason: 'ServiceNotFound', message: 'gone' };

const fate = (found: readonly Discovered[], departureOf: DepartureOf = () => 'unknown') => {
  const backends: ResolvedBackend[] = found.map((one, index) => ({
    target: target(`s${index}`),
    found: one,
  }));
  return createFateOf(backends, departureOf)({ host: '10.0.0.1', port: 8080, weight: 1, priority: 0 });
};

describe('the fate of a node', () => {
  it.each<[string, Partial<Endpoint>, string]>([
    ['listed, not ready', {}, 'sick'],
    ['terminating', { terminating: true }, 'explained'],
    ['terminating and serving', { terminating: true, serving: true }, 'explained'],
    ['ready on another port', { ready: true, port: 9090 }, 'explained'],
  ])('%s: is %s', (_, change, expected) => {
    expect(fate([known(endpoint('10.0.0.1', change))]).fate).toBe(expected);
  });

  it('takes an endpoint for terminating if any slice says so', () => {
    expect(fate([known(endpoint('10.0.0.1'), endpoint('10.0.0.1', { terminating: true }))]).fate).toBe(
      'explained',
    );
  });

  it.each([
    ['explained', 'explained'],
    ['vanished', 'vanished'],
    ['unknown', 'vanished'],
  ] as const)('not listed, and its departure is %s: %s', (departure, expected) => {
    expect(fate([known()], () => departure)).toEqual({
      fate: expected,
      backend: expected === 'vanished' ? 0 : undefined,
    });
  });

  it('is explained where it belonged to a Service that is gone', () => {
    const departureOf: DepartureOf = (backend) => (backend === 1 ? 'vanished' : 'unknown');
    expect(fate([known(), gone], departureOf).fate).toBe('explained');
    expect(fate([known(), known()], departureOf)).toEqual({ fate: 'vanished', backend: 1 });
  });

  it('is explained where nobody knows whose it was, and a Service is gone', () => {
    expect(fate([known(), gone]).fate).toBe('explained');
    expect(fate([known(), known()])).toEqual({ fate: 'vanished', backend: undefined });
  });

  it('is sick where one of two Services lists it as sick, whatever the other one does', () => {
    expect(fate([known(), known(endpoint('10.0.0.1'))], () => 'explained')).toEqual({
      fate: 'sick',
      backend: 1,
    });
  });
});
