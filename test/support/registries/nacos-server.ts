import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import PQueue from 'p-queue';
import { type Component, ComponentStartError, createComponent } from '../control-plane/component.ts';
import { freePortWith } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';
import { durationText } from '../control-plane/tool-cache.ts';
import { eventually } from '../eventually.ts';
import { ensureJavaServer } from './java-server.ts';

/** One instance, as a test registers it. */
export interface NacosRegistration {
  readonly ip: string;
  readonly port: number;
  readonly healthy: boolean;
  readonly enabled: boolean;
  readonly weight?: number;
  readonly metadata?: Readonly<Record<string, string>>;
}

export const NACOS_USER = { username: 'nacos', password: 'password-of-the-suite' } as const;

const GROUP = 'DEFAULT_GROUP';
const CONCURRENT_REQUESTS = 32;
/** Nacos also listens for gRPC of clients and of servers, and for its consensus protocol, at these distances from its port. */
const OTHER_PORTS = [1000, 1001, -1000];
/** Nacos usually lists a new instance after this long. */
const LISTED_WITHIN_MS = 50;
const REPORT_EVERY_MS = 15_000;
/** Nacos gives up if its embedded database takes longer than 10 s, which it does on a busy machine. */
const START_ATTEMPTS = 3;
/** The embedded database and the consensus protocol take some seconds; a busy machine takes longer. */
const HEAP = ['-Xms256m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

/** The instances of a test have no heartbeats, and must neither become unhealthy nor expire. */
const FOREVER = {
  'preserved.heart.beat.timeout': '86400000',
  'preserved.ip.delete.timeout': '86400000',
};

class NacosAnswerError extends Error {
  readonly status: number;

  constructor(status: number, what: string) {
    super(`Nacos answered ${status} to ${what}`);
    this.status = status;
  }
}

/** A real standalone Nacos server on loopback that asks for a login. */
export class NacosServer implements AsyncDisposable {
  readonly url: URL;
  readonly #component: Component;
  readonly #watchdog: Watchdog;
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });
  #login: { readonly header: Promise<Record<string, string>>; readonly untilMs: number } | undefined;
  readonly #tokenSeconds: number;

  private constructor(url: URL, component: Component, watchdog: Watchdog, tokenSeconds: number) {
    this.#tokenSeconds = tokenSeconds;
    this.url = url;
    this.#component = component;
    this.#watchdog = watchdog;
  }

  /** `tokenSeconds`: how long the token of a login is valid. */
  static async start({
    tokenSeconds = 18_000,
  }: {
    readonly tokenSeconds?: number;
  } = {}): Promise<NacosServer> {
    const folder = fileURLToPath(new URL('../../registries/nacos/', import.meta.url));
    const built = await ensureJavaServer({ folder, name: 'nacos', what: 'Nacos' });
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await NacosServer.#startOnce(built, tokenSeconds);
      } catch (error) {
        if (!(error instanceof ComponentStartError) || attempt === START_ATTEMPTS) throw error;
        process.stderr.write(`Nacos did not start and is tried again (${attempt} of ${START_ATTEMPTS})\n`);
      }
    }
  }

  static async #startOnce(built: string, tokenSeconds: number): Promise<NacosServer> {
    const dir = await mkdtemp(join(tmpdir(), 'gwu-nacos-'));
    const watchdog = startWatchdog(dir);
    const port = await freePortWith(OTHER_PORTS);
    const url = new URL(`http://127.0.0.1:${port}`);
    await mkdir(join(dir, 'conf'));
    await mkdir(join(dir, 'logs'));
    await writeFile(join(dir, 'conf', 'application.properties'), properties(port, tokenSeconds));
    const component = createComponent({
      name: 'nacos',
      command: '/usr/bin/java',
      args: [...HEAP, ...systemProperties(dir), '-cp', classPath(built), 'gatewayupstream.nacos.Server'],
      dir,
      started: watchdog.register,
      createProbe: () => async () => (await fetch(new URL('/nacos/v3/admin/core/state/readiness', url))).ok,
    });
    const server = new NacosServer(url, component, watchdog, tokenSeconds);
    try {
      await server.start();
      await server.#createUser();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /**
   * Makes `instances` everything that Nacos lists of the service. Each instance is a write of its own, which Nacos confirms
   * before it lists it.
   */
  async register(service: string, instances: readonly NacosRegistration[]): Promise<void> {
    const kept = new Set(instances.map(placeOf));
    const gone = (await this.#instancesOf(service)).filter((instance) => !kept.has(placeOf(instance)));
    await Promise.all([
      ...gone.map(({ ip, port }) => this.#write('DELETE', { ...serviceOf(service), ip, port: `${port}` })),
      ...instances.map((instance) => this.update(service, instance)),
    ]);
    await this.#untilListed(service, instances);
  }

  /** Registers one instance, or changes it. Resolves when Nacos has confirmed the write. */
  async update(
    service: string,
    { ip, port, healthy, enabled, weight = 1, metadata = {} }: NacosRegistration,
  ): Promise<void> {
    await this.#write('POST', {
      ...serviceOf(service),
      ip,
      port: `${port}`,
      healthy: `${healthy}`,
      enabled: `${enabled}`,
      weight: `${weight}`,
      ephemeral: 'true',
      metadata: JSON.stringify({ ...FOREVER, ...metadata }),
    });
  }

  async kill(): Promise<void> {
    await this.#component.kill();
  }

  /** Resolves when it is ready: after 6 to 14 s, or a minute on a busy machine. @throws ComponentStartError after 2 minutes. */
  async start(): Promise<void> {
    const startedMs = performance.now();
    const report = setInterval(() => {
      const elapsed = durationText(performance.now() - startedMs);
      process.stderr.write(`Nacos has been starting for ${elapsed}\n`);
    }, REPORT_EVERY_MS);
    try {
      await this.#component.start();
    } finally {
      clearInterval(report);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#component.kill();
    await this.#watchdog.end();
  }

  async #createUser(): Promise<void> {
    await this.#send('POST', '/nacos/v3/auth/user/admin', { password: NACOS_USER.password }, {});
  }

  /** The header that allows everything, from a login that is not older than half of its token's life. */
  #authorization(): Promise<Record<string, string>> {
    if (this.#login !== undefined && performance.now() < this.#login.untilMs) return this.#login.header;
    const header = this.#send('POST', '/nacos/v3/auth/user/login', { ...NACOS_USER }, {}).then((answer) => ({
      accesstoken: (answer as { readonly accessToken: string }).accessToken,
    }));
    this.#login = { header, untilMs: performance.now() + this.#tokenSeconds * 500 };
    header.catch(() => {
      this.#login = undefined;
    });
    return header;
  }

  async #untilListed(service: string, instances: readonly NacosRegistration[]): Promise<void> {
    const wanted = instances.map(stateOf).sort();
    await eventually(
      async () => {
        const listed = (await this.#instancesOf(service)).map(stateOf).sort();
        if (!isDeepStrictEqual(listed, wanted)) throw new Error(`Nacos does not list ${service} completely`);
      },
      { intervalMs: LISTED_WITHIN_MS },
    );
  }

  /** Also those that are disabled, which Nacos does not list for clients. */
  async #instancesOf(service: string): Promise<readonly NacosRegistration[]> {
    const path = '/nacos/v3/admin/ns/instance/list';
    const listed = await this.request('GET', path, serviceOf(service)).catch((error: unknown) => {
      if (error instanceof NacosAnswerError && error.status === 404) return { data: [] };
      throw error;
    });
    return (listed as { readonly data: readonly NacosRegistration[] }).data;
  }

  #write(method: 'POST' | 'DELETE', fields: Readonly<Record<string, string>>): Promise<unknown> {
    return this.request(method, '/nacos/v3/client/ns/instance', fields);
  }

  /**
   * A request of the user of this suite, with `fields` as parameters or as the body.
   *
   * @throws NacosAnswerError unless Nacos answers with a status of success.
   */
  request(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    fields: Readonly<Record<string, string>>,
  ): Promise<unknown> {
    const send = async () => this.#send(method, path, fields, await this.#authorization());
    // Of 500 services that register at once, most would otherwise wait behind the waiting of the first.
    return this.#requests.add(send, { priority: method === 'GET' ? 0 : 1 });
  }

  async #send(
    method: 'GET' | 'POST' | 'PUT' | 'DELETE',
    path: string,
    fields: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>>,
  ): Promise<unknown> {
    const url = new URL(path, this.url);
    const form = new URLSearchParams({ ...fields });
    const hasBody = method === 'POST' || method === 'PUT';
    if (!hasBody) url.search = form.toString();
    const response = await fetch(url, { method, headers, ...(hasBody ? { body: form } : {}) });
    const text = await response.text();
    if (!response.ok) throw new NacosAnswerError(response.status, `${method} ${path}: ${text}`);
    return JSON.parse(text);
  }
}

function placeOf({ ip, port }: NacosRegistration): string {
  return `${ip}:${port}`;
}

function stateOf({ ip, port, healthy, enabled, weight = 1 }: NacosRegistration): string {
  return `${ip}:${port} ${healthy} ${enabled} ${weight}`;
}

function serviceOf(serviceName: string) {
  return { namespaceId: 'public', groupName: GROUP, serviceName };
}

function systemProperties(dir: string): readonly string[] {
  return [
    `-Dnacos.home=${dir}`,
    `-Duser.home=${dir}`,
    '-Dnacos.standalone=true',
    // A test server need not survive a power cut.
    '-Dderby.system.durability=test',
    '-Dnacos.remote.grpc.listen.ip=127.0.0.1',
    `-Dspring.config.additional-location=file:${dir}/conf/`,
  ];
}

/** The server has two versions of Hessian, and the older one must win: its gRPC push fails with the other. */
function classPath(built: string): string {
  return ['classes', 'lib/hessian-4.0.63.jar', 'lib/*'].map((part) => join(built, part)).join(':');
}

function properties(port: number, tokenSeconds: number): string {
  const key = Buffer.from('a key that signs the tokens of a test server').toString('base64');
  return Object.entries({
    'nacos.server.main.port': port,
    'nacos.server.contextPath': '/nacos',
    'server.address': '127.0.0.1',
    'nacos.inetutils.ip-address': '127.0.0.1',
    'nacos.core.auth.system.type': 'nacos',
    'nacos.core.auth.enabled': true,
    'nacos.core.auth.admin.enabled': true,
    'nacos.core.auth.caching.enabled': false,
    'nacos.core.auth.server.identity.key': 'suite',
    'nacos.core.auth.server.identity.value': 'suite',
    'nacos.core.auth.plugin.nacos.token.secret.key': key,
    'nacos.core.auth.plugin.nacos.token.expire.seconds': tokenSeconds,
    // By default, an instance without heartbeats is removed after 3 minutes, whatever its own time-outs are.
    'nacos.naming.client.expired.time': 86_400_000,
    // The APIs of older servers.
    'nacos.core.api.compatibility.client.enabled': true,
    'nacos.core.api.compatibility.console.enabled': true,
    'nacos.extension.ai.enabled': false,
    'nacos.k8s.sync.enabled': false,
    'nacos.istio.mcp.server.enabled': false,
    'management.elastic.metrics.export.enabled': false,
    'management.influx.metrics.export.enabled': false,
    'server.tomcat.basedir': 'file:.',
    'spring.autoconfigure.exclude': 'org.springframework.boot.autoconfigure.jdbc.DataSourceAutoConfiguration',
  })
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
}
