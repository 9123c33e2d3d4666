import { describe, expect, it } from 'vitest';
import { ownerMark } from '../../../src/decide/ownership.ts';
import { labelMarks, withoutMarks } from '../../../src/gateways/apisix/ownership.ts';
import { toAdmin, toObserved } from '../../../src/gateways/apisix/translate.ts';

const owner = ownerMark(
  { cluster: 'c1', connection: 'default', namespace: 'shop', name: 'x'.repeat(100) },
  { retain: true },
);
/** SHA-256 of the full name. */
const name = `${'x'.repeat(55)}-${owner.name.slice(-8)}`;
const labels = {
  'gatewayupstream.dev/operator': 'gateway-upstream-operator',
  'gatewayupstream.dev/cluster': 'c1',
  'gatewayupstream.dev/connection': 'default',
  'gatewayupstream.dev/namespace': 'shop',
  'gatewayupstream.dev/name': name,
  'gatewayupstream.dev/deletion-policy': 'Orphan',
};

describe('ownership labels', () => {
  it('have fixed names and follow the labels of the user', () => {
    const sent = toAdmin({
      id: 'u',
      owner,
      labels: { team: 'a' },
      nodes: [],
      scheme: 'HTTP',
      loadBalancing: { type: 'RoundRobin' },
    });
    expect(JSON.stringify(sent['labels'])).toBe(JSON.stringify({ team: 'a', ...labels }));
  });

  it('decode to the owner, separate from the labels of the user', () => {
    const observed = toObserved('u', { labels: { ...labels, team: 'a' }, nodes: [] });
    expect(observed).toMatchObject({ owner, labels: { team: 'a' } });
    expect(observed.labels).toEqual({ team: 'a' });
  });

  it.each<[string, Readonly<Record<string, string>>, object | undefined]>([
    ['no label of the domain', { team: 'a', 'other.dev/name': 'x' }, undefined],
    ['one part alone', { 'gatewayupstream.dev/name': 'web' }, { name: 'web', retain: false }],
    ['another label of the domain', { 'gatewayupstream.dev/other': 'x' }, { retain: false }],
    ['another deletion policy', { 'gatewayupstream.dev/deletion-policy': 'Delete' }, { retain: false }],
  ])('decode %s', (_, held, expected) => {
    expect(labelMarks.decode(held)).toEqual(expected);
  });

  it('contain only the known parts', () => {
    expect(labelMarks.encode({ name: 'web', retain: false })).toEqual({ 'gatewayupstream.dev/name': 'web' });
    expect(withoutMarks(labels)).toEqual({});
  });
});
