import { describe, expect, it } from 'vitest';
import { apisixFormat } from '../../../src/gateways/apisix/driver.ts';

const ids = (...list: readonly object[]) => [...apisixFormat.listed({ list, total: list.length }).keys()];
const value = { nodes: [], type: 'roundrobin' };

describe('the ids of a list', () => {
  it.each([
    ['of key and value', { key: '/apisix/upstreams/a', value: { id: 'a', ...value } }, ['a']],
    ['of a number', { key: '/apisix/upstreams/1', value: { id: 1, ...value } }, ['1']],
    ['of the key alone', { key: '/apisix/upstreams/a', value }, ['a']],
    ['of the value alone', { value: { id: 'a', ...value } }, ['a']],
    ['that differ', { key: '/apisix/upstreams/a', value: { id: 'b', ...value } }, ['a', 'b']],
  ])('%s, none of which may look free', (_, item, expected) => {
    expect(ids(item)).toEqual(expected);
  });

  it('are not made up', () => {
    expect(() => ids({ value })).toThrow('without an id and without a key');
  });
});
