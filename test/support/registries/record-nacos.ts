/**
 * Records what a real Nacos server answers for instances that Nacos' Java client and Spring Cloud Alibaba register:
 * `node test/support/registries/record-nacos.ts`. It needs Java 17 and Maven.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';
import { startJavaProgram } from './java-program.ts';
import { ensureJavaServer } from './java-server.ts';
import { NACOS_USER, NacosServer } from './nacos-server.ts';
import { type Recording, writeRecording } from './recording.ts';

type Answer = Recording['answers'][number];

const START_MS = 180_000;
/** Of one service with an instance. */
const LISTS = 4;

interface Wanted {
  readonly service: string;
  readonly group?: string;
  readonly after: string;
}

/** The lists of one service that the operator reads: of all clusters and of one, in both versions of the API. */
async function answersOf(nacos: NacosServer, wanted: Wanted): Promise<readonly Answer[]> {
  const { service, group = 'DEFAULT_GROUP', after } = wanted;
  const scope = { namespaceId: 'public', groupName: group, serviceName: service };
  const pages = { pageNo: '1', pageSize: '1000' };
  const catalog = { namespaceId: 'public', serviceName: `${group}@@${service}`, clusterName: 'DEFAULT' };
  const lists: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
    ['/nacos/v3/client/ns/instance/list', { ...scope, clusterName: ',' }],
    ['/nacos/v3/admin/ns/instance/list', { ...scope, clusterName: 'DEFAULT' }],
    ['/nacos/v1/ns/instance/list', scope],
    ['/nacos/v1/ns/catalog/instances', { ...catalog, ...pages }],
  ];
  const answers = lists.map(async ([path, fields]) => {
    // A cluster without instances is not found.
    const body = await nacos.request('GET', path, fields).catch(() => undefined);
    return body === undefined ? [] : [{ service, path, after, headers: {}, body }];
  });
  return (await Promise.all(answers)).flat();
}

async function whenListed(nacos: NacosServer, wanted: Wanted, expected: string): Promise<readonly Answer[]> {
  return await eventually(
    async () => {
      const answers = await answersOf(nacos, wanted);
      const isListed = answers.some(({ body }) => JSON.stringify(body).includes(expected));
      if (isListed && answers.length === LISTS) return answers;
      throw new Error(`${wanted.service}: no ${expected} yet`);
    },
    { timeoutMs: START_MS, intervalMs: 500 },
  );
}

async function versionOf(nacos: NacosServer): Promise<string> {
  const state = (await nacos.request('GET', '/nacos/v3/admin/core/state', {})) as {
    readonly data: { readonly version: string };
  };
  return `Nacos ${state.data.version}`;
}

/** A service with settings of its own: others are created with their first instance, and have none. */
async function createService(
  nacos: NacosServer,
  serviceName: string,
  protectThreshold: string,
): Promise<void> {
  const scope = { namespaceId: 'public', groupName: 'DEFAULT_GROUP', serviceName };
  await nacos.request('POST', '/nacos/v3/admin/ns/service', {
    ...scope,
    protectThreshold,
    ephemeral: 'true',
  });
}

async function registerUnhealthy(
  nacos: NacosServer,
  serviceName: string,
  ips: readonly string[],
): Promise<void> {
  const scope = { namespaceId: 'public', groupName: 'DEFAULT_GROUP', serviceName };
  for (const ip of ips) {
    const instance = { ip, port: '8080', healthy: 'false', ephemeral: 'true' };
    await nacos.request('POST', '/nacos/v3/client/ns/instance', { ...scope, ...instance });
  }
}

async function recordJavaClient(nacos: NacosServer, built: string): Promise<readonly Answer[]> {
  const answers: Answer[] = [];
  await createService(nacos, 'protected', '0.8');
  await createService(nacos, 'unprotected', '0');
  const args = [nacos.url.host, NACOS_USER.username, NACOS_USER.password];
  {
    await using _client = startJavaProgram(built, 'gatewayupstream.nacos.JavaClient', args);
    const after = 'register';
    // The service of the last step of the program.
    await whenListed(nacos, { service: 'persistent', after }, '198.51.100.61');
    await registerUnhealthy(nacos, 'protected', ['198.51.100.51', '198.51.100.52']);
    await registerUnhealthy(nacos, 'unprotected', ['198.51.100.55', '198.51.100.56']);
    for (const service of [
      'orders',
      'two-ports',
      'ipv6',
      'named',
      'portless',
      'persistent',
      'left',
      'never',
    ]) {
      answers.push(...(await answersOf(nacos, { service, after })));
    }
    answers.push(...(await whenListed(nacos, { service: 'protected', after }, '198.51.100.52')));
    answers.push(...(await whenListed(nacos, { service: 'unprotected', after }, '198.51.100.56')));
    answers.push(...(await answersOf(nacos, { service: 'grouped', group: 'payments', after })));
  }
  await eventually(
    async () => {
      const [list] = await answersOf(nacos, { service: 'orders', after: 'exit' });
      if (JSON.stringify(list?.body).includes('198.51.100.1')) throw new Error('still registered');
    },
    { timeoutMs: START_MS, intervalMs: 500 },
  );
  answers.push(...(await answersOf(nacos, { service: 'orders', after: 'exit' })));
  return answers;
}

async function recordSpring(nacos: NacosServer, built: string): Promise<readonly Answer[]> {
  const settings = {
    'server.address': '127.0.0.1',
    'server.port': '0',
    'spring.main.banner-mode': 'off',
    'spring.application.name': 'shop',
    'spring.cloud.nacos.discovery.server-addr': nacos.url.host,
    'spring.cloud.nacos.discovery.username': NACOS_USER.username,
    'spring.cloud.nacos.discovery.password': NACOS_USER.password,
    'spring.cloud.nacos.discovery.ip': '198.51.100.80',
    'spring.cloud.nacos.discovery.port': '8080',
    'spring.cloud.nacos.discovery.weight': '0.5',
    'spring.cloud.nacos.discovery.metadata.version': '1',
  };
  const args = Object.entries(settings).map(([name, value]) => `--${name}=${value}`);
  const answers: Answer[] = [];
  {
    await using _application = startJavaProgram(built, 'gatewayupstream.nacos.SpringClient', args);
    const started = { service: 'shop', after: 'it started' };
    answers.push(...(await whenListed(nacos, started, '198.51.100.80')));
    // What the console does: the application stays registered.
    await nacos.request('PUT', '/nacos/v3/admin/ns/instance', {
      namespaceId: 'public',
      groupName: 'DEFAULT_GROUP',
      serviceName: 'shop',
      ip: '198.51.100.80',
      port: '8080',
      clusterName: 'DEFAULT',
      ephemeral: 'true',
      weight: '0.5',
      enabled: 'false',
    });
    answers.push(
      ...(await whenListed(nacos, { service: 'shop', after: 'it was disabled' }, '"enabled":false')),
    );
  }
  return answers;
}

const built = await ensureJavaServer({
  folder: fileURLToPath(new URL('../../registries/nacos-clients/', import.meta.url)),
  name: 'nacos-clients',
  what: "the programs with Nacos' clients",
});
const jars = await readdir(join(built, 'lib'));
const clientOf = (prefix: string) =>
  jars.find((name) => name.startsWith(prefix) && /-\d[\d.]*\.jar$/.test(name))?.replace('.jar', '') ?? prefix;
await using nacos = await NacosServer.start();
const server = await versionOf(nacos);
await writeRecording('nacos-java-client', {
  client: clientOf('nacos-client-3'),
  server,
  answers: [...(await recordJavaClient(nacos, built))],
});
await writeRecording('nacos-spring-client', {
  client: clientOf('spring-cloud-starter-alibaba-nacos-discovery-'),
  server,
  answers: [...(await recordSpring(nacos, built))],
});
