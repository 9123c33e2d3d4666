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
const transforms = {
  transformGatewayConnection,
  transformGatewayUpstream,
  transformGatewayUpstreamSet,
  transformSecret,
};

describe.each(Object.entries({ ...transforms, transformNamespace, transformNode }))(
  '%s',
  (_name, transform) => {
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
    ])('returns undefined for %j', (value) => {
      expect(transform(value)).toBeUndefined();
    });
  },
);

describe.each(Object.entries(transforms))('%s', (_name, transform) => {
  it('never throws, and keeps the identity of every object that has one', () => {
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
        expect(transform(json)).toMatchObject(identity);
      }),
    );
  });
});

describe('transformGatewayUpstream', () => {
  const spec = { connectionRef: { name: 'edge' }, backends: [{ serviceRef: { name: 'web', port: 80 } }] };

  const labels = { 'gatewayupstream.dev/set': 'labeled' };
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
    ['its controller without a label', { ownerReferences: [owner()] }, { set: 'owner', uid: 'set-uid' }],
    ['its label', { labels }, { set: 'labeled', uid: undefined }],
    [
      'its label if its owner is not a controller',
      { labels, ownerReferences: [owner({ controller: false })] },
      { set: 'labeled' },
    ],
    ['nothing', {}, undefined],
    [
      'nothing if its controller has another kind',
      { labels, ownerReferences: [owner({ kind: 'Other' })] },
      undefined,
    ],
    [
      'nothing if its controller has another API group',
      { labels, ownerReferences: [owner({ apiVersion: 'other/v1' })] },
      undefined,
    ],
  ])('takes its set from %s', (_, extra, expected) => {
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

  it('reports an invalid spec, and keeps the connection and the deletion timestamp', () => {
    const object = transformGatewayUpstream({
      metadata: { ...metadata, deletionTimestamp: '2026-01-02T00:00:00Z' },
      spec: { ...spec, backends: 'all of them' },
    });
    expect(object?.spec).toEqual({ ok: false, message: expect.stringContaining('spec.backends') });
    expect(object?.connection).toBe('edge');
    expect(object?.deletionTimestamp).toBe('2026-01-02T00:00:00Z');
  });

  it.each([undefined, {}, { connectionRef: {} }, { connectionRef: { name: 7 } }])(
    'uses the default connection for spec %j',
    (value) => {
      expect(transformGatewayUpstream({ metadata, spec: value })?.connection).toBe('default');
    },
  );

  it('accepts a host without a dot, which only admission and HostPolicy reject', () => {
    // Objects from before this rule may have one. As an invalid spec, they would keep their nodes and could not be deleted.
    const backends = [{ addresses: [{ host: 'kubernetes', port: 443 }] }];
    expect(transformGatewayUpstream({ metadata, spec: { backends } })?.spec.ok).toBe(true);
  });

  it('limits the length of the message about an invalid spec, however many keys and problems it has', () => {
    const labels = Object.fromEntries(
      Array.from({ length: 200 }, (_, n) => [`${n}-${'k'.repeat(40_000)}`, 1]),
    );
    const object = transformGatewayUpstream({ metadata, spec: { ...spec, labels } });
    const message = object?.spec.ok === false ? object.spec.message : '';
    expect(message).toContain('spec.labels.0-kkk');
    expect(message.length).toBeLessThanOrEqual(4097);
  });

  it('rejects fields of a newer version, at any depth, and names them', () => {
    const backend = { serviceRef: { name: 'web', port: 'http', fieldOfANewerVersion: 1 } };
    const spec = { backends: [backend], another: { deep: true } };
    expect(transformGatewayUpstream({ metadata, spec })?.spec).toEqual({
      ok: false,
      message: 'spec.backends.0.serviceRef.fieldOfANewerVersion: unknown field; spec.another: unknown field',
    });
  });

  it('drops an invalid status', () => {
    const object = transformGatewayUpstream({ metadata, spec, status: { conditions: 'many' } });
    expect(object?.status).toBeUndefined();
  });
});

describe('apisix.overrides', () => {
  const specWith = (overrides: unknown) => ({
    backends: [{ serviceRef: { name: 'web', port: 80 } }],
    apisix: { overrides },
  });
  /** `levels` nested lists. */
  const lists = (levels: number): unknown => JSON.parse(`${'['.repeat(levels)}${']'.repeat(levels)}`);
  const maps = (levels: number): unknown => JSON.parse(`${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`);
  const problemOf = (overrides: unknown) => {
    const spec = transformGatewayUpstream({ metadata, spec: specWith(overrides) })?.spec;
    return spec?.ok === false ? spec.message : undefined;
  };

  it('may be nested 16 levels deep, including the top level', () => {
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
  ])('is dropped before the object is stored if it is nested too deep (%s)', (_, overrides) => {
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

  it('may have at most 32,768 characters as JSON', () => {
    const wide = (length: number) => ({ x: 'a'.repeat(length - '{"x":""}'.length) });
    expect(problemOf(wide(32_768))).toBeUndefined();
    expect(problemOf(wide(32_769))).toMatch(/at most 32768 characters as JSON: make the values smaller/);
  });

  it('may have at most 1,000 values', () => {
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
  ])('leads to a short message for %s', (_, overrides) => {
    const problem = problemOf(overrides);
    expect(problem).toContain('spec.apisix.overrides');
    expect(problem?.length).toBeLessThan(300);
  });

  it('has the same limits in the template of a set', () => {
    const { backends: _backends, ...template } = specWith({ x: lists(3000) });
    const set = transformGatewayUpstreamSet({
      metadata: { ...metadata, namespace: undefined },
      spec: { namespaceSelector: { all: true }, template: { spec: template } },
    });
    expect(set?.spec).toMatchObject({ ok: false, message: expect.stringContaining('16 levels deep') });
  });
});

describe('transformSecret', () => {
  it('decodes data and drops values that are not strings', () => {
    const data = { key: Buffer.from('größer').toString('base64'), odd: '***', number: 5, none: null };
    const secret = transformSecret({ metadata, data });
    expect(secret?.data['key']).toBe('größer');
    expect(Object.keys(secret?.data ?? {}).toSorted()).toEqual(['key', 'odd']);
  });

  it('treats __proto__ as an ordinary key', () => {
    const data: unknown = JSON.parse('{"__proto__":"YQ==","constructor":"Yg=="}');
    const secret = transformSecret({ metadata, data });
    expect(Object.entries(secret?.data ?? {})).toEqual([
      ['__proto__', 'a'],
      ['constructor', 'b'],
    ]);
    expect(Object.getPrototypeOf(secret?.data)).toBe(Object.prototype);
  });

  it('has empty data if the Secret has none', () => {
    expect(transformSecret({ metadata })?.data).toEqual({});
  });
});

describe('transformNode', () => {
  it.each([
    [undefined, false],
    [[], false],
    [[{ type: 'Ready', status: 'True' }], true],
    [[{ type: 'Ready', status: 'Unknown' }], false],
    [[{ type: 'DiskPressure', status: 'True' }], false],
  ])('reads conditions %j as ready %s', (conditions, ready) => {
    expect(transformNode({ metadata, status: { conditions } })?.ready).toBe(ready);
  });

  it('keeps addresses and labels, and drops fields that change with every heartbeat', () => {
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

describe('transformNamespace', () => {
  it.each([
    [{ metadata }, false],
    [{ metadata: { ...metadata, deletionTimestamp: null } }, false],
    [{ metadata: { ...metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } }, true],
    [{ metadata, status: { phase: 'Active' } }, false],
    [{ metadata, status: { phase: 'Terminating' } }, true],
  ])('reads %j as terminating %s', (value, terminating) => {
    expect(transformNamespace(value)?.terminating).toBe(terminating);
  });

  it('keeps all labels, including __proto__ and constructor', () => {
    const labels: unknown = JSON.parse('{"team":"a","__proto__":"b","constructor":"c"}');
    const kept = transformNamespace({ metadata: { ...metadata, labels } })?.labels;
    expect(JSON.stringify(kept)).toBe('{"team":"a","__proto__":"b","constructor":"c"}');
  });

  it.each([
    { metadata: { ...metadata, labels: { team: 5 } } },
    { metadata: { ...metadata, labels: 'team=a' } },
    { metadata: { ...metadata, deletionTimestamp: true } },
    { metadata, status: 'Active' },
    { metadata, status: { phase: 1 } },
  ])('throws for %j instead of treating it as empty', (value) => {
    expect(() => transformNamespace(value)).toThrow('expected a');
  });
});

describe('transformCertificateSecret', () => {
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

  it('keeps a certificate with its chain, and its key', () => {
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
      // A TLS client presents the first certificate of the chain.
      'contains a key that does not match its certificate',
      { 'tls.crt': authority.certPem + certificate, 'tls.key': key },
    ],
  ])('reports that the Secret %s', (message, data) => {
    expect(transformCertificateSecret(secret(data))?.pair).toEqual({ ok: false, message });
  });

  it('returns undefined for a Secret of another type', () => {
    for (const type of ['Opaque', 'helm.sh/release.v1', '']) {
      expect(
        transformCertificateSecret(secret({ 'tls.crt': certificate, 'tls.key': key }, type)),
      ).toBeUndefined();
    }
  });
});
