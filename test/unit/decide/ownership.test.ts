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

const observed = (held: Readonly<Record<string, string>>, createTime?: number): ObservedUpstream => ({
  id: 'shop.web',
  ...observedLabels(held),
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
    ['64 characters are kept', '', 'n'.repeat(31), 'x'.repeat(32), `${'n'.repeat(31)}.${'x'.repeat(32)}`],
    ['65 are not', '', 'n'.repeat(32), 'x'.repeat(32), hashed(`${'n'.repeat(32)}.${'x'.repeat(32)}`)],
    [
      'the longest of all',
      'p'.repeat(32),
      'n'.repeat(63),
      'x'.repeat(253),
      hashed(`${'p'.repeat(32)}${'n'.repeat(63)}.${'x'.repeat(253)}`),
    ],
  ])('%s', (_, idPrefix, namespace, name, id) => {
    expect(defaultUpstreamId(idPrefix, namespace, name)).toBe(id);
    expect(id).toMatch(/^[a-zA-Z0-9._-]{1,64}$/);
  });

  it('tells long ids apart that begin alike', () => {
    const name = 'x'.repeat(70);
    expect(defaultUpstreamId('', 'shop', `${name}a`)).not.toBe(defaultUpstreamId('', 'shop', `${name}b`));
  });
});

describe('ownershipOf', () => {
  it.each<[string, ObservedUpstream | undefined, number | undefined, Ownership]>([
    ['nothing there', undefined, 5, 'absent'],
    ['every label', observed(labels), undefined, 'ours'],
    ['every label, made anew by somebody', observed(labels, 6), 5, 'ours'],
    ['every label and others', observed({ ...labels, team: 'a' }), undefined, 'ours'],
    ['marked to stay behind', observed(ownerLabels(owner, { orphan: true })), undefined, 'ours'],
    ['no labels, the create_time that we know', observed({}, 5), 5, 'stripped'],
    ['one label missing, the create_time that we know', observed(without('name'), 5), 5, 'stripped'],
    ['no labels, another create_time', observed({}, 6), 5, 'unowned'],
    ['no labels, a create_time and none known', observed({}, 5), undefined, 'unowned'],
    ['no labels, no create_time', observed({}), 5, 'unowned'],
    ['no labels, no create_time on either side', observed({}), undefined, 'unowned'],
    ['labels of somebody else only', observed({ team: 'a' }), undefined, 'unowned'],
    ['any label of our domain', observed({ [`${prefix}deletion-policy`]: 'Orphan' }), undefined, 'foreign'],
    ['one label missing, no create_time', observed(without('operator')), undefined, 'foreign'],
    ...(['operator', 'cluster', 'connection', 'namespace', 'name'] as const).map(
      (name): [string, ObservedUpstream, number, Ownership] => [
        `another ${name}, the create_time that we know`,
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

  it('keeps every value within what a gateway takes', () => {
    for (const value of Object.values(ownerLabels(long, { orphan: true }))) {
      expect(value).toMatch(/^\S{1,64}$/);
    }
    expect(ownershipOf(observed(ownerLabels(long, { orphan: false })), long, undefined)).toBe('ours');
  });

  it.each(['connection', 'name'] as const)('tells a long %s from another that begins alike', (part) => {
    const other = { ...long, [part]: `${long[part].slice(0, -1)}y` };
    expect(ownershipOf(observed(ownerLabels(long, { orphan: false })), other, undefined)).toBe('foreign');
  });

  it('says only of an orphan that it stays', () => {
    expect(isRetained(observed(ownerLabels(owner, { orphan: true })))).toBe(true);
    expect(isRetained(observed(labels))).toBe(false);
    expect(isRetained(observed({}))).toBe(false);
  });
});

describe('isWrittenBy', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['every label', labels, true],
    ['another object of the connection', { ...labels, [`${prefix}name`]: 'api' }, true],
    ['no labels', {}, false],
    ['another cluster', { ...labels, [`${prefix}cluster`]: 'c2' }, false],
    ['another connection', { ...labels, [`${prefix}connection`]: 'edge' }, false],
    ['another program', { ...labels, [`${prefix}operator`]: 'x' }, false],
    ['no name', without('name'), false],
    ['no namespace', without('namespace'), false],
  ])('%s: %3$s', (_, held, expected) => {
    expect(isWrittenBy(observed(held), 'c1', 'default')).toBe(expected);
  });
});

describe('markedObject', () => {
  it('names an object as its own labels do', () => {
    const name = 'x'.repeat(100);
    const held = observed(ownerLabels({ ...owner, name }, { orphan: false }));
    expect(markedObject(held)).toBe(markedAs('shop', name));
  });

  it('names no object where the labels name none', () => {
    expect(markedObject(observed({}))).not.toBe(markedAs('undefined', 'undefined'));
  });
});

describe('describeOwner', () => {
  it.each<[string, Record<string, string>, string]>([
    ['labels of an owner', labels, 'it is owned by shop/web of connection default in cluster c1'],
    ['no labels', {}, 'it has no ownership labels of this operator'],
    ['labels of somebody else', { team: 'a' }, 'it has no ownership labels of this operator'],
    ['some of ours', without('name'), 'its ownership labels are incomplete'],
  ])('%s', (_, held, expected) => {
    expect(describeOwner(observed(held), 'labels')).toBe(expected);
  });
});
