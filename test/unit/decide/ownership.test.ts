import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import {
  defaultUpstreamId,
  describeOwner,
  isRetained,
  isWrittenBy,
  markedAs,
  markedObject,
  type Owner,
  type Ownership,
  ownershipOf,
} from '../../../src/decide/ownership.ts';
import type { ObservedUpstream } from '../../../src/model/upstream.ts';
import { observedLabels, ownerLabels } from '../../support/owner-labels.ts';

const owner: Owner = { cluster: 'c1', connection: 'default', namespace: 'shop', name: 'web' };
const labels = ownerLabels(owner, { orphan: false });
const prefix = 'gatewayupstream.dev/';

const observed = (stored: Readonly<Record<string, string>>, createTime?: number): ObservedUpstream => ({
  id: 'shop.web',
  ...observedLabels(stored),
  nodes: [],
  canonical: '',
  ...(createTime === undefined ? {} : { createTime }),
});
const without = (...names: readonly string[]) =>
  Object.fromEntries(Object.entries(labels).filter(([key]) => !names.includes(key.replace(prefix, ''))));

describe('defaultUpstreamId', () => {
  const hashed = (whole: string) =>
    `${whole.slice(0, 55)}-${createHash('sha256').update(whole).digest('hex').slice(0, 8)}`;

  it.each([
    ['prefix, namespace and name', 'gw-', 'shop', 'web', 'gw-shop.web'],
    ['no prefix', '', 'shop', 'web', 'shop.web'],
    ['a name with dots', '', 'shop', 'web.v1', 'shop.web.v1'],
    ['64 characters', '', 'n'.repeat(31), 'x'.repeat(32), `${'n'.repeat(31)}.${'x'.repeat(32)}`],
    [
      '65 characters, shortened with a hash',
      '',
      'n'.repeat(32),
      'x'.repeat(32),
      hashed(`${'n'.repeat(32)}.${'x'.repeat(32)}`),
    ],
    [
      'the maximum lengths',
      'p'.repeat(32),
      'n'.repeat(63),
      'x'.repeat(253),
      hashed(`${'p'.repeat(32)}${'n'.repeat(63)}.${'x'.repeat(253)}`),
    ],
  ])('%s', (_, idPrefix, namespace, name, id) => {
    expect(defaultUpstreamId(idPrefix, namespace, name)).toBe(id);
    expect(id).toMatch(/^[a-zA-Z0-9._-]{1,64}$/);
  });

  it('distinguishes long ids with the same beginning', () => {
    const name = 'x'.repeat(70);
    expect(defaultUpstreamId('', 'shop', `${name}a`)).not.toBe(defaultUpstreamId('', 'shop', `${name}b`));
  });
});

describe('ownershipOf', () => {
  it.each<[string, ObservedUpstream | undefined, number | undefined, Ownership]>([
    ['no upstream', undefined, 5, 'absent'],
    ['all labels', observed(labels), undefined, 'ours'],
    ['all labels, created again by another client', observed(labels, 6), 5, 'ours'],
    ['all labels and others', observed({ ...labels, team: 'a' }), undefined, 'ours'],
    ['all labels, retained', observed(ownerLabels(owner, { orphan: true })), undefined, 'ours'],
    ['no labels, the recorded create_time', observed({}, 5), 5, 'stripped'],
    ['one label missing, the recorded create_time', observed(without('name'), 5), 5, 'stripped'],
    ['no labels, another create_time', observed({}, 6), 5, 'unowned'],
    ['no labels, a create_time but none recorded', observed({}, 5), undefined, 'unowned'],
    ['no labels, no create_time', observed({}), 5, 'unowned'],
    ['no labels, no create_time on either side', observed({}), undefined, 'unowned'],
    ['only labels of another client', observed({ team: 'a' }), undefined, 'unowned'],
    [
      'another label of the operator',
      observed({ [`${prefix}deletion-policy`]: 'Orphan' }),
      undefined,
      'foreign',
    ],
    ['one label missing, no create_time', observed(without('operator')), undefined, 'foreign'],
    ...(['operator', 'cluster', 'connection', 'namespace', 'name'] as const).map(
      (name): [string, ObservedUpstream, number, Ownership] => [
        `another ${name}, the recorded create_time`,
        observed({ ...labels, [`${prefix}${name}`]: 'other' }, 5),
        5,
        'foreign',
      ],
    ),
    [
      'a wrong label beside a missing one',
      observed({ ...without('name'), [`${prefix}cluster`]: 'c2' }, 5),
      5,
      'foreign',
    ],
  ])('%s: %4$s', (_, upstream, createTime, expected) => {
    expect(ownershipOf(upstream, owner, createTime)).toBe(expected);
  });
});

describe('ownerMark', () => {
  const long: Owner = {
    cluster: 'c'.repeat(64),
    connection: 'g'.repeat(253),
    namespace: 'n'.repeat(63),
    name: 'x'.repeat(253),
  };

  it('keeps every value within the length limit of a gateway', () => {
    for (const value of Object.values(ownerLabels(long, { orphan: true }))) {
      expect(value).toMatch(/^\S{1,64}$/);
    }
    expect(ownershipOf(observed(ownerLabels(long, { orphan: false })), long, undefined)).toBe('ours');
  });

  it.each(['connection', 'name'] as const)(
    'distinguishes a long %s from another with the same beginning',
    (part) => {
      const other = { ...long, [part]: `${long[part].slice(0, -1)}y` };
      expect(ownershipOf(observed(ownerLabels(long, { orphan: false })), other, undefined)).toBe('foreign');
    },
  );

  it('marks only an orphaned upstream as retained', () => {
    expect(isRetained(observed(ownerLabels(owner, { orphan: true })))).toBe(true);
    expect(isRetained(observed(labels))).toBe(false);
    expect(isRetained(observed({}))).toBe(false);
  });
});

describe('isWrittenBy', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['all labels', labels, true],
    ['another object of the connection', { ...labels, [`${prefix}name`]: 'api' }, true],
    ['no labels', {}, false],
    ['another cluster', { ...labels, [`${prefix}cluster`]: 'c2' }, false],
    ['another connection', { ...labels, [`${prefix}connection`]: 'edge' }, false],
    ['another program', { ...labels, [`${prefix}operator`]: 'x' }, false],
    ['no name', without('name'), false],
    ['no namespace', without('namespace'), false],
  ])('%s: %3$s', (_, stored, expected) => {
    expect(isWrittenBy(observed(stored), 'c1', 'default')).toBe(expected);
  });
});

describe('markedObject', () => {
  it('matches the key from the labels of the object', () => {
    const name = 'x'.repeat(100);
    const marked = observed(ownerLabels({ ...owner, name }, { orphan: false }));
    expect(markedObject(marked)).toBe(markedAs('shop', name));
  });

  it('names no object without labels', () => {
    expect(markedObject(observed({}))).not.toBe(markedAs('undefined', 'undefined'));
  });
});

describe('describeOwner', () => {
  it.each<[string, Record<string, string>, string]>([
    ['all ownership labels', labels, 'it is owned by shop/web of connection default in cluster c1'],
    ['no labels', {}, 'it has no ownership labels of this operator'],
    ['labels of another client', { team: 'a' }, 'it has no ownership labels of this operator'],
    ['incomplete ownership labels', without('name'), 'its ownership labels are incomplete'],
  ])('%s', (_, stored, expected) => {
    expect(describeOwner(observed(stored), 'labels')).toBe(expected);
  });
});
