/**
 * Records what a real Eureka server answers for applications with Spring Cloud Netflix: `node test/support/registries/record-eureka.ts`.
 * It needs Java 17 and Maven.
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';
import { EUREKA_USER, EurekaServer } from './eureka-server.ts';
import { startJavaProgram } from './java-program.ts';
import { ensureJavaServer } from './java-server.ts';
import { type Recording, writeRecording } from './recording.ts';

type Answer = Recording['answers'][number];

const START_MS = 180_000;
const PLAIN = { 'eureka.instance.non-secure-port': '8080' };
const SECURE = {
  'eureka.instance.non-secure-port-enabled': 'false',
  'eureka.instance.secure-port-enabled': 'true',
  'eureka.instance.secure-port': '8443',
};

/** Starts an application that says that it is at `ip`. */
function startApplication(
  built: string,
  url: URL,
  { name, ip, settings }: { readonly name: string; readonly ip: string; readonly settings: object },
) {
  const withUser = new URL(url);
  Object.assign(withUser, EUREKA_USER);
  const all = {
    'server.address': '127.0.0.1',
    'server.port': '0',
    'spring.main.banner-mode': 'off',
    'spring.application.name': name,
    'eureka.client.service-url.defaultZone': `${withUser.href}/`,
    'eureka.client.fetch-registry': 'false',
    'eureka.client.initial-instance-info-replication-interval-seconds': '1',
    'eureka.instance.hostname': `${name}.example.com`,
    'eureka.instance.ip-address': ip,
    'eureka.instance.instance-id': `${name}-1`,
    'eureka.instance.metadata-map.version': '1',
    'eureka.instance.metadata-map.weight': '3',
    ...settings,
  };
  const args = Object.entries(all).map(([key, value]) => `--${key}=${value}`);
  return startJavaProgram(built, 'gatewayupstream.eureka.Client', args);
}

async function whenListed(server: EurekaServer, service: string, after: string, status: string) {
  return await eventually(
    async (): Promise<Answer> => {
      const body = await server.application(service);
      if (JSON.stringify(body ?? {}).includes(`"status":"${status}"`))
        return { service, after, headers: {}, body };
      throw new Error(`${service} is not ${status} yet`);
    },
    { timeoutMs: START_MS, intervalMs: 500 },
  );
}

const built = await ensureJavaServer({
  folder: fileURLToPath(new URL('../../registries/eureka-client/', import.meta.url)),
  name: 'eureka-client',
  what: 'the application with Spring Cloud Netflix',
});
const jars = await readdir(join(built, 'lib'));
const versionOf = (prefix: string) =>
  jars.find((name) => name.startsWith(prefix))?.replace('.jar', '') ?? prefix;
await using server = await EurekaServer.start();
const answers: Answer[] = [];
{
  const application = { name: 'shop', ip: '198.51.100.80', settings: PLAIN };
  await using _application = startApplication(built, server.url, application);
  answers.push(await whenListed(server, 'shop', 'it started', 'UP'));
  await server.override('shop', 'shop-1', 'OUT_OF_SERVICE');
  answers.push(await whenListed(server, 'shop', 'it was taken out of service', 'OUT_OF_SERVICE'));
}
{
  const application = { name: 'secure-shop', ip: '198.51.100.81', settings: SECURE };
  await using _application = startApplication(built, server.url, application);
  answers.push(await whenListed(server, 'secure-shop', 'it started', 'UP'));
}
await writeRecording('eureka-spring-client', {
  client: versionOf('spring-cloud-netflix-eureka-client-'),
  server: versionOf('eureka-client-'),
  answers,
});
