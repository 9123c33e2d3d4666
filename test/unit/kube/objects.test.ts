import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonExcess } from '../../../src/api/json-size.ts';
import { upstreamIndexes } from '../../../src/decide/upstream-indexes.ts';
import {
  transformCertificateSecret,
  transformNamespace,
  transformNode,
  transformSecret,
} from '../../../src/kube/objects.ts';
import { createStore } from '../../../src/kube/store.ts';
import type { GatewayUpstream } from '../../../src/model/objects.ts';
import {
  transformGatewayConnection,
  transformGatewayUpstream,
  transformGatewayUpstreamSet,
} from '../../support/catalog.ts';
import { createCertificateAuthority } from '../../support/control-plane/certificates.ts';

const metadata = { name: 'web', namespace: 'apps', uid: 'u1', resourceVersion: '7' };
const identity = { name: 'web', namespace: 'apps', uid: 'u1', resourceVersion: '7' };
const trims = {
  transformGatewayConnection,
  transformGatewayUpstream,
  transformGatewayUpstreamSet,
  transformSecret,
};

describe.each(Object.entries({ ...trims, transformNamespace, transformNode }))('%s', (_name, trim) => {
  it.each([
    undefined,
    null,
    1,
    'text',
    [],
    {},
    { metadata: null },
    { metadata: [metadata] },
    { metadata: { ...metadata, name: '' } },
    { metadata: { ...metadata, name: 5 } },
    { metadata: { name: 'web' } },
    { metadata: { ...metadata, uid: null } },
    { metadata: { ...metadata, namespace: 5 } },
    { metadata: { ...metadata, resourceVersion: 7 } },
  ])('gives nothing for %j', (value) => {
    expect(trim(value)).toBeUndefined();
  });
});

describe.each(Object.entries(trims))('%s', (_name, trim) => {
  it('never throws, and of what has a name and a uid it always gives these', () => {
    const object = fc.record(
      {
        metadata: fc.record(
          { labels: fc.anything(), finalizers: fc.anything(), generation: fc.anything() },
          { requiredKeys: [] },
        ),
        spec: fc.anything(),
        status: fc.anything(),
        data: fc.anything(),
      },
      { requiredKeys: ['metadata'] },
    );
    fc.assert(
      fc.property(object, (value) => {
        const json: unknown = JSON.parse(
          JSON.stringify({ ...value, metadata: { ...value.metadata, ...metadata } }, (_key, part: unknown) =>
            typeof part === 'bigint' ? String(part) : part,
          ),
        );
        expect(trim(json)).toMatchObject(identity);
      }),
    );
  });
});

describe('trimGatewayUpstream', () => {
  const spec = { connectionRef: { name: 'edge' }, backends: [{ serviceRef: { name: 'web', port: 80 } }] };

  const labels = { 'gatewayupstream.dev/set': 'labelled' };
  const owner = (extra: object = {}) => ({
    apiVersion: 'gatewayupstream.dev/v1alpha1',
    kind: 'GatewayUpstreamSet',
    name: 'owner',
    uid: 'set-uid',
    controller: true,
    ...extra,
  });

  it.each<[string, object, object | undefined]>([
    ['its controller', { labels, ownerReferences: [owner()] }, { set: 'owner', uid: 'set-uid', labels }],
    ['its controller, without a label', { ownerReferences: [owner()] }, { set: 'owner', uid: 'set-uid' }],
    ['its label alone', { labels }, { set: 'labelled', uid: undefined }],
    [
      'its label, beside an owner that is no controller',
      { labels, ownerReferences: [owner({ controller: false })] },
      { set: 'labelled' },
    ],
    ['nothing', {}, undefined],
    ['another kind of controller', { labels, ownerReferences: [owner({ kind: 'Other' })] }, undefined],
    [
      'another group of controller',
      { labels, ownerReferences: [owner({ apiVersion: 'other/v1' })] },
      undefined,
    ],
  ])('knows the set that made it by %s', (_, extra, expected) => {
    const madeBy = transformGatewayUpstream({ metadata: { ...metadata, ...extra }, spec })?.madeBy;
    if (expected === undefined) expect(madeBy).toBeUndefined();
    else expect(madeBy).toMatchObject(expected);
  });

  it('reads a whole object', () => {
    const object = transformGatewayUpstream({
      metadata: {
        ...metadata,
        generation: 3,
        creationTimestamp: '2026-01-01T00:00:00Z',
        finalizers: ['a'],
        managedFields: [{ manager: 'kubectl' }],
      },
      spec,
    });
    expect(object).toMatchObject({
      ...identity,
      generation: 3,
      creationTimestamp: '2026-01-01T00:00:00Z',
      deletionTimestamp: undefined,
      finalizers: ['a'],
      connection: 'edge',
      spec: { ok: true },
      status: undefined,
    });
    expect(JSON.stringify(object)).not.toContain('managedFields');
  });

  it('says what is wrong with a spec, and still knows its connection and that it is being deleted', () => {
    const object = transformGatewayUpstream({
      metadata: { ...metadata, deletionTimestamp: '2026-01-02T00:00:00Z' },
      spec: { ...spec, backends: 'all of them' },
    });
    expect(object?.spec).toEqual({ ok: false, message: expect.stringContaining('spec.backends') });
    expect(object?.connection).toBe('edge');
    expect(object?.deletionTimestamp).toBe('2026-01-02T00:00:00Z');
  });

  it.each([undefined, {}, { connectionRef: {} }, { connectionRef: { name: 7 } }])(
    'takes the default connection for spec %j',
    (value) => {
      expect(transformGatewayUpstream({ metadata, spec: value })?.connection).toBe('default');
    },
  );

  it('reads a host without a dot, which only admission and HostPolicy refuse', () => {
    // Of an object that is older than the rule: an invalid spec would keep its nodes and could not be deleted.
    const backends = [{ addresses: [{ host: 'kubernetes', port: 443 }] }];
    expect(transformGatewayUpstream({ metadata, spec: { backends } })?.spec.ok).toBe(true);
  });

  it('bounds the message about a spec, whatever keys and however many problems it has', () => {
    const labels = Object.fromEntries(
      Array.from({ length: 200 }, (_, n) => [`${n}-${'k'.repeat(40_000)}`, 1]),
    );
    const object = transformGatewayUpstream({ metadata, spec: { ...spec, labels } });
    const message = object?.spec.ok === false ? object.spec.message : '';
    expect(message).toContain('spec.labels.0-kkk');
    expect(message.length).toBeLessThanOrEqual(4097);
  });

  it('forgets a status that it does not understand', () => {
    const object = transformGatewayUpstream({ metadata, spec, status: { conditions: 'many' } });
    expect(object?.status).toBeUndefined();
  });
});

describe('apisix.overrides', () => {
  const specWith = (overrides: unknown) => ({
    backends: [{ serviceRef: { name: 'web', port: 80 } }],
    apisix: { overrides },
  });
  /** `levels` lists, each within the one before. */
  const lists = (levels: number): unknown => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);
  const maps = (levels: number): unknown => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
  const problemOf = (overrides: unknown) => {
    const spec = transformGatewayUpstream({ metadata, spec: specWith(overrides) })?.spec;
    return spec?.ok === false ? spec.message : undefined;
  };

  it('is nested up to 16 levels deep, its own included', () => {
    for (const nested of [lists, maps]) {
      expect(problemOf({ x: nested(15) })).toBeUndefined();
      expect(problemOf({ x: nested(16) })).toBe(
        'spec.apisix.overrides: must not be nested more than 16 levels deep: remove the deeper levels',
      );
    }
  });

  it.each<[string, unknown]>([
    ['lists', { x: lists(3000) }],
    ['maps', { x: maps(3000) }],
    ['discovery_args', { discovery_args: maps(9000) }],
  ])('too deep by %s is dropped before the object is stored, and compared without harm', (_, overrides) => {
    const failures: unknown[] = [];
    const store = createStore<GatewayUpstream>({
      indexes: upstreamIndexes,
      reportError: (_error, failure) => failures.push(failure),
    });
    const listed = () => {
      const object = transformGatewayUpstream({
        metadata: { ...metadata, managedFields: [{ fieldsV1: maps(3000) }] },
        spec: specWith(overrides),
        status: { conditions: maps(3000), plan: overrides },
      });
      if (object === undefined) throw new Error('no object');
      return object;
    };
    store.replaceAll([listed()]);
    store.replaceAll([listed()]);
    expect(failures).toEqual([]);
    const unbounded = { values: 100_000, length: 100_000 };
    expect(jsonExcess(store.get('apps', 'web'), { levels: 8, ...unbounded })).toBeUndefined();
  });

  it('has at most 32,768 characters as JSON', () => {
    const wide = (length: number) => ({ x: 'a'.repeat(length - '{"x":""}'.length) });
    expect(problemOf(wide(32_768))).toBeUndefined();
    expect(problemOf(wide(32_769))).toMatch(/at most 32768 characters as JSON: make the values smaller/);
  });

  it('has at most 1,000 values', () => {
    const wide = (values: number) => ({ x: Array.from({ length: values - 1 }, () => []) });
    expect(problemOf(wide(1000))).toBeUndefined();
    expect(problemOf(wide(1001))).toBe('spec.apisix.overrides: must have at most 1000 values: remove some');
    expect(problemOf({ x: Array.from({ length: 80_000 }, () => [[[[[[[]]]]]]]) })).toMatch(/1000 values/);
  });

  it.each<[string, unknown]>([
    [
      '32 names of 40 KB',
      Object.fromEntries(Array.from({ length: 32 }, (_, n) => [`${n}-${'k'.repeat(40_000)}`, 1])),
    ],
    ['one name of 100 characters', { ['k'.repeat(100)]: 1 }],
    ['a name of 20,000 characters', { ['k'.repeat(20_000)]: 1 }],
  ])('leaves a short message in the store for %s', (_, overrides) => {
    const problem = problemOf(overrides);
    expect(problem).toContain('spec.apisix.overrides');
    expect(problem?.length).toBeLessThan(300);
  });

  it('is bounded in the template of a set too', () => {
    const { backends: _backends, ...template } = specWith({ x: lists(3000) });
    const set = transformGatewayUpstreamSet({
      metadata: { ...metadata, namespace: undefined },
      spec: { namespaceSelector: { all: true }, template: { spec: template } },
    });
    expect(set?.spec).toMatchObject({ ok: false, message: expect.stringContaining('16 levels deep') });
  });
});

describe('trimSecret', () => {
  it('decodes its data and leaves out what is no text', () => {
    const data = { key: Buffer.from('größer').toString('base64'), odd: '***', number: 5, none: null };
    const secret = transformSecret({ metadata, data });
    expect(secret?.data['key']).toBe('größer');
    expect(Object.keys(secret?.data ?? {}).toSorted()).toEqual(['key', 'odd']);
  });

  it('takes __proto__ for a name like any other', () => {
    const data: unknown = JSON.parse('{"__proto__":"YQ==","constructor":"Yg=="}');
    const secret = transformSecret({ metadata, data });
    expect(Object.entries(secret?.data ?? {})).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
    expect(Object.getPrototypeOf(secret?.data)).toBe(Object.prototype);
  });

  it('without data has none', () => {
    expect(transformSecret({ metadata })?.data).toEqual({});
  });
});

describe('trimNode', () => {
  it.each([
    [undefined, false],
    [[], false],
    [[{ type: 'Ready', status: 'True' }], true],
    [[{ type: 'Ready', status: 'Unknown' }], false],
    [[{ type: 'DiskPressure', status: 'True' }], false],
  ])('of conditions %j: ready is %s', (conditions, ready) => {
    expect(transformNode({ metadata, status: { conditions } })?.ready).toBe(ready);
  });

  it('keeps addresses and labels, and nothing of what changes with every heartbeat', () => {
    expect(
      transformNode({
        metadata: { ...metadata, labels: { zone: 'a' } },
        spec: { podCIDR: '10.0.0.0/24' },
        status: { addresses: [{ type: 'InternalIP', address: '192.0.2.1' }], images: [{}] },
      }),
    ).toEqual({
      ...identity,
      ready: false,
      labels: { zone: 'a' },
      addresses: [{ type: 'InternalIP', address: '192.0.2.1' }],
    });
  });
});

describe('trimNamespace', () => {
  it.each([
    [{ metadata }, false],
    [{ metadata: { ...metadata, deletionTimestamp: null } }, false],
    [{ metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }, true],
    [{ metadata, status: { phase: 'Active' } }, false],
    [{ metadata, status: { phase: 'Terminating' } }, true],
  ])('of %j: terminating is %s', (value, terminating) => {
    expect(transformNamespace(value)?.terminating).toBe(terminating);
  });

  it('keeps labels to the letter, also those that are named as what every object has', () => {
    const labels: unknown = JSON.parse('{"team":"a","__proto__":"b","constructor":"c"}');
    const trimmed = transformNamespace({ metadata: { ...metadata, labels } })?.labels;
    expect(JSON.stringify(trimmed)).toBe('{"team":"a","__proto__":"b","constructor":"c"}');
  });

  it.each([
    { metadata: { ...metadata, labels: { team: 5 } } },
    { metadata: { ...metadata, labels: 'team=a' } },
    { metadata: { ...metadata, deletionTimestamp: true } },
    { metadata, status: 'Active' },
    { metadata, status: { phase: 1 } },
  ])('throws at %j: what cannot be read is not empty', (value) => {
    expect(() => transformNamespace(value)).toThrow('expected');
  });
});

describe('trimCertificateSecret', () => {
  const authority = createCertificateAuthority();
  const issue = () => authority.issue({ commonName: 'client', hosts: [], usage: 'client' });
  const { certPem: certificate, keyPem: key } = issue();
  const secret = (data: Readonly<Record<string, string>>, type = 'kubernetes.io/tls') => ({
    metadata,
    type,
    data: Object.fromEntries(
      Object.entries(data).map(([name, text]) => [name, Buffer.from(text).toString('base64')]),
    ),
  });

  it('keeps a certificate, with its chain, and the key that belongs to it', () => {
    const chain = certificate + authority.certPem;
    expect(transformCertificateSecret(secret({ 'tls.crt': chain, 'tls.key': key, 'ca.crt': 'x' }))).toEqual({
      ...identity,
      pair: { ok: true, value: { certificate: chain, key } },
    });
  });

  it.each<[string, Readonly<Record<string, string>>]>([
    ['has no tls.crt', { 'tls.key': key }],
    ['has no tls.crt', { 'tls.crt': '', 'tls.key': key }],
    ['has no tls.key', { 'tls.crt': certificate }],
    ['contains no PEM certificate', { 'tls.crt': 'x', 'tls.key': key }],
    ['contains no PEM certificate', { 'tls.crt': key, 'tls.key': key }],
    ['contains no unencrypted PEM key', { 'tls.crt': certificate, 'tls.key': certificate }],
    [
      'contains a key that does not match its certificate',
      { 'tls.crt': certificate, 'tls.key': issue().keyPem },
    ],
    [
      // The first of a chain is the one that is shown.
      'contains a key that does not match its certificate',
      { 'tls.crt': authority.certPem + certificate, 'tls.key': key },
    ],
  ])('%s', (message, data) => {
    expect(transformCertificateSecret(secret(data))?.pair).toEqual({ ok: false, message });
  });

  it('gives nothing for a Secret of another type', () => {
    for (const type of ['Opaque', 'helm.sh/release.v1', '']) {
      expect(
        transformCertificateSecret(secret({ 'tls.crt': certificate, 'tls.key': key }, type)),
      ).toBeUndefined();
    }
  });
});
