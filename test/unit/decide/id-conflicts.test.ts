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
    ['that of the spec, whatever the prefix', upstream('web', { id: 'shop.x' }), 'shop.x'],
    ['the default', upstream('web'), 'gw-shop.web'],
    ['the default, cut off', upstream('x'.repeat(80)), defaultUpstreamId('gw-', 'shop', 'x'.repeat(80))],
    ['none while the spec is not valid', upstream('web', { broken: true, id: 'shop.x' }), undefined],
  ])('is %s', (_, object, id) => {
    expect(wantedId(object, 'gw-')).toBe(id);
  });
});

describe('IdConflicts', () => {
  const update = (claims: IdConflicts, object: GatewayUpstream, idPrefix: string | undefined = '') =>
    [...claims.update(keyOf(object), object, idPrefix)].sort();
  const remove = (claims: IdConflicts, name: string) =>
    [...claims.update(`shop/${name}`, undefined, '')].sort();
  const contenders = (claims: IdConflicts, id: string, connection = 'default') =>
    [...claims.contenders(connection, id)].sort();

  it('knows who wants an id, and tells the others when that changes', () => {
    const claims = new IdConflicts();
    expect(update(claims, upstream('a', { id: 'x' }))).toEqual([]);
    expect(update(claims, upstream('b', { id: 'x' }))).toEqual(['shop/a']);
    expect(update(claims, upstream('c', { id: 'x' }))).toEqual(['shop/a', 'shop/b']);
    expect(contenders(claims, 'x')).toEqual(['shop/a', 'shop/b', 'shop/c']);
    expect(remove(claims, 'a')).toEqual(['shop/b', 'shop/c']);
    expect(contenders(claims, 'x')).toEqual(['shop/b', 'shop/c']);
  });

  it('tells those of the old id and of the new one', () => {
    const claims = new IdConflicts();
    for (const [name, id] of [
      ['a', 'x'],
      ['b', 'y'],
      ['c', 'x'],
    ] as const) {
      update(claims, upstream(name, { id }));
    }
    expect(update(claims, upstream('c', { id: 'y' }))).toEqual(['shop/a', 'shop/b']);
    expect(contenders(claims, 'x')).toEqual(['shop/a']);
    expect(contenders(claims, 'y')).toEqual(['shop/b', 'shop/c']);
  });

  it('keeps connections apart', () => {
    const claims = new IdConflicts();
    update(claims, upstream('a', { id: 'x' }));
    expect(update(claims, upstream('b', { id: 'x', connection: 'edge' }))).toEqual([]);
    expect(contenders(claims, 'x')).toEqual(['shop/a']);
    expect(contenders(claims, 'x', 'edge')).toEqual(['shop/b']);
  });

  it('takes a default id and the same one in a spec for one', () => {
    const claims = new IdConflicts();
    update(claims, upstream('a'));
    expect(update(claims, upstream('b', { id: 'shop.a' }))).toEqual(['shop/a']);
  });

  it.each<[string, GatewayUpstream, string | undefined]>([
    ['whose spec is not valid', upstream('b', { id: 'x', broken: true }), ''],
    ['whose connection is gone', upstream('b', { id: 'x' }), undefined],
  ])('forgets the claim of an object %s', (_, object, idPrefix) => {
    const claims = new IdConflicts();
    update(claims, upstream('a', { id: 'x' }));
    update(claims, upstream('b', { id: 'x' }));
    expect([...claims.update('shop/b', object, idPrefix)]).toEqual(['shop/a']);
    expect(contenders(claims, 'x')).toEqual(['shop/a']);
    expect(remove(claims, 'b')).toEqual([]);
  });

  it('knows nothing of an id that nobody wants', () => {
    const claims = new IdConflicts();
    expect(contenders(claims, 'x')).toEqual([]);
    expect(remove(claims, 'a')).toEqual([]);
  });

  it('is the same after any sequence of changes as the objects say', () => {
    const change = fc.record({
      name: fc.constantFrom('a', 'b', 'c'),
      id: fc.option(fc.constantFrom('x', 'y', 'shop.a'), { nil: undefined }),
      gone: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        const claims = new IdConflicts();
        const wanted = new Map<string, string>();
        for (const { name, id, gone } of changes) {
          const object = upstream(name, id === undefined ? {} : { id });
          const rivals = gone ? remove(claims, name) : update(claims, object);
          const before = wanted.get(name);
          if (gone) wanted.delete(name);
          else wanted.set(name, wantedId(object, '') ?? '');
          const touched = new Set([before, wanted.get(name)]);
          const others = [...wanted].filter(([other, id]) => other !== name && touched.has(id));
          expect(rivals).toEqual(others.map(([other]) => `shop/${other}`).sort());
        }
        for (const id of ['x', 'y', 'shop.a', 'shop.b']) {
          const expected = [...wanted].filter(([, one]) => one === id).map(([name]) => `shop/${name}`);
          expect(contenders(claims, id)).toEqual(expected.sort());
        }
      }),
    );
  });
});
