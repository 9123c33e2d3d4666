import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { mintToken } from '../support/control-plane/mint-token.ts';
import { eventually } from '../support/eventually.ts';
import { APPLY_ERRORS, checkLine, FAULTS, type FaultStage } from '../support/fault-table.ts';
import { installReferenceGrants } from '../support/gateway-api.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import { createWorkload, writeSecret } from '../support/workload.ts';

const NAMESPACE = 'gateway-upstream-system';

/** Replaces values that differ between runs. */
function plain(text: string): string {
  return text
    .replaceAll(/127\.0\.0\.2:\d+/g, 'registry:8500')
    .replaceAll(/(https?):\/\/127\.0\.0\.1:\d+/g, '$1://gateway:9180')
    .replaceAll(/\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z/g, '2026-01-01T00:00:00Z');
}

describe('every fault names its cause and its remedy', () => {
  let cluster: ControlPlane;
  let operator: Operator;
  let kubeconfig: string;
  const gateways: StandIn[] = [];
  const registries: Server[] = [];
  let lines: readonly string[];

  const describeObject = async ([kind, name]: (typeof FAULTS)[number]['on']) => {
    const [namespace, short] = name.includes('/') ? name.split('/') : ['default', name];
    return plain(await cluster.kubectl(['describe', kind, short ?? '', '-n', namespace ?? '']));
  };
  const check = async (credentials = kubeconfig) => {
    const { stdout } = await runProgram(['check', '--namespace', NAMESPACE, '--kubeconfig', credentials]);
    return plain(stdout).trimEnd().split('\n');
  };

  beforeAll(async () => {
    // A separate control plane, because names are fixed and the tests remove CRDs and permissions.
    cluster = await startControlPlane();
    await installCrds(cluster);
    await installReferenceGrants(cluster, 'v1.6.0');
    for (const name of [NAMESPACE, 'shop', 'forbidden']) await cluster.kubectl(['create', 'namespace', name]);
    const token = await installRbac(cluster, NAMESPACE, [], { secretNamespaces: ['shop'] });
    kubeconfig = await cluster.kubeconfigFor({ name: 'check', token, namespace: NAMESPACE });
    operator = await startOperator(cluster, NAMESPACE, token, {
      requestTimeout: '2s',
      permissionCheckInterval: '1s',
      secretNamespaces: ['shop'],
    });
    const gateway = await startStandIn();
    gateways.push(gateway);
    const authority = createCertificateAuthority();
    const { keyPem: key, certPem: cert } = authority.issue({
      commonName: 'apisix',
      hosts: ['127.0.0.1'],
      usage: 'server',
    });
    const shop = createWorkload(cluster, 'shop');
    const stage: FaultStage = {
      gateway,
      shop,
      forbidden: createWorkload(cluster, 'forbidden'),
      otherAuthority: createCertificateAuthority().certPem,
      secret: (name, data) => writeSecret(cluster, NAMESPACE, name, data),
      async newGateway({ tls = false, version } = {}) {
        const another = await startStandIn({
          ...(tls ? { tls: { key, cert } } : {}),
          ...(version === undefined ? {} : { version }),
        });
        gateways.push(another);
        return another;
      },
      async newRegistry(status, headers, body) {
        const server = createServer((_, response) => response.writeHead(status, headers).end(body));
        registries.push(server);
        await once(server.listen(0, '127.0.0.2'), 'listening');
        return `http://127.0.0.2:${(server.address() as AddressInfo).port}`;
      },
    };
    await stage.secret('gateway', { 'admin-key': gateway.adminKey });
    await shop.connection('main', {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { allowedNamespaces: { names: ['shop'] } },
    });
    await operator.ready();
    for (const { arrange } of FAULTS) await arrange(stage);
    for (const { on, condition } of FAULTS) {
      await eventually(async () => {
        expect(await describeObject(on)).toMatch(new RegExp(`Reason: +${condition.reason}\\n`));
      });
    }
    lines = await check();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    for (const gateway of gateways) await gateway[Symbol.asyncDispose]();
    for (const registry of registries) {
      registry.closeAllConnections();
      registry.close();
    }
    await cluster?.[Symbol.asyncDispose]();
  });

  it.each(FAULTS)('$symptom', async (fault) => {
    const { on, condition, message } = fault;
    const described = await describeObject(on);
    const block = new RegExp(
      `Message: +(.*)\\n(?: +Observed Generation: .*\\n)? +Reason: +${condition.reason}\\n +Status: +${condition.status}\\n +Type: +${condition.type}\\n`,
    ).exec(described);
    expect(block?.[1]).toBe(message);
    const [kind, name] = on;
    const own = lines.filter((one) => one.includes(`${kind} ${name}`)).map((one) => one.slice(6));
    expect(own.map((one) => one.slice(`${kind} ${name}, `.length))).toContain(checkLine(fault));
  });

  it('prints every remedy of check as a sentence', () => {
    const remedies = lines.flatMap((line) => / Remedy: (.*)$/.exec(line)?.[1] ?? []);
    expect(remedies.length).toBeGreaterThanOrEqual(15);
    expect(remedies.filter((remedy) => !/^[A-Z][a-z]+ .*[^.?]\.$/.test(remedy))).toEqual([]);
    expect(
      lines.filter((line) => line.startsWith('FAIL  GatewayUpstream ') && line.includes(' Remedy: ')),
    ).toEqual([]);
  });

  it('has at least 25 errors', () => {
    expect(FAULTS.length).toBeGreaterThanOrEqual(25);
  });

  it.each(APPLY_ERRORS)('rejects at kubectl apply: $symptom', async ({ backend, message }) => {
    const input = JSON.stringify({
      apiVersion: 'gatewayupstream.dev/v1alpha1',
      kind: 'GatewayUpstream',
      metadata: { name: 'refused-at-once', namespace: 'shop' },
      spec: { backends: [backend] },
    });
    await expect(cluster.kubectl(['apply', '-f', '-'], { input })).rejects.toThrow(message);
  });

  it('reports an expired token of the operator', async () => {
    const account = `${NAMESPACE}/gateway-upstream-operator` as const;
    const token = await mintToken(cluster, account, Math.floor(Date.now() / 1000) - 3600);
    const expired = await cluster.kubeconfigFor({ name: 'expired', token, namespace: NAMESPACE });
    expect(await check(expired)).toContain(
      'FAIL  credentials: the API server rejected them (401): the token is wrong or expired, or its ServiceAccount was deleted. Remedy: Create a new token with gateway-upstream-operator install --out-of-cluster.',
    );
    await using another = await startOperator(cluster, NAMESPACE, token, { name: 'expired' });
    await eventually(async () => {
      const { status, text } = await another.readyz();
      expect(status).toBe(503);
      expect(text).toContain("the API server rejected the operator's credentials (401)");
    });
  });

  it('reports a missing permission', async () => {
    const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/gateway-upstream-operator';
    const { body } = await cluster.request('GET', role);
    const { rules } = body as { readonly rules: readonly { readonly resources: readonly string[] }[] };
    const less = rules.filter(({ resources }) => !resources.includes('endpointslices'));
    await cluster.request('PATCH', role, { rules: less });
    const lacks = 'ClusterRole gateway-upstream-operator lacks: ';
    await eventually(async () => {
      const described = await describeObject(['GatewayUpstream', 'shop/none-ready']);
      expect(described).toMatch(/Reason: +PermissionMissing\n/);
      expect(described).toContain(
        `${lacks}list endpointslices.discovery.k8s.io, watch endpointslices.discovery.k8s.io. Run \`gateway-upstream-operator install\``,
      );
    });
    const lines = await check();
    for (const verb of ['list', 'watch']) {
      expect(lines).toContain(
        `FAIL  permission to ${verb} endpointslices.discovery.k8s.io: ${lacks}${verb} endpointslices.discovery.k8s.io. Remedy: Run gateway-upstream-operator install or helm upgrade to restore it.`,
      );
    }
    await cluster.request('PATCH', role, { rules });
    await eventually(async () => {
      expect(await describeObject(['GatewayUpstream', 'shop/none-ready'])).not.toMatch(
        /Reason: +PermissionMissing\n/,
      );
    });
  });

  it('reports a CRD that is not installed', async () => {
    await operator.stop();
    const crd = 'gatewayconnections.gatewayupstream.dev';
    const { items } = JSON.parse(await cluster.kubectl(['get', 'gwc', '-o', 'json'])) as {
      readonly items: readonly { readonly metadata: { readonly name: string } }[];
    };
    for (const { metadata } of items) {
      await cluster.kubectl([
        ...['patch', 'gwc', metadata.name, '--type=merge', '-p', '{"metadata":{"finalizers":null}}'],
      ]);
    }
    await cluster.kubectl(['delete', '--wait', '--timeout=60s', 'crd', crd]);
    await eventually(
      async () => {
        expect(await check()).toContain(
          `FAIL  CRD ${crd}: not installed. Remedy: Run gateway-upstream-operator install --crds-only.`,
        );
      },
      { timeoutMs: 60_000 },
    );
  });
});
