/**
 * Records what client libraries for Java write into a real ZooKeeper: `node test/support/registries/record-zookeeper.ts`. It needs
 * Java 17 and Maven. A recorded answer has all nodes except those of ZooKeeper itself.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { freePorts } from '../control-plane/free-ports.ts';
import { eventually } from '../eventually.ts';
import { startJavaProgram } from './java-program.ts';
import { ensureJavaServer } from './java-server.ts';
import { type Recording, writeRecording } from './recording.ts';

interface Writer {
  readonly name: string;
  readonly main: string;
  /** Start of the name of the library whose version the recording shows. */
  readonly library: string;
}

interface Node {
  readonly path: string;
  readonly data: string | null;
  readonly ephemeral: boolean;
}

const WRITERS: readonly Writer[] = [
  { name: 'curator', main: 'CuratorClient', library: 'curator-x-discovery-' },
  { name: 'spring', main: 'SpringClient', library: 'spring-cloud-zookeeper-discovery-' },
  { name: 'dubbo', main: 'DubboClient', library: 'dubbo-' },
];
const START_MS = 60_000;

function build(writer: string): Promise<string> {
  return ensureJavaServer({
    folder: fileURLToPath(new URL(`../../registries/zookeeper-${writer}-client/`, import.meta.url)),
    name: `zookeeper-${writer}-client`,
    what: `the ${writer} client of ZooKeeper`,
  });
}

async function libraryOf(built: string, prefix: string): Promise<string> {
  const jars = await readdir(join(built, 'lib'));
  return jars.find((jar) => new RegExp(`^${prefix}\\d`).test(jar))?.replace('.jar', '') ?? prefix;
}

/** All nodes except those of ZooKeeper itself. */
async function treeOf(tools: string, address: string): Promise<readonly Node[]> {
  const args = ['-cp', classPath(tools), 'gatewayupstream.zookeeper.Tree', address];
  const { stdout } = await promisify(execFile)('/usr/bin/java', args, { maxBuffer: 16 * 1024 * 1024 });
  return JSON.parse(stdout);
}

function classPath(built: string): string {
  return [join(built, 'classes'), join(built, 'lib/*')].join(':');
}

/** Starts a ZooKeeper without data. */
async function startServer(tools: string): Promise<AsyncDisposable & { readonly address: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'gwu-record-zookeeper-'));
  const [port = 0] = await freePorts(1);
  const config = join(dir, 'zoo.cfg');
  const settings = {
    dataDir: join(dir, 'data'),
    clientPort: port,
    clientPortAddress: '127.0.0.1',
    'admin.enableServer': false,
  };
  await writeFile(
    config,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
  const main = 'org.apache.zookeeper.server.ZooKeeperServerMain';
  const server = startJavaProgram(tools, main, [config]);
  const address = `127.0.0.1:${port}`;
  const dispose = async () => {
    await server[Symbol.asyncDispose]();
    await rm(dir, { recursive: true });
  };
  try {
    await eventually(() => treeOf(tools, address), { timeoutMs: START_MS, intervalMs: 500 });
  } catch (error) {
    await dispose();
    throw error;
  }
  return { address, [Symbol.asyncDispose]: dispose };
}

/** Resolves when the program has written `line`. */
async function written(child: ChildProcess, line: string): Promise<void> {
  if (child.stdout === null) throw new Error('the client has no output');
  const lines = createInterface(child.stdout);
  for await (const text of lines) if (text === line) return;
  throw new Error(`the client ended before it was ${line}`);
}

async function record(tools: string, { name, main, library }: Writer): Promise<void> {
  const built = await build(name);
  await using server = await startServer(tools);
  const args = ['-Xmx128m', '-cp', classPath(built), `gatewayupstream.zookeeper.${main}`, server.address];
  const client = spawn('/usr/bin/java', args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const exited = once(client, 'exit');
  const answers: Recording['answers'] = [];
  const read = async (after: string) => {
    answers.push({ service: 'orders', after, headers: {}, body: await treeOf(tools, server.address) });
  };
  await written(client, 'registered');
  await read('register');
  client.stdin.write('\n');
  await written(client, 'deregistered');
  await read('deregister');
  client.stdin.end();
  await exited;
  await writeRecording(`zookeeper-${name}-client`, {
    client: await libraryOf(built, library),
    server: await libraryOf(tools, 'zookeeper-'),
    answers,
  });
}

const tools = await build('curator');
for (const writer of WRITERS) await record(tools, writer);
