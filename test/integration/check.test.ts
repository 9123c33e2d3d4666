import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { CUSTOM_RESOURCES, customResourceDefinition, GATEWAY_CONNECTION } from '../../src/api/crd.ts';
import { GROUP } from '../../src/api/group.ts';
import { builtInCatalog } from '../../src/catalog.ts';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { permissionsOf } from '../support/catalog.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import { connectionPath, createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const VIEWER_KEY = 'may-only-read-0123456789';

interface Finding {
  readonly name: string;
  readonly ok: boolean;
  readonly message: string;
  readonly remedy?: string;
}

interface Crd {
  spec: {
    versions: {
      schema: { openAPIV3Schema: { properties: { spec: { properties: Record<string, unknown> } } } };
    }[];
  };
}

describe('check', () => {
  let cluster: ControlPlane;
  let namespace: string;
  let kubeconfig: string;
  let gateway: StandIn;
  let work: Workload;

  const json = async () => {
    const args = ['check', '-o', 'json', '--namespace', namespace, '--kubeconfig', kubeconfig];
    const { code, stdout, stderr } = await runProgram(args);
    expect(stderr).toBe('');
    const { ok, checks } = JSON.parse(stdout) as {
      readonly ok: boolean;
      readonly checks: readonly Finding[];
    };
    expect(code).toBe(ok ? 0 : 1);
    return checks;
  };
  const failures = async () => (await json()).filter(({ ok }) => !ok);
  const connect = (name: string, adminUrl: string, secret: string) =>
    work.connection(name, { adminUrl, secret });

  beforeAll(async () => {
    // A separate control plane, because the test breaks the CRDs.
    cluster = await startControlPlane();
    await installCrds(cluster);
    namespace = await cluster.newNamespace('operator');
    const token = await installRbac(cluster, namespace);
    kubeconfig = await cluster.kubeconfigFor({ name: 'check', token, namespace });
    gateway = await startStandIn({ viewerKey: VIEWER_KEY });
    work = createWorkload(cluster, namespace);
    await writeSecret(cluster, namespace, 'gateway', { 'admin-key': gateway.adminKey });
    await writeSecret(cluster, namespace, 'viewer', { 'admin-key': VIEWER_KEY });
    await writeSecret(cluster, namespace, 'wrong', { 'admin-key': 'not-the-key-0123456789' });
  });

  afterAll(async () => {
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.close();
  });

  it('passes for a working installation, with the permissions of the operator', async () => {
    await connect('main', gateway.adminUrl, 'gateway');
    const before = gateway.ids('upstreams');
    const checks = await json();
    expect(checks.filter(({ ok }) => !ok)).toEqual([]);
    expect(checks.map(({ name }) => name.replace(/ to .*/, ''))).toEqual([
      'API server',
      'credentials',
      ...permissionsOf({ namespace }).map(() => 'permission'),
      ...CUSTOM_RESOURCES.map(({ plural }) => `CRD ${plural}.${GROUP}`),
      ...['settings', 'gateway', 'key'].map((part) => `GatewayConnection main, ${part}`),
      'leader',
      'GatewayUpstreams',
    ]);
    expect(checks.find(({ name }) => name === 'leader')?.message).toBe(
      `no replica is the leader (Lease ${namespace}/gateway-upstream-operator)`,
    );
    expect(checks.find(({ name }) => name === 'API server')?.message).toMatch(/^reachable, Kubernetes v1\./);
    expect(checks.find(({ name }) => name === 'credentials')?.message).toContain(
      `system:serviceaccount:${namespace}:`,
    );
    expect(checks.find(({ name }) => name.endsWith(', gateway'))?.message).toBe('reachable, APISIX 3.18.0');
    expect(gateway.ids('upstreams')).toEqual(before);
    await work.remove(connectionPath('main'));
  });

  it('prints one line per check, with its remedy', async () => {
    await connect('main', gateway.adminUrl, 'wrong');
    const { code, stdout } = await runProgram([
      ...['check', '--namespace', namespace, '--kubeconfig', kubeconfig],
    ]);
    expect(code).toBe(1);
    const lines = stdout.trimEnd().split('\n');
    expect(lines.at(-1)).toBe(`1 of ${lines.length - 1} checks failed.`);
    expect(lines.filter((line) => !line.startsWith('ok    ')).slice(0, -1)).toEqual([
      'FAIL  GatewayConnection main, key: The gateway rejected the admin key (401, wrong apikey). Remedy: Correct the key in the Secret of spec.apisix.adminKeySecretRef in the GatewayConnection.',
    ]);
    await work.remove(connectionPath('main'));
  });

  it.each<[string, () => Promise<void>, string, string, string]>([
    [
      'a key that may only read',
      () => connect('main', gateway.adminUrl, 'viewer'),
      'GatewayConnection main, key',
      'The gateway rejected the admin key (401, invalid method for role viewer)',
      'Use a key with role admin.',
    ],
    [
      'a Secret that is not there',
      () => connect('main', gateway.adminUrl, 'missing'),
      'GatewayConnection main, settings',
      '/missing does not exist',
      'Create what is missing, or correct',
    ],
    [
      'a gateway that is not there',
      () => connect('main', 'http://127.0.0.1:1', 'gateway'),
      'GatewayConnection main, gateway',
      'http://127.0.0.1:1 refused the connection',
      'Check that the server runs and that the port is correct.',
    ],
    [
      'an address that the gateway does not let in',
      async () => {
        gateway.addFault({
          fault: { kind: 'answer', status: 403, body: '<html>', contentType: 'text/html' },
          times: 1,
        });
        await connect('main', gateway.adminUrl, 'gateway');
      },
      'GatewayConnection main, key',
      'The gateway rejected the address of the operator (403)',
      'Add it to deployment.admin.allow_admin in the configuration of APISIX.',
    ],
  ])('reports %s', async (_, arrange, name, message, remedy) => {
    await arrange();
    const found = await failures();
    await work.remove(connectionPath('main'));
    expect(found).toEqual([
      {
        name,
        ok: false,
        message: expect.stringContaining(message),
        remedy: expect.stringContaining(remedy),
      },
    ]);
  });

  describe('for an object that no operator has processed', () => {
    const leases = () => `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
    const name = () => `GatewayUpstream ${namespace}/new`;
    const configFor = async (namespaces: readonly string[]) => {
      const path = join(cluster.dir, 'check.yaml');
      await writeFile(path, JSON.stringify({ namespaces, operatorNamespace: namespace }));
      return path;
    };
    /** The output of `check` for the object with these credentials. */
    const saidBy = async (credentials: string, namespaces: readonly string[] = []) => {
      const { stdout } = await runProgram([
        ...['check', '-o', 'json', '--kubeconfig', credentials, '--config', await configFor(namespaces)],
      ]);
      const { checks } = JSON.parse(stdout) as { readonly checks: readonly Finding[] };
      return checks.filter((finding) => [name(), 'leader'].includes(finding.name));
    };
    const lease = async (holderIdentity: string, renewTime: Date) => {
      await work.create(leases(), {
        metadata: { name: 'gateway-upstream-operator' },
        spec: {
          holderIdentity,
          leaseDurationSeconds: 15,
          renewTime: renewTime.toISOString().replace('Z', '000Z'),
        },
      });
    };

    beforeAll(async () => {
      await work.upstream('new', { backends: [{ serviceRef: { name: 'web', port: 80 } }] });
    });
    afterAll(() => work.remove(work.upstreamPath('new')));
    afterEach(() => work.remove(`${leases()}/gateway-upstream-operator`));

    it('finds a status that says what to check', async () => {
      expect(await work.condition('new', 'Ready')).toMatchObject({
        status: 'Unknown',
        reason: 'Pending',
        message:
          'The operator has not processed this object yet. If this persists, ask the platform team to check that the operator is running, that one of its replicas holds the Lease, and that namespaces in its configuration is empty or lists this namespace',
      });
    });

    it('reports that there is no leader', async () => {
      expect(await saidBy(kubeconfig)).toEqual([
        {
          name: 'leader',
          ok: true,
          message: expect.stringMatching(/^no replica is the leader \(Lease /),
        },
        {
          name: name(),
          ok: false,
          message: 'no operator has processed it yet, and no replica is the leader',
          remedy: 'Start the operator.',
        },
      ]);
    });

    it('names the leader', async () => {
      await lease('pod-1', new Date());
      expect(await saidBy(kubeconfig)).toEqual([
        { name: 'leader', ok: true, message: `pod-1 (Lease ${namespace}/gateway-upstream-operator)` },
        {
          name: name(),
          ok: false,
          message: 'no operator has processed it yet',
          remedy: 'Check the log of the leader, pod-1.',
        },
      ]);
    });

    it('reports a leader that does not renew its Lease', async () => {
      await lease('pod-1', new Date('2026-01-01T00:00:00Z'));
      expect(await saidBy(kubeconfig)).toEqual([
        {
          name: 'leader',
          ok: false,
          message: `pod-1 holds Lease ${namespace}/gateway-upstream-operator but has not renewed it since 2026-01-01T00:00:00.000000Z`,
          remedy: 'Check that the operator is running.',
        },
        {
          name: name(),
          ok: false,
          message: expect.stringContaining('no replica is the leader'),
          remedy: 'Start the operator.',
        },
      ]);
    });

    it('reports a namespace that the operator does not watch, if the user may list it', async () => {
      await lease('pod-1', new Date());
      expect((await saidBy(cluster.kubeconfig, ['other'])).at(-1)).toEqual({
        name: name(),
        ok: false,
        message: `no operator has processed it yet, and this operator does not watch namespace ${namespace}`,
        remedy: expect.stringMatching(/^Add the namespace to namespaces in the configuration .*\.$/),
      });
      // An operator with permissions only in its namespaces does not see the object.
      const own = await cluster.newNamespace('followed');
      const token = await installRbac(cluster, namespace, [own]);
      const narrow = await cluster.kubeconfigFor({ name: 'narrow', token, namespace });
      expect((await saidBy(narrow, [own])).map((finding) => finding.name)).toEqual(['leader']);
      await installRbac(cluster, namespace);
      // Another operator processes this object.
      await cluster.request('PATCH', `${work.upstreamPath('new')}/status`, {
        status: {
          conditions: [
            {
              type: 'Ready',
              status: 'True',
              reason: 'Ready',
              message: 'm',
              lastTransitionTime: '2026-01-01T00:00:00Z',
            },
          ],
        },
      });
      expect((await saidBy(cluster.kubeconfig, ['other'])).map((finding) => finding.name)).toEqual([
        'leader',
      ]);
    });
  });

  it('checks each gateway independently', async () => {
    await connect('good', gateway.adminUrl, 'gateway');
    await connect('bad', 'http://127.0.0.1:1', 'gateway');
    expect((await failures()).map(({ name }) => name)).toEqual(['GatewayConnection bad, gateway']);
    await work.remove(connectionPath('good'));
    await work.remove(connectionPath('bad'));
  });

  describe('for the CRDs', () => {
    const path = `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${GATEWAY_CONNECTION.plural}.${GROUP}`;
    const name = `CRD ${GATEWAY_CONNECTION.plural}.${GROUP}`;
    const connectionResource = builtInCatalog.customResources.find(
      ({ kind }) => kind === 'GatewayConnection',
    );
    if (connectionResource === undefined) throw new Error('no GatewayConnection');
    /** Serves a schema that differs from the operator's. */
    const serve = async (change: (properties: Record<string, unknown>) => void) => {
      const crd = structuredClone(
        JSON.parse(JSON.stringify(customResourceDefinition(connectionResource))),
      ) as Crd;
      const properties = crd.spec.versions[0]?.schema.openAPIV3Schema.properties.spec.properties;
      if (properties === undefined) throw new Error('the CRD has no spec');
      change(properties);
      await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', '-'], {
        input: stringify(crd, { aliasDuplicateObjects: false }),
      });
    };
    // The API server publishes a new schema a moment after it accepts it.
    const says = (message: string, remedy: string) =>
      eventually(
        async () =>
          expect(await failures()).toEqual([
            { name, ok: false, message: expect.stringContaining(message), remedy },
          ]),
        { timeoutMs: 60_000 },
      );
    const INSTALL = 'Run gateway-upstream-operator install --crds-only.';

    it('reports an older, newer, changed or missing CRD, and passes after install', async () => {
      await serve((properties) => {
        delete properties['limits'];
      });
      await says('older than this version of the operator: spec.limits missing', INSTALL);
      await serve((properties) => {
        properties['color'] = { type: 'string' };
      });
      await says(
        'newer than this version of the operator: spec.color unknown',
        'Run the version of the operator that installed the CRD.',
      );
      await serve((properties) => {
        properties['type'] = { type: 'string' };
      });
      await says('older than this version of the operator: spec.type=APISIX missing', INSTALL);
      await serve((properties) => {
        properties['idPrefix'] = { type: 'string', default: '' };
      });
      await says('different from this version of the operator: spec.idPrefix', INSTALL);
      await cluster.kubectl(['delete', '--wait', 'crd', `${GATEWAY_CONNECTION.plural}.${GROUP}`]);
      expect(await work.get(path)).toBeUndefined();
      await eventually(
        async () => {
          expect(await failures()).toContainEqual({
            name,
            ok: false,
            message: 'not installed',
            remedy: INSTALL,
          });
        },
        { timeoutMs: 60_000 },
      );
      const installed = await runProgram(['install', '--crds-only', '--kubeconfig', cluster.kubeconfig]);
      expect(installed.code).toBe(0);
      await eventually(async () => expect(await failures()).toEqual([]), { timeoutMs: 60_000 });
    });
  });
});
