import { describe, expect, it } from 'vitest';
import { apisixFormat } from '../../../src/gateways/apisix/driver.ts';

const ids = (...list: readonly object[]) => [...apisixFormat.listed({ list, total: list.length }).keys()];
const value = { nodes: [], type: 'roundrobin' };

describe('ids of a listed item', () => {
  it.each([
    ['in key and value', { key: '/apisix/upstreams/a', value: { id: 'a', ...value } }, ['a']],
    ['as a number', { key: '/apisix/upstreams/1', value: { id: 1, ...value } }, ['1']],
    ['only in the key', { key: '/apisix/upstreams/a', value }, ['a']],
    ['only in the value', { value: { id: 'a', ...value } }, ['a']],
    [
      'that differ in key and value',
      { key: '/apisix/upstreams/a', value: { id: 'b', ...value } },
      ['a', 'b'],
    ],
  ])('include ids %s', (_, item, expected) => {
    expect(ids(item)).toEqual(expected);
  });

  it('are required', () => {
    expect(() => ids({ value })).toThrow('without an id and without a key');
  });
});
