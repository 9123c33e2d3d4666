import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Admitted } from '../../../../src/cli/plan/admit.ts';
import { parseDocuments, readDocument, readFiles } from '../../../../src/cli/plan/read-files.ts';
import { admit, storesOf } from '../../../support/catalog.ts';

const NOW = Date.parse('2026-01-02T03:04:05Z');
const UPSTREAM = `apiVersion: gatewayupstream.dev/v1alpha1
kind: GatewayUpstream
metadata: {name: web}
spec:
  backends: [{serviceRef: {name: web, port: http}}]
`;
const SERVICE = `apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: http, port: 80}]}
`;

/** Nine levels of nine aliases each expand to 3 billion values. */
const aliasBomb = ['a: &a [x, x, x, x, x, x, x, x, x]']
  .concat(
    [...'bcdefghij'].map((name, index) => {
      const before = [...'abcdefghi'][index];
      return `${name}: &${name} [${Array.from({ length: 9 }, () => `*${before}`).join(', ')}]`;
    }),
  )
  .join('\n');

const admitted = (...texts: readonly string[]): Admitted =>
  admit(
    texts.flatMap((text, index) => parseDocuments(text, `${index + 1}.yaml`)),
    NOW,
  );

function rejection(...texts: readonly string[]): string {
  try {
    admitted(...texts);
  } catch (error) {
    if (error instanceof Error) return error.message;
    throw error;
  }
  return '';
}

describe('reading files', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'plan-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  it('reads files and standard input in order, document by document', async () => {
    const file = join(directory, 'two.yaml');
    await writeFile(file, 'a: 1\n---\n# nothing\n---\nb: yes\n');
    expect(await readFiles([file, '-'], Readable.from(['{"c":\t2}']))).toEqual([
      { where: `${file}, document 1`, value: { a: 1 } },
      { where: `${file}, document 3`, value: { b: true } },
      { where: 'standard input, document 1', value: { c: 2 } },
    ]);
  });

  it('names a missing file and a file with more than one document', async () => {
    const missing = join(directory, 'missing');
    await expect(readFiles([missing], Readable.from([]))).rejects.toThrow(
      `${missing} cannot be read: ENOENT`,
    );
    const file = join(directory, 'several.yaml');
    await writeFile(file, 'a: 1\n---\nb: 2\n');
    await expect(readDocument(file)).rejects.toThrow(
      `${file} contains several documents: expected exactly one`,
    );
    await writeFile(file, '');
    await expect(readDocument(file)).rejects.toThrow(`${file} contains no document: expected exactly one`);
  });

  it.each([
    ['a: 1\n---\na: [\n', 'x, document 2 is not valid YAML: '],
    ['a: 1\na: 2\n', 'x, document 1 is not valid YAML: Map keys must be unique at line 2, column 1'],
    ['a: *nobody\n', 'x, document 1 is not valid YAML: Unresolved alias'],
  ])('rejects %j', (content, message) => {
    expect(() => parseDocuments(content, 'x')).toThrow(message);
  });

  it.each([
    ['YAML', `a: ${'['.repeat(3000)}${']'.repeat(3000)}`],
    ['YAML that the parser still reads', `a: ${'['.repeat(150)}${']'.repeat(150)}`],
    ['JSON', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`],
    ['a mapping that contains itself', 'a: &a { b: *a }'],
  ])('rejects a file that is nested too deeply with a one-line message: %s', (_, content) => {
    expect(() => parseDocuments(content, 'x')).toThrow(
      /^x, document 1 is nested more than 100 levels deep, which is not supported$/,
    );
  });

  it('accepts the nesting of a CustomResourceDefinition', () => {
    const content = `a: ${'['.repeat(90)}${']'.repeat(90)}`;
    expect(parseDocuments(content, 'x')).toHaveLength(1);
  });

  it('rejects a file with too many aliases with a one-line message', () => {
    expect(() => parseDocuments(aliasBomb, 'x')).toThrow(
      /^x, document 1 is not valid YAML: Excessive alias count indicates a resource exhaustion attack$/,
    );
  });

  it('rejects invalid YAML without quoting the content', () => {
    for (const content of ['data: {key: "hush\n', 'data:\n  key: hush: hush\n', '{"data": {"key": "hush"}']) {
      expect(() => parseDocuments(content, 'x')).toThrow(/^x, document 1 is not valid YAML: (?!.*hush)/s);
    }
  });

  it('reads timestamps and numbers with colons as strings, as kubectl does', () => {
    const [document] = parseDocuments('a: 2026-01-01T00:00:00Z\nb: 12:30:45\n', 'x');
    expect(document?.value).toEqual({ a: '2026-01-01T00:00:00Z', b: '12:30:45' });
  });
});

describe('admit', () => {
  it('applies the defaults of an API server', () => {
    const { upstreams, services } = storesOf(admitted(UPSTREAM, SERVICE).objects);
    expect(services.get('default', 'web')?.ports).toEqual([{ name: 'http', port: 80, protocol: 'TCP' }]);
    expect(upstreams.get('default', 'web')).toMatchObject({
      creationTimestamp: '2026-01-02T03:04:05Z',
      generation: 1,
      connection: 'default',
      spec: { ok: true, value: { syncPolicy: 'Sync', backends: [{ weight: 1 }] } },
    });
  });

  it('keeps the fields that an API server has set', () => {
    const object = {
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstream',
      metadata: { name: 'web', namespace: 'shop', uid: 'u', generation: 3, creationTimestamp: null },
      spec: { backends: [{ addresses: [{ host: 'a.example', port: 80 }] }], retries: null },
      status: { upstreamCreateTime: '2026-01-01T00:00:00Z' },
    };
    const { upstreams } = storesOf(admitted(JSON.stringify(object)).objects);
    expect(upstreams.get('shop', 'web')).toMatchObject({
      uid: 'u',
      generation: 3,
      creationTimestamp: '2026-01-02T03:04:05Z',
      status: { upstreamCreateTime: '2026-01-01T00:00:00Z' },
    });
    expect(upstreams.get('shop', 'web')?.spec).not.toHaveProperty('value.retries');
  });

  it('accepts items of a List and of a typed list', () => {
    const list = {
      apiVersion: 'v1',
      kind: 'List',
      items: [
        { apiVersion: 'v1', kind: 'ServiceList', items: [{ metadata: { name: 'web' }, spec: {} }] },
        { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop', labels: { team: 'a' } } },
      ],
    };
    const { services, namespaces } = storesOf(admitted(JSON.stringify(list)).objects);
    expect(services.get('default', 'web')).toBeDefined();
    expect(namespaces.get('', 'shop')?.labels).toEqual({ team: 'a' });
    const broken = JSON.stringify({ ...list, items: [list.items[1], { kind: 'Service' }] });
    expect(rejection(broken)).toBe(
      '1.yaml, document 1, item 2 is not a Kubernetes object: add apiVersion, kind and metadata',
    );
  });

  it('accepts a Secret with stringData', () => {
    const secret = 'apiVersion: v1\nkind: Secret\nmetadata: {name: k}\ndata: {a: eA==}\nstringData: {b: z}\n';
    expect(storesOf(admitted(secret).objects).secrets.get('default', 'k')?.data).toEqual({ a: 'x', b: 'z' });
  });

  it('mirrors Endpoints', () => {
    const byHand = `apiVersion: v1
kind: Endpoints
metadata: {name: web}
subsets: [{addresses: [{ip: 192.0.2.1}], ports: [{name: http, port: 8080}]}]
`;
    const { slices } = storesOf(admitted(SERVICE, byHand).objects);
    expect(slices.byIndex('service', 'default/web')).toHaveLength(1);
  });

  it('counts objects of ignored kinds', () => {
    const other = 'apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n';
    expect([...admitted(`${other}---\n${other}`, SERVICE).ignored]).toEqual([['apps/v1 Deployment', 2]]);
  });

  it.each<[string, readonly string[], string]>([
    ['a document without a kind', ['a: 1'], '1.yaml, document 1 is not a Kubernetes object'],
    ['a list', ['- 1'], '1.yaml, document 1 is not a Kubernetes object'],
    [
      'an object without a name',
      [SERVICE.replace('name: web', '')],
      'Service default/(no name): metadata.name is missing',
    ],
    [
      'an invalid name',
      [SERVICE.replace('name: web', 'name: Web')],
      'Service default/Web: metadata.name must be',
    ],
    [
      'an invalid namespace',
      [SERVICE.replace('name: web', 'name: web, namespace: A')],
      'metadata.namespace must be',
    ],
    ['an invalid port', [SERVICE.replace('port: 80', 'port: 0')], 'Service default/web: spec.ports.0.port: '],
    [
      'a duplicate object',
      [SERVICE, SERVICE],
      '2.yaml, document 1, Service default/web: duplicate of the object in 1.yaml, document 1',
    ],
    [
      'an unknown version of a custom resource',
      [UPSTREAM.replace('v1alpha1', 'v1')],
      'unknown kind gatewayupstream.dev/v1 GatewayUpstream',
    ],
    [
      'an object that violates a rule',
      [UPSTREAM.replace('port: http', 'port: 0')],
      '1.yaml, document 1, GatewayUpstream default/web: spec.backends.0.serviceRef.port: port must be the number',
    ],
    [
      'an unknown field',
      [UPSTREAM.replace('port: http', 'port: http, prot: 1')],
      'spec.backends.0.serviceRef.prot: unknown field',
    ],
  ])('rejects %s and names the position', (_, texts, message) => {
    expect(rejection(...texts)).toContain(message);
  });

  it('reports all invalid objects at once', () => {
    const message = rejection(
      UPSTREAM.replace('port: http', 'port: 0'),
      SERVICE.replace('port: 80', 'port: 0'),
    );
    expect(message.split('\n')).toHaveLength(2);
  });

  it('rejects an invalid Secret without quoting its content', () => {
    const secret = 'apiVersion: v1\nkind: Secret\nmetadata: {name: K}\ndata: {a: [hush]}\n';
    expect(rejection(secret)).toContain('Secret default/K: data.a');
    expect(rejection(secret)).not.toContain('hush');
  });
});
