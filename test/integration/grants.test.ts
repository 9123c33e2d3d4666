import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { type ControlPlane, startControlPlane } from '../support/control-plane/control-plane.ts';
import { eventually } from '../support/eventually.ts';
import {
  installReferenceGrants,
  removeReferenceGrants,
  retireReferenceGrantsBeta,
  writeReferenceGrant,
} from '../support/gateway-api.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import { createWorkload, type Workload, writeSecret } from '../support/workload.ts';

/** The operator detects a new kind within 30 s. */
const APPEARS = { timeoutMs: 60_000 };
const RIGHTS = 'referencegrants.gateway.networking.k8s.io';

describe('references into another namespace', () => {
  let cluster: ControlPlane;
  let gateway: StandIn;
  let operatorNamespace: string;
  let token: string;
  let operator: Operator;
  let shop: Workload;
  let blog: Workload;

  const start = async (namespaces: readonly string[] = []) => {
    const started = await startOperator(cluster, operatorNamespace, token, {
      namespaces,
      permissionCheckInterval: '1s',
    });
    await started.ready();
    return started;
  };
  const idOf = (name: string) => `${shop.namespace}.${name}`;
  const hosts = (name: string) => hostsOf(gateway, idOf(name));
  const holds = (name: string, expected: readonly string[] | undefined, options = {}) =>
    eventually(() => expect(hosts(name)).toEqual(expected), options);
  const says = (name: string, type: string, status: string, reason: string, options = {}) =>
    eventually(async () => {
      const condition = await shop.condition(name, type);
      expect(condition).toMatchObject({ status, reason });
      return condition?.message ?? '';
    }, options);
  /** The hosts of each write to the gateway while `act` ran. */
  const writesOf = async (name: string, act: () => Promise<unknown>) => {
    const before = gateway.requests.length;
    await act();
    return gateway.requests
      .slice(before)
      .filter(({ method, path }) => method === 'PUT' && path.endsWith(`/${idOf(name)}`))
      .map(({ body }) =>
        (JSON.parse(body ?? '{}') as { readonly nodes: readonly { readonly host: string }[] }).nodes.map(
          ({ host }) => host,
        ),
      );
  };
  const toBlog = (name: string) => ({ serviceRef: { namespace: blog.namespace, name, port: 80 } });
  const grant = (name: string, version: 'v1' | 'v1beta1', service?: string) =>
    writeReferenceGrant(cluster, version, {
      namespace: blog.namespace,
      name,
      from: shop.namespace,
      ...(service === undefined ? {} : { service }),
    });
  const revoke = (name: string) =>
    cluster.kubectl(['-n', blog.namespace, 'delete', '--wait=true', RIGHTS, name]);
  const upstream = (name: string, ...backends: readonly object[]) =>
    shop.upstream(name, { connectionRef: { name: 'main' }, backends });
  const check = async () => {
    const kubeconfig = await cluster.kubeconfigFor({ name: 'check', token, namespace: operatorNamespace });
    const { stdout } = await runProgram([
      ...['check', '--namespace', operatorNamespace, '--kubeconfig', kubeconfig],
    ]);
    return stdout.split('\n');
  };

  beforeAll(async () => {
    // A separate control plane, because the test installs and removes a CRD.
    cluster = await startControlPlane();
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    shop = createWorkload(cluster, await cluster.newNamespace('shop'));
    blog = createWorkload(cluster, await cluster.newNamespace('blog'));
    await shop.connection('main', { adminUrl: gateway.adminUrl, secret: 'gateway' });
    await shop.service('own');
    await shop.endpoints('own', ['10.1.0.1']);
    for (const [name, addresses] of [
      ['web', ['10.2.0.1', '10.2.0.2', '10.2.0.3']],
      ['api', ['10.3.0.1']],
    ] as const) {
      await blog.service(name);
      await blog.endpoints(name, addresses);
    }
    operator = await start();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
  });

  it('are not permitted without the Gateway API, and the operator stays ready', async () => {
    await upstream('web', toBlog('web'));
    await upstream('spelled', { serviceName: `${blog.namespace}/web:http` });
    const message = await says('web', 'Ready', 'False', 'RefNotPermitted');
    expect(message).toContain('install the Gateway API CRDs, then create one in namespace');
    expect(await says('spelled', 'ResolvedRefs', 'False', 'RefNotPermitted')).toBe(message);
    expect(gateway.ids('upstreams')).toEqual([]);
    expect(await operator.readyz()).toMatchObject({ status: 200 });
    expect(operator.output()).not.toMatch(/"level":"(warn|error)"[^\n]*referencegrants/);
  });

  it('do not reveal whether a Service of another namespace exists', async () => {
    await upstream('nothing', toBlog('nothing'));
    await upstream('no-port', { serviceRef: { namespace: blog.namespace, name: 'web', port: 9 } });
    const web = await says('web', 'ResolvedRefs', 'False', 'RefNotPermitted');
    expect(await says('no-port', 'ResolvedRefs', 'False', 'RefNotPermitted')).toBe(web);
    const nothing = await says('nothing', 'ResolvedRefs', 'False', 'RefNotPermitted');
    expect(nothing.replaceAll('nothing', 'web')).toBe(web);
    const status = async (name: string) =>
      (await shop.get(shop.upstreamPath(name)))?.['status'] as { readonly endpoints?: object };
    expect((await status('nothing')).endpoints).toEqual((await status('web')).endpoints);
  });

  it('are resolved when the Gateway API is installed with a grant, served as v1beta1', async () => {
    await installReferenceGrants(cluster, 'v1.4.0');
    await grant('all', 'v1beta1');
    await says('web', 'Ready', 'True', 'Ready', APPEARS);
    await holds('web', ['10.2.0.1', '10.2.0.2', '10.2.0.3']);
    await holds('spelled', ['10.2.0.1', '10.2.0.2', '10.2.0.3']);
    // From now on, the watch reports changes.
    await says('nothing', 'ResolvedRefs', 'False', 'ServiceNotFound');
    await blog.endpoints('web', ['10.2.0.1', '10.2.0.4']);
    await holds('web', ['10.2.0.1', '10.2.0.4']);
  });

  it('lose their endpoints at once when the grant is limited to another Service', async () => {
    const writes = await writesOf('web', async () => {
      await grant('all', 'v1beta1', 'api');
      await says('web', 'Ready', 'False', 'RefNotPermitted');
    });
    expect(writes).toEqual([[]]);
    expect(await shop.condition('web', 'RemovalHeld')).toBeUndefined();
    const message = await says('web', 'ResolvedRefs', 'False', 'RefNotPermitted');
    // The remedy in the message is sufficient.
    const spec = /in namespace (\S+) with the spec (.*)$/.exec(message);
    const made = {
      apiVersion: 'gateway.networking.k8s.io/v1beta1',
      kind: 'ReferenceGrant',
      metadata: { name: 'as-told', namespace: spec?.[1] },
      spec: JSON.parse(spec?.[2] ?? '') as object,
    };
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify(made) });
    await holds('web', ['10.2.0.1', '10.2.0.4']);
    await says('web', 'Ready', 'True', 'Ready');
  });

  it('are permitted by the grant in the docs', async () => {
    await revoke('as-told');
    await holds('web', []);
    const docs = await readFile(new URL('../../docs/concepts.md', import.meta.url), 'utf8');
    const [, example = ''] = /```yaml\n([^`]*kind: ReferenceGrant[^`]*)```/.exec(docs) ?? [];
    const input = example
      .replace('namespace: blog', `namespace: ${blog.namespace}`)
      .replace('namespace: shop', `namespace: ${shop.namespace}`);
    await cluster.kubectl(['apply', '-f', '-'], { input });
    await holds('web', ['10.2.0.1', '10.2.0.4']);
  });

  it('are written for permitted backends, and the condition names the others', async () => {
    await grant('all', 'v1beta1', 'web');
    await upstream('several', { serviceRef: { name: 'own', port: 80 } }, toBlog('web'), {
      serviceName: `${blog.namespace}/api:http`,
    });
    await holds('several', ['10.1.0.1', '10.2.0.1', '10.2.0.4']);
    const message = await says('several', 'ResolvedRefs', 'False', 'RefNotPermitted');
    expect(message).toContain(`Service ${blog.namespace}/api is in another namespace`);
    expect(message).not.toContain(`${blog.namespace}/web`);
    expect(await shop.condition('several', 'Programmed')).toMatchObject({ status: 'True' });
    await grant('api', 'v1beta1', 'api');
    await says('several', 'Ready', 'True', 'Ready');
    await holds('several', ['10.1.0.1', '10.2.0.1', '10.2.0.4', '10.3.0.1']);
  });

  it('lose their endpoints at once, without the removal guard, when the grant is removed', async () => {
    await revoke('upstreams-of-shop');
    await revoke('api');
    await says('several', 'ResolvedRefs', 'False', 'RefNotPermitted');
    await holds('several', ['10.1.0.1', '10.2.0.1', '10.2.0.4']);
    const writes = await writesOf('several', async () => {
      await revoke('all');
      await holds('several', ['10.1.0.1']);
    });
    expect(writes).toEqual([['10.1.0.1']]);
    await holds('web', []);
    for (const name of ['web', 'several']) {
      expect(await shop.condition(name, 'RemovalHeld')).toBeUndefined();
    }
  });

  it('lose their endpoints if the grant was removed while the operator was stopped', async () => {
    await grant('all', 'v1beta1');
    await says('several', 'Ready', 'True', 'Ready');
    await operator.stop();
    await revoke('all');
    operator = await start();
    await holds('several', ['10.1.0.1']);
    await holds('web', []);
    expect(await shop.condition('several', 'RemovalHeld')).toBeUndefined();
    await grant('all', 'v1beta1');
    await says('several', 'Ready', 'True', 'Ready');
  });

  it('keep their endpoints when the Gateway API is upgraded, and when v1beta1 is removed', async () => {
    const writes = await writesOf('several', async () => {
      await installReferenceGrants(cluster, 'v1.6.0');
      await retireReferenceGrantsBeta(cluster);
      // The watch continues: a later change arrives.
      await grant('more', 'v1', 'api');
      await revoke('more');
      await blog.endpoints('api', ['10.3.0.2']);
      await holds('several', ['10.1.0.1', '10.2.0.1', '10.2.0.4', '10.3.0.2']);
    });
    expect(writes).toEqual([['10.1.0.1', '10.2.0.1', '10.2.0.4', '10.3.0.2']]);
    await grant('all', 'v1', 'web');
    await holds('several', ['10.1.0.1', '10.2.0.1', '10.2.0.4']);
    await says('several', 'ResolvedRefs', 'False', 'RefNotPermitted');
    await grant('all', 'v1');
    await says('several', 'Ready', 'True', 'Ready');
  });

  it('are not permitted after the Gateway API is removed', async () => {
    await removeReferenceGrants(cluster);
    await holds('several', ['10.1.0.1']);
    await eventually(async () => {
      expect((await shop.condition('web', 'ResolvedRefs'))?.message).toContain(
        'install the Gateway API CRDs',
      );
    }, APPEARS);
    expect(await operator.readyz()).toMatchObject({ status: 200 });
  });

  it('need a permission that is not reported as missing before the Gateway API is installed', async () => {
    const role = '/apis/rbac.authorization.k8s.io/v1/clusterroles/gateway-upstream-operator';
    const { body } = await cluster.request('GET', role);
    const { rules } = body as { readonly rules: readonly { readonly resources: readonly string[] }[] };
    const less = rules.filter(({ resources }) => !resources.includes('referencegrants'));
    expect(less).toHaveLength(rules.length - 1);
    await operator.stop();
    await cluster.request('PATCH', role, { rules: less });
    operator = await start();
    await says('web', 'ResolvedRefs', 'False', 'RefNotPermitted');
    expect(operator.output()).not.toContain('PermissionMissing');
    expect(await check()).toContain(
      `ok    permission to list ${RIGHTS}: not granted and not needed, because the API server does not serve this resource`,
    );

    await installReferenceGrants(cluster, 'v1.6.0');
    await upstream('own', { serviceRef: { name: 'own', port: 80 } });
    const message = await says('web', 'Ready', 'False', 'PermissionMissing', APPEARS);
    expect(message).toContain(`list ${RIGHTS}, watch ${RIGHTS}. Run \`gateway-upstream-operator install\``);
    expect((await operator.readyz()).text).toContain(`lacks: list ${RIGHTS}`);
    // An object without such a reference does not need the permission.
    await says('own', 'Ready', 'True', 'Ready');

    await grant('all', 'v1');
    await cluster.request('PATCH', role, { rules });
    await says('web', 'Ready', 'True', 'Ready', APPEARS);
    await operator.ready();
  });

  it('need a grant in a watched namespace, and the message says so', async () => {
    await operator.stop();
    token = await installRbac(cluster, operatorNamespace, [shop.namespace, blog.namespace]);
    operator = await start([shop.namespace, blog.namespace]);
    await upstream('outside', { serviceRef: { namespace: 'default', name: 'kubernetes', port: 443 } });
    expect(await says('outside', 'ResolvedRefs', 'False', 'RefNotPermitted')).toMatch(
      /: add default to namespaces in the operator's configuration$/,
    );
    await blog.endpoints('api', ['10.3.0.3']);
    await holds('several', ['10.1.0.1', '10.2.0.1', '10.2.0.4', '10.3.0.3']);
    await revoke('all');
    await holds('several', ['10.1.0.1']);
  });
});
