import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { customResourceDefinition } from '../../src/api/crd.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { capabilities } from '../../src/gateways/apisix/capabilities.ts';
import { toAdmin } from '../../src/gateways/apisix/translate.ts';
import type { Upstream } from '../../src/model/upstream.ts';
import { isObject, objectIn } from '../../src/runtime/json.ts';

const page = readFileSync(new URL('../../docs/apisix-fields.md', import.meta.url), 'utf8');
const rows = page.split('\n').filter((line) => line.startsWith('| `'));
const codeIn = (cell: string | undefined) =>
  [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, code = '']) => code);
const cellsOf = (row: string) => row.split('|').map((cell) => cell.trim());

/** All paths in the definition. `[]` stands for the items of a list. */
function pathsOf(schema: unknown, path: string): readonly string[] {
  const { properties, items } = objectIn(schema);
  return [
    path,
    ...(items === undefined ? [] : pathsOf(items, `${path}[]`)),
    ...Object.entries(objectIn(properties)).flatMap(([name, part]) => pathsOf(part, `${path}.${name}`)),
  ];
}

function leavesOf(value: unknown, path: string): readonly string[] {
  if (Array.isArray(value)) return isObject(value[0]) ? leavesOf(value[0], `${path}[]`) : [path];
  if (!isObject(value) || path === 'labels') return [path];
  return Object.entries(value).flatMap(([name, part]) =>
    leavesOf(part, path === '' ? name : `${path}.${name}`),
  );
}

const failures = { statuses: [500], httpFailures: 5, tcpFailures: 2, timeouts: 3 };
/** Sets every field. */
const upstream: Required<Omit<Upstream, 'owner' | 'overrides'>> = {
  id: 'u',
  labels: { a: 'b' },
  nodes: [{ host: 'a', port: 1, weight: 1, priority: 1 }],
  scheme: 'HTTPS',
  loadBalancing: { type: 'ConsistentHash', hashOn: 'Vars', key: 'remote_addr' },
  timeouts: { connectMs: 1, sendMs: 1, readMs: 1 },
  retries: 1,
  retryTimeoutMs: 1,
  hostHeader: { type: 'Rewrite', value: 'a' },
  keepalive: { size: 1, idleTimeoutMs: 1, requests: 1 },
  healthCheck: {
    active: {
      type: 'HTTP',
      timeoutMs: 1,
      concurrency: 1,
      method: 'GET',
      path: '/',
      body: '',
      host: 'a',
      port: 1,
      headers: ['A: b'],
      verifyCertificate: true,
      healthy: { intervalSeconds: 1, statuses: [200], successes: 1 },
      unhealthy: { intervalSeconds: 1, ...failures },
    },
    passive: { type: 'HTTP', healthy: { statuses: [200], successes: 1 }, unhealthy: failures },
  },
  tls: { verify: true, clientCertificate: { certificate: 'C', key: 'K' } },
  description: 'd',
};

describe('docs/apisix-fields.md', () => {
  it('has a row for every field that the operator writes', () => {
    const documented = new Set(rows.flatMap((row) => codeIn(cellsOf(row)[1])));
    expect(leavesOf(toAdmin(upstream), '').filter((path) => !documented.has(path))).toEqual([]);
  });

  it('names only existing fields of a GatewayUpstream', () => {
    const resource = builtInCatalog.customResources.find(({ kind }) => kind === 'GatewayUpstream');
    if (resource === undefined) throw new Error('no GatewayUpstream');
    const { versions } = objectIn(objectIn(customResourceDefinition(resource))['spec']);
    const [version] = versions as readonly unknown[];
    const { properties } = objectIn(objectIn(objectIn(version)['schema'])['openAPIV3Schema']);
    const known = new Set(pathsOf(objectIn(properties)['spec'], 'spec'));
    const named = rows.flatMap((row) => codeIn(cellsOf(row)[2])).filter((code) => code.startsWith('spec.'));
    expect(named.length).toBeGreaterThan(40);
    expect(named.filter((path) => !known.has(path))).toEqual([]);
  });

  it('lists every capability with its first version', () => {
    for (const { name, since } of capabilities({ version: '3.2.0' })) {
      expect(rows.filter((row) => row.startsWith(`| \`${name}\` | ${since} |`))).toHaveLength(1);
    }
  });
});
