import { describe, expect, it } from 'vitest';
import { problemOf } from '../../../chaos/comparison.ts';
import { Model, type Upstream } from '../../../chaos/model.ts';
import { type Instance, VANISHED_HOLD_MS } from '../../../chaos/registered.ts';

const instance = (host: string, weight = 1, health: Instance['health'] = 'passing'): Instance => ({
  host,
  port: 8080,
  weight,
  health,
});

function given(backends: Upstream['backends'], guarded = true) {
  const model = new Model();
  const upstream: Upstream = {
    namespace: 'apps',
    name: 'web',
    id: 'web',
    isMember: false,
    manage: 'Object',
    backends,
    retries: 1,
    syncPolicy: 'Sync',
    deletionPolicy: 'Delete',
    secret: undefined,
    guarded,
    state: 'live',
    referred: [],
    edited: false,
    flapped: false,
    begun: false,
    settled: undefined,
  };
  model.upstreams.set('web', upstream);
  const differs = (...nodes: readonly (readonly [host: string, weight: number])[]) =>
    problemOf(
      model,
      upstream,
      { retries: 1, nodes: nodes.map(([host, weight]) => ({ host, port: 8080, weight })) },
      { allowGuarded: false },
    );
  return { model, upstream, differs };
}

const ONE: Upstream['backends'] = [{ service: 'r', mode: 'Registry', weight: 1 }];

describe('Registered', () => {
  it('expects the passing instances with their weights', () => {
    const { model, differs } = given(ONE);
    model.registered.write('r', [instance('a', 3), instance('b'), instance('c', 1, 'critical')]);
    expect(differs(['a', 3], ['b', 1])).toBeUndefined();
    expect(differs(['a', 1], ['b', 1])).toContain('times its share');
    expect(differs(['a', 3])).toBe('lacks b:8080');
    expect(differs(['a', 3], ['b', 1], ['c', 1])).toBe('still has c:8080');
  });

  it('gives each backend its share, whatever the weights of its instances', () => {
    const { model, differs } = given([
      { service: 'r', mode: 'Registry', weight: 1 },
      { service: 's', mode: 'Registry', weight: 1 },
    ]);
    model.registered.write('r', [instance('a', 3), instance('b')]);
    model.registered.write('s', [instance('c', 5)]);
    expect(differs(['a', 3], ['b', 1], ['c', 4])).toBeUndefined();
    expect(differs(['a', 3], ['b', 1], ['c', 5])).toContain('times its share');
  });

  it('accepts a missing upstream only if no service has an instance', () => {
    const { model, upstream } = given(ONE);
    expect(problemOf(model, upstream, undefined, { allowGuarded: false })).toBeUndefined();
    model.registered.write('r', [instance('a', 1, 'critical')]);
    expect(problemOf(model, upstream, undefined, { allowGuarded: false })).toBe('is missing');
  });

  it('counts a service as steady while the registry itself is up and lists a passing instance', () => {
    const { model, upstream } = given(ONE);
    model.registered.write('r', [instance('a')]);
    model.checkpoint();
    expect(model.isSteady(upstream)).toBe(true);
    model.registered.write('r', [instance('b')]);
    expect(model.isSteady(upstream)).toBe(true);
    model.registered.lose(0);
    expect(model.isSteady(upstream)).toBe(false);
  });

  it('requires lost instances to be kept until the hold ends', () => {
    const { model, upstream } = given(ONE);
    model.registered.write('r', [instance('a'), instance('b', 1, 'critical')]);
    model.checkpoint();
    model.registered.lose(1000);
    const end = 1000 + VANISHED_HOLD_MS;
    expect([...model.heldPlaces(upstream, end - 1)]).toEqual(['a:8080']);
    expect([...model.heldPlaces(upstream, end)]).toEqual([]);
    upstream.edited = true;
    expect([...model.heldPlaces(upstream, end - 1)]).toEqual([]);
  });

  it('requires nothing without the removal guard, or after the service has changed', () => {
    const unguarded = given(ONE, false);
    unguarded.model.registered.write('r', [instance('a')]);
    unguarded.model.checkpoint();
    unguarded.model.registered.lose(0);
    expect([...unguarded.model.heldPlaces(unguarded.upstream, 1)]).toEqual([]);
    const { model, upstream } = given(ONE);
    model.registered.write('r', [instance('a')]);
    model.checkpoint();
    model.registered.lose(0);
    model.registered.write('r', [instance('b')]);
    expect([...model.heldPlaces(upstream, 1)]).toEqual([]);
  });
});
