import { mkdir, mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';
import { type Component, createComponent } from '../control-plane/component.ts';
import { freePorts } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';
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
/** The embedded database and the consensus protocol take some seconds; a busy machine takes longer. */
const HEAP = ['-Xms256m', '-Xmx512m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

/** Nobody sends heartbeats for the instances of a test, and they must neither become unhealthy nor expire. */
const FOREVER = {
  'preserved.heart.beat.timeout': '86400000',
  'preserved.ip.delete.timeout': '86400000',
};

/** A real standalone Nacos server on loopback that asks for a login. */
export class NacosServer implements AsyncDisposable {
  readonly url: URL;
  readonly #component: Component;
  readonly #watchdog: Watchdog;
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });
  #token: string | undefined;

  private constructor(url: URL, component: Component, watchdog: Watchdog) {
    this.url = url;
    this.#component = component;
    this.#watchdog = watchdog;
  }

  static async start(): Promise<NacosServer> {
    const folder = fileURLToPath(new URL('../../registries/nacos/', import.meta.url));
    const built = await ensureJavaServer({ folder, name: 'nacos', what: 'Nacos' });
    const dir = await mkdtemp(join(tmpdir(), 'gwu-nacos-'));
    const watchdog = startWatchdog(dir);
    const port = await freePort();
    const url = new URL(`http://127.0.0.1:${port}`);
    await mkdir(join(dir, 'conf'));
    await mkdir(join(dir, 'logs'));
    await writeFile(join(dir, 'conf', 'application.properties'), properties(port));
    const component = createComponent({
      name: 'nacos',
      command: '/usr/bin/java',
      args: [...HEAP, ...systemProperties(dir), '-cp', classPath(built), 'gatewayupstream.nacos.Server'],
      dir,
      started: watchdog.register,
      createProbe: () => async () => (await fetch(new URL('/nacos/v3/admin/core/state/readiness', url))).ok,
    });
    const server = new NacosServer(url, component, watchdog);
    try {
      await component.start();
      await server.#createUser();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Makes `instances` everything that Nacos has of the service. Each instance is a write of its own. */
  async register(service: string, instances: readonly NacosRegistration[]): Promise<void> {
    const listed = await this.#instancesOf(service);
    const placeOf = ({ ip, port }: { readonly ip: string; readonly port: number }) => `${ip}:${port}`;
    const kept = new Set(instances.map(placeOf));
    const gone = listed.filter((instance) => !kept.has(placeOf(instance)));
    await Promise.all([
      ...gone.map(({ ip, port }) => this.#write('DELETE', { ...serviceOf(service), ip, port: `${port}` })),
      ...instances.map(({ ip, port, healthy, enabled, weight = 1, metadata = {} }) =>
        this.#write('POST', {
          ...serviceOf(service),
          ip,
          port: `${port}`,
          healthy: `${healthy}`,
          enabled: `${enabled}`,
          weight: `${weight}`,
          ephemeral: 'true',
          metadata: JSON.stringify({ ...FOREVER, ...metadata }),
        }),
      ),
    ]);
  }

  async kill(): Promise<void> {
    await this.#component.kill();
  }

  async start(): Promise<void> {
    await this.#component.start();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#component.kill();
    await this.#watchdog.end();
  }

  async #createUser(): Promise<void> {
    await this.#send('POST', '/nacos/v3/auth/user/admin', { password: NACOS_USER.password });
    const login = await this.#send('POST', '/nacos/v3/auth/user/login', { ...NACOS_USER });
    this.#token = (login as { readonly accessToken: string }).accessToken;
  }

  async #instancesOf(service: string) {
    const listed = await this.#send('GET', '/nacos/v3/client/ns/instance/list', serviceOf(service));
    const { data } = listed as { readonly data: readonly { readonly ip: string; readonly port: number }[] };
    return data;
  }

  #write(method: 'POST' | 'DELETE', fields: Readonly<Record<string, string>>): Promise<unknown> {
    return this.#send(method, '/nacos/v3/client/ns/instance', fields);
  }

  #send(
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    fields: Readonly<Record<string, string>>,
  ): Promise<unknown> {
    return this.#requests.add(async () => {
      const url = new URL(path, this.url);
      const form = new URLSearchParams({ ...fields });
      if (method !== 'POST') url.search = form.toString();
      const response = await fetch(url, {
        method,
        headers: this.#token === undefined ? {} : { accesstoken: this.#token },
        ...(method === 'POST' ? { body: form } : {}),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`Nacos answered ${response.status} to ${method} ${path}: ${text}`);
      return JSON.parse(text);
    });
  }
}

/** Nacos also listens on the ports that are 1000 and 1001 above, and 1000 below. */
async function freePort(): Promise<number> {
  const [port = 0] = await freePorts(1);
  return port;
}

function serviceOf(serviceName: string) {
  return { namespaceId: 'public', groupName: GROUP, serviceName };
}

function systemProperties(dir: string): readonly string[] {
  return [
    `-Dnacos.home=${dir}`,
    `-Duser.home=${dir}`,
    '-Dnacos.standalone=true',
    '-Dnacos.remote.grpc.listen.ip=127.0.0.1',
    `-Dspring.config.additional-location=file:${dir}/conf/`,
  ];
}

/** The server has two versions of Hessian, and the older one must win: its gRPC push fails with the other. */
function classPath(built: string): string {
  return ['classes', 'lib/hessian-4.0.63.jar', 'lib/*'].map((part) => join(built, part)).join(':');
}

function properties(port: number): string {
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
    'nacos.core.auth.plugin.nacos.token.expire.seconds': 18_000,
    'nacos.core.api.compatibility.client.enabled': true,
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
