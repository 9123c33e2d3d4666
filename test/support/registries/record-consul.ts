/**
 * Records what a real Consul server answers for instances that Consul's Go client and Spring Cloud Consul register:
 * `node test/support/registries/record-consul.ts`. It needs Go, Java 17 and Maven.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually } from '../eventually.ts';
import { ConsulServer } from './consul-server.ts';
import { ensureJavaServer } from './java-server.ts';
import { type Recording, writeRecording } from './recording.ts';

type Answer = Recording['answers'][number];

const HEADERS = ['x-consul-index', 'x-consul-effective-consistency', 'x-consul-default-acl-policy'];

function folderOf(name: string): string {
  return fileURLToPath(new URL(`../../registries/${name}/`, import.meta.url));
}

async function answerOf({ url }: ConsulServer, service: string, after: string): Promise<Answer> {
  const response = await fetch(new URL(`/v1/health/service/${service}`, url));
  if (!response.ok) throw new Error(`Consul answered ${response.status} for ${service}`);
  const headers = HEADERS.flatMap((name) => {
    const value = response.headers.get(name);
    return value === null ? [] : [[name, value]];
  });
  return { service, after, headers: Object.fromEntries(headers), body: await response.json() };
}

async function versionOf(consul: ConsulServer): Promise<string> {
  const self = (await consul.request('GET', '/v1/agent/self')) as {
    readonly Config: { readonly Version: string };
  };
  return `Consul ${self.Config.Version}`;
}

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const child = spawn(command, args, { cwd, stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${command} ended with exit code ${code}`);
}

async function recordGoClient(): Promise<void> {
  await using consul = await ConsulServer.start();
  const folder = folderOf('consul-go-client');
  const goMod = await readFile(join(folder, 'go.mod'), 'utf8');
  const [, version] = /github\.com\/hashicorp\/consul\/api (v[\d.]+)/.exec(goMod) ?? [];
  const client = (command: string) => run('go', ['run', '.', consul.url.host, command], folder);
  const answers: Answer[] = [];
  await client('register');
  // The agent sends its services to the servers a little later.
  await eventually(async () => {
    const { body } = await answerOf(consul, 'orders', 'register');
    if ((body as readonly unknown[]).length < 4) throw new Error('the agent has not synchronized yet');
  });
  const services = ['orders', 'bare', 'tagged', 'ipv6', 'named', 'two-ports', 'external', 'left', 'never'];
  for (const service of services) answers.push(await answerOf(consul, service, 'register'));
  await client('node-maintenance');
  await eventually(async () => {
    const { body } = await answerOf(consul, 'tagged', 'node-maintenance');
    if (!JSON.stringify(body).includes('_node_maintenance')) throw new Error('not in maintenance yet');
  });
  answers.push(await answerOf(consul, 'tagged', 'node-maintenance'));
  await writeRecording('consul-go-client', {
    client: `github.com/hashicorp/consul/api ${version}`,
    server: await versionOf(consul),
    answers,
  });
}

/** Starts one Spring Boot application. Disposing shuts it down, so that it deregisters itself. */
function startApplication(built: string, { url }: ConsulServer, settings: Readonly<Record<string, string>>) {
  const all = {
    'server.address': '127.0.0.1',
    'server.port': '0',
    'spring.main.banner-mode': 'off',
    'spring.cloud.consul.host': url.hostname,
    'spring.cloud.consul.port': url.port,
    'spring.cloud.consul.discovery.port': '8080',
    ...settings,
  };
  const args = Object.entries(all).map(([name, value]) => `--${name}=${value}`);
  const classPath = [join(built, 'classes'), join(built, 'lib/*')].join(':');
  const child = spawn(
    '/usr/bin/java',
    ['-Xmx128m', '-cp', classPath, 'gatewayupstream.consul.Client', ...args],
    {
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  const exited = once(child, 'exit');
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}

async function recordSpring(): Promise<void> {
  const built = await ensureJavaServer({
    folder: folderOf('consul-spring-client'),
    name: 'consul-spring-client',
    what: 'the client with Spring Cloud Consul',
  });
  const [jar = ''] = (await readdir(join(built, 'lib'))).filter((name) =>
    name.startsWith('spring-cloud-consul-discovery-'),
  );
  await using consul = await ConsulServer.start();
  const answers: Answer[] = [];
  const record = async (service: string, after: string, expected: string) => {
    answers.push(
      await eventually(async () => {
        const answer = await answerOf(consul, service, after);
        if (!JSON.stringify(answer.body).includes(expected))
          throw new Error(`${service}: no ${expected} yet`);
        return answer;
      }),
    );
  };
  {
    await using _address = startApplication(built, consul, {
      'spring.application.name': 'by-address',
      'spring.cloud.consul.discovery.instance-id': 'by-address-1',
      'spring.cloud.consul.discovery.prefer-ip-address': 'true',
      'spring.cloud.consul.discovery.ip-address': '198.51.100.50',
      'spring.cloud.consul.discovery.heartbeat.enabled': 'true',
      'spring.cloud.consul.discovery.tags': 'v1,team=a',
      'spring.cloud.consul.discovery.metadata.version': '1',
      'spring.cloud.consul.discovery.instance-zone': 'a',
    });
    await record(
      'by-address',
      'it started, with heartbeats',
      '"Status":"passing","Notes":"","Output":"","ServiceID"',
    );
    await using _name = startApplication(built, consul, {
      'spring.application.name': 'by-name',
      'spring.cloud.consul.discovery.instance-id': 'by-name-1',
      'spring.cloud.consul.discovery.hostname': 'app-1.example.com',
    });
    await record('by-name', 'it started, with the default HTTP check', 'app-1.example.com');
  }
  answers.push(await answerOf(consul, 'by-address', 'it was shut down'));
  await writeRecording('consul-spring-client', {
    client: jar.replace('.jar', ''),
    server: await versionOf(consul),
    answers,
  });
}

await recordGoClient();
await recordSpring();
