import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { runBlock } from '../support/doc-shell.ts';
import { MAIN } from '../support/main.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { createWorkload, writeSecret } from '../support/workload.ts';

const NAMESPACE = 'gateway-upstream-system';

/** All shell blocks of a page of `docs/`, in order, with their headings. */
function commands(page: string): readonly { readonly heading: string; readonly script: string }[] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  let heading = '';
  return [...text.matchAll(/^## ([^\n]+)$|^```sh\n(.*?)^```$/gms)].flatMap(([, title, script]) => {
    if (title !== undefined) heading = title;
    return script === undefined ? [] : [{ heading, script }];
  });
}

describe('docs/moving-over.md', () => {
  const blocks = commands('moving-over.md');
  let cluster: ControlPlane;
  let gateway: StandIn;
  let operator: Operator;
  let programs: string;

  beforeAll(async () => {
    // A separate control plane, because the page uses fixed names: namespace and connection `default`.
    cluster = await startControlPlane();
    programs = await mkdtemp(join(tmpdir(), 'gateway-upstream-operator-docs-'));
    await symlink(cluster.binaries.kubectl, join(programs, 'kubectl'));
    const script = `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`;
    await writeFile(join(programs, 'gateway-upstream-operator'), script, { mode: 0o755 });
    gateway = await startStandIn();
    await installCrds(cluster);
    await cluster.kubectl(['create', 'namespace', NAMESPACE]);
    operator = await startOperator(cluster, NAMESPACE, await installRbac(cluster, NAMESPACE));
    await writeSecret(cluster, NAMESPACE, 'apisix-admin', { 'admin-key': gateway.adminKey });
    const work = createWorkload(cluster, 'default');
    await work.connection('default', { adminUrl: gateway.adminUrl, secret: 'apisix-admin' });

    await work.service('httpbin', [{ name: 'http', port: 8000 }]);
    await work.endpoints('httpbin', ['10.5.10.111']);
    // A Service without a selector, with Endpoints written by hand.
    await work.service('plat-dev', [{ name: 'port', port: 3306 }]);
    await work.create('/api/v1/namespaces/default/endpoints', {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'plat-dev' },
      subsets: [
        {
          addresses: [{ ip: '10.5.10.109' }, { ip: '10.5.10.110' }],
          ports: [{ name: 'port', port: 3306 }],
        },
      ],
    });
    await admin('upstreams/plat-dev', {
      service_name: 'default/plat-dev:port',
      discovery_type: 'kubernetes',
      type: 'roundrobin',
    });
    await admin('routes/r1', { uri: '/plat', upstream_id: 'plat-dev' });
    await admin('upstreams/shop-api', {
      type: 'roundrobin',
      nodes: { '10.5.10.111:8080': 1 },
      retries: 1,
    });
    await admin('routes/r2', { uri: '/shop', upstream_id: 'shop-api' });
    await operator.ready();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await rm(programs, { recursive: true, force: true });
  });

  async function admin(path: string, body: object): Promise<void> {
    const response = await fetch(`${gateway.adminUrl}/apisix/admin/${path}`, {
      method: 'PUT',
      headers: { 'X-API-KEY': gateway.adminKey },
      body: JSON.stringify(body),
    });
    expect(response.ok).toBe(true);
  }

  it('has commands for each way of migration', () => {
    expect(new Set(blocks.map(({ heading }) => heading)).size).toBe(3);
    expect(blocks).toHaveLength(10);
  });

  it.each(blocks.map(({ heading, script }, index) => [`${index + 1}, ${heading}`, script]))(
    'block %s',
    async (_, script) => {
      const stdout = await runBlock(script, { programs, cluster, gateway, cwd: programs });
      expect(stdout).not.toBe('');
    },
  );

  it('shows the printed object', async () => {
    const printed = await readFile(join(programs, 'take-over.yaml'), 'utf8');
    const page = readFileSync(new URL('../../docs/moving-over.md', import.meta.url), 'utf8');
    expect(page).toContain(`\`\`\`yaml\n${printed}\`\`\``);
  });

  it('leaves routes that refer to the new upstreams, and removes the old ones', () => {
    expect(gateway.get('routes', 'r1')).toMatchObject({ upstream_id: 'default.plat-dev' });
    expect(gateway.get('routes', 'httpbin')).toMatchObject({ upstream_id: 'default.httpbin' });
    expect(gateway.ids('upstreams')).toEqual(['default.httpbin', 'default.plat-dev', 'shop-api']);
    expect(gateway.get('routes', 'r2')).toMatchObject({ upstream_id: 'shop-api' });
    expect(gateway.get('upstreams', 'shop-api')).toMatchObject({
      nodes: [{ host: '10.5.10.111', port: 8080, weight: 1 }],
      retries: 1,
      labels: { 'gatewayupstream.dev/name': 'shop-api' },
    });
    expect(gateway.get('upstreams', 'default.plat-dev')?.['nodes']).toEqual([
      { host: '10.5.10.109', port: 3306, weight: 1 },
      { host: '10.5.10.110', port: 3306, weight: 1 },
    ]);
    expect(gateway.get('upstreams', 'default.httpbin')).toMatchObject({
      type: 'chash',
      pass_host: 'rewrite',
      upstream_host: 'httpbin.example.com',
    });
  });
});
