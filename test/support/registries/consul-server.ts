import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import PQueue from 'p-queue';
import { type Component, createComponent } from '../control-plane/component.ts';
import { freePorts } from '../control-plane/free-ports.ts';
import { startWatchdog, type Watchdog } from '../control-plane/start-watchdog.ts';
import { ensureConsul } from './consul-binary.ts';

/** One instance, as a test registers it. */
export interface ConsulRegistration {
  readonly id: string;
  /** Empty: the instance has the address of its node. */
  readonly address: string;
  readonly port: number;
  readonly status: 'passing' | 'warning' | 'critical' | 'maintenance';
  readonly node?: { readonly name: string; readonly address: string };
  readonly tags?: readonly string[];
  readonly meta?: Readonly<Record<string, string>>;
  readonly weights?: { readonly Passing: number; readonly Warning: number };
}

/** Token of the management policy, where ACLs are enabled. */
export const MANAGEMENT_TOKEN = '11111111-2222-3333-4444-555555555555';

/** Not the name of this machine: the agent removes from its own node what was not registered with it. */
const NODE = { name: 'external', address: '198.18.0.10' };
/** Consul accepts 200 connections of one client. The operator under test needs some of them. */
const CONCURRENT_REQUESTS = 50;
/** A transaction of Consul has at most 64 operations. */
const MAX_OPERATIONS = 64;

/** A real Consul server on loopback. */
export class ConsulServer implements AsyncDisposable {
  readonly url: URL;
  readonly #component: Component;
  readonly #watchdog: Watchdog;
  readonly #hasAcl: boolean;
  readonly #requests = new PQueue({ concurrency: CONCURRENT_REQUESTS });

  private constructor(url: URL, component: Component, watchdog: Watchdog, hasAcl: boolean) {
    this.url = url;
    this.#component = component;
    this.#watchdog = watchdog;
    this.#hasAcl = hasAcl;
  }

  /** `acl`: requests without a token are denied everything. */
  static async start({ acl = false }: { readonly acl?: boolean } = {}): Promise<ConsulServer> {
    const command = await ensureConsul();
    const dir = await mkdtemp(join(tmpdir(), 'gwu-consul-'));
    const watchdog = startWatchdog(dir);
    const [http = 0, server = 0, lan = 0, wan = 0] = await freePorts(4);
    const config = join(dir, 'config.json');
    await writeFile(config, JSON.stringify(configuration({ http, server, lan, wan }, acl)));
    const url = new URL(`http://127.0.0.1:${http}`);
    const component = createComponent({
      name: 'consul',
      command,
      args: ['agent', '-dev', '-config-file', config],
      dir,
      started: watchdog.register,
      createProbe: () => async () => {
        const response = await fetch(new URL('/v1/catalog/nodes', url), { headers: tokenHeader(acl) });
        return response.ok && (await response.text()).includes('"Node"');
      },
    });
    const consul = new ConsulServer(url, component, watchdog, acl);
    try {
      await component.start();
    } catch (error) {
      await consul[Symbol.asyncDispose]();
      throw error;
    }
    return consul;
  }

  /** A development server keeps nothing: it comes back empty. */
  async restart(): Promise<void> {
    await this.#component.kill();
    await this.#component.start();
  }

  async kill(): Promise<void> {
    await this.#component.kill();
  }

  async start(): Promise<void> {
    await this.#component.start();
  }

  /** Makes `instances` everything that Consul has of the service: up to 20 of them in one transaction. */
  async register(service: string, instances: readonly ConsulRegistration[]): Promise<void> {
    const listed = await this.#instancesOf(service);
    const kept = new Set(instances.map(({ id }) => id));
    const gone = listed.filter(({ ServiceID }) => !kept.has(ServiceID));
    const operations = [
      ...gone.map(({ Node, ServiceID }) => deletion(Node, service, ServiceID)),
      ...instances.flatMap((instance) => registrations(service, instance)),
    ];
    for (let from = 0; from < operations.length; from += MAX_OPERATIONS - 4) {
      await this.request('PUT', '/v1/txn', operations.slice(from, from + MAX_OPERATIONS - 4));
    }
  }

  /** Adds or replaces one instance. */
  async update(service: string, instance: ConsulRegistration): Promise<void> {
    await this.request('PUT', '/v1/txn', registrations(service, instance));
  }

  /** @throws Error unless Consul answers 200. */
  request(method: 'GET' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<unknown> {
    return this.#requests.add(() => this.#send(method, path, body));
  }

  async #send(method: string, path: string, body: unknown): Promise<unknown> {
    const response = await fetch(new URL(path, this.url), {
      method,
      headers: tokenHeader(this.#hasAcl),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`Consul answered ${response.status} to ${method} ${path}: ${text}`);
    return JSON.parse(text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#component.kill();
    await this.#watchdog.end();
  }

  async #instancesOf(service: string) {
    const listed = await this.request('GET', `/v1/catalog/service/${encodeURIComponent(service)}`);
    return listed as readonly { readonly Node: string; readonly ServiceID: string }[];
  }
}

interface Ports {
  readonly http: number;
  readonly server: number;
  readonly lan: number;
  readonly wan: number;
}

function configuration({ http, server, lan, wan }: Ports, acl: boolean) {
  return {
    // Otherwise recordings would contain the name of this machine.
    node_name: 'agent',
    bind_addr: '127.0.0.1',
    client_addr: '127.0.0.1',
    ports: { http, server, serf_lan: lan, serf_wan: wan, dns: -1, grpc: -1, https: -1 },
    log_level: 'warn',
    disable_update_check: true,
    ...(acl
      ? {
          acl: {
            enabled: true,
            default_policy: 'deny',
            tokens: { initial_management: MANAGEMENT_TOKEN, agent: MANAGEMENT_TOKEN },
          },
        }
      : {}),
  };
}

function tokenHeader(hasAcl: boolean): Record<string, string> {
  return hasAcl ? { 'x-consul-token': MANAGEMENT_TOKEN } : {};
}

function registrations(service: string, instance: ConsulRegistration): readonly object[] {
  const { id, address, port, status, node = NODE, tags = [], meta = {}, weights } = instance;
  const check = (CheckID: string, isOn: boolean) => ({
    Check: isOn
      ? {
          Verb: 'set',
          Check: { Node: node.name, CheckID, Name: CheckID, ServiceID: id, Status: statusOf(status) },
        }
      : { Verb: 'delete', Check: { Node: node.name, CheckID } },
  });
  return [
    { Node: { Verb: 'set', Node: { Node: node.name, Address: node.address } } },
    {
      Service: {
        Verb: 'set',
        Node: node.name,
        Service: {
          ID: id,
          Service: service,
          Address: address,
          Port: port,
          Tags: tags,
          Meta: meta,
          ...(weights === undefined ? {} : { Weights: weights }),
        },
      },
    },
    check(`health:${id}`, true),
    ...(status === 'maintenance'
      ? [check(`_service_maintenance:${id}`, true)]
      : [check(`_service_maintenance:${id}`, false)]),
  ];
}

function statusOf(status: ConsulRegistration['status']): string {
  return status === 'maintenance' ? 'critical' : status;
}

function deletion(node: string, service: string, id: string): object {
  return { Service: { Verb: 'delete', Node: node, Service: { ID: id, Service: service } } };
}
