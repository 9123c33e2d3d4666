import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type StandIn, startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, type Operator, startOperator } from '../support/operator.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { hostsOf } from '../support/whole-cluster.ts';
import {
  type ConditionView,
  conditionOf,
  connectionPath,
  createWorkload,
  type Workload,
  writeSecret,
} from '../support/workload.ts';

const cluster = await sharedControlPlane();

interface Labeled {
  readonly labels: Readonly<Record<string, string>>;
}

interface Born {
  readonly metadata: { readonly creationTimestamp: string };
}

describe('tenants', () => {
  let operatorNamespace: string;
  let token: string;
  let operator: Operator;
  let gateway: StandIn;
  let shop: Workload;
  let blog: Workload;
  const connection = 'tenants';

  const start = async () => {
    const started = await startOperator(cluster, operatorNamespace, token, { debugState: true });
    await started.ready();
    return started;
  };
  const tenant = async (prefix: string, labels: Readonly<Record<string, string>> = {}) => {
    const work = createWorkload(cluster, await cluster.newNamespace(prefix));
    await label(work, labels);
    await work.service('web');
    await work.endpoints('web', ['10.4.0.1', '10.4.0.2']);
    return work;
  };
  const label = ({ namespace, patch }: Workload, labels: Readonly<Record<string, string | null>>) =>
    patch(`/api/v1/namespaces/${namespace}`, { metadata: { labels } });
  const allow = (allowedNamespaces: object) =>
    shop.patch(connectionPath(connection), {
      spec: {
        allowedNamespaces: {
          all: null,
          names: null,
          match: null,
          notMatch: null,
          selector: null,
          ...allowedNamespaces,
        },
      },
    });
  const upstream = (work: Workload, name: string, spec: object = {}) =>
    work.upstream(name, {
      connectionRef: { name: connection },
      backends: [{ serviceRef: { name: 'web', port: 80 } }],
      ...spec,
    });
  const ready = (work: Workload, name: string, status: string, reason: string) =>
    eventually(async () => {
      const condition = await work.condition(name, 'Ready');
      expect(condition).toMatchObject({ status, reason });
      return condition?.message;
    });
  const hosts = (id: string) => hostsOf(gateway, id);
  const ownerIn = ({ labels }: Labeled) =>
    `${labels['gatewayupstream.dev/namespace']}/${labels['gatewayupstream.dev/name']}`;
  const ownerOf = (id: string) => ownerIn(gateway.get('upstreams', id) as unknown as Labeled);

  beforeAll(async () => {
    await installCrds(cluster);
    operatorNamespace = await cluster.newNamespace('operator');
    token = await installRbac(cluster, operatorNamespace);
    gateway = await startStandIn();
    await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
    [shop, blog] = await Promise.all([tenant('shop'), tenant('blog')]);
    await shop.connection(connection, {
      adminUrl: gateway.adminUrl,
      secret: 'gateway',
      extra: { tenantPolicy: { staticAddresses: 'Allow', upstreamIds: 'Any' } },
    });
    operator = await start();
  });

  afterAll(async () => {
    await operator?.[Symbol.asyncDispose]();
    await gateway?.[Symbol.asyncDispose]();
  });

  it('are allowed by name, expression or label, unless notMatch excludes them', async () => {
    const [matched, labeled, refused, other] = await Promise.all([
      tenant('my'),
      tenant('labeled', { team: 'a' }),
      tenant('not', { team: 'a' }),
      tenant('other', { team: 'b' }),
    ]);
    await allow({
      names: [shop.namespace, refused.namespace],
      match: ['^my-[0-9a-f]{8}$', 'not-.*'],
      selector: { matchLabels: { team: 'a' } },
      notMatch: ['not-[0-9a-f]+'],
    });
    for (const work of [shop, matched, labeled, refused, other]) await upstream(work, 'union');
    for (const work of [shop, matched, labeled]) await ready(work, 'union', 'True', 'Ready');
    for (const work of [refused, other]) {
      await ready(work, 'union', 'False', 'NamespaceNotAllowed');
      expect(gateway.get('upstreams', `${work.namespace}.union`)).toBeUndefined();
    }
  });

  it('keep their configuration while an expression of the connection is too large', async () => {
    const connectionReady = async () =>
      conditionOf(await shop.get(connectionPath(connection)), 'Ready') as ConditionView;
    await allow({ all: true, notMatch: ['(x{1,30}){1,30}'] });
    await eventually(async () =>
      expect(await connectionReady()).toMatchObject({
        status: 'False',
        reason: 'InvalidSpec',
        message: expect.stringMatching(
          /allowedNamespaces: \(x\{1,30\}\)\{1,30\} cannot be used because its repetitions/,
        ),
      }),
    );
    await ready(shop, 'union', 'False', 'ConnectionNotFound');
    expect(hosts(`${shop.namespace}.union`)).toEqual(['10.4.0.1', '10.4.0.2']);
    // Backtracks exponentially in JavaScript, and excludes no namespace here.
    await allow({ all: true, notMatch: ['^(([a-z]{1,9}[0-9a-z]{0,9}-?){1,9})+[.]$'] });
    await eventually(async () => expect(await connectionReady()).toMatchObject({ status: 'True' }));
    await upstream(shop, 'expression');
    await ready(shop, 'expression', 'True', 'Ready');
  });

  it('lose their endpoints at once with the allowing label, and get them back with it', async () => {
    await allow({
      selector: { matchLabels: null, matchExpressions: [{ key: 'tier', operator: 'In', values: ['edge'] }] },
    });
    await upstream(blog, 'labeled');
    const id = `${blog.namespace}.labeled`;
    await ready(blog, 'labeled', 'False', 'NamespaceNotAllowed');
    expect(hosts(id)).toBeUndefined();
    await label(blog, { tier: 'edge' });
    await ready(blog, 'labeled', 'True', 'Ready');
    expect(hosts(id)).toEqual(['10.4.0.1', '10.4.0.2']);
    await label(blog, { tier: 'inner' });
    await eventually(() => expect(hosts(id)).toEqual([]));
    await ready(blog, 'labeled', 'False', 'NamespaceNotAllowed');
    expect(await blog.condition('labeled', 'RemovalHeld')).toBeUndefined();
    await label(blog, { tier: 'edge' });
    await eventually(() => expect(hosts(id)).toEqual(['10.4.0.1', '10.4.0.2']));
    await label(blog, { tier: null });
    await eventually(() => expect(hosts(id)).toEqual([]));
  });

  it('keep an id that the gateway assigns to them, although an older object requests it, across restarts', async () => {
    await allow({ names: [blog.namespace] });
    const spec = { upstreamId: 'shared-by-label' };
    await upstream(shop, 'older', spec);
    await ready(shop, 'older', 'False', 'NamespaceNotAllowed');
    await upstream(blog, 'younger', spec);
    await ready(blog, 'younger', 'True', 'Ready');
    await allow({ all: true });
    expect(await ready(shop, 'older', 'False', 'IdTaken')).toContain(`${blog.namespace}/younger`);
    for (const [end, addresses] of [
      [() => operator.stop(), ['10.4.1.1', '10.4.1.2']],
      [() => operator.kill(), ['10.4.2.1', '10.4.2.2']],
    ] as const) {
      await end();
      operator = await start();
      await blog.endpoints('web', addresses);
      await eventually(() => expect(hosts('shared-by-label')).toEqual(addresses));
      expect(ownerOf('shared-by-label')).toBe(`${blog.namespace}/younger`);
      await ready(shop, 'older', 'False', 'IdTaken');
    }
    const writers = gateway.requests
      .filter(({ method, path }) => method === 'PUT' && path.endsWith('/shared-by-label'))
      .map(({ body }) => ownerIn(JSON.parse(body ?? '{}') as Labeled));
    expect(new Set(writers)).toEqual(new Set([`${blog.namespace}/younger`]));
  });

  it('get a free id by age, and by name at the same age', async () => {
    await operator.stop();
    /** Resolves at the start of a second, so that the next objects have the same age. */
    const secondBegins = () =>
      eventually(() => expect(Date.now() % 1000).toBeLessThan(200), { intervalMs: 20 });
    const born = async (name: string) => {
      const { metadata } = (await shop.get(shop.upstreamPath(name))) as unknown as Born;
      return metadata.creationTimestamp;
    };
    await secondBegins();
    await upstream(shop, 'b', { upstreamId: 'shared-by-name' });
    await upstream(shop, 'a', { upstreamId: 'shared-by-name' });
    expect(await born('a')).toBe(await born('b'));
    await upstream(shop, 'z', { upstreamId: 'shared-by-age' });
    const bornFirst = Date.parse(await born('z'));
    await eventually(() => expect(Date.now()).toBeGreaterThan(bornFirst + 1500));
    await upstream(shop, 'y', { upstreamId: 'shared-by-age' });
    operator = await start();
    for (const [id, keeper, other] of [
      ['shared-by-name', 'a', 'b'],
      ['shared-by-age', 'z', 'y'],
    ] as const) {
      await ready(shop, keeper, 'True', 'Ready');
      expect(await ready(shop, other, 'False', 'IdTaken')).toContain(`${shop.namespace}/${keeper}`);
      expect(ownerOf(id)).toBe(`${shop.namespace}/${keeper}`);
    }
  });

  it('cannot use the name of a Service in a future namespace as an address', async () => {
    const later = `later-${shop.namespace.slice(-8)}`;
    await upstream(shop, 'address', {
      backends: [{ addresses: [{ host: `web.${later}`, port: 80 }] }],
    });
    const id = `${shop.namespace}.address`;
    await ready(shop, 'address', 'True', 'Ready');
    expect(hosts(id)).toEqual([`web.${later}`]);
    await cluster.kubectl(['create', 'namespace', later]);
    await ready(shop, 'address', 'False', 'StaticAddressesDenied');
    await eventually(() => expect(hosts(id)).toEqual([]));
  });

  it('affect only themselves with raw fields that are nested too deeply, and can delete them', async () => {
    await allow({ all: true });
    await shop.patch(connectionPath(connection), { spec: { tenantPolicy: { overrides: 'Allow' } } });
    const path = blog.upstreamPath('deep');
    await blog.endpoints('web', ['10.4.0.1', '10.4.0.2']);
    // Written before it was too deep, so the gateway has the upstream.
    await upstream(blog, 'deep', { apisix: { overrides: { discovery_args: { a: 'b' } } } });
    await ready(blog, 'deep', 'True', 'Ready');
    // As text, because JSON.stringify does not support the depth that the API server accepts.
    const deep = `{"spec": {"apisix": {"overrides": {"discovery_args": ${'['.repeat(9000)}${']'.repeat(9000)}}}}}`;
    expect((await cluster.request('PATCH', path, deep)).status).toBe(200);
    expect(await ready(blog, 'deep', 'False', 'InvalidSpec')).toContain('spec.apisix.overrides');
    expect(hosts(`${blog.namespace}.deep`)).toEqual(['10.4.0.1', '10.4.0.2']);

    await shop.endpoints('web', ['10.4.0.8']);
    await upstream(shop, 'beside');
    await ready(shop, 'beside', 'True', 'Ready');
    expect(hosts(`${shop.namespace}.beside`)).toEqual(['10.4.0.8']);
    const { status, text } = await operator.ask('/debug/state');
    expect(status).toBe(200);
    expect(text).toContain('InvalidSpec');

    await blog.remove(path);
    await eventually(async () => expect(await blog.get(path)).toBeUndefined());
  });
});
