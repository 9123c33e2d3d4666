/**
 * Records what client libraries for Go write into a real etcd: `node test/support/registries/record-etcd.ts`. It needs Go.
 * A recorded answer has all keys that begin with the name of a service, also those of services with a longer name.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { EtcdServer } from './etcd-server.ts';
import { type Recording, writeRecording } from './recording.ts';

interface Writer {
  readonly name: string;
  /** Of the Go module whose version the recording shows. */
  readonly module: string;
  readonly service: string;
  /** Start of the keys of the service, and of services whose names begin with its name. */
  readonly prefix: string;
}

const WRITERS: readonly Writer[] = [
  {
    name: 'kratos',
    module: 'github.com/go-kratos/kratos/contrib/registry/etcd/v2',
    service: 'orders',
    prefix: '/microservices/orders',
  },
  { name: 'go-zero', module: 'github.com/zeromicro/go-zero', service: 'orders.rpc', prefix: 'orders.rpc' },
  {
    name: 'kitex',
    module: 'github.com/kitex-contrib/registry-etcd',
    service: 'orders',
    prefix: 'kitex/registry-etcd/orders',
  },
  {
    name: 'go-micro',
    module: 'github.com/go-micro/plugins/v4/registry/etcd',
    service: 'orders',
    prefix: '/micro/registry/orders',
  },
  { name: 'grpc', module: 'go.etcd.io/etcd/client/v3', service: 'orders', prefix: 'orders' },
];

const base64 = (text: string) => Buffer.from(text).toString('base64');

async function record({ name, module, service, prefix }: Writer): Promise<void> {
  const folder = fileURLToPath(new URL(`../../registries/etcd-${name}-client/`, import.meta.url));
  const [, version] =
    new RegExp(`${module} (v\\S+)`).exec(await readFile(join(folder, 'go.mod'), 'utf8')) ?? [];
  await using etcd = await EtcdServer.start({ users: false });
  const answers: Recording['answers'] = [];
  const read = async (after: string) => {
    const range = { key: base64(prefix), range_end: base64(`${prefix}~`) };
    answers.push({ service, after, headers: {}, body: await etcd.request('/v3/kv/range', range) });
  };
  const client = spawn('go', ['run', '.', etcd.url.host], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  await registered(client, name);
  await read('register');
  client.stdin.end();
  const [code] = await once(client, 'exit');
  if (code !== 0) throw new Error(`${name} ended with exit code ${code}`);
  await read('deregister');
  const server = (await (await fetch(new URL('/version', etcd.url))).json()) as {
    readonly etcdserver: string;
  };
  await writeRecording(`etcd-${name}-client`, {
    client: `${module} ${version}`,
    server: `etcd ${server.etcdserver}`,
    answers,
  });
}

async function registered(client: ChildProcess, name: string): Promise<void> {
  if (client.stdout === null) throw new Error(`${name} has no output`);
  for await (const line of createInterface(client.stdout)) if (line === 'registered') return;
  throw new Error(`${name} registered nothing`);
}

for (const writer of WRITERS) await record(writer);
