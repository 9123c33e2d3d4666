import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import PQueue from 'p-queue';
import { type Component, createComponent } from '../control-plane/component.ts';
import { freePorts } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';
import { ensureJavaServer } from './java-server.ts';

/** One instance, as a test registers it. */
export interface EurekaRegistration {
  readonly ip: string;
  readonly port: number;
  readonly status: 'UP' | 'DOWN' | 'STARTING' | 'OUT_OF_SERVICE' | 'UNKNOWN';
  readonly metadata?: Readonly<Record<string, string>>;
}

export const EUREKA_USER = { username: 'reader', password: 'password-of-the-suite' } as const;

const CONCURRENT_REQUESTS = 32;
const HEAP = ['-Xms64m', '-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
/** No test sends heartbeats, and no instance may expire during a test. */
const LEASE_SECONDS = 86_400;

/** A real Eureka server on loopback that requires basic authentication. */
export class EurekaServer implements AsyncDisposable {
  /** Includes the context path. */
  readonly url: URL;
  readonly #component: Component;
  readonly #watchdog: Watchdog;
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });
  /** Eureka ignores a registration that is not newer than the last one of the instance. */
  #dirtyTimestamp = Date.now();

  private constructor(url: URL, component: Component, watchdog: Watchdog) {
    this.url = url;
    this.#component = component;
    this.#watchdog = watchdog;
  }

  static async start(): Promise<EurekaServer> {
    const folder = fileURLToPath(new URL('../../registries/eureka/', import.meta.url));
    const built = await ensureJavaServer({ folder, name: 'eureka', what: 'Eureka' });
    const dir = await mkdtemp(join(tmpdir(), 'gwu-eureka-'));
    const watchdog = startWatchdog(dir);
    const [port = 0] = await freePorts(1);
    const url = new URL(`http://127.0.0.1:${port}/eureka`);
    const component = createComponent({
      name: 'eureka',
      command: '/usr/bin/java',
      args: [
        ...HEAP,
        ...properties(port),
        '-cp',
        ['classes', 'lib/*'].map((part) => join(built, part)).join(':'),
        'gatewayupstream.eureka.Server',
      ],
      dir,
      started: watchdog.register,
      createProbe: () => async () => (await fetch(`${url}/status`, { headers: authorization() })).ok,
    });
    const server = new EurekaServer(url, component, watchdog);
    try {
      await component.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /**
   * Makes `instances` the only instances of the application. Each instance is a write of its own. Eureka keeps the status of an
   * instance that registers again, so an instance with another status is removed first.
   */
  async register(service: string, instances: readonly EurekaRegistration[]): Promise<void> {
    const statuses = new Map(instances.map((instance) => [idOf(service, instance), instance.status]));
    const before = await this.#statusesOf(service);
    await Promise.all(
      [...before]
        .filter(([id, status]) => statuses.get(id) !== status)
        .map(([id]) => this.#send('DELETE', `/apps/${service}/${encodeURIComponent(id)}`)),
    );
    await Promise.all(
      instances.map((instance) =>
        this.#send('POST', `/apps/${service}`, { instance: this.#registration(service, instance) }),
      ),
    );
  }

  /** The answer to `/apps/NAME`; undefined if there is no such application. */
  async application(service: string): Promise<unknown> {
    return await this.#send('GET', `/apps/${service}`);
  }

  /** Sets the status of an instance, as Eureka's operators do. */
  async override(service: string, id: string, status: EurekaRegistration['status']): Promise<void> {
    await this.#send('PUT', `/apps/${service}/${encodeURIComponent(id)}/status?value=${status}`);
  }

  /** Registers one instance, or registers it again with the same status. It expires without heartbeats. */
  async update(service: string, instance: EurekaRegistration, leaseSeconds?: number): Promise<void> {
    const registration = this.#registration(service, instance, leaseSeconds);
    await this.#send('POST', `/apps/${service}`, { instance: registration });
  }

  async deregister(service: string, instance: Pick<EurekaRegistration, 'ip' | 'port'>): Promise<void> {
    await this.#send('DELETE', `/apps/${service}/${encodeURIComponent(idOf(service, instance))}`);
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

  #registration(service: string, instance: EurekaRegistration, leaseSeconds = LEASE_SECONDS): object {
    const { ip, port, status, metadata = {} } = instance;
    this.#dirtyTimestamp += 1;
    return {
      instanceId: idOf(service, instance),
      hostName: ip,
      app: service.toUpperCase(),
      ipAddr: ip,
      vipAddress: service,
      status,
      port: { $: port, '@enabled': 'true' },
      securePort: { $: 443, '@enabled': 'false' },
      dataCenterInfo: {
        '@class': 'com.netflix.appinfo.InstanceInfo$DefaultDataCenterInfo',
        name: 'MyOwn',
      },
      leaseInfo: { renewalIntervalInSecs: leaseSeconds, durationInSecs: leaseSeconds },
      lastDirtyTimestamp: `${this.#dirtyTimestamp}`,
      metadata,
    };
  }

  /** By instance id. */
  async #statusesOf(service: string): Promise<ReadonlyMap<string, string>> {
    const answer = await this.application(service);
    if (answer === undefined) return new Map();
    const { application } = answer as {
      readonly application: {
        readonly instance: readonly { readonly instanceId: string; readonly status: string }[];
      };
    };
    return new Map(application.instance.map(({ instanceId, status }) => [instanceId, status]));
  }

  /** Resolves to undefined for 404 and for answers without a body. */
  #send(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<unknown> {
    return this.#requests.add(async () => {
      const response = await fetch(`${this.url}${path}`, {
        method,
        headers: { ...authorization(), accept: 'application/json', 'content-type': 'application/json' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      if (response.status === 404) return undefined;
      if (!response.ok) throw new Error(`Eureka answered ${response.status} to ${method} ${path}: ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    });
  }
}

function authorization(): Readonly<Record<string, string>> {
  const { username, password } = EUREKA_USER;
  return { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}` };
}

function idOf(service: string, { ip, port }: Pick<EurekaRegistration, 'ip' | 'port'>): string {
  return `${ip}:${service}:${port}`;
}

function properties(port: number): readonly string[] {
  return Object.entries({
    'server.address': '127.0.0.1',
    'server.port': port,
    'spring.application.name': 'eureka',
    'spring.security.user.name': EUREKA_USER.username,
    'spring.security.user.password': EUREKA_USER.password,
    'eureka.instance.hostname': '127.0.0.1',
    'eureka.client.register-with-eureka': false,
    'eureka.client.fetch-registry': false,
    'eureka.client.service-url.defaultZone': `http://127.0.0.1:${port}/eureka/`,
    // Without these, an answer may be 30 s old.
    'eureka.server.use-read-only-response-cache': false,
    'eureka.server.response-cache-update-interval-ms': 1000,
    'eureka.server.response-cache-auto-expiration-in-seconds': 1,
    'eureka.server.enable-self-preservation': false,
    'eureka.server.eviction-interval-timer-in-ms': 1000,
    'eureka.server.wait-time-in-ms-when-sync-empty': 0,
    'eureka.dashboard.enabled': false,
    'spring.freemarker.check-template-location': false,
  }).map(([name, value]) => `-D${name}=${value}`);
}
