import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IdConflicts, wantedId } from '../../../src/decide/id-conflicts.ts';
import { defaultUpstreamId } from '../../../src/decide/ownership.ts';
import { keyOf } from '../../../src/model/keys.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';
import { transformGatewayUpstream } from '../../support/catalog.ts';

function upstream(
  name: string,
  options: { readonly id?: string; readonly connection?: string; readonly broken?: true } = {},
): GatewayUpstream {
  const trimmed = transformGatewayUpstream({
    metadata: { namespace: 'shop', name, uid: name, resourceVersion: '1', generation: 1 },
    spec: {
      connectionRef: { name: options.connection ?? 'default' },
      backends: options.broken === true ? [] : [{ serviceRef: { name: 'web', port: 80 } }],
      ...(options.id === undefined ? {} : { upstreamId: options.id }),
    },
  });
  if (trimmed === undefined) throw new Error('no object');
  return trimmed;
}

describe('wantedId', () => {
  it.each<[string, GatewayUpstream, string | undefined]>([
    ['the id in the spec, whatever the prefix', upstream('web', { id: 'shop.x' }), 'shop.x'],
    ['the default id', upstream('web'), 'gw-shop.web'],
    ['the shortened default id', upstream('x'.repeat(80)), defaultUpstreamId('gw-', 'shop', 'x'.repeat(80))],
    ['undefined while the spec is invalid', upstream('web', { broken: true, id: 'shop.x' }), undefined],
  ])('is %s', (_, object, id) => {
    expect(wantedId(object, 'gw-')).toBe(id);
  });
});

describe('IdConflicts', () => {
  const update = (conflicts: IdConflicts, object: GatewayUpstream, idPrefix: string | undefined = '') =>
    [...conflicts.update(keyOf(object), object, idPrefix)].sort();
  const remove = (conflicts: IdConflicts, name: string) =>
    [...conflicts.update(`shop/${name}`, undefined, '')].sort();
  const contenders = (conflicts: IdConflicts, id: string, connection = 'default') =>
    [...conflicts.contenders(connection, id)].sort();

  it('lists the objects with an id, and returns the others on a change', () => {
    const conflicts = new IdConflicts();
    expect(update(conflicts, upstream('a', { id: 'x' }))).toEqual([]);
    expect(update(conflicts, upstream('b', { id: 'x' }))).toEqual(['shop/a']);
    expect(update(conflicts, upstream('c', { id: 'x' }))).toEqual(['shop/a', 'shop/b']);
    expect(contenders(conflicts, 'x')).toEqual(['shop/a', 'shop/b', 'shop/c']);
    expect(remove(conflicts, 'a')).toEqual(['shop/b', 'shop/c']);
    expect(contenders(conflicts, 'x')).toEqual(['shop/b', 'shop/c']);
  });

  it('returns the other objects of the old id and the new id', () => {
    const conflicts = new IdConflicts();
    for (const [name, id] of [
      ['a', 'x'],
      ['b', 'y'],
      ['c', 'x'],
    ] as const) {
      update(conflicts, upstream(name, { id }));
    }
    expect(update(conflicts, upstream('c', { id: 'y' }))).toEqual(['shop/a', 'shop/b']);
    expect(contenders(conflicts, 'x')).toEqual(['shop/a']);
    expect(contenders(conflicts, 'y')).toEqual(['shop/b', 'shop/c']);
  });

  it('separates connections', () => {
    const conflicts = new IdConflicts();
    update(conflicts, upstream('a', { id: 'x' }));
    expect(update(conflicts, upstream('b', { id: 'x', connection: 'edge' }))).toEqual([]);
    expect(contenders(conflicts, 'x')).toEqual(['shop/a']);
    expect(contenders(conflicts, 'x', 'edge')).toEqual(['shop/b']);
  });

  it('treats a default id and the same id in a spec as equal', () => {
    const conflicts = new IdConflicts();
    update(conflicts, upstream('a'));
    expect(update(conflicts, upstream('b', { id: 'shop.a' }))).toEqual(['shop/a']);
  });

  it.each<[string, GatewayUpstream, string | undefined]>([
    ['whose spec is invalid', upstream('b', { id: 'x', broken: true }), ''],
    ['whose connection is unknown', upstream('b', { id: 'x' }), undefined],
  ])('removes an object %s', (_, object, idPrefix) => {
    const conflicts = new IdConflicts();
    update(conflicts, upstream('a', { id: 'x' }));
    update(conflicts, upstream('b', { id: 'x' }));
    expect([...conflicts.update('shop/b', object, idPrefix)]).toEqual(['shop/a']);
    expect(contenders(conflicts, 'x')).toEqual(['shop/a']);
    expect(remove(conflicts, 'b')).toEqual([]);
  });

  it('returns no objects for an unused id', () => {
    const conflicts = new IdConflicts();
    expect(contenders(conflicts, 'x')).toEqual([]);
    expect(remove(conflicts, 'a')).toEqual([]);
  });

  it('matches the objects after any sequence of changes', () => {
    const change = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      id: fc.option(fc.constantFrom('x', 'y', 'shop.a'), { nil: undefined }),
      deleted: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const conflicts = new IdConflicts();
        const wanted = new Map<string, string>();
        for (const { name, id, deleted } of changes) {
          const object = upstream(name, id === undefined ? {} : { id });
          const returned = deleted ? remove(conflicts, name) : update(conflicts, object);
          const before = wanted.get(name);
          if (deleted) wanted.delete(name);
          else wanted.set(name, wantedId(object, '') ?? '');
          const touched = new Set([before, wanted.get(name)]);
          const others = [...wanted].filter(([other, id]) => other !== name && touched.has(id));
          expect(returned).toEqual(others.map(([other]) => `shop/${other}`).sort());
        }
        for (const id of ['x', 'y', 'shop.a', 'shop.b']) {
          const expected = [...wanted].filter(([, one]) => one === id).map(([name]) => `shop/${name}`);
          expect(contenders(conflicts, id)).toEqual(expected.sort());
        }
      }),
    );
  });
});
